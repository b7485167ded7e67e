#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Where options come from: built in, the program's variable, the machine's file,
# the environment; each overrides those before it. The library is built here once
# more, with options built in and its file in a folder of the test's own.

. "$(dirname "$0")/lib.sh"

unset HEAPARENA_CONF MAKEFLAGS MFLAGS MAKEOVERRIDES
cc=${CC:-gcc}
need "$cc" make
mkdir "$tmp/etc"
file=$tmp/etc/heaparena.conf

# ---- programs that say what is in force -------------------------------------

cat >"$tmp/say.c" <<'END'
#include <heaparena/heaparena.h>
#include <stdio.h>
#include <sys/auxv.h>

#ifdef OWN
const char *heaparena_conf = OWN;
#endif

int main(void)
{
	size_t soft, hard;
	struct ha_stats st = { .size = sizeof(st) };

	if (getauxval(AT_SECURE))
		printf("secure ");
	ha_limit_get(&soft, &hard);
	ha_stats_get(&st);
	printf("soft %zu hard %zu nodes %u\n", soft == (size_t)-1 ? 0 : soft >> 20,
	       hard == (size_t)-1 ? 0 : hard >> 20, (unsigned int)st.nr_nodes);
	return 0;
}
END
# build NAME LIBRARY FLAG...
build()
{
	$cc -o "$tmp/$1" -I "$top/include" "${@:3}" "$tmp/say.c" "$2" \
		"-Wl,-rpath,$(dirname "$2")" $libs
}
libs=$(pkg-config --libs numa liburcu-bp 2>/dev/null || echo '-lnuma -lurcu-bp')" -pthread -ldl"

# says WHAT COMMAND...: the program's line, and nothing on stderr
says()
{
	local want=$1

	shift
	"$@" >"$tmp/out" 2>"$tmp/err" && [ "$(cat "$tmp/out")" = "$want" ] &&
		! [ -s "$tmp/err" ] && return
	echo "wanted $want"
	cat "$tmp/out" "$tmp/err"
	return 1
}

# warns LINE COMMAND...: the one line on stderr
warns()
{
	"${@:2}" >"$tmp/out" 2>"$tmp/err" && [ "$(cat "$tmp/err")" = "$1" ] && return
	cat "$tmp/err"
	return 1
}

# ---- the program's variable, with the library as it is -----------------------

build plain "$HA_LIB" >"$tmp/log" 2>&1
build own "$HA_LIB" -DOWN='"limit:2G,soft:1G"' >>"$tmp/log" 2>&1
build bad "$HA_LIB" -DOWN='"colour:red"' >>"$tmp/log" 2>&1
build static "$HA_BUILD/libheaparena.a" -static -DOWN='"limit:2G"' >>"$tmp/log" 2>&1
if ! [ -x "$tmp/own" ]; then
	not_ok "programs could be built"
	comment "$tmp/log"
	done_testing
fi
check "a program's own options" says "soft 1024 hard 2048 nodes 1" \
	env HEAPARENA_CONF=numa:off "$tmp/own"
check "the environment overrides them" says "soft 1024 hard 0 nodes 1" \
	env HEAPARENA_CONF=numa:off,limit:none "$tmp/own"
check "a mistake in them" warns \
	'heaparena: heaparena_conf: unknown key in "colour:red" ignored' "$tmp/bad"
if [ -x "$tmp/static" ]; then
	check "of a static program" says "soft 2048 hard 2048 nodes 1" \
		env HEAPARENA_CONF=numa:off "$tmp/static"
else
	skip "of a static program" "no static libraries here"
fi

# ---- built in, and the file --------------------------------------------------

make -C "$top" O="$tmp/build" libs "SYSCONFDIR=$tmp/etc" CONFIG_NO_PROBES=1 \
	'CONF=limit:4G,soft:3G,numa:off,shape:round' >"$tmp/log" 2>&1
if ! [ -r "$tmp/build/libheaparena.so.1" ]; then
	not_ok "the library could be built"
	comment "$tmp/log" 50
	done_testing
fi
lib=$tmp/build/libheaparena.so.1
build plain "$lib"
build own "$lib" -DOWN='"limit:2G"'
known='heaparena: built-in options: unknown key in "shape:round" ignored'
# like says, with the one mistake that is built in
says_too()
{
	says "$@" 2>&1 | grep -v '^wanted' >"$tmp/said"
	printf '%s\n' "$1" "$known" | cmp -s - "$tmp/said" && return
	cat "$tmp/said"
	return 1
}
check "built in" says_too "soft 3072 hard 4096 nodes 1" "$tmp/plain"
check "the program's override them" says_too "soft 2048 hard 2048 nodes 1" "$tmp/own"

cat >"$file" <<'END'
# of this machine
soft:500M, limit:1G	# both

numa:fake=4
END
check "the file overrides both" says_too "soft 500 hard 1024 nodes 4" "$tmp/own"
check "the environment overrides all" says_too "soft 500 hard 0 nodes 2" \
	env HEAPARENA_CONF=numa:fake=2,limit:none "$tmp/own"
printf 'limit:1G\n\n# fine\ncolour:red\n' >"$file"
check "a mistake is told with its line" warns "$known
heaparena: $file:4: unknown key in \"colour:red\" ignored" "$tmp/plain"
{
	echo limit:1G
	yes '# a long comment' | head -n 300
	echo limit:2G
} >"$file"
check "a file that is too long" warns "$known
heaparena: $file: what is beyond 4096 bytes is ignored" "$tmp/plain"
check "counts to there" grep -q 'hard 1024' "$tmp/out"
# what is no file is none, and keeps nobody waiting
rm "$file"
mkfifo "$file"
check "a pipe in its place" says_too "soft 3072 hard 4096 nodes 1" \
	timeout 20 "$tmp/plain"
rm "$file"
mkdir "$file"
check "a folder in its place" says_too "soft 3072 hard 4096 nodes 1" "$tmp/plain"
rmdir "$file"
echo limit:1G >"$file"

# A set-user-ID program: of root's, started by somebody else.
chmod 755 "$tmp" "$tmp/build" "$tmp/etc"
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
	chmod 4755 "$tmp/own"
	nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
	line=$(HEAPARENA_CONF=limit:5G "${nobody[@]}" "$tmp/own" 2>/dev/null)
else
	line=
fi
case $line in
secure*)
	check "a set-user-ID program heeds neither file nor environment" \
		test "$line" = "secure soft 2048 hard 2048 nodes 1" ;;
*)
	skip "a set-user-ID program" "not root, or set-user-ID is off in ${tmp%/*}" ;;
esac

# Built without, the file is not asked for.
make -C "$top" O="$tmp/build" "$tmp/build/c/lib/conf.o" CONFIG_NO_CONF_FILE=1 >"$tmp/log" 2>&1
check "CONFIG_NO_CONF_FILE leaves the file out" sh -c \
	"nm '$tmp/build/c/lib/conf.o' | grep -q conf_init && ! strings '$tmp/build/c/lib/conf.o' | grep '^/.*/heaparena.conf'"
done_testing
