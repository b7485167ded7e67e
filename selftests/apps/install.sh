#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# An installation in a folder: programs find it by pkg-config and by cmake, the
# shell completes ha's words, pages and options agree with the sources, and
# uninstall leaves nothing.

. "$(dirname "$0")/lib.sh"

unset HEAPARENA_CONF MAKEFLAGS MFLAGS MAKEOVERRIDES
cc=${CC:-gcc} cxx=${CXX:-g++}
need make "$cc"
root=$tmp/root
mk()
{
	make -C "$top" O="${HA_BUILD#"$top/"}" DESTDIR="$root" PREFIX=/opt/ha "$@"
}
check "make install" mk install
check "make install, a second time" mk install
libdir=$root/opt/ha/lib
list()
{
	O=$HA_BUILD PREFIX=/opt/ha LIBDIR=/opt/ha/lib VERSION=0 "$top/tools/scripts/install" list |
		sed 's,^/,,' | sort
}
list >"$tmp/want"
(cd "$root" && find . ! -type d | sed 's,^\./,,' | sort) >"$tmp/have"
same "what is listed is there, and nothing else" "$tmp/want" "$tmp/have"
check "soname" sh -c "readelf -d '$libdir/libheaparena.so.1' | grep -q 'SONAME.*libheaparena.so.1'"
check "the link leads to it" test "$(readlink "$libdir/libheaparena.so")" = libheaparena.so.1
check "ha finds the library beside it" \
	test "$(env -u HA_LIB "$root/opt/ha/bin/ha" run printenv LD_PRELOAD)" -ef "$libdir/libheaparena.so.1"

# Other folders: within PREFIX the tree may move, beyond it that is the place.
# (each file by hand: an installation takes seconds)
# placed BIN LIB: what `make install` would put there
placed()
{
	mkdir -p "$1" "$2" && cp "$HA_BUILD/ha" "$1" && cp "$HA_BUILD/libheaparena.so.1" "$2" &&
		[ "$(env -u HA_LIB "$1/ha" run printenv LD_PRELOAD)" -ef "$2/libheaparena.so.1" ]
}
check "make, libraries deeper" mk all LIBDIR=/opt/ha/lib/deep
check "ha finds the library there" placed "$tmp/deep/bin" "$tmp/deep/lib/deep"
check "make, libraries apart" mk all LIBDIR="$tmp/apart"
check "ha finds the library apart" placed "$tmp/other/bin" "$tmp/apart"
check "make, as before" mk all
check "compiles nothing more" test -z "$(mk -s all)"

# ---- programs ----------------------------------------------------------------

cat >"$tmp/app.c" <<'END'
#include <heaparena/heaparena.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
	struct ha_object obj = { sizeof(obj) };
	char *p = malloc(100);

	/* malloc is the library's: it knows the object */
	return !(p && memset(p, 1, 100) && ha_lookup(p, &obj) == 1 && obj.start == p);
}
END
sed 's/= { sizeof(obj) }/= ha_object(); obj.size = sizeof(obj)/; s/= malloc/= (char *)malloc/' \
	"$tmp/app.c" >"$tmp/app.cc"
runs()
{
	LD_LIBRARY_PATH=$libdir "$@"
}
if command -v pkg-config >/dev/null; then
	flags=$(PKG_CONFIG_PATH=$libdir/pkgconfig pkg-config --define-variable=prefix="$root/opt/ha" \
		--define-variable=libdir="$libdir" --cflags --libs heaparena)
	# shellcheck disable=SC2086
	check "pkg-config: a program is built" "$cc" -o "$tmp/app" "$tmp/app.c" $flags
	check "and runs" runs "$tmp/app"
	check "its functions have a version" sh -c \
		"readelf -VW '$tmp/app' | grep -q 'Name: HEAPARENA_0.1' &&
		 readelf -sW --dyn-syms '$tmp/app' | grep -q 'ha_lookup@HEAPARENA_0.1'"
	check "malloc has none of ours" sh -c \
		"! readelf -sW --dyn-syms '$tmp/app' | grep 'malloc@HEAPARENA'"
	check "pkg-config knows the version" env PKG_CONFIG_PATH="$libdir/pkgconfig" \
		pkg-config --exact-version="$("$HA_BUILD/ha" version | cut -d ' ' -f 2)" heaparena
else
	skip "pkg-config" "no pkg-config here"
fi

if command -v cmake >/dev/null; then
	mkdir "$tmp/cm"
	cp "$tmp/app.c" "$tmp/app.cc" "$tmp/cm"
	cp selftests/conform/cxx_replaced.cc "$tmp/cm/replaced.cc"
	cat >"$tmp/cm/throws.cc" <<'END'
#include <cstdint>
#include <new>
#include <vector>

static int calls;

static void handler()
{
	if (++calls == 3)
		std::set_new_handler(nullptr);
}

int main()
{
	volatile std::size_t huge = PTRDIFF_MAX - 4096;

	std::set_new_handler(handler);
	if (::operator new(huge, std::nothrow) || calls != 3)
		return 1;
	try {
		std::vector<char> v(100);

		v.resize(huge);
	} catch (const std::bad_alloc &) {
		return 0;
	}
	return 1;
}
END
	cat >"$tmp/cm/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.13)
project(app C CXX)
find_package(heaparena 0.1 REQUIRED)
find_package(heaparena 0.1 REQUIRED CONFIG)
add_executable(shared app.c)
target_link_libraries(shared PRIVATE heaparena::heaparena)
add_executable(cxx app.cc)
target_link_libraries(cxx PRIVATE heaparena::heaparena)
add_executable(static app.c)
target_link_libraries(static PRIVATE heaparena::static)
add_executable(replaced replaced.cc)
target_link_libraries(replaced PRIVATE heaparena::static)
add_executable(throws throws.cc)
target_link_libraries(throws PRIVATE heaparena::static -static-libstdc++)
END
	check "cmake configures" cmake -S "$tmp/cm" -B "$tmp/cm/b" -DCMAKE_PREFIX_PATH="$root/opt/ha"
	check "and builds" cmake --build "$tmp/cm/b"
	check "the shared one runs" "$tmp/cm/b/shared"
	check "the C++ one runs" "$tmp/cm/b/cxx"
	check "the static one runs" env -i "$tmp/cm/b/static"
	check "and one with its own operator new" env -i "$tmp/cm/b/replaced"
	check "and new that fails, beside a static libstdc++" env -i "$tmp/cm/b/throws"
	check "and needs no library of ours" sh -c \
		"! readelf -d '$tmp/cm/b/static' | grep NEEDED.*heaparena"
	for version in 0.2 1.0 0.1.99; do
		sed -i "s/find_package(heaparena [0-9.]*/find_package(heaparena $version/" \
			"$tmp/cm/CMakeLists.txt"
		check "version $version is not this one" sh -c \
			"! cmake -S '$tmp/cm' -B '$tmp/cm/b$version' -DCMAKE_PREFIX_PATH='$root/opt/ha'"
	done
else
	skip "cmake" "no cmake here"
fi

knows()
{
	"$@" -fsyntax-only - </dev/null 2>/dev/null
}

# The header, in every language that may include it.
header()
{
	echo '#include <heaparena/heaparena.h>' | "$@" -fsyntax-only -Wall -Wextra -Wshadow \
		-Wcast-qual -pedantic -Werror -I "$root/opt/ha/include" -
}
for std in c99 c11 c17 gnu11 gnu2x; do
	knows "$cc" -x c -std=$std || { skip "the header in $std" "$cc does not know it"; continue; }
	check "the header in $std" header "$cc" -x c -std=$std -Wstrict-prototypes
done
if command -v "$cxx" >/dev/null; then
	for std in 98 11 14 17 20 23; do
		knows "$cxx" -x c++ -std=c++$std ||
			{ skip "the header in C++$std" "$cxx does not know it"; continue; }
		check "the header in C++$std" header "$cxx" -x c++ -std=c++$std -Wold-style-cast
	done
else
	skip "the header in C++" "no $cxx here"
fi

# ---- words -------------------------------------------------------------------

# complete TEXT: what the shell would offer at its end
complete_words()
{
	PATH="$root/opt/ha/bin:$PATH" bash --norc -c '
		source "$1"
		COMP_LINE=$2 COMP_POINT=${#2} COMP_WORDS=(ha) COMP_WORDBREAKS=" :="
		complete -p ha | grep -q "_ha ha" && _ha 2>/dev/null
		printf "%s\n" "${COMPREPLY[@]}"' - \
		"$root/opt/ha/share/bash-completion/completions/ha" "$1" | sort
}
offers()
{
	local text=$1 word

	shift
	complete_words "$text" >"$tmp/words"
	for word; do
		grep -qxF -- "$word" "$tmp/words" || { cat "$tmp/words"; return 1; }
	done
}
check "completion: commands" offers "ha " run version help
check "completion: begun" test "$(complete_words 'ha ver')" = version
check "completion: options of the library" offers "ha run -c " check:on check:off numa:strict limit:
check "completion: a value" offers "ha run -c numa:f" fake=
# bash has broken the word at the colon: what it replaces begins behind that
check "completion: behind a comma" offers "ha run -c check:off,th" off,thp:auto off,thp:off
check "completion: programs" offers "ha run prin" printenv printf
check "completion: programs behind options" offers "ha run -c check:on prin" printenv
touch "$tmp/argument.file"
check "completion: options of run" offers "ha run -" -c --leaks
check "completion: programs behind --leaks" offers "ha run --leaks -c check:on prin" printenv printf
check "completion: orders to a process" offers "ha prof 123 " start stop dump
check "completion: an order begun" test "$(complete_words 'ha prof 123 st' | tr '\n' ' ')" = "start stop "
check "completion: none to a file" test -z "$(complete_words "ha prof $tmp/arg st")"
check "completion: options of prof" offers "ha prof 123 --" --text --svg --peak
check "completion: their arguments" offers "ha run ls $tmp/arg" "$tmp/argument.file"

# Options: what conf.c takes, README.md and the page tell of, and no other.
sed -n 's/^\t{ "\([a-z_]*\)", set_.*/\1/p' "$top/lib/conf.c" | sort >"$tmp/keys"
awk -F '|' '/^## / { on = /^## Options/ } on && $2 ~ /^ `[a-z_]+` $/ { gsub(/[` ]/, "", $2); print $2 }' \
	"$top/README.md" | sort >"$tmp/keys.readme"
same "options in README.md" "$tmp/keys" "$tmp/keys.readme"
sed -n '/^\.SH OPTIONS/,/^\.SH FILES/s/^\.B[RI] *"*\([a-z_]*\):.*/\1/p' \
	"$top/tools/man/heaparena.conf.5" | sort >"$tmp/keys.page"
same "options in heaparena.conf(5)" "$tmp/keys" "$tmp/keys.page"
man=$root/opt/ha/share/man
grep -o '^ha_[a-z_]* *\|[ *]ha_[a-z_]*(' "$root/opt/ha/include/heaparena/heaparena.h" |
	grep -o 'ha_[a-z_]*(' | tr -d '(' | sort -u >"$tmp/functions"
for f in $(cat "$tmp/functions"); do
	[ -s "$man/man3/$f.3" ] && grep -q "^\.BR $f (3)" "$man/man3/heaparena.3" && echo "$f"
done >"$tmp/pages"
same "each function has a page, and a line in heaparena(3)" "$tmp/functions" "$tmp/pages"
if command -v mandoc >/dev/null; then
	check "pages are well formed" mandoc -T lint -W error "$man"/man*/*
elif command -v groff >/dev/null; then
	cat "$man"/man*/* | groff -man -Tutf8 -ww >/dev/null 2>"$tmp/groff"
	check "pages are well formed" test ! -s "$tmp/groff"
else
	skip "pages are well formed" "no mandoc or groff here"
fi

# ---- and gone ----------------------------------------------------------------

echo other >"$root/opt/ha/include/other.h"
check "make uninstall" mk uninstall
(cd "$root" && find . ! -type d) >"$tmp/left"
check "leaves what is not ours" test "$(cat "$tmp/left")" = ./opt/ha/include/other.h
done_testing
