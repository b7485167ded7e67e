#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# gcc and clang: a large generated file, C++ with the templates of the standard
# library, and sources of this project. The objects must be the same, byte for
# byte: a compiler that hashes or sorts by address would show here as well, and
# those that are shipped do not.

. "$(dirname "$0")/lib.sh"

# Some 90 functions over structs, switches, loops and string tables.
gen_c()
{
	awk 'BEGIN {
		print "#include <stddef.h>\n#include <stdint.h>\n#include <stdio.h>\n#include <string.h>"
		for (i = 0; i < 90; i++) {
			printf "struct s%d { uint64_t a, b[%d]; struct s%d *next; const char *name; double d; };\n", i, i % 13 + 1, i ? i - 1 : 0
			printf "static const char *names%d[] = { \"alpha%d\", \"beta%d\", \"gamma%d\" };\n", i, i, i * 3, i * 7
			printf "uint64_t f%d(struct s%d *s, unsigned int n)\n{\n\tuint64_t sum = %du;\n", i, i, i * 2654435761 % 65536
			printf "\tfor (unsigned int k = 0; k < n; k++) {\n\t\tswitch ((s->a + k) %% %d) {\n", i % 9 + 3
			for (c = 0; c < i % 9 + 3; c++)
				printf "\t\tcase %d:\n\t\t\tsum = sum * %du + (s->b[k %% %d] ^ (sum >> %d));\n\t\t\tbreak;\n", c, c * 31 + i, i % 13 + 1, c % 30 + 1
			printf "\t\t}\n\t\ts->d += sum * 0.5 / (k + %d);\n", i + 1
			printf "\t\tif (!strcmp(s->name, names%d[k %% 3]))\n\t\t\tsum ^= (uintptr_t)s->next;\n\t}\n", i
			if (i)
				printf "\treturn s->next ? sum + f%d(s->next, n / 2) : sum;\n}\n", i - 1
			else
				printf "\tprintf(\"%%s %%f\\n\", s->name, s->d);\n\treturn sum;\n}\n"
		}
	}'
}

gen_cxx()
{
	cat <<'CXX'
#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <regex>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

using value = std::variant<int, double, std::string, std::vector<int>>;

std::map<std::string, std::vector<value>> collect(const std::vector<std::string> &in)
{
	std::map<std::string, std::vector<value>> out;
	std::regex re("([a-z]+)=([0-9]+|[a-z]*)");
	std::smatch m;

	for (const auto &s : in)
		if (std::regex_match(s, m, re))
			out[m[1]].push_back(m[2].str());
	return out;
}

std::unordered_map<int, std::unique_ptr<std::string>> index_of(std::vector<std::string> v)
{
	std::unordered_map<int, std::unique_ptr<std::string>> r;

	std::sort(v.begin(), v.end(), [](const auto &a, const auto &b) { return a.size() < b.size(); });
	for (auto &s : v)
		r.emplace(std::hash<std::string>{}(s) & 0xffff, std::make_unique<std::string>(s));
	return r;
}
CXX
}

# build COMPILER NAME FLAG... : the same command twice, one case
build()
{
	local compiler=$1 name=$2
	shift 2

	plain "$compiler" "$@" -o "$tmp/plain.o" 2>"$tmp/plain.err"
	with_lib "$compiler" "$@" -o "$tmp/lib.o" 2>"$tmp/lib.err" || comment "$tmp/lib.err"
	same "$compiler: $name: same object" "$tmp/plain.o" "$tmp/lib.o"
	rm -f "$tmp/plain.o" "$tmp/lib.o"
}

gen_c >"$tmp/large.c"
gen_cxx >"$tmp/templates.cc"
cp "$top"/tools/bench/*.[ch] "$tmp"
cd "$tmp" || exit 1

for compiler in gcc clang; do
	if ! command -v $compiler >/dev/null; then
		skip "$compiler" "no $compiler here"
		continue
	fi
	build $compiler "large file, -O2" -O2 -c large.c
	build $compiler "large file, -O0 -g" -O0 -g -c large.c
	build $compiler "large file, -O3 to assembly" -O3 -S large.c
	for source in bench larson replace; do
		build $compiler "$source.c, -O2 -g" -O2 -g -D_GNU_SOURCE -c $source.c
	done
	build $compiler "linked program" -O2 -D_GNU_SOURCE -pthread pair.c bench.c
	served $compiler 7
	if $compiler -x c++ -std=c++17 -fsyntax-only templates.cc 2>/dev/null; then
		build $compiler "C++ templates, -O2" -std=c++17 -O2 -c templates.cc
		served "$compiler as a C++ compiler" 1
	else
		skip "$compiler: C++ templates" "$compiler has no C++ here"
	fi
done
done_testing
