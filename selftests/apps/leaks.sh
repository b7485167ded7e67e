#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# ha leaks, ha run --leaks: what is lost and what is not, of a program that knows of each
# of its objects who points to it; running, stopped, as a core file and at its exit, by
# every way that the library gets into a program; then its stacks, and what cannot be
# told.

. "$(dirname "$0")/lib.sh"
need cc python3

ha=$HA_BUILD/ha
export HA_LIB
unset HEAPARENA_CONF

flags="-O1 -g -fno-builtin -pthread -I $top/include"
libs="-lnuma -lurcu-bp -pthread -ldl"

# compile NAME FLAGS...
compile()
{
	local name=$1

	shift
	# shellcheck disable=SC2086
	cc $flags -o "$tmp/$name" "$here/leaky.c" "$@" >"$tmp/err" 2>&1
}

pid=0
# launch PROGRAM CONF [HOW]: until all is allocated
launch()
{
	rm -rf "$tmp/truth"
	mkdir "$tmp/truth"
	HEAPARENA_CONF="background:off${2:+,$2}" "$tmp/$1" "$tmp/truth" "${@:3}" >/dev/null 2>&1 &
	servers+=($!)
	within 30 test -s "$tmp/truth/pid" || return
	pid=$(cat "$tmp/truth/pid")
}

finish()
{
	kill -KILL "$pid" 2>/dev/null
	wait "$pid" 2>/dev/null
}

# agrees FILE: the JSON of ha leaks says of each object what the program does
agrees()
{
	python3 - "$1" "$tmp/truth/truth" >"$tmp/err" <<-'PY'
	import json, sys
	got = json.load(open(sys.argv[1]))
	kinds = {o["address"]: o["kind"] for o in got["objects"]}
	want = {"kept": None, "lost": "lost", "with": "indirect"}
	bad, nr = [], {"kept": 0, "lost": 0, "with": 0}
	told = set()
	for line in open(sys.argv[2]):
	    kind, addr = line.split()
	    nr[kind] += 1
	    told.add(int(addr, 16))
	    if kinds.get(int(addr, 16)) != want[kind]:
	        bad.append((kind, addr, kinds.get(int(addr, 16))))
	if nr["lost"] < 12 or nr["with"] != 40 or nr["kept"] < 60:
	    bad.append(nr)
	# nor is anything else of it: the program's libraries lose nothing
	for a, k in kinds.items():
	    if a not in told:
	        bad.append(("not told of", hex(a), k))
	sums = {k: sum(o["size"] for o in got["objects"] if o["kind"] == k) for k in ("lost", "indirect")}
	for k in sums:
	    n = sum(o["kind"] == k for o in got["objects"])
	    if got[k] != {"bytes": sums[k], "objects": n}:
	        bad.append((k, got[k], sums[k], n))
	print(*bad, sep="\n", end="")
	sys.exit(bool(bad))
	PY
}

# told "what" TARGET [OPTION...]
told()
{
	local what=$1

	shift
	check "$what" status 0 "$ha" leaks --json "$@"
	cp "$tmp/out" "$tmp/json"
	check "$what: what is lost is told, and nothing else" agrees "$tmp/json"
}

# looked_at "what" PROGRAM
looked_at()
{
	check "$1: starts" launch "$2" prof:1
	told "$1, running" "$pid"
	told "$1, stopped" "$pid" --stop
	check "$1: goes on" kill -0 "$pid"
	finish
	check "$1: starts with threads" launch "$2" "" threads
	told "$1, threads" "$pid"
	told "$1, threads, stopped" "$pid" --stop
	check "$1: threads go on" test "$(grep -l '^State:.[SR]' "/proc/$pid"/task/*/status |
		wc -l)" -ge 4
	finish
}

if ! compile shared "$HA_BUILD/libheaparena.so" -Wl,-rpath,"$HA_BUILD"; then
	not_ok "the program compiles"
	comment "$tmp/err"
	done_testing
fi
looked_at "shared library" shared
# shellcheck disable=SC2086
for how in "archive in a PIE:" "static:-static"; do
	if compile linked ${how#*:} "$HA_BUILD/libheaparena.a" $libs; then
		looked_at "${how%%:*}" linked
	else
		skip "${how%%:*}" "it does not link: $(head -n 1 "$tmp/err")"
	fi
done

for conf in rseq:off numa:fake=4 thp:always; do
	check "$conf: starts" launch shared $conf
	told "$conf" "$pid"
	finish
done

# ---- core files -------------------------------------------------------------

if command -v gcore >/dev/null; then
	check "for a core: starts" launch shared "" threads
	if gcore -o "$tmp/core" "$pid" >"$tmp/err" 2>&1; then
		told "gcore's core" "$tmp/core.$pid"
	else
		skip "gcore's core" "$(tail -n 1 "$tmp/err")"
	fi
	finish
	rm -f "$tmp"/core.*
else
	skip "gcore's core" "no gcore here"
fi
case $(cat /proc/sys/kernel/core_pattern) in
core)
	mkdir "$tmp/own" "$tmp/own/truth"
	rm -rf "$tmp/truth"
	ln -s own/truth "$tmp/truth"
	(cd "$tmp/own" && ulimit -c unlimited && exec "$tmp/shared" truth abort) >/dev/null 2>&1
	own=$(find "$tmp/own" -name 'core*' | head -n 1)
	if [ -n "$own" ]; then
		told "the kernel's core" "$own"
	else
		skip "the kernel's core" "none was written (limit: $(ulimit -Hc))"
	fi
	rm -rf "$tmp/truth" "$tmp/own" ;;
*)	skip "the kernel's core" "core files go to $(cat /proc/sys/kernel/core_pattern)" ;;
esac

# ---- in words ---------------------------------------------------------------

check "in words: starts" launch shared prof:1
check "text" status 0 "$ha" leaks "$pid"
check "three sums" test "$(grep -cE '^(definitely lost|lost with them|still reachable): [0-9.]+ [KMi]*B in [0-9]+ objects$' "$tmp/out")" -eq 3
check "lost by its stack" grep -qE '#[01]  lose  .*leaky\.c:[0-9]+$' "$tmp/out"
check "reachable by its stack" grep -qE '#[01]  globals  .*leaky\.c:[0-9]+$' "$tmp/out"
status 0 "$ha" leaks --lost "$pid"
check "--lost: nothing else" test -z "$(grep -E '#[01]  globals ' "$tmp/out")"
check "and that registers were not seen" grep -q 'registers were not looked at' "$tmp/out"
status 0 "$ha" leaks --stop "$pid"
check "--stop: they were" test -z "$(grep 'registers' "$tmp/out")"
status 0 "$ha" leaks --json "$pid"
check "stacks in JSON, of all that is lost" python3 - "$tmp/out" <<'PY'
import json, sys
d = json.load(open(sys.argv[1]))
for kind in "lost", "indirect", "reachable":
    s = [s for s in d["stacks"] if s["kind"] == kind]
    if kind != "reachable":
        # every allocation is followed; what comes before main() is none of these
        assert sum(x["bytes"] for x in s) == d[kind]["bytes"], kind
        assert sum(x["objects"] for x in s) == d[kind]["objects"], kind
        assert all(any(f["function"] == "main" for f in x["frames"]) for x in s)
    assert s, kind
PY
finish
check "without a profile: starts" launch shared ""
check "without a profile" status 0 "$ha" leaks "$pid"
check "addresses" grep -qE '^    0x[0-9a-f]+  [0-9]+ bytes$' "$tmp/out"
check "and how to see stacks" grep -q "ha prof $pid start" "$tmp/out"
finish
check "check:off: starts" launch shared check:off
check "check:off: it cannot be told" status 1 "$ha" leaks "$pid"
check "check:off: and it says so" grep -q 'check:off' "$tmp/err"
finish
check "a profile does not tell what is lost" status 1 "$ha" leaks --lost "$here/leaky.c"
check "no such option" status 2 "$ha" leaks --gone 1

# ---- at the end -------------------------------------------------------------

# sums FILE: the three sums of a report against what the program knows, by number
sums()
{
	local lost with

	lost=$(grep -c '^lost' "$tmp/truth/truth")
	with=$(grep -c '^with' "$tmp/truth/truth")
	grep -qE "^definitely lost: .* in $lost objects$" "$1" &&
		grep -qE "^lost with them: .* in $with objects$" "$1"
}
rm -rf "$tmp/truth" && mkdir "$tmp/truth"
check "at exit" status 5 "$ha" run --leaks "$tmp/shared" "$tmp/truth" exit
check "at exit: what is lost" sums "$tmp/err"
check "at exit: by its stack" grep -qE '#[01]  lose  .*leaky\.c:[0-9]+$' "$tmp/err"
check "no folder is left" test -z "$(find "${TMPDIR:-/tmp}" -maxdepth 1 -name 'ha-leaks.*' -newer "$tmp/shared")"
# Paths that options cannot hold, and one from where the process goes away.
# anew COMMAND...: the program tells of this run alone
anew()
{
	rm -f "$tmp/truth/truth"
	"$@"
}
long=$tmp/$(printf 'x%.0s' $(seq 100))
mkdir "$tmp/a,b" "$tmp/a%pb" "$long" "$tmp/far"
for dir in "$tmp/a,b" "$tmp/a%pb" "$long"; do
	check "TMPDIR=.../${dir##*/}" anew status 5 env TMPDIR="$dir" "$ha" run --leaks "$tmp/shared" "$tmp/truth" exit
	check "what is lost" sums "$tmp/err"
	check "and where it was noted" grep -q '^ha: TMPDIR=.*/tmp is used' "$tmp/err"
done
check "TMPDIR=." anew status 5 sh -c 'cd "$1/far" && TMPDIR=. exec "$0" run --leaks sh -c "cd / && exec $1/shared $1/truth exit"' "$ha" "$tmp"
check "what is lost from there" sums "$tmp/err"
check "no folder is left there" test -z "$(ls "$tmp/far")"
check "TMPDIR that is none" status 126 env TMPDIR="$tmp/none" "$ha" run --leaks true
check "profiles are off for others" status 5 env HEAPARENA_CONF=prof:off "$ha" run --leaks "$tmp/shared" "$tmp/truth" exit
check "at exit: by its stack, too" grep -qE '#[01]  lose  .*leaky\.c:[0-9]+$' "$tmp/err"
if unshare -pf true 2>/dev/null; then
	check "in a pid namespace" anew status 5 "$ha" run --leaks unshare -pf "$tmp/shared" "$tmp/truth" exit
	check "what is lost there" sums "$tmp/err"
else
	skip "in a pid namespace" "may not make one"
fi
# nobody listens there: no process waits
check "held by nobody" status 5 env "HEAPARENA_CONF=prof_hold:$tmp/none" \
	LD_PRELOAD="$HA_LIB" "$tmp/shared" "$tmp/truth" exit

# Frames of exit() cover what main() and malloc() have left on the stack: that does not count.
cat >"$tmp/last.c" <<'END'
#include <stdlib.h>
struct node { struct node *next; char rest[100]; };
static struct node *volatile kept;
int main(void)
{
	struct node *n;
	malloc(100);
	for (int i = 0; i < 10; i++) {
		n = malloc(sizeof(*n));
		n->next = i & 1 ? kept : malloc(50);
		if (i & 1)
			kept = n;
	}
	malloc(5000);
	return 0;
}
END
for how in "shared:$HA_BUILD/libheaparena.so" "static:-static $HA_BUILD/libheaparena.a $libs"; do
	# shellcheck disable=SC2086
	if ! cc -O1 -g -fno-builtin -o "$tmp/last" "$tmp/last.c" ${how#*:} 2>"$tmp/err"; then
		skip "${how%%:*}: what was lost last" "it does not link: $(head -n 1 "$tmp/err")"
		continue
	fi
	check "${how%%:*}: main() returns" status 0 env LD_LIBRARY_PATH="$HA_BUILD" "$ha" run --leaks "$tmp/last"
	cp "$tmp/err" "$tmp/report"
	check "${how%%:*}: what was lost last" grep -q '^definitely lost: .* in 7 objects$' "$tmp/report"
	check "${how%%:*}: and what with it" grep -q '^lost with them: .* in 5 objects$' "$tmp/report"
done

cat >"$tmp/children.sh" <<'END'
for i in 1 2 3 4 5; do bash -c 'exit 0' & done
wait
exit 3
END
check "many at once" status 3 "$ha" run --leaks bash "$tmp/children.sh"
check "a report of each" test "$(grep -c 'leaks of process' "$tmp/err")" -eq 6
check "and what each has lost" test "$(grep -c '^definitely lost: ' "$tmp/err")" -ge 6

if command -v redis-server >/dev/null && command -v redis-cli >/dev/null; then
	sock=$tmp/redis.sock
	LD_PRELOAD=$HA_LIB redis-server --port 0 --unixsocket "$sock" --dir "$tmp" --save "" \
		>"$tmp/server.log" 2>&1 &
	servers+=($!)
	redis=$!
	check "redis answers" within 20 redis-cli -s "$sock" ping
	redis-cli -s "$sock" eval 'for i = 1, 30000 do
		redis.call("set", "k" .. i, string.rep("x", i % 100))
		redis.call("hset", "h" .. i % 100, i, i) end' 0 >/dev/null
	check "redis at rest" status 0 "$ha" leaks --json "$redis"
	check "has lost nothing" python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))
sys.exit(d["lost"]["objects"] + d["indirect"]["objects"] or d["reachable"]["objects"] < 60000)' "$tmp/out"
	redis-cli -s "$sock" eval 'for i = 1, 300000 do
		redis.call("set", "k" .. i % 5000, string.rep("y", i % 300)) end' 0 >/dev/null &
	load=$!
	check "redis at work" status 0 "$ha" leaks --json "$redis"
	check "has lost hardly anything" python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))
sys.exit(d["lost"]["objects"] + d["indirect"]["objects"] > 5)' "$tmp/out"
	check "redis at work, stopped" status 0 "$ha" leaks --stop --json "$redis"
	check "has lost nothing at all" python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))
sys.exit(d["lost"]["objects"] + d["indirect"]["objects"] > 0)' "$tmp/out"
	check "and goes on" wait $load
else
	skip "redis" "no redis here"
fi

done_testing
