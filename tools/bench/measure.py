# SPDX-License-Identifier: MIT
"""Builds the programs, runs them in alternation, and reads what they print."""
import hashlib
import os
import platform
import re
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from peers import die
from tests import PROGRAMS

HERE = os.path.dirname(os.path.abspath(__file__))
FIELDS = ["ns", "rss_kb", "faults", "cpu_ns", "after_kb", "voluntary", "involuntary", "ops"]
COMPARED = ["ns", "cpu_ns", "rss_kb", "after_kb", "idle_kb"]
IDLE_SECONDS = 10
SYSCALL_SCALE = 0.25
NOT_HERE = 77


def machine():
    model = ""
    try:
        with open("/proc/cpuinfo") as f:
            model = next((line.split(":", 1)[1].strip() for line in f
                          if line.startswith("model name")), "")
    except OSError:
        pass
    return {"kernel": platform.release(), "arch": platform.machine(),
            "cpu": model, "cpus": os.cpu_count(),
            "libc": " ".join(platform.libc_ver()), "load": os.getloadavg()[0],
            "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())}


class Failure(Exception):
    pass


def build(out, programs=PROGRAMS, headers=("bench.h",)):
    """Compiles what is older than its sources, so that this also runs without
    make; returns the folder of the programs."""
    os.makedirs(out, exist_ok=True)
    shared = [os.path.join(HERE, f) for f in ("bench.c",) + headers]
    for name in programs:
        source = os.path.join(HERE, name + ".c")
        binary = os.path.join(out, name)
        newest = max(map(os.path.getmtime, [source] + shared))
        if os.path.exists(binary) and os.path.getmtime(binary) >= newest:
            continue
        # -fno-builtin: the compiler may otherwise drop a malloc+free pair.
        cmd = [os.environ.get("CC", "cc"), "-std=gnu11", "-O2", "-g",
               "-D_GNU_SOURCE", "-Wall", "-Wextra", "-fno-builtin", "-pthread",
               "-o", binary, source, shared[0]]
        if subprocess.run(cmd).returncode:
            die("cannot build " + name)
    return out


def number(word):
    return None if word == "-" else float(word)


def parse(text):
    """The results in the output of one program; see bench.h."""
    results = []
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "series":
            curve = results[-1]["series"].setdefault(words[1], {})
            curve[words[2]] = float(words[3])
        elif words[0] == "idle":
            results[-1]["idle_kb"] = float(words[1])
        else:
            result = dict(zip(FIELDS, map(number, words[2:10])))
            result["params"] = words[1]
            result["notes"] = {k: float(v) for k, v in
                               (word.split("=") for word in words[10:])}
            result["series"] = {}
            results.append(result)
    return results


def environment(preload, extra=None):
    env = dict(os.environ)
    env.pop("LD_PRELOAD", None)
    env.pop("BENCH_SCALE", None)
    env.pop("BENCH_IDLE", None)
    if preload:
        env["LD_PRELOAD"] = preload
    env.update(extra or {})
    return env


def execute(cmd, env, timeout):
    """The finished process. It runs in a session of its own: when it takes too long or
    the user has had enough, all that it started ends with it."""
    with subprocess.Popen(cmd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, start_new_session=True) as p:
        try:
            out, errors = p.communicate(timeout=timeout)
        except BaseException as reason:
            os.killpg(p.pid, signal.SIGKILL)
            p.wait()
            if isinstance(reason, subprocess.TimeoutExpired):
                raise Failure("%s: not done in time" % " ".join(cmd)) from None
            raise
        return subprocess.CompletedProcess(cmd, p.returncode, out, errors)


def check(cmd, status, errors):
    """The loader only warns about a library that it cannot preload and goes on
    without it: that is a failure here."""
    if status or "cannot be preloaded" in errors:
        raise Failure("%s: status %s: %s" % (" ".join(cmd), status, errors.strip()[-200:]))


class Bench:
    """Runs tests of one folder of programs under a set of allocators."""

    def __init__(self, folder, apps_folder, allocators):
        self.folder = folder
        self.apps_folder = apps_folder
        self.allocators = allocators
        self.base_calls = {}

    def app_script(self, test):
        return os.path.join(HERE, "apps", test.command.split()[-1])

    def app_folder(self, test):
        return os.path.join(self.apps_folder, test.command.split()[-1])

    def prepare(self, test):
        """None, or why the test cannot run here."""
        if not test.command.startswith("app "):
            return None
        folder = self.app_folder(test)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        done = subprocess.run([self.app_script(test), "prepare", folder],
                              env=environment(""), stdout=subprocess.PIPE, text=True)
        if done.returncode == NOT_HERE:
            return done.stdout.strip()
        return "its inputs cannot be made" if done.returncode else None

    def command(self, test, path):
        """Words of the command, and what is to be preloaded into it."""
        words = test.command.split()
        cmd = [os.path.join(self.folder, words[0])] + words[1:]
        if words[0] == "app":
            cmd[-1:] = ["-p", path] if path else []
            return cmd + [self.app_script(test), self.app_folder(test)], ""
        return cmd, path

    def run(self, test, path, extra=None):
        cmd, preload = self.command(test, path)
        done = execute(cmd, environment(preload, extra), 60 + 20 * test.cost)
        check(cmd, done.returncode, done.stderr)
        results = parse(done.stdout)
        if not results:
            raise Failure("%s: printed no result" % " ".join(cmd))
        if test.command.startswith("app "):
            results[0]["output"] = self.digest(test)
        return results

    def digest(self, test):
        try:
            with open(os.path.join(self.app_folder(test), "out"), "rb") as f:
                return hashlib.sha256(f.read()).hexdigest()
        except OSError:
            return None

    def one_round(self, test, failed):
        """Allocator -> figures of one run of each, in turn."""
        if test.command.startswith("startup"):
            return self.start_round(test, failed)
        result = {}
        for name, path in self.allocators.paths.items():
            if name in failed:
                continue
            try:
                result[name] = self.run(test, path)[0]
            except Failure as failure:
                failed[name] = str(failure)
                print("# FAILED under %s: %s" % (name, failure), flush=True)
        return result

    def start_round(self, test, failed):
        """The program alternates by itself between those that it is given. When
        one of them fails, all are tried alone, to find which."""
        cmd, _ = self.command(test, "")
        items = {a: "%s=%s" % (a, path) for a, path in self.allocators.paths.items()
                 if a not in failed}

        def start(words):
            done = execute(cmd + words, environment(""), 300)
            check(cmd + words, done.returncode, done.stderr)
            return parse(done.stdout)

        try:
            return dict(zip(items, start(list(items.values()))))
        except Failure:
            pass
        result = {}
        for a, word in items.items():
            try:
                result[a] = start([word])[0]
            except Failure as failure:
                failed[a] = str(failure)
                print("# FAILED under %s: %s" % (a, failure), flush=True)
        return result

    def idle_together(self, test):
        """Allocator -> KiB after the wait; the waits overlap."""
        started, result = [], {}
        for name, path in self.allocators.paths.items():
            cmd, preload = self.command(test, path)
            p = subprocess.Popen(cmd, env=environment(preload, {"BENCH_IDLE": str(IDLE_SECONDS)}),
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            started.append((name, p))
            # The line comes before the wait: the next one starts on quiet CPUs.
            select.select([p.stdout], [], [], 60 + 20 * test.cost)
        for name, p in started:
            try:
                out = p.communicate(timeout=60 + IDLE_SECONDS)[0]
                result[name] = parse(out)[0]["idle_kb"]
            except (subprocess.TimeoutExpired, LookupError, ValueError):
                p.kill()
                p.wait()
        return result

    def idle(self, test):
        if not test.command.startswith("app "):
            return self.idle_together(test)
        result = {}
        for name, path in self.allocators.paths.items():
            try:
                run = self.run(test, path, {"BENCH_IDLE": str(IDLE_SECONDS)})[0]
                result[name] = run["idle_kb"]
            except (Failure, KeyError):
                pass
        return result

    def count_calls(self, cmd, preload, timeout):
        """System calls of all threads, and the output."""
        with tempfile.NamedTemporaryFile() as log:
            strace = ["strace", "-qq", "-c", "-f", "-o", log.name]
            if preload:
                strace += ["-E", "LD_PRELOAD=" + preload]
            done = execute(strace + cmd, environment("", {"BENCH_SCALE": str(SYSCALL_SCALE)}),
                           timeout)
            if done.returncode:
                raise Failure(done.stderr[-200:])
            text = log.read().decode()
        match = re.search(r"^\s*100\.00\s+\S+\s+(?:\d+\s+)?(\d+)\s+(?:\d+\s+)?total$", text, re.M)
        return int(match.group(1)) if match else 0, done.stdout

    def syscalls(self, test):
        """Allocator -> system calls for 1000 operations, without those that
        starting a program under the allocator takes."""
        result = {}
        for name, path in self.allocators.paths.items():
            cmd, preload = self.command(test, path)
            try:
                if name not in self.base_calls:
                    self.base_calls[name] = self.count_calls(["/bin/true"], preload, 30)[0]
                calls, out = self.count_calls(cmd, preload, 30)
                ops = parse(out)[0]["ops"]
                result[name] = max(0, calls - self.base_calls[name]) / ops * 1000
            except (Failure, OSError, LookupError):
                pass
        return result

    def measure(self, test, rounds, idle, syscalls, tick):
        """All that is known of a test; tick(text) is called before each step."""
        samples = {a: [] for a in self.allocators}
        failed = {}
        for i in range(rounds):
            tick("round %d of %d" % (i + 1, rounds))
            for a, figures in self.one_round(test, failed).items():
                samples[a].append(figures)
        result = {a: summary(runs) for a, runs in samples.items() if runs and a not in failed}
        compare_outputs(samples, result, failed)
        if idle and "idle" in test.flags:
            tick("idle")
            for a, kb in self.idle(test).items():
                if a in result:
                    result[a]["idle_kb"] = {"median": kb, "min": kb}
        if syscalls and "nosys" not in test.flags:
            tick("system calls")
            for a, calls in self.syscalls(test).items():
                if a in result:
                    result[a]["syscalls"] = {"median": calls, "min": calls}
        add_ratios(result, self.allocators.peers)
        params = next((runs[0]["params"] for runs in samples.values() if runs), "")
        return {"command": test.command, "params": params, "rounds": rounds,
                "flags": sorted(test.flags), "allocators": result, "failed": failed}


def compare_outputs(samples, result, failed):
    """A program that writes something else under one allocator has failed."""
    reference = None
    for a, runs in samples.items():
        for run in runs:
            output = run.get("output")
            reference = reference or output
            if output != reference:
                failed[a] = "another output than under the first allocator"
                print("# FAILED under %s: %s" % (a, failed[a]))
                result.pop(a, None)
                break


def spread(values):
    return {"median": statistics.median(values), "min": min(values)}


def summary(runs):
    """Medians and minima over the rounds, curves and notes point by point."""
    result = {"runs": [{k: v for k, v in run.items() if k != "series"} for run in runs],
              "notes": {}, "series": {}}
    for field in FIELDS:
        values = [run[field] for run in runs if run.get(field) is not None]
        if values:
            result[field] = spread(values)
    for key in runs[0]["notes"]:
        result["notes"][key] = statistics.median(run["notes"][key] for run in runs)
    for curve, points in runs[0]["series"].items():
        result["series"][curve] = [
            [float(x), statistics.median(run["series"][curve][x] for run in runs)]
            for x in points]
    return result


def add_ratios(result, peers):
    """To the best of the peers: below 1 is better than every one of them."""
    for field in COMPARED:
        for kind in ("median", "min"):
            best = min((result[p][field][kind] for p in peers
                        if p in result and field in result[p]), default=0)
            for figures in result.values():
                if best and field in figures:
                    figures[field]["ratio_" + kind] = figures[field][kind] / best


def page_find(build_folder):
    """The curves of the page allocator alone, if make has built the program."""
    binary = os.path.join(build_folder, "page_find")
    if not os.path.exists(binary):
        return None
    done = subprocess.run([binary], stdout=subprocess.PIPE, stderr=sys.stderr, text=True)
    return summary(parse(done.stdout)) if not done.returncode else None


SHARED = ("depot", "pool", "central", "window", "pages", "other")


def cpusim_row(line):
    """A line of cpusim.c: numbers, and per million allocations what CPUs share."""
    _, pattern, cpus, *pairs = line.split()
    row = {"pattern": pattern, "cpus": int(cpus)}
    for key, value in (pair.split("=") for pair in pairs):
        if "/" in value:
            row[key] = dict(zip(("uses", "handed", "remote"), map(int, value.split("/"))))
        else:
            row[key] = int(value)
    for field in ("uses", "handed", "remote"):
        row[field] = sum(row[kind][field] for kind in SHARED) * 1e6 / row["allocs"]
    row["one_mb"] = row["one"] / 2 ** 20
    row["all_mb"] = row["cached"] / 2 ** 20
    return row


def cpusim(build_folder):
    """The simulation of many CPUs, if make has built it."""
    binary = os.path.join(build_folder, "cpusim")
    if not os.path.exists(binary):
        return None
    done = subprocess.run([binary], stdout=subprocess.PIPE, stderr=sys.stderr, text=True)
    if done.returncode:
        return None
    return [cpusim_row(line) for line in done.stdout.splitlines()]
