#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# ha stat, walk, map, top, diff: heaps looked at from outside. A program whose
# contents are known, in every way that the library gets into a program, running and
# as a core file: the figures are those that it has of itself, to the byte, and the
# walk finds each object that it keeps, once. Then everything that can be wrong with
# what is looked at: one line on stderr, status 1, and never a crash.

. "$(dirname "$0")/lib.sh"
need cc python3

ha=$HA_BUILD/ha
unset HA_LIB

# ---- a program whose heap is known ------------------------------------------

src=$here/known.c
flags="-O1 -fno-builtin -pthread -I $top/include"
libs="-lnuma -lurcu-bp -pthread -ldl"

# compile NAME FLAGS...
compile()
{
	local name=$1

	shift
	# shellcheck disable=SC2086
	cc $flags -o "$tmp/$name" "$src" "$@" >"$tmp/cc.log" 2>&1
}

# What the program reads, and which stays open for as long as this script is there.
mkfifo "$tmp/input"
exec 9<>"$tmp/input"
pid=0

# launch PROGRAM CONF [ARGUMENT...]: until it waits for its input
launch()
{
	local program=$1 conf=$2

	shift 2
	rm -rf "$tmp/truth"
	mkdir "$tmp/truth"
	env HEAPARENA_CONF="background:off${conf:+,$conf}" \
		"$program" "$tmp/truth" "$@" <"$tmp/input" 9>&- &
	servers+=($!)
	within 30 test -s "$tmp/truth/pid" || return
	pid=$(cat "$tmp/truth/pid")
	servers+=("$pid")
}

finish()
{
	kill -KILL "$pid" 2>/dev/null
	wait "$pid" 2>/dev/null
}

# What stat says against what the program has written of itself: all figures.
stat_agrees()
{
	"$ha" stat --json "$1" >"$tmp/stat.json" || return
	python3 - "$tmp/stat.json" "$tmp/truth/stats" <<-'PY'
	import json, sys
	got, want = (json.load(open(f)) for f in sys.argv[1:])
	bad = []
	def compare(where, a, b):
	    for k in b:
	        # what the program cannot know; and classes that are empty by now
	        if a.get(k) != b[k]:
	            bad.append((where, k, a.get(k), b[k]))
	compare("totals", got["totals"], want["totals"])
	classes = {c["class"]: c for c in got["classes"]}
	for c in want["classes"]:
	    compare("class %d" % c["class"], classes.get(c["class"], {}), c)
	for kind in "nodes", "caches", "heaps":
	    if len(got[kind]) != len(want[kind]):
	        bad.append((kind, len(got[kind]), len(want[kind])))
	    for a, b in zip(got[kind], want[kind]):
	        compare(kind, a, b)
	for b in bad:
	    print(*b)
	sys.exit(bool(bad))
	PY
}

# walk --json against ha_walk(): every class, every object and byte
walk_agrees()
{
	"$ha" walk --json "$1" >"$tmp/walk.json" || return
	python3 - "$tmp/walk.json" "$tmp/truth/walk" <<-'PY'
	import json, sys
	got = json.load(open(sys.argv[1]))
	have = {c["class"]: (c["nr_live"], c["bytes"]) for c in got["classes"] if c["nr_live"]}
	want = {}
	for line in open(sys.argv[2]):
	    n = list(map(int, line.split()))
	    want[n[0]] = (n[1], n[2])
	bad = [(c, have.get(c), want.get(c)) for c in have.keys() | want.keys()
	       if have.get(c) != want.get(c)]
	if got["nr_lost"] or not want or got["totals"]["nr_live"] != sum(v[0] for v in want.values()):
	    bad.append(("totals", got["totals"], got["nr_lost"]))
	print(*bad, sep="\n", end="")
	sys.exit(bool(bad))
	PY
}

# walk -v: each object that is kept, once, with its size; with "gone", no freed one
objects_found()
{
	"$ha" walk -v "$1" >"$tmp/objects" || return
	python3 - "$tmp/objects" "$tmp/truth" "${2-}" <<-'PY'
	import collections, sys
	seen = collections.Counter()
	size = {}
	for line in open(sys.argv[1]):
	    w = line.split()
	    seen[int(w[0], 16)] += 1
	    size[int(w[0], 16)] = int(w[1])
	bad = []
	nr = 0
	for line in open(sys.argv[2] + "/kept"):
	    w = line.split()
	    a = int(w[0], 16)
	    nr += 1
	    if seen[a] != 1 or size[a] != int(w[1]):
	        bad.append((w, seen[a], size.get(a)))
	if sys.argv[3] == "gone":
	    for line in open(sys.argv[2] + "/freed"):
	        if line.startswith("0x") and int(line, 16) in seen:
	            bad.append(("freed", line.strip()))
	if nr < 3000 - 100:
	    bad.append(("kept", nr))
	print(*bad[:10], sep="\n", end="")
	sys.exit(bool(bad))
	PY
}

# picture "what" TARGET: ha map makes SVG that parses, and renders where one can
picture()
{
	check "$1: map" "$ha" map "$2" -o "$tmp/map.svg"
	check "$1: map is XML with paths" python3 -c '
import sys, xml.etree.ElementTree as E
root = E.parse(sys.argv[1]).getroot()
n = "{http://www.w3.org/2000/svg}"
assert root.tag == n + "svg" and len(list(root.iter(n + "path"))) > 5
assert any("arena at 0x" in (t.text or "") for t in root.iter(n + "title"))' "$tmp/map.svg"
}

looked_at()
{
	check "$1: stat has the program's own figures" stat_agrees "$2"
	check "$1: walk has the program's own counts" walk_agrees "$2"
	check "$1: walk -v has its objects, and none that is free" objects_found "$2" gone
}

same_layout=$HA_BUILD/libheaparena.so.1
if ! compile known "$same_layout" -Wl,-rpath,"$HA_BUILD"; then
	not_ok "the known program compiles"
	comment "$tmp/cc.log"
	done_testing
fi

for conf in "" rseq:off numa:fake=4 thp:always; do
	check "${conf:-shared}: starts" launch "$tmp/known" "$conf"
	looked_at "${conf:-shared}" "$pid"
	[ -n "$conf" ] || picture shared "$pid"
	finish
done

# Without states nobody can tell what is cached: what is kept must be there still.
check "check:off: starts" launch "$tmp/known" check:off
check "check:off: stat" stat_agrees "$pid"
check "check:off: walk" objects_found "$pid"
check "check:off: walk says so" grep -q 'check:off' <("$ha" walk "$pid")
finish

# Threads that change the heap all the while: nothing that is kept is missed.
check "busy: starts" launch "$tmp/known" "" 2
for i in 1 2 3 4 5; do
	objects_found "$pid" >>"$tmp/busy.out" 2>&1 || echo "walk $i failed" >>"$tmp/busy.out"
	"$ha" stat --json "$pid" >"$tmp/stat.json" || echo "stat $i failed" >>"$tmp/busy.out"
	python3 -c '
import json, sys
t = json.load(open(sys.argv[1]))["totals"]
assert t["mapped"] == t["in_use"] + t["free"] + t["returned"], t' "$tmp/stat.json" \
		>>"$tmp/busy.out" 2>&1
done
check "busy: five walks find all objects, and pages add up" \
	test ! -s "$tmp/busy.out"
[ ! -s "$tmp/busy.out" ] || comment "$tmp/busy.out"
picture busy "$pid"
finish

# ---- every way into a program -----------------------------------------------

# linked "what" FLAGS...: the known program with the archive in it
linked()
{
	local what=$1

	shift
	# shellcheck disable=SC2086
	if ! compile linked "$@" "$HA_BUILD/libheaparena.a" $libs; then
		skip "$what" "does not link here: $(grep -m1 -oE '[^:]*$' "$tmp/cc.log")"
		return
	fi
	check "$what: starts" launch "$tmp/linked" ""
	looked_at "$what" "$pid"
	[ "$what" != static ] || { cores "$what" && rm -f "$core"; }
	finish
}

# cores "what": the running known program as a core file
cores()
{
	if ! command -v gcore >/dev/null; then
		skip "$1: core" "no gcore here"
	elif ! gcore -o "$tmp/core" "$pid" >"$tmp/gcore.log" 2>&1; then
		skip "$1: core" "gcore: $(tail -n 1 "$tmp/gcore.log")"
	else
		core=$tmp/core.$pid
		looked_at "$1, core" "$core"
		picture "$1, core" "$core"
		return
	fi
	false
}

linked "archive in a PIE"
linked static -static
linked "static, stripped" -static -s
linked "static PIE" -static-pie
linked "unused sections dropped" -Wl,--gc-sections

# A process goes on without its main thread, whose own files are empty by then.
cat >"$tmp/orphan.c" <<-'C'
	#include <pthread.h>
	#include <stdlib.h>
	#include <unistd.h>
	static void *lives(void *arg)
	{
		for (;;)
			pause();
		return arg;
	}
	int main(void)
	{
		pthread_t t;
		void *volatile kept = malloc(123456);
		pthread_create(&t, NULL, lives, kept);
		pthread_exit(NULL);
	}
C
main_ended()
{
	for _ in $(seq 100); do
		grep -q '^State:.*Z' "/proc/$1/status" && return
		sleep 0.05
	done
	false
}
if cc -o "$tmp/orphan" "$tmp/orphan.c" -pthread 2>"$tmp/cc.log"; then
	LD_PRELOAD=$same_layout "$tmp/orphan" &
	orphan=$!
	check "without its main thread: it has ended" main_ended $orphan
	check "without its main thread: stat" "$ha" stat "$orphan"
	check "without its main thread: walk" "$ha" walk "$orphan"
	kill -9 $orphan
	wait $orphan 2>/dev/null
else
	not_ok "without its main thread: the program compiles"
	comment "$tmp/cc.log"
fi

# The description lies across two steps of the search, wherever it is linked to.
across()
{
	local pad=4096 tail=64 addr start at kind from size

	# what is behind it moves it within its page, what is in front of it by pages
	echo 'char PAD[SIZE] __attribute__((section(".data.rel.ro"), aligned(64))) = { 1 };' >"$tmp/pad.c"
	for at in 1 2 3 4; do
		cc -c -DPAD=front -DSIZE=$pad -o "$tmp/front.o" "$tmp/pad.c" || return
		cc -c -DPAD=tail -DSIZE=$tail -o "$tmp/tail.o" "$tmp/pad.c" || return
		# shellcheck disable=SC2086
		compile linked -static "$tmp/front.o" "$HA_BUILD/libheaparena.a" "$tmp/tail.o" $libs || return
		addr=$((0x$(nm "$tmp/linked" | awk '$3 == "heaparena_inspect" { print $1 }')))
		while read -r kind _ from _ _ size _; do
			[ "$kind" = LOAD ] && [ $addr -ge $((from)) ] &&
				[ $addr -lt $((from + size)) ] && start=$((from & ~4095))
		done < <(readelf -lW "$tmp/linked")
		at=$(((addr - start) % 0x40000))
		[ $at -ne $((0x40000 - 64)) ] || return 0
		pad=$((pad + (0x3f000 - (at & ~4095))))
		[ $pad -gt 0 ] || pad=$((pad + 0x40000))
		tail=$((tail + (at + 64) % 4096))
	done
	return 1
}
if across; then
	check "across two steps: starts" launch "$tmp/linked" ""
	check "across two steps: it is found" "$ha" stat "$pid"
	finish
else
	skip "across two steps" "does not link so here"
fi

# The library's file is gone, or in a place that only the process sees.
cp "$same_layout" "$tmp/libheaparena.so.1"
compile other "$same_layout" -Wl,-rpath,"$tmp"
check "deleted library: starts" launch "$tmp/other" ""
rm "$tmp/libheaparena.so.1" "$tmp/other"
looked_at "deleted library" "$pid"
finish
if unshare -m true 2>/dev/null; then
	cat >"$tmp/inside" <<-EOF2
	#!/bin/sh
	mount -t tmpfs none "$tmp/mnt" && cp "$same_layout" "$tmp/mnt/other.so" &&
		LD_PRELOAD="$tmp/mnt/other.so" exec "$tmp/known" "\$@"
	EOF2
	chmod +x "$tmp/inside"
	mkdir "$tmp/mnt"
	cat >"$tmp/unshared" <<-EOF2
	#!/bin/sh
	exec unshare -m "$tmp/inside" "\$@"
	EOF2
	chmod +x "$tmp/unshared"
	check "mount namespace: starts" launch "$tmp/unshared" ""
	looked_at "mount namespace" "$pid"
	finish
else
	skip "mount namespace" "may not make one"
fi

# Another architecture's build has other sizes and places for everything: the
# emulator's process holds its heap, and one ha reads both.
foreign=$HA_BUILD/arm64/libheaparena.so.1
cross=/usr/aarch64-linux-gnu
cat >"$tmp/emulated" <<EOF2
#!/bin/sh
exec qemu-aarch64-static -L $cross -E LD_LIBRARY_PATH=$cross/lib:/usr/lib/aarch64-linux-gnu \\
	"$tmp/known64" "\$@"
EOF2
chmod +x "$tmp/emulated"
# shellcheck disable=SC2086
if [ "$(uname -m)" != x86_64 ] || ! command -v qemu-aarch64-static >/dev/null ||
   ! command -v aarch64-linux-gnu-gcc >/dev/null; then
	skip "arm64, emulated" "no emulator and cross compiler here"
elif ! ${MAKE:-make} -j2 -C "$top" O="${HA_BUILD#"$top/"}/arm64" ARCH=arm64 \
		CROSS_COMPILE=aarch64-linux-gnu- libs >"$tmp/cc.log" 2>&1 ||
     ! aarch64-linux-gnu-gcc $flags -o "$tmp/known64" "$src" "$foreign" \
		-Wl,-rpath,"$HA_BUILD/arm64" 2>"$tmp/cc.log"; then
	skip "arm64, emulated" "cannot be built: $(tail -n 1 "$tmp/cc.log")"
else
	check "arm64, emulated: starts" launch "$tmp/emulated" ""
	looked_at "arm64, emulated" "$pid"
	picture "arm64, emulated" "$pid"
	finish
fi

# ---- core files -------------------------------------------------------------

check "for a core: starts" launch "$tmp/known" numa:fake=2,prof:4K
core=
cores shared
finish

# The kernel's own, where it writes them to the folder of the process.
case $(cat /proc/sys/kernel/core_pattern) in
core)
	rm -rf "$tmp/truth" && mkdir "$tmp/truth" "$tmp/own"
	{
		(cd "$tmp/own" && ulimit -c unlimited && HEAPARENA_CONF=background:off \
			exec "$tmp/known" "$tmp/truth" abort)
	} >/dev/null 2>&1 </dev/null
	own=$(echo "$tmp"/own/*)
	if [ -s "$own" ]; then
		looked_at "the kernel's core" "$own"
		: "${core:=$own}"
	else
		skip "the kernel's core" "none was written (limit: $(ulimit -Hc))"
	fi ;;
*)
	skip "the kernel's core" "core files go to $(cat /proc/sys/kernel/core_pattern)" ;;
esac

# ---- what cannot be looked at -----------------------------------------------

# refused STATUS PATTERN COMMAND...: one line on stderr, nothing on stdout
refused()
{
	local want=$1 pattern=$2 got

	shift 2
	timeout 60 "$@" >"$tmp/out" 2>"$tmp/err"
	got=$?
	cat "$tmp/err"
	[ "$got" -eq "$want" ] && [ "$(wc -l <"$tmp/err")" -eq 1 ] &&
		grep -q -- "$pattern" "$tmp/err" && [ ! -s "$tmp/out" ]
}

sleep 0 &
dead=$!
wait $dead
for verb in stat walk top "map -o $tmp/x.svg"; do
	# shellcheck disable=SC2086
	check "$verb: no such process" refused 1 "^ha: $dead: no such process" "$ha" $verb $dead
	# shellcheck disable=SC2086
	check "$verb: no heaparena in it" refused 1 "no heaparena in this process" "$ha" $verb $$
done
head -c 300000 /dev/urandom >"$tmp/noise"
cp "$ha" "$tmp/program"
: >"$tmp/empty"
for file in noise program empty; do
	check "$file: not a core file" refused 1 "not a core file" "$ha" stat "$tmp/$file"
done
check "no such file" refused 1 "No such file" "$ha" walk "$tmp/nowhere"
check "a folder" refused 1 "not a core file" "$ha" stat "$tmp"
check "top of a core file" refused 1 "does not change\|not a core" "$ha" top "${core:-$tmp/noise}"
check "diff of no JSON" refused 1 "not a core file" "$ha" diff "$tmp/noise" "$tmp/noise"
echo '{"some": "thing"}' >"$tmp/thing.json"
check "diff of other JSON" refused 1 "not the output" "$ha" diff "$tmp/thing.json" "$tmp/thing.json"
python3 -c 'print("""{"heaparena": 1, "totals": {}, "classes": [%s{}]}""" % ("{}," * 300000))' >"$tmp/thing.json"
check "diff of more classes than there are" refused 1 "not the output" \
	"$ha" diff "$tmp/thing.json" "$tmp/thing.json"
echo '{"heaparena": 1, ' >"$tmp/thing.json"
check "diff of half a file" refused 1 "neither a core file nor JSON" \
	"$ha" diff "$tmp/thing.json" "$tmp/thing.json"
# what never ends: blanks, zeroes, a text in JSON
check "diff of zeroes" refused 1 "not a core file" "$ha" diff /dev/zero /dev/zero
check "diff of blanks" refused 1 "not a core file" "$ha" diff <(yes '' 2>/dev/null) /dev/zero
check "diff of JSON without an end" refused 1 "longer than any" \
	"$ha" diff <(printf '{"a":"'; tr '\0' x </dev/zero 2>/dev/null) /dev/zero
if [ "$(cat /proc/2/comm 2>/dev/null)" = kthreadd ]; then
	check "a thread of the kernel" refused 1 "a thread of the kernel" "$ha" stat 2
else
	skip "a thread of the kernel" "none is seen here"
fi

# same_line LINE FILE: that is all that the file has
same_line()
{
	cat "$2"
	[ "$(cat "$2")" = "$1" ]
}

usage()
{
	"$@" >"$tmp/out" 2>"$tmp/err"
	[ $? -eq 2 ] && grep -q ^usage "$tmp/err"
}

for line in stat "stat 1 2" "stat --jso=n 1" "walk" "walk -x 1" "top" "top -n x 1" "top -d 0 1" \
	    "map 1" "map -o x" "diff 1" "diff 1 2 3"; do
	# shellcheck disable=SC2086
	check "usage: $line" usage "$ha" $line
done

check "starts" launch "$tmp/known" "" 1
if [ "$(id -u)" -eq 0 ] && setpriv --reuid=65534 --regid=65534 --clear-groups test -x "$ha"; then
	check "another user's process" refused 1 "not allowed to read" \
		setpriv --reuid=65534 --regid=65534 --clear-groups "$ha" stat "$pid"
else
	skip "another user's process" "no root to become another user here"
fi
check "cannot write the picture" refused 1 "No such file" "$ha" map "$pid" -o "$tmp/no/where.svg"
for line in "stat $pid" "stat --json $pid" "walk $pid" "walk --json -v $pid" "map -o - $pid" \
	    "top -n 1 $pid" "diff $pid $pid"; do
	check "to a full disk: ${line% "$pid"}" refused 1 "^ha: cannot write" \
		sh -c "'$ha' $line >/dev/full"
done
"$ha" top -d 0.05 "$pid" >"$tmp/out" 2>"$tmp/err" &
looker=$!
within 20 test -s "$tmp/out"
kill -KILL "$pid"
{ wait "$pid"; } 2>/dev/null
wait $looker
status=$?
check "a process that ends meanwhile: status $status" test "$status" -eq 1
check "and one line says so" same_line "ha: $pid: the process has ended" "$tmp/err"
finish

# What a program calls itself is shown, and does nothing to the terminal.
evil=$'\e]0;\tname\xc3\n\x7f'
cp "$tmp/known" "$tmp/$evil"
check "a name of controls: starts" launch "$tmp/$evil" ""
for line in "stat $pid" "top -n 1 $pid" "map -o - $pid"; do
	# shellcheck disable=SC2086
	"$ha" $line >"$tmp/out" 2>"$tmp/err"
	check "a name of controls: ${line% "$pid"}" grep -aqF '?]0;?name???' "$tmp/out"
	check "and no control" test -z "$(tr -d ' -~\n' <"$tmp/out")"
done
check "a name of controls: JSON has it" python3 -c '
import json, sys
assert json.load(sys.stdin)["command"] == "?]0;?name???"' < <("$ha" stat --json "$pid")
finish

check "starts" launch "$tmp/known" ""
check "diff of two pipes" "$ha" diff <("$ha" stat --json "$pid") <("$ha" stat --json "$pid")
finish

# ---- damage -----------------------------------------------------------------

# Never a crash nor a hang, whatever is in a core file: status 0, or 1 and a line.
survives()
{
	local verb status

	for verb in stat walk "map -o $tmp/x.svg" "leaks -n 3" prof; do
		# shellcheck disable=SC2086
		timeout 60 "$ha" $verb "$1" >/dev/null 2>"$tmp/err"
		status=$?
		if [ $status -gt 1 ] || { [ $status -eq 1 ] && [ "$(wc -l <"$tmp/err")" -ne 1 ]; }; then
			echo "$verb: status $status"
			cat "$tmp/err"
			return 1
		fi
	done
}

if [ -n "$core" ]; then
	python3 - "$core" "$tmp" <<-'PY'
	import random, struct, sys
	core = open(sys.argv[1], "rb").read()
	at = core.find(b"heaparena:inspe\0")
	assert at > 0 and at % 8 == 0
	c = bytearray(core)
	zeroes = bytes(1 << 16)
	# With those changes, which are undone; zeroes are left out, as they are of the core.
	def save(name, changes, size=len(core)):
	    for p, data in changes:
	        c[p:p + len(data)] = data
	    with open(sys.argv[2] + "/" + name, "wb") as f:
	        for p in range(0, size, len(zeroes)):
	            part = c[p:min(p + len(zeroes), size)]
	            if part != zeroes:
	                f.seek(p)
	                f.write(part)
	        f.truncate(size)
	    for p, data in changes:
	        c[p:p + len(data)] = core[p:p + len(data)]
	def word(value):
	    return struct.pack("<Q", value)
	def word_at(p):
	    return struct.unpack_from("<Q", core, p)[0]
	off, n = word_at(32), struct.unpack_from("<H", core, 56)[0]
	segments = [struct.unpack_from("<IIQQQQ", core, off + 56 * i) for i in range(n)]
	# where an address is in the file; what the description says of a name
	def place(addr):
	    for kind, _, o, v, _, size in segments:
	        if kind == 1 and v <= addr < v + size:
	            return o + addr - v
	def value(name):
	    return word_at(core.find(name + b"\0", at - 65536) + 56)
	save("format", [(at + 24, struct.pack("<I", 99))])
	# no arena yet; the first one a second time
	nr = place(value(b"arenas_nr"))
	save("unused", [(nr, word(0))])
	first = place(word_at(place(word_at(place(value(b"arenas_walk"))))))
	save("twice", [(first + 8, core[first:first + 8]), (nr, word(2))])
	# the newest stack of the profile has none but itself behind it
	newest = word_at(place(value(b"stacks_newest")))
	save("ring", [(place(newest + value(b"profile_stack.older")), word(newest))])
	save("half", [], len(core) // 2)
	save("head", [], 5000)
	# The description: any byte of it and its tables. What it leads to: words all over.
	def anywhere(r):
	    return r.randrange(0, len(core) - 8) & ~7
	for seed in range(8):
	    r = random.Random(seed)
	    if seed % 2:
	        changes = [(at + r.randrange(28, 9000), bytes([r.randrange(256)])) for i in range(6)]
	    else:
	        changes = [(anywhere(r), word(r.choice((0, 1, 2**64 - 1, 2**63, r.getrandbits(64),
	            word_at(anywhere(r)))))) for i in range(8000)]
	    save("damaged%d" % seed, changes)
	# Much of the metadata and the program's data, and none of its objects: lengths too.
	words = []
	for kind, flags, o, _, _, size in segments:
	    if kind == 1 and flags & 2 and size < 4 << 20:
	        words += [p for p in range(o, o + size - 7, 8) if core[p:p + 8] != bytes(8)]
	for seed in range(8, 12):
	    r = random.Random(seed)
	    save("damaged%d" % seed, [(p, word(r.choice((0, 1, 2**64 - 1, 2**63, r.getrandbits(64),
	        r.getrandbits(40), word_at(r.choice(words)))))) for p in r.sample(words,
	        min(2000, len(words) // 8))])
	PY
	check "another format" refused 1 "format 99, and this command reads 2" \
		"$ha" stat "$tmp/format"
	check "a heap that is not used yet" refused 1 "has not been used yet" \
		"$ha" stat "$tmp/unused"
	check "and its walk" refused 1 "has not been used yet" "$ha" walk "$tmp/unused"
	for verb in walk leaks "map -o $tmp/x.svg"; do
		# shellcheck disable=SC2086
		check "an arena that is there twice: $verb" refused 1 \
			"the heap is damaged: .* overlap" "$ha" ${verb} "$tmp/twice"
	done
	for verb in prof leaks; do
		check "stacks that are a ring: $verb" refused 1 "the heap profile is damaged: .* ring" \
			"$ha" $verb "$tmp/ring"
	done
	rm -f "$tmp/format" "$tmp/unused" "$tmp/twice" "$tmp/ring"
	for file in half head damaged0 damaged1 damaged2 damaged3 damaged4 damaged5 damaged6 \
		    damaged7 damaged8 damaged9 damaged10 damaged11; do
		check "survives $file" survives "$tmp/$file"
		rm -f "$tmp/$file"
	done
else
	skip "damaged core files" "no core file could be made"
fi

# ---- top on a terminal ------------------------------------------------------

check "starts" launch "$tmp/known" "" 1
check "top: two pages of text" test \
	"$("$ha" top -n 2 -d 0.1 "$pid" | grep -c 'fragmentation')" = 2
python3 - "$ha" "$pid" >"$tmp/pty" 2>&1 <<'PY'
import os, pty, select, sys, termios, time
ha, pid = sys.argv[1:]
master, slave = pty.openpty()
before = termios.tcgetattr(slave)
child = os.fork()
if not child:
    os.setsid()
    for fd in 0, 1, 2:
        os.dup2(slave, fd)
    os.execv(ha, [ha, "top", "-d", "0.2", pid])
seen = b""
def read(seconds):
    global seen
    end = time.time() + seconds
    while time.time() < end:
        if select.select([master], [], [], 0.1)[0]:
            seen += os.read(master, 65536)
end = time.time() + 20
while seen.count(b"fragmentation") < 2 and time.time() < end:
    read(0.2)
raw = termios.tcgetattr(slave)
os.write(master, b"q")
read(1)
status = os.waitpid(child, 0)[1]
assert seen.count(b"fragmentation") >= 2, seen
assert not raw[3] & termios.ICANON, "keys are not read singly"
assert status == 0, status
assert termios.tcgetattr(slave) == before, "the terminal is not as it was"
assert seen.rstrip().endswith(b"\x1b[?1049l"), seen[-50:]
PY
check "top: on a terminal, until q, which is as before then" test ! -s "$tmp/pty"
comment "$tmp/pty"
# Ended by a signal, of its own or of the process: the terminal is as before, and what is
# said of it comes behind that.
python3 - "$ha" "$pid" >"$tmp/pty" 2>&1 <<'PY'
import os, pty, resource, select, signal, sys, termios, time
ha, pid = sys.argv[1:]
def top(killed, sig):
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    child = os.fork()
    if not child:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for fd in 0, 1, 2:
            os.dup2(slave, fd)
        os.execv(ha, [ha, "top", "-d", "0.05", pid])
    seen, end = b"", time.time() + 20
    def read():
        if select.select([master], [], [], 0.05)[0]:
            return os.read(master, 65536)
        return b""
    while seen.count(b"fragmentation") < 2 and time.time() < end:
        seen += read()
    os.kill(killed or child, sig)
    while time.time() < end:
        seen += read()
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
    else:
        os.kill(child, signal.SIGKILL)
    seen += read()
    assert termios.tcgetattr(slave) == before, ("the terminal is not as it was", sig)
    return status, seen.partition(b"\x1b[?1049l")[1:]
status, left = top(0, signal.SIGQUIT)
assert status == signal.SIGQUIT and left[0], (status, left)
status, left = top(int(pid), signal.SIGKILL)
assert os.waitstatus_to_exitcode(status) == 1 and b"has ended" in left[1], (status, left)
PY
check "top: on a terminal, ended by signals" test ! -s "$tmp/pty"
comment "$tmp/pty"
finish

# ---- a server under load ----------------------------------------------------

if command -v redis-server >/dev/null && command -v redis-benchmark >/dev/null; then
	sock=$tmp/redis.sock
	HA_LIB=$same_layout
	server with_lib redis-server --port 0 --unixsocket "$sock" --save "" --dir "$tmp"
	check "redis: starts" within 20 redis-cli -s "$sock" ping
	load()
	{
		redis-benchmark -s "$sock" -q -r 20000 -d "$1" -n 20000 -t set,lpush,hset >/dev/null
	}
	load 100
	check "redis: stat --json" "$ha" stat --json "$server"
	"$ha" stat --json "$server" >"$tmp/before.json"
	load 700 &
	traffic=$!
	for i in 1 2 3; do
		check "redis: stat under load, $i" grep -q 'redis-server' <("$ha" stat "$server")
		check "redis: walk under load, $i" "$ha" walk "$server"
		check "redis: map under load, $i" "$ha" map "$server" -o "$tmp/redis.svg"
	done
	check "redis: top under load" "$ha" top -n 3 -d 0.1 "$server"
	wait $traffic
	"$ha" diff "$tmp/before.json" "$server" >"$tmp/diff"
	# values of 700 bytes are what has come
	check "redis: diff names the class that grew most" \
		awk '$1 == "size" { getline; exit !($1 == 768 && $4 > 5000) }' "$tmp/diff"
	picture redis "$server"
	if command -v rsvg-convert >/dev/null; then
		check "redis: the picture renders" rsvg-convert "$tmp/map.svg" -o "$tmp/map.png"
		check "redis: and is one" test "$(wc -c <"$tmp/map.png")" -gt 10000
	else
		skip "redis: the picture renders" "no rsvg-convert here"
	fi
	redis-cli -s "$sock" shutdown nosave >/dev/null
	ended "redis: ends"
else
	skip redis "no redis-server here"
fi
done_testing
