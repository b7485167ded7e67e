#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# python3: without its own small object allocator, so that every object is a
# malloc; the test modules of its own library that stress memory, threads and
# processes; and a small address space.

. "$(dirname "$0")/lib.sh"
# The distribution's: the test modules belong to exactly that version.
python=/usr/bin/python3
[ -x $python ] || python=python3
need $python

export PYTHONMALLOC=malloc PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
cd "$tmp" || exit 1

cat >work.py <<'PY'
import collections, gc, hashlib, json, os, random, re, sys, threading, zlib

random.seed(7)
d = {}
for i in range(200000):
    d[random.randrange(60000)] = "x" * random.randrange(200)
    if i % 3 == 0:
        d.pop(random.randrange(60000), None)
print("dict", len(d), sum(map(len, d.values())))
text = json.dumps({str(k): [v, {"n": k}] for k, v in sorted(d.items())})
print("json", len(text), hashlib.sha256(text.encode()).hexdigest())
assert json.loads(text)["1" if "1" in text[:9] else next(iter(json.loads(text)))]
print("re", len(re.findall(r'"(\d+)": \["(x+)"', text)))
print("zlib", len(zlib.decompress(zlib.compress(text.encode(), 6))))

class Node:
    def __init__(self, depth):
        self.me = self
        self.children = [Node(depth - 1) for _ in range(6)] if depth else []

for _ in range(3):
    tree = Node(5)
    del tree
    print("gc", gc.collect() > 0)

def count(out, n):
    c = collections.Counter()
    for i in range(30000):
        c[(i * n) % 977] += 1
        out.append(bytes(i % 300))
    out[:] = [sum(map(len, out)), c.most_common(3)]

outs = [[] for _ in range(8)]
threads = [threading.Thread(target=count, args=(o, n + 1)) for n, o in enumerate(outs)]
for t in threads: t.start()
for t in threads: t.join()
print("threads", outs)
b = bytearray()
for i in range(300000):
    b += b"grow"
print("bytearray", len(b), zlib.crc32(b))
sys.stdout.flush()
pid = os.fork()
if pid == 0:
    d.clear()
    print("child", len([str(i) * 3 for i in range(100000)]))
    sys.exit(0)
print("status", os.waitpid(pid, 0)[1])
PY

plain $python work.py >a 2>&1
with_lib $python work.py >b 2>&1
same "program: same output" a b
check "program: to its end" grep -qx 'status 0' b
served "program and its fork" 2

# Outcome of each module, without times; every module of a list runs in the one
# process and leaves its heap to the next.
run_modules()
{
	local how=$1 out=$2
	shift 2

	# Cases about time say little about memory, and fail on a busy machine.
	$how $python -m test -i '*timeout*' -i '*NoPoll*' "$@" >"$out.log" 2>&1
	sed -n 's/^[0-9:]* load avg.*\] \(test_[a-z0-9_]*\).*/ran \1/p
		s/^ *\(test_[a-z0-9_]*\)$/listed \1/p
		s/^\([0-9]*\) tests\{0,1\} \(failed\|skipped\|OK\).*/\1 \2/p
		s/^\(All [0-9]* tests OK\).*/\1/p
		s/^Tests result: /result /p' "$out.log" | uniq >"$out"
}

modules="test_list test_dict test_set test_bytes test_json test_re test_gc
	test_fork1 test_unicode test_collections test_deque test_heapq
	test_memoryview test_array test_weakref test_itertools test_struct
	test_pickle test_thread test_threading test_bigmem test_mmap test_sort
	test_tuple test_zlib test_subprocess"
usable=()
if $python -c 'import test.libregrtest' 2>/dev/null; then
	for module in $modules; do
		$python -c "import test.$module" 2>/dev/null && usable+=("$module")
	done
fi
if [ ${#usable[@]} -eq 0 ]; then
	skip "its own test modules" "the test modules of $python are not installed"
else
	run_modules with_lib b "${usable[@]}"
	if grep -qx "All ${#usable[@]} tests OK" b && grep -qx 'result SUCCESS' b; then
		ok "${#usable[@]} of its own test modules"
	else
		# What fails without the library as well is not of its making.
		run_modules plain a "${usable[@]}"
		same "${#usable[@]} of its own test modules: same outcome" a b
		cmp -s a b || { tail -n 60 b.log >b.tail; comment b.tail 60; }
	fi
	check "all of them ran" test "$(grep -c ^ran b)" -ge ${#usable[@]}
	served "test modules" 1
fi

# 200 MB of address space, as a shell's limit sets it.
cat >small.py <<'PY'
import json, threading
x = [json.dumps({"k": list(range(i % 50))}) for i in range(20000)]
t = threading.Thread(target=lambda: x.sort())
t.start()
t.join()
try:
    y = bytearray(1 << 30)
    print("1 GiB of 200 MB?")
except MemoryError:
    print("MemoryError")
print(len(x), len(bytes(20 << 20)))
PY
plain bash -c "ulimit -v 200000 && exec $python small.py" >a 2>&1
with_lib bash -c "ulimit -v 200000 && exec $python small.py" >b 2>&1
check "under ulimit -v 200000" grep -qx "20000 20971520" b
same "under ulimit -v 200000: same output" a b
served "under ulimit -v 200000" 1
done_testing
