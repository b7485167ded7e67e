# SPDX-License-Identifier: MIT
"""Runs the programs of the pictures of resident memory, and watches them."""
import glob
import os
import select
import signal
import subprocess
import time

from measure import environment
from peers import SUBJECT, die

SAMPLE_SECONDS = 0.025
PAGE_KB = os.sysconf("SC_PAGESIZE") // 1024
SERVICE_LIMIT = 512 << 20


def resident_kb(pid):
    try:
        with open("/proc/%d/statm" % pid) as f:
            return int(f.read().split()[1]) * PAGE_KB
    except (OSError, IndexError):
        return 0


def background_seconds(pid):
    """CPU time of the thread named heaparena, None without one."""
    for task in glob.glob("/proc/%d/task/*" % pid):
        try:
            with open(task + "/comm") as f:
                if f.read() != "heaparena\n":
                    continue
            with open(task + "/schedstat") as f:
                return int(f.read().split()[0]) / 1e9
        except (OSError, ValueError):
            continue
    return None


class Group:
    """A memory control group below the one that this process is in, version 2 or
    1; path is None, and why says why, where there is none to be had."""

    def __init__(self, limit):
        self.path = None
        self.why = "no memory control group that can be written to"
        found = self.own()
        if not found:
            return
        folder, two = found
        self.files = ("memory.max", "memory.swap.max", "memory.peak") if two else (
            "memory.limit_in_bytes", "memory.swappiness", "memory.max_usage_in_bytes")
        path = os.path.join(folder, "heaparena-bench-%d" % os.getpid())
        try:
            if two:
                self.put(os.path.join(folder, "cgroup.subtree_control"), "+memory", False)
            os.mkdir(path)
            self.path = path
            self.put(self.file(0), str(limit))
            self.put(self.file(1), "0", False)
            self.name = "control group, version %d" % (2 if two else 1)
        except OSError as error:
            self.why = str(error)
            self.drop()

    @staticmethod
    def own():
        mine = {}
        try:
            with open("/proc/self/cgroup") as f:
                for line in f:
                    _, names, path = line.rstrip("\n").split(":", 2)
                    mine["2" if not names else "1" if "memory" in names.split(",") else ""] = path
            with open("/proc/self/mountinfo") as f:
                for line in f:
                    left, _, right = line.partition(" - ")
                    kind, _, options = right.split(None, 2)
                    if kind == "cgroup" and "memory" in options.strip().split(","):
                        mine["at1"] = left.split()[4]
                    elif kind == "cgroup2":
                        mine["at2"] = left.split()[4]
        except OSError:
            return None
        for version in "12":
            if version in mine and "at" + version in mine:
                folder = mine["at" + version] + mine[version].rstrip("/")
                if os.access(folder, os.W_OK):
                    return folder, version == "2"
        return None

    @staticmethod
    def put(path, text, strict=True):
        try:
            with open(path, "w") as f:
                f.write(text)
        except OSError:
            if strict:
                raise

    def file(self, i):
        return os.path.join(self.path, self.files[i])

    def join(self):
        self.put(os.path.join(self.path, "cgroup.procs"), str(os.getpid()))

    def drop(self):
        for _ in range(40):
            if not self.path:
                return
            try:
                os.rmdir(self.path)
                self.path = None
            except OSError:
                time.sleep(0.05)


class Watch:
    """One run: its marks, and its resident memory between them."""

    def __init__(self, cmd, preload, extra=None, group=None):
        self.marks, self.samples, self.background = [], [], None
        self.text = b""
        with subprocess.Popen(cmd, env=environment(preload, extra), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              start_new_session=True,
                              preexec_fn=group.join if group else None) as self.p:
            try:
                self.watch()
                errors = self.p.stderr.read().decode(errors="replace")
            except BaseException:
                os.killpg(self.p.pid, signal.SIGKILL)
                raise
        if "cannot be preloaded" in errors:
            die(errors.strip())
        if self.p.returncode not in (0, -signal.SIGKILL) or (errors and self.p.returncode):
            print("# %s: status %d: %s" % (cmd[0], self.p.returncode, errors.strip()[-200:]))

    def watch(self):
        out = self.p.stdout.fileno()
        looks = 0
        while True:
            now = time.monotonic()
            kb = resident_kb(self.p.pid)
            if kb:
                self.samples.append((now, kb))
            looks += 1
            if looks % 20 == 0:
                seconds = background_seconds(self.p.pid)
                self.background = self.background if seconds is None else seconds
            if select.select([out], [], [], SAMPLE_SECONDS)[0] and not self.read(out):
                return

    def read(self, out):
        data = os.read(out, 65536)
        self.text += data
        *lines, self.text = self.text.split(b"\n")
        for line in lines:
            word, name, seconds, value = line.decode().split()
            if word == "mark":
                self.marks.append((name, float(seconds), float(value)))
        return bool(data)

    def result(self):
        """Times from the first mark on, memory less the program's own."""
        if not self.marks:
            die("%s printed nothing" % self.p.args[0])
        _, start, mapped = self.marks[0]
        return {
            "marks": [[n, t - start, v] for n, t, v in self.marks],
            "samples": [[round(t - start, 3), kb - mapped] for t, kb in self.samples
                        if t >= start],
            "status": self.p.returncode, "background": self.background, "limit": None,
        }


def run_each(title, paths, start):
    runs = {}
    for name, path in paths.items():
        print("# %s: %s" % (title, name), flush=True)
        runs[name] = start(name, path).result()
    return runs


def burst(programs, paths):
    cmd = [os.path.join(programs, "rss_burst")]
    return {"runs": run_each("burst", paths, lambda name, path: Watch(cmd, path))}


def service(programs, paths):
    cmd = [os.path.join(programs, "rss_service")]
    group = Group(SERVICE_LIMIT)
    free = run_each("service, no limit", paths, lambda name, path: Watch(cmd, path))
    if group.path:
        how = "in a %s of %d MiB" % (group.name, SERVICE_LIMIT >> 20)
    else:
        how = "no group (%s): %s with soft:%dM alone" % (group.why, SUBJECT,
                                                         SERVICE_LIMIT * 95 // 100 >> 20)
    print("# service: " + how)

    def start(name, path):
        if group.path:
            return Watch(cmd, path, group=group)
        extra = {"HEAPARENA_CONF": "soft:%dM" % (SERVICE_LIMIT * 95 // 100 >> 20)}
        return Watch(cmd, path, extra if name == SUBJECT else None)

    try:
        runs = run_each("service, " + how, paths, start)
    finally:
        group.drop()
    for run in runs.values():
        run["limit"] = SERVICE_LIMIT // 1024
    return {"runs": runs, "free": free, "how": how}


def swing_of(title, args, fewer):
    """A picture of one period; peers may take fewer turns of a long one."""
    def picture(programs, paths):
        cmd = [os.path.join(programs, "rss_swing")]

        def start(name, path):
            return Watch(cmd + (args if name == SUBJECT else fewer), path)

        runs = run_each(title, paths, start)
        if SUBJECT in paths:
            print("# %s: %s, background:off" % (title, SUBJECT), flush=True)
            runs[SUBJECT]["without"] = Watch(
                cmd + fewer, paths[SUBJECT], {"HEAPARENA_CONF": "background:off"}).result()
        return {"runs": runs}
    return picture


FAST = ["-p", "1000", "-n", "20"]
PICTURES = {
    "burst": burst,
    "service": service,
    # the background thread's share is one of 60 s
    "swing": swing_of("swing of 1 s", ["-p", "1000", "-n", "60"], FAST),
    "swing-slow": swing_of("swing of 12 s", ["-p", "12000", "-n", "5"],
                           ["-p", "12000", "-n", "3"]),
}
