#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The instruction mix of the fast paths, held against golden files: what malloc
# and free execute from their first instruction to their first return, by kind.
#
# A figure that changes is not wrong by itself: it wants an argument with figures
# in the commit, and the file written anew with --update. Compilers differ, so
# that each file names the one it is for; another one is a skip.
#
#	fast_path.sh            check (HA_LIB: the library)
#	fast_path.sh --update   write the file of this architecture and compiler
set -u
lib=${HA_LIB:?the path of the library}
here=$(cd "$(dirname "$0")" && pwd)
tool=objdump
case $(od -An -tx2 -j18 -N2 "$lib" | tr -d ' ') in
003e)	arch=x86_64 ;;
00b7)	arch=arm64; [ "$(uname -m)" = aarch64 ] || tool=aarch64-linux-gnu-objdump ;;
*)	echo "1..0 # SKIP no golden file for this architecture"; exit 4 ;;
esac
golden=$here/$arch.golden
if ! command -v $tool >/dev/null; then
	echo "1..0 # SKIP $tool is not installed"
	exit 4
fi
compiler=$(readelf -p .comment "$lib" | sed -n 's/.*\] *//p' | head -1)

# mix FUNCTION: its line of the table. One pass over the straight path: up to the
# first return, as the fast path leaves it only by branches not taken.
mix()
{
	local at

	# by address: which of its names stands in the listing is the linker's choice
	at=$((0x$(nm -D "$lib" | awk -v name="$1" '$3 == name { print $1 }')))
	$tool -d --no-show-raw-insn --start-address=$at --stop-address=$((at + 512)) "$lib" |
	awk -v name="$1" -v arch=$arch '
	/^ *[0-9a-f]+:\t/ {
		sub(/^[^\t]*\t/, ""); op = $1; args = $0; sub(/^[^ \t]*[ \t]*/, "", args)
		total++
		if (arch == "x86_64") {
			mem = args ~ /\(/ && op !~ /^(lea|nop)/
			dst = mem && args ~ /\)$/
			if (op ~ /^(jmp|j[a-z]+)$/) branch++
			else if (op ~ /^call/) call++
			else if (op ~ /^(push|pop)/) stack++
			else if (mem && op ~ /^(cmp|test)/) load++
			else if (dst) store++
			else if (mem || args ~ /%fs:/) load++
		} else {
			if (op ~ /^(b|b\..*|cbz|cbnz|tbz|tbnz|br)$/) branch++
			else if (op ~ /^(bl|blr)$/) call++
			else if (args ~ /\[sp/) stack++
			else if (op ~ /^ld/) load++
			else if (op ~ /^st/) store++
			if (op ~ /^(ldadd|swp|cas|ldxr|stxr)/) atomic++
		}
		if (op ~ /^lock/ || op ~ /^xchg/) atomic++
		if (op ~ /^ret/) {
			printf "%-8s total %d loads %d stores %d branches %d calls %d stack %d atomic %d\n",
				name, total, load, store, branch, call, stack, atomic
			exit
		}
	}'
}

table()
{
	echo "# $compiler"
	mix malloc
	mix free
	mix _Znwm	# operator new
	mix _ZdlPvm	# operator delete, with the size
}

if [ "${1-}" = --update ]; then
	table >"$golden"
	exit
fi
if [ ! -r "$golden" ]; then
	echo "1..0 # SKIP no golden file for $arch"
	exit 4
fi
if [ "$(head -1 "$golden")" != "# $compiler" ]; then
	echo "1..0 # SKIP built by $compiler, the file is for another compiler"
	exit 4
fi
n=0 failed=0
while IFS= read -r line; do
	case $line in '#'*) continue ;; esac
	n=$((n + 1))
	now=$(mix "${line%% *}")
	if [ "$now" = "$line" ]; then
		echo "ok $n - $line"
	else
		echo "not ok $n - ${line%% *}"
		echo "# golden: $line"
		echo "# now:    $now"
		failed=1
	fi
done <"$golden"
echo "1..$n"
exit $failed
