#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The gdb script, on a program that knows what its pointers are: in a process, in a
# core file, linked statically, and loaded by gdb itself with an installed library.

. "$(dirname "$0")/lib.sh"

unset HEAPARENA_CONF
need gdb "${CC:-gcc}"
cat >"$tmp/known.c" <<'END'
#include <heaparena/heaparena.h>
#include <stdlib.h>
#include <string.h>

char *live, *freed, *large, *inside, *deep, *gone, *own, *empty;
char *kept[1000];
char global[16];

__attribute__((noinline)) void stop(void)
{
	__asm__ __volatile__("");
}

int main(void)
{
	struct ha_heap *h = ha_heap_create("mine", 0);

	for (int i = 0; i < 1000; i++)
		kept[i] = malloc(200);
	live = malloc(100);
	freed = malloc(3000);
	large = malloc(5 << 20);
	gone = malloc(3 << 20);
	own = ha_heap_alloc(h, 500, 0, 0);
	memset(large, 1, 5 << 20);
	inside = live + 7;
	deep = large + (4 << 20) + 12345;
	empty = gone + 8192;
	free(freed);
	free(gone);
	stop();
	return 0;
}
END
build()
{
	"${CC:-gcc}" -g -O1 -fno-builtin -o "$tmp/$1" -I "$top/include" "$tmp/known.c" "${@:2}"
}
pre=$tmp/pre
make -C "$top" -s O="${HA_BUILD#"$top/"}" man >/dev/null
O=$HA_BUILD PREFIX=$pre LIBDIR=$pre/lib VERSION=0.1.0 "$top/tools/scripts/install" put
lib=$pre/lib/libheaparena.so.1
check "a program is built" build known "$lib" "-Wl,-rpath,$pre/lib"

# Is there Python in gdb, and may it run a program?
"${CC:-gcc}" -x c -o "$tmp/empty" - <<<'int main(void) { return 0; }'
if ! gdb -nx -batch -ex 'python print("yes")' 2>/dev/null | grep -q yes; then
	skip "the gdb script" "this gdb has no Python"
	done_testing
elif ! gdb -nx -batch -ex run "$tmp/empty" 2>&1 | grep -q 'exited normally'; then
	skip "the gdb script" "gdb cannot run programs here"
	done_testing
fi

script=$top/tools/gdb/heaparena-gdb.py
questions=(-ex 'info heaparena')
for p in live freed large inside deep gone empty own global stop 'kept[999]' '(long)live + 1'; do
	questions+=(-ex "echo @$p:" -ex "heaparena owner $p")
done
to_stop=(-ex 'break stop' -ex run)
ask()
{
	plain gdb -nx -batch -iex 'set confirm off' "$@" </dev/null >"$tmp/gdb" 2>&1
}
# answer POINTER PATTERN: the line about it
answer()
{
	grep -F "@$1:0x" "$tmp/gdb" | grep -qE -- "$2" && return
	grep -F "@$1:0x" "$tmp/gdb"
	tail -n 5 "$tmp/gdb"
	return 1
}
answers()
{
	check "$1: a live object" answer live \
		'object 0x[0-9a-f]+, number [0-9]+ of span 0x[0-9a-f]+ \(class [0-9]+, 112 bytes x [0-9]+, node 0\): live$'
	check "$1: inside of it" answer inside ': 7 bytes inside object .*112 bytes.*: live$'
	check "$1: by an expression" answer '(long)live + 1' ': 1 bytes inside object .*112 bytes'
	check "$1: a freed one" answer freed ': object .* 3072 bytes .*: free, in a cache$'
	check "$1: a large one" answer large ': object .*, number 0 of span .*\(large, 5242880 bytes x 1, .*: live$'
	check "$1: deep inside" answer deep ': 4206649 bytes inside object .*5242880 bytes.*: live$'
	check "$1: a large one that is gone" answer gone 'in pages of the heap that are free'
	check "$1: inside of that" answer empty 'in pages of the heap that are free'
	check "$1: one of a heap of the program's" answer own ': object .* 512 bytes .* heap "mine": live$'
	check "$1: a variable" answer global 'not in the heap'
	check "$1: an element of an array" answer 'kept[999]' '208 bytes .*: live$'
	check "$1: nodes" grep -qE '^0( +[0-9]+[KM]?){4} +[0-9]+ +1 +5120K$' "$tmp/gdb"
	# 1000 objects of 208 bytes are live, and no more than startup's few besides
	check "$1: classes" awk '$2 == 208 && NF == 8 { ok = $5 >= 1000 && $5 < 1100 && $4 >= $5 + $6 }
		END { exit !ok }' "$tmp/gdb"
}

ask -iex "set auto-load scripts-directory $pre/share/gdb/auto-load" \
	-iex "set auto-load safe-path $pre" "${to_stop[@]}" "${questions[@]}" \
	-ex "generate-core-file $tmp/core" "$tmp/known"
answers "process"
if [ -s "$tmp/core" ]; then
	ask -ex "source $script" "${questions[@]}" "$tmp/known" "$tmp/core"
	answers "core"
else
	skip "core" "gdb wrote none"
fi
libs=$(pkg-config --libs numa liburcu-bp 2>/dev/null || echo '-lnuma -lurcu-bp')" -pthread -ldl"
# shellcheck disable=SC2086
if build static -static "$HA_BUILD/libheaparena.a" $libs 2>/dev/null; then
	ask -ex "source $script" "${to_stop[@]}" "${questions[@]}" "$tmp/static"
	answers "static"
else
	skip "static" "no static libraries here"
fi
HEAPARENA_CONF=check:off ask -ex "source $script" "${to_stop[@]}" "${questions[@]}" "$tmp/known"
check "without misuse detection less is known" answer live 'live or in a cache \(check:off\)$'

# Where there is nothing to tell, one line says why.
ask -ex "source $script" -ex 'heaparena owner 1' "$tmp/empty"
check "a program without the library" grep -q '^No heaparena with debugging information' "$tmp/gdb"
ask -ex "source $script" -ex 'info heaparena' "$tmp/static" || :
[ ! -x "$tmp/static" ] ||
	check "before it runs" grep -q '^No process or core file' "$tmp/gdb"
done_testing
