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
	# a name and a path that are cut where a character has two bytes; text that is none
	python3 - "$tmp" <<'PY'
import sys
def field(nr, data):
    if isinstance(data, int):
        return bytes([nr << 3, data])
    return bytes([nr << 3 | 2, len(data) & 127 | 128, len(data) >> 7]) + data
for name in "", "x":
    strings = b"", b"inuse_objects", b"inuse_space", ("/%s" % (name + "\u00e4" * 200)).encode() + b"\xff\x1b"
    p = b"".join(field(6, s) for s in strings)
    p += field(1, field(1, 1)) + field(1, field(1, 2))
    p += field(3, field(1, 1) + field(2, 1) + field(3, 100) + field(5, 3))
    p += field(4, field(1, 1) + field(2, 1) + field(3, 9)) + field(2, field(1, b"\1") + field(2, b"\7\7"))
    open("%s/%s.pb" % (sys.argv[1], name + "\u00e4" * 100), "wb").write(p)
PY
	for cut in "$tmp"/*$'\xc3\xa4'.pb; do
		check "a flame graph of other letters" status 0 "$ha" prof "$cut" --svg -o "$cut.svg"
	done
	check "they are well-formed" python3 -c 'import sys, xml.etree.ElementTree as E
for f in sys.argv[1:]: E.parse(f)' "$tmp"/*.pb.svg
	status 0 "$ha" prof "$cut"
	check "names are text" grep -aq '??+0x8$' "$tmp/out"
else
	skip "that is well-formed" "no python3 here"
fi
cd "$tmp" || exit
status 0 "$ha" prof "$prof" --svg -o -
check "a flame graph on standard output" grep -q '<title>lose' "$tmp/out"
status 0 "$ha" prof "$prof" -o -
check "and a table" grep -q ' lose$' "$tmp/out"
check "and no file of that name" test ! -e -
check "a table in a file" status 0 "$ha" prof "$prof" -o "$tmp/table"
check "has it" grep -q ' lose$' "$tmp/table"
check "a table to a full disk" status 1 "$ha" prof "$prof" -o /dev/full
cd "$top" || exit
head -c 300 "$prof" >"$tmp/cut.pb"
check "half of a profile is none" status 1 "$ha" prof "$tmp/cut.pb"
check "nor is another file" status 1 "$ha" prof "$tmp/known.c"
# a number in the place of a string; types and samples without a string behind them
printf '\010\005\060\377\377\377\177' >"$tmp/number.pb"
check "nor one that has a number for its strings" status 1 "$ha" prof "$tmp/number.pb"
# inuse_objects and inuse_space alone, one sample without a stack
printf '\062\0\062\015inuse_objects\062\013inuse_space\012\2\010\1\012\2\010\2\022\4\022\2\7\7' \
	>"$tmp/live.pb"
check "a profile of what lives alone" status 0 "$ha" prof "$tmp/live.pb"
check "has no lifetimes" status 1 "$ha" prof "$tmp/live.pb" --lifetimes
check "and it says so" grep -q 'how long objects lived' "$tmp/err"
check "nor nothing" status 1 "$ha" prof /nowhere
# cut while ha has it open: stopped at the first look at it
if gdb -nx -batch -ex run --args "$ha" version </dev/null 2>/dev/null | grep -q 'exited normally'; then
	cp "$prof" "$tmp/shrinks.pb"
	gdb -nx -batch -ex 'break profile_parse' -ex run -ex "shell truncate -s 0 '$tmp/shrinks.pb'" \
		-ex 'handle SIGBUS nostop noprint pass' -ex continue \
		--args "$ha" prof "$tmp/shrinks.pb" </dev/null >"$tmp/out" 2>"$tmp/err"
	check "a profile that becomes shorter" grep -q 'ha: a file became shorter' "$tmp/err"
	check "is a failure like others" grep -q 'exited with code 01' "$tmp/out"
else
	skip "a profile that becomes shorter" "no gdb that can run programs here"
fi

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
	cli()
	{
		redis-cli -s "$sock" "$@" >/dev/null
	}
	# redis CONF: on the library; its number is in $redis
	redis()
	{
		HEAPARENA_CONF=$1 LD_PRELOAD=$HA_LIB redis-server --port 0 --unixsocket "$sock" \
			--dir "$tmp" --save "" >"$tmp/server.log" 2>&1 &
		redis=$!
		servers+=("$redis")
		within 20 cli ping
	}
	fill()
	{
		cli eval "for i = 1, 100000 do
			redis.call('set', 'k' .. i, string.rep('x', 300)) end" 0
	}

	# the signal that it was told of, asked for by name
	check "redis answers" redis prof_signal:46
	check "nothing is known before the start" status 0 "$ha" prof "$redis"
	check "start by its signal" status 0 "$ha" prof "$redis" start -s 46
	fill
	check "dump by its signal" status 0 "$ha" prof "$redis" dump -s 46 -o "$tmp/redis.pb"
	status 0 "$ha" prof "$tmp/redis.pb"
	check "what redis has, by name" grep -qE ' [2-9][0-9]\.[0-9] MiB .*(main|aeMain)$' "$tmp/out"
	check "leaks by its signal" status 0 "$ha" leaks "$redis" -s 46
	check "its stacks" grep -qE '#[0-9]+ +(main|evalCommand)' "$tmp/out"
	check "stop by its signal" status 0 "$ha" prof "$redis" stop -s 46
	check "redis lives" cli ping
	kill "$redis"
	wait "$redis" 2>/dev/null

	# one that was told nothing, from outside
	check "a plain redis answers" redis ""
	check "no profile: nothing to show" status 0 "$ha" prof "$redis"
	check "and how to begin one" grep -q "ha prof $redis start" "$tmp/err"
	check "stop before the start" status 0 "$ha" prof "$redis" stop
	fill &
	check "start" status 0 "$ha" prof "$redis" start
	wait $!
	# an order that a redis at rest was left is taken by now
	cli flushall
	fill
	check "dump" status 0 "$ha" prof "$redis" dump -o "$tmp/plain.pb"
	status 0 "$ha" prof "$tmp/plain.pb"
	check "what the plain redis has, by name" \
		grep -qE ' [2-9][0-9]\.[0-9] MiB .*(main|aeMain)$' "$tmp/out"
	cp "$tmp/out" "$tmp/of-file"
	check "the process itself" status 0 "$ha" prof "$redis"
	sed 1d "$tmp/of-file" >"$tmp/a"
	sed 1d "$tmp/out" >"$tmp/b"
	same "says what its file says" "$tmp/a" "$tmp/b"
	check "leaks" status 0 "$ha" leaks "$redis"
	check "stacks of the plain redis" grep -qE '#[0-9]+ +(main|evalCommand)' "$tmp/out"
	check "flame graph of a process" status 0 "$ha" prof "$redis" --svg -o "$tmp/redis.svg"
	# as much as it was, while it is at rest and stopped: nothing is asked of it
	kill -STOP "$redis"
	check "of one that is stopped" status 0 "$ha" prof "$redis"
	kill -CONT "$redis"
	cli flushall
	status 0 "$ha" prof "$redis" --lifetimes
	fill &
	check "stop" status 0 "$ha" prof "$redis" stop
	wait $!
	fill
	status 0 "$ha" prof "$redis" --alloc
	cp "$tmp/out" "$tmp/of-file"
	fill
	status 0 "$ha" prof "$redis" --alloc
	same "stopped: nothing is counted" "$tmp/of-file" "$tmp/out"
	# many who give orders at once
	many=()
	for n in 1 2 3 4 5 6 7 8; do
		for order in start stop; do
			"$ha" prof "$redis" $order 2>>"$tmp/many" &
			many+=($!)
		done
	done
	fill
	wait "${many[@]}"
	check "many at once: it answers" cli ping
	fill &
	check "and takes the next order" status 0 "$ha" prof "$redis" start
	wait $!
	check "redis lives on" cli ping
	redis-cli -s "$sock" shutdown nosave >/dev/null 2>&1

	check "a redis that takes no orders" redis orders:off
	fill &
	check "orders:off: none is taken" status 1 "$ha" prof "$redis" start
	check "and it says so" grep -q 'orders:off' "$tmp/err"
	wait $!
	fill
	status 0 "$ha" prof "$redis"
	check "nothing was started" grep -q 'no heap profile was started' "$tmp/err"
	redis-cli -s "$sock" shutdown nosave >/dev/null 2>&1
	check "a redis without states" redis check:off
	check "check:off: no profile" status 1 "$ha" prof "$redis" start
	check "check:off: it says so" grep -q 'check:off' "$tmp/err"
	redis-cli -s "$sock" shutdown nosave >/dev/null 2>&1
else
	skip "redis" "no redis here"
fi

# One at rest: the order waits until it allocates.
cat >"$tmp/rest.c" <<'END'
#include <stdlib.h>
#include <unistd.h>
static void *volatile kept[100000];
__attribute__((noinline, noclone)) void keep(void)
{
	for (int i = 0; i < 100000; i++)
		kept[i] = malloc(4000);
}
int main(int argc, char **argv)
{
	char c;
	(void)argv;
	while (read(0, &c, 1) == 1 && c != 'q') {
		keep();
		if (write(1, "k", 1) != 1)
			return 1;
		if (c == 'a')
			abort();
	}
	return argc - 1;
}
END
if gcc -g -O2 -o "$tmp/rest" "$tmp/rest.c" 2>"$tmp/err"; then
	mkfifo "$tmp/to" "$tmp/from"
	exec 8<>"$tmp/to" 7<>"$tmp/from"
	# a fresh one; its number is in $rest
	rest()
	{
		HEAPARENA_CONF=$1 LD_PRELOAD=$HA_LIB "$tmp/rest" <"$tmp/to" >"$tmp/from" 8>&- 7>&- &
		rest=$!
		servers+=("$rest")
		sleep 0.1
	}
	works()
	{
		echo -n k >&8
		read -rn 1 -t 20 <&7
	}
	# (the background thread would take it)
	rest background:off
	works
	check "at rest: the order is left" status 0 "$ha" prof "$rest" start
	check "and it says so" grep -q 'rests; the profile begins' "$tmp/err"
	check "it works again" works
	check "then it has begun" status 0 "$ha" prof "$rest"
	# 391 MiB in some 780 samples; by chance they are 82 % of that or less once in millions of runs
	keeps=' (3[2-9]|4[0-9]|5[0-5])[0-9]\.[0-9] MiB .* keep$'
	check "with what it allocates" grep -qE "$keeps" "$tmp/out"
	check "dump of it" status 0 "$ha" prof "$rest" dump -o "$tmp/rest.pb"
	status 0 "$ha" prof "$rest" dump -o -
	cp "$tmp/out" "$tmp/rest-out.pb"
	check "dump to standard output" status 0 "$ha" prof "$tmp/rest-out.pb"
	check "is one" grep -q ' keep$' "$tmp/out"
	check "dump to a full disk" status 1 sh -c '"$0" prof "$1" dump -o - >/dev/full' "$ha" "$rest"
	: >"$tmp/$rest"
	check "a file of such a name is not meant" sh -c 'cd "$1" && "$0" prof "$2"' "$ha" "$tmp" "$rest"
	if command -v go >/dev/null && go tool -n pprof >/dev/null 2>&1; then
		status 0 go tool pprof -top "$tmp/rest.pb"
		check "go tool pprof reads a dump" grep -qE ' keep$' "$tmp/out"
		check "with the build id, read from outside" grep -q '^Build ID' "$tmp/out"
	else
		skip "go tool pprof reads a dump" "no go tool pprof here"
	fi
	if command -v gcore >/dev/null && gcore -o "$tmp/core" "$rest" >"$tmp/err" 2>&1; then
		check "a profile of a core file" status 0 "$ha" prof "$tmp/core.$rest"
		check "has its stacks" grep -qE "$keeps" "$tmp/out"
		check "a core file takes no order" status 2 "$ha" prof "$tmp/core.$rest" start
		rm -f "$tmp/core.$rest"
	else
		skip "a profile of a core file" "no gcore here"
	fi
	kill "$rest"
	wait "$rest" 2>/dev/null
	# Its file is seen by the process alone, or by nobody any more; another has its name.
	# hidden COMMAND...: until it has allocated
	hidden()
	{
		HEAPARENA_CONF=prof:4K LD_PRELOAD=$HA_LIB "$@" <"$tmp/to" >"$tmp/from" 8>&- 7>&- &
		rest=$!
		servers+=("$rest")
		works
	}
	mkdir "$tmp/mnt"
	cp "$(type -P sleep)" "$tmp/mnt/hidden"
	if unshare -m true 2>/dev/null; then
		check "in a mount namespace: works" hidden unshare -m sh -c \
			'mount -t tmpfs none "$0/mnt" && cp "$0/rest" "$0/mnt/hidden" && exec "$0/mnt/hidden"' "$tmp"
		status 0 "$ha" prof "$rest"
		check "names of a file that only the process sees" grep -q ' keep$' "$tmp/out"
		check "and nothing is wrong with it" test ! -s "$tmp/err"
		kill "$rest"
		wait "$rest" 2>/dev/null
	else
		skip "in a mount namespace" "may not make one"
	fi
	cp "$tmp/rest" "$tmp/gone"
	check "of a deleted program: works" hidden "$tmp/gone"
	rm "$tmp/gone"
	status 0 "$ha" prof "$rest"
	check "names of a deleted program" grep -q ' keep$' "$tmp/out"
	kill "$rest"
	wait "$rest" 2>/dev/null
	if unshare -pf true 2>/dev/null; then
		cat >"$tmp/pause.c" <<-'END'
		#include <stdlib.h>
		#include <unistd.h>
		static void *volatile kept;
		int main(void)
		{
			for (kept = malloc(1000000);;)
				pause();
		}
		END
		gcc -g -O2 -fno-builtin -o "$tmp/pause" "$tmp/pause.c"
		HEAPARENA_CONF=prof:1,prof_signal:45 LD_PRELOAD=$HA_LIB \
			unshare -pf --kill-child "$tmp/pause" &
		servers+=($!)
		inside()
		{
			rest=$(pgrep -x -P "$1" pause) && "$ha" prof "$rest" | grep -q ' main$'
		}
		check "in a pid namespace: its profile" within 20 inside $!
		check "by its signal it is none" status 1 "$ha" prof "$rest" dump -s 45 -o "$tmp/none.pb"
		check "and why" grep -q 'pid namespace' "$tmp/err"
		kill -KILL "$rest"
		check "with the /proc of another" status 1 unshare -pf "$ha" stat 1
		check "nobody is mistaken for another" grep -q '/proc is .* of another pid namespace' "$tmp/err"
	else
		skip "in a pid namespace" "may not make one"
	fi
	# who is not its user
	if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
		rest ""
		other()
		{
			setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
		}
		cp "$ha" "$tmp/ha" && chmod 755 "$tmp" "$tmp/ha"
		if other true 2>/dev/null; then
			check "another user's process" status 1 other "$tmp/ha" prof "$rest" start
			check "one line" test "$(wc -l <"$tmp/err")" -eq 1
		else
			skip "another user's process" "no other user to be"
		fi
		kill "$rest"
		wait "$rest" 2>/dev/null
	else
		skip "another user's process" "not root, or no setpriv"
	fi
else
	not_ok "the program at rest compiles"
fi

done_testing
