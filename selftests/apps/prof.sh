#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# ha prof, ha leaks, ha run --leaks: profiles of a program whose allocations are
# known, by name and line; of redis while it runs; and by pprof itself.

. "$(dirname "$0")/lib.sh"
need gcc

ha=$HA_BUILD/ha
export HA_LIB
unset HEAPARENA_CONF

# check NAME COMMAND...
check()
{
	local name=$1

	shift
	if "$@"; then
		ok "$name"
	else
		not_ok "$name"
		comment "$tmp/err"
		comment "$tmp/out"
	fi
}

# status N COMMAND...: the exit status of COMMAND is N
status()
{
	local want=$1 got

	shift
	"$@" >"$tmp/out" 2>"$tmp/err"
	got=$?
	[ "$got" -eq "$want" ] || echo "#   status $got" >>"$tmp/err"
	[ "$got" -eq "$want" ]
}

# ---- a program with known allocations ---------------------------------------

cat >"$tmp/known.c" <<'END'
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void *volatile kept[1000];
#define APART __attribute__((noinline, noclone))
APART void lose(int n)
{
	for (int i = 0; i < n; i++)
		kept[i] = malloc(1000);
}
static inline __attribute__((always_inline)) void *name(int n)
{
	return calloc(1, n);
}
APART void load(int n)
{
	for (int i = 0; i < n; i++)
		kept[500 + i] = name(64);
}
APART void use(int n)
{
	for (int i = 0; i < n; i++) {
		kept[999] = malloc(5000);
		free(kept[999]);
	}
}
int main(int argc, char **argv)
{
	lose(100);
	load(10);
	use(1000);
	if (argc > 1 && !strcmp(argv[1], "die"))
		raise(SIGKILL);
	if (argc > 1 && !strcmp(argv[1], "fork")) {
		if (!fork()) {
			lose(50);
			return 0;
		}
		wait(NULL);
	}
	return 7;
}
END
gcc -g -O2 -o "$tmp/known" "$tmp/known.c" || not_ok "the program compiles"

check "run --leaks keeps the exit status" status 7 "$ha" run --leaks "$tmp/known"
check "what lives at exit: bytes and objects" grep -qx '102400 bytes in 100 objects' "$tmp/err"
check "its function and line" grep -qE '#0  lose  .*known\.c:11$' "$tmp/err"
check "an inlined function is a frame" grep -qE '#0  name  .*known\.c:15$' "$tmp/err"
check "what was freed is not in it" grep -vq ' use ' "$tmp/err"
check "run --leaks of a program that is killed" status 137 "$ha" run --leaks "$tmp/known" die
check "says that there is no report" grep -q 'no report' "$tmp/err"
check "run --leaks of two processes" status 7 "$ha" run --leaks "$tmp/known" fork
check "a report for each" test "$(grep -c 'leaks of process' "$tmp/err")" -eq 2
check "run --leaks of nothing" status 127 "$ha" run --leaks /nowhere/program
check "an estimate says so" status 7 "$ha" run --leaks -c prof:4K "$tmp/known"
check "by a sample in 4 KiB" grep -q 'an estimate by a sample in 4.0 KiB' "$tmp/err"
check "no folder is left" test -z "$(echo "$tmp"/ha-leaks.*)"

prof=$tmp/known.pb
status 7 "$ha" run -c "prof:1,prof_file:$prof" "$tmp/known"
check "a profile at exit" status 0 "$ha" prof "$prof"
check "by function: live" grep -qE '^ +100.0 KiB .* 100 .* lose$' "$tmp/out"
status 0 "$ha" prof "$prof" --alloc
check "by function: allocated" grep -qE '^ +5\.1 MiB .* 1000 .* use$' "$tmp/out"
check "with callees" grep -qE ' 5\.2 MiB +[0-9.]+%  main$' "$tmp/out"
status 0 "$ha" prof "$prof" --lifetimes
check "lifetimes" grep -qE '^ +1000 +[0-9.]+% .* 0\.0%  use$' "$tmp/out"
status 0 "$ha" prof "$prof" --collapsed
check "stacks" grep -qE ';main;lose 102400$' "$tmp/out"
check "a flame graph" status 0 "$ha" prof "$prof" --svg -o "$tmp/flame.svg"
check "names in it" grep -q '<title>lose' "$tmp/flame.svg"
if command -v python3 >/dev/null; then
	check "that is well-formed" python3 -c 'import sys, xml.dom.minidom
xml.dom.minidom.parse(sys.argv[1])' "$tmp/flame.svg"
else
	skip "that is well-formed" "no python3 here"
fi
head -c 300 "$prof" >"$tmp/cut.pb"
check "half of a profile is none" status 1 "$ha" prof "$tmp/cut.pb"
check "nor is another file" status 1 "$ha" prof "$tmp/known.c"
check "nor nothing" status 1 "$ha" prof /nowhere

if command -v go >/dev/null && go tool -n pprof >/dev/null 2>&1; then
	status 0 go tool pprof -top "$prof"
	check "go tool pprof reads it" grep -qE '^ +100kB .* lose$' "$tmp/out"
	status 0 go tool pprof -sample_index=alloc_objects -top "$prof"
	check "all of its values" grep -qE '^ +1000 .* use' "$tmp/out"
	check "with the build id" grep -q '^Build ID' "$tmp/out"
else
	skip "go tool pprof reads it" "no go tool pprof here"
fi

if gcc -g -O2 -o "$tmp/static" "$tmp/known.c" "$HA_BUILD/libheaparena.a" -lnuma -lurcu-bp \
       -pthread -ldl 2>"$tmp/err"; then
	HEAPARENA_CONF=prof:1,prof_file:$tmp/static.pb "$tmp/static"
	status 0 "$ha" prof "$tmp/static.pb"
	check "linked with the archive: its own functions are left out" \
		grep -qE '^ +100.0 KiB .* lose$' "$tmp/out"
else
	skip "linked with the archive" "it does not link: $(head -n 1 "$tmp/err")"
fi

# ---- a process that runs ----------------------------------------------------

sleep 100 &
sleeper=$!
servers+=("$sleeper")
check "a process without it" status 1 "$ha" prof "$sleeper" start
check "a signal that it does not catch" status 1 "$ha" prof "$sleeper" dump -s 45 -o "$tmp/none.pb"
check "and leaves no file" test ! -e "$tmp/none.pb"
check "and it lives" kill -0 "$sleeper"
check "no process" status 1 "$ha" leaks 4194303
check "no file and no number" status 2 "$ha" prof x start
check "an order that is none" status 2 "$ha" prof "$sleeper" fly

# by kill(1): started, then written
cat >"$tmp/loop.sh" <<'END'
trap 'exit 0' TERM
while :; do x=$(printf '%2000s' a); sleep 0.01; done
END
HEAPARENA_CONF=prof:4K,prof_signal:45,prof_file:$tmp/kill.%n LD_PRELOAD=$HA_LIB \
	bash "$tmp/loop.sh" &
loop=$!
servers+=("$loop")
caught()
{
	grep -qE '^SigCgt:	....[0-9a-f]*[1-9a-f]' "/proc/$loop/status" &&
		kill -45 "$loop" 2>/dev/null && [ -s "$tmp/kill.0" ]
}
sleep 0.3
check "kill -N writes a profile" within 20 caught
check "that is one" status 0 "$ha" prof "$tmp/kill.0"
kill "$loop"

if command -v redis-server >/dev/null && command -v redis-cli >/dev/null; then
	sock=$tmp/redis.sock
	HEAPARENA_CONF=prof_signal:46 LD_PRELOAD=$HA_LIB redis-server --port 0 \
		--unixsocket "$sock" --dir "$tmp" --save "" >"$tmp/server.log" 2>&1 &
	redis=$!
	servers+=("$redis")
	cli()
	{
		redis-cli -s "$sock" "$@" >/dev/null
	}
	check "redis answers" within 20 cli ping
	check "nothing is known before the start" status 0 "$ha" prof "$redis"
	check "start" status 0 "$ha" prof "$redis" start
	cli eval 'for i = 1, 100000 do redis.call("set", "k" .. i, string.rep("x", 300)) end' 0
	check "dump" status 0 "$ha" prof "$redis" dump -o "$tmp/redis.pb"
	status 0 "$ha" prof "$tmp/redis.pb"
	check "what redis has, by name" grep -qE ' [2-9][0-9]\.[0-9] MiB .*(main|aeMain)$' "$tmp/out"
	check "leaks" status 0 "$ha" leaks "$redis"
	check "its stacks" grep -qE '#[0-9]+ +(main|evalCommand)' "$tmp/out"
	check "flame graph of a process" status 0 "$ha" prof "$redis" --svg -o "$tmp/redis.svg"
	cli flushall
	status 0 "$ha" prof "$redis" --lifetimes
	check "stop" status 0 "$ha" prof "$redis" stop
	check "redis lives" cli ping
else
	skip "redis" "no redis here"
fi

done_testing
