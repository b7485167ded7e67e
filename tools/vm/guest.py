# SPDX-License-Identifier: MIT
"""One virtual machine: its command line, its serial line, and the verdict.

What the guest writes (tools/vm/init) is a line each:

	@@vm start RELEASE		the list begins
	@@vm begin N			test N of the row; its output follows
	@@vm k MESSAGE			a kernel message
	@@vm end N STATUS
	@@vm setup failed: COMMAND	the tests that follow mean nothing
	@@vm done			all of the list was run

A machine that says nothing for SILENCE seconds more than the test's own limit is
taken to hang, and one that ends without `done` to have crashed: both fail, as
does every test of the list without an end.
"""
import os
import re
import selectors
import subprocess
import time

SILENCE = 60
BOOT = 120
# Latencies of nodes 0 to 3 as seen from each; every row has one nearest node.
DISTANCES = ((10, 20, 30, 40), (20, 10, 40, 30), (30, 40, 10, 20), (40, 30, 20, 10))
COMPLAINT = re.compile(r'BUG:|Oops|WARNING:|Call [Tt]race|Kernel panic|blocked for more than|'
                       r'soft lockup|detected stall|Out of memory|oom-kill|Unable to handle|'
                       r'general protection|segfault at')
# What a kernel says that kills for want of memory.
KILL = re.compile(r'Out of memory|oom-kill|out of memory|Call [Tt]race')
CONSOLE = {'x86_64': 'ttyS0', 'arm64': 'ttyAMA0'}


def node_options(shares, memory):
    """A node an entry, with that share of the memory; 0: it has CPUs only."""
    cpus = 4 // len(shares)
    out = []
    for n, share in enumerate(shares):
        node = 'node,nodeid=%d,cpus=%d-%d' % (n, n * cpus, n * cpus + cpus - 1)
        if share:
            size = memory * share // sum(shares)
            out += ['-object', 'memory-backend-ram,id=m%d,size=%dM' % (n, size)]
            node += ',memdev=m%d' % n
        out += ['-numa', node]
    for a in range(len(shares)):
        for b in range(len(shares)):
            if a != b:
                out += ['-numa', 'dist,src=%d,dst=%d,val=%d' % (a, b, DISTANCES[a][b])]
    return out


def command(row, kernel, initrd, accel):
    if row.arch == 'x86_64':
        cmd = ['qemu-system-x86_64', '-machine', 'pc', '-cpu', 'host' if accel == 'kvm' else 'max']
        smp = '4,sockets=4,cores=1,threads=1'
    else:
        cpu = 'host' if accel == 'kvm' else 'max,pauth-impdef=on'
        cmd = ['qemu-system-aarch64', '-machine', 'virt,gic-version=3', '-cpu', cpu]
        smp = '4,sockets=4,cores=1,threads=1'
    cmd += ['-accel', 'kvm' if accel == 'kvm' else 'tcg,thread=multi',
            '-m', '%dM' % row.memory, '-smp', smp]
    cmd += node_options(row.nodes, row.memory) if len(row.nodes) > 1 else []
    append = 'console=%s panic=-1 loglevel=4 mitigations=off' % CONSOLE[row.arch]
    return cmd + ['-kernel', kernel, '-initrd', initrd, '-append', append,
                  '-nodefaults', '-display', 'none', '-serial', 'stdio', '-monitor', 'none',
                  '-no-reboot']


class Result:
    """One test's output, and what became of it."""
    def __init__(self, test):
        self.test = test
        self.lines = []
        self.status = None
        self.complaints = []
        self.seconds = 0.0
        self.passed = self.failed = self.skipped = 0


class Guest:
    """Runs the machine; fills in results, one for each test, and trouble."""
    def __init__(self, tests, log):
        self.results = [Result(t) for t in tests]
        self.trouble = []
        self.release = None
        self.done = False
        self.current = None
        self.begun = 0.0
        self.log = log

    def limit(self):
        """Seconds of silence that are too many now."""
        if self.release is None:
            return BOOT
        return SILENCE + (self.current.test.limit if self.current else 0)

    def line(self, text):
        self.log.write(text + '\n')
        # A message of the kernel may stand in front of a mark when it is urgent.
        mark = re.search(r'@@vm (\w+) ?(.*)', text)
        if not mark:
            if self.current:
                self.current.lines.append(text)
            if COMPLAINT.search(text):
                self.complain(text)
            return
        word, rest = mark.groups()
        if word == 'start':
            self.release = rest
        elif word == 'done':
            self.done = True
        elif word == 'k':
            if COMPLAINT.search(rest):
                self.complain(rest)
        elif word == 'setup':
            self.trouble.append('setup ' + rest)
        elif word == 'begin':
            self.current = self.results[int(rest)]
            self.begun = time.monotonic()
        elif word == 'end' and self.current:
            self.current.status = int(rest.split()[1])
            self.current.seconds = time.monotonic() - self.begun
            self.current = None

    def complain(self, text):
        (self.current.complaints if self.current else self.trouble).append('kernel: ' + text)

    def run(self, cmd, limit):
        end = time.monotonic() + limit
        proc = subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)
        os.set_blocking(proc.stdout.fileno(), False)
        waiter = selectors.DefaultSelector()
        waiter.register(proc.stdout, selectors.EVENT_READ)
        rest, heard = b'', time.monotonic()
        while True:
            now = time.monotonic()
            wait = min(end - now, heard + self.limit() - now)
            if wait <= 0:
                self.trouble.append('stopped after %d s' % limit if now >= end else
                                    'hangs: silent for %d s' % self.limit())
                break
            if not waiter.select(wait):
                continue
            data = proc.stdout.read()
            if not data:
                break
            heard = time.monotonic()
            *lines, rest = (rest + data).split(b'\n')
            for text in lines:
                self.line(text.rstrip(b'\r').decode('utf-8', 'replace'))
        if self.done:
            try:
                proc.wait(20)
            except subprocess.TimeoutExpired:
                self.trouble.append('does not switch itself off')
        if proc.poll() is None:
            proc.kill()
            proc.wait()
        if rest:
            self.line(rest.decode('utf-8', 'replace'))
        if not self.done and not self.trouble:
            self.trouble.append('ended before its list did')
        self.log.flush()


def judge_tap(lines, status):
    """passed, failed, skipped: the rules of tools/scripts/run-tests."""
    passed = failed = skipped = 0
    plans, none, bail = [], False, False
    for text in lines:
        if re.match(r'ok(\s|$)', text):
            if re.search(r'#\s*skip', text, re.I):
                skipped += 1
            else:
                passed += 1
        elif re.match(r'not ok(\s|$)', text):
            failed += 1
        elif text.startswith('Bail out!'):
            bail = True
        else:
            plan = re.match(r'1\.\.(\d+)', text)
            if plan:
                plans.append(int(plan.group(1)))
                none |= plans == [0] and bool(re.search(r'#\s*skip', text, re.I))
    seen = passed + failed + skipped
    if none and len(plans) == 1 and not seen and status in (0, 4):
        return 0, 0, 1
    if bail or plans != [seen] or not seen:
        failed += 1
    elif status and not failed and not (status == 4 and skipped == seen):
        failed += 1
    return passed, failed, skipped


def judge_abort(lines, status, expect):
    lines = [text for text in lines if text]
    good = status == 134 and len(lines) == 1 and expect and re.search(expect, lines[0])
    return (1, 0, 0) if good else (0, 1, 0)


def judge(result):
    test = result.test
    if result.status is None:
        sums = (0, 1, 0)
        result.lines.append('# no result')
    elif test.kind == 'abort':
        sums = judge_abort(result.lines, result.status, test.expect)
    else:
        sums = judge_tap(result.lines, result.status)
    if result.status not in (None, 0, 4):
        result.lines.append('# exit status %d%s' % (
            result.status, ', over its %d s' % test.limit if result.status in (137, 143) else ''))
    result.passed, result.failed, result.skipped = sums
    if 'MAY_KILL=1' in test.env:
        result.complaints = [c for c in result.complaints if not KILL.search(c)]
    if result.complaints:
        result.lines += result.complaints
        result.failed += 1
