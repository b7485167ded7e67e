# SPDX-License-Identifier: MIT
"""The tests: one row each.

name        as it stands in the tables
command     program and arguments; `app NAME` runs apps/NAME, `app -s NAME` a server
quick       arguments of --quick, None: left out there
cost        seconds that one run takes on a machine of 2020; plans the rounds
flags       detail   a closer look at what other tests measure: not in the means
            idle     memory after 10 s of doing nothing is of interest
            nosys    system calls are not counted (they would be the program's own)
"""
from collections import namedtuple

Test = namedtuple("Test", "name command quick cost flags")

GROUPS = []
TESTS = []


def group(title, *rows):
    GROUPS.append((title, [row[0] for row in rows]))
    for name, command, quick, cost, *flags in rows:
        TESTS.append(Test(name, command, quick, cost, set(flags)))


THREADS = [1, 2, 4, 8, 16, 64, 256, 512]
HEAPS = ["1e3", "1e4", "1e5", "1e6", "1e7"]

group(
    "one object at a time, and bursts",
    ("pair-16", "pair -s 16", None, .25),
    ("pair-64", "pair -s 64", "pair -s 64 -n 10e6", .25),
    ("pair-256", "pair -s 256", None, .25),
    ("pair-1024", "pair -s 1024", None, .3),
    ("pair-mixed", "pair -s 16-1024 -n 20e6", "pair -s 16-1024 -n 5e6", .2),
    ("pair-64-2t", "pair -s 64 -t 2", None, .3),
    ("burst-1e3", "pair -s 16-1024 -b 1e3 -n 10e6", None, .3),
    ("burst-1e5", "pair -s 16-1024 -b 1e5 -n 5e6", "pair -s 16-1024 -b 1e5 -n 1e6", 1),
    ("classes", "classes", None, 1.1, "detail", "nosys"),
    ("latency", "latency", "latency -o 1e6", .8, "detail", "nosys"),
    ("latency-2t", "latency -t 2", None, .6, "detail", "nosys"),
)
group(
    "random replacement over heap sizes",
    ("replace-1e3", "replace -n 1e3 -o 12e6", "replace -n 1e3 -o 4e6", .2),
    ("replace-1e4", "replace -n 1e4 -o 8e6", "replace -n 1e4 -o 4e6", .2),
    ("replace-1e5", "replace -n 1e5", "replace -n 1e5 -o 2e6", .3, "idle"),
    ("replace-1e6", "replace -n 1e6", "replace -n 1e6 -o 2e6", 1.2, "idle"),
    ("replace-1e7", "replace -n 1e7 -o 5e6", None, 4),
    ("uniform-1e3", "replace -n 1e3 -d uniform -o 12e6", None, .2),
    ("uniform-1e5", "replace -n 1e5 -d uniform", "replace -n 1e5 -d uniform -o 2e6", .5),
    ("uniform-1e6", "replace -n 1e6 -d uniform -o 3e6", None, 1.6),
    ("uniform-1e7", "replace -n 1e7 -d uniform -b 256 -o 5e6", None, 5),
    ("phase-1e3", "replace -n 1e3 -d phase -o 8e6", None, .3),
    ("phase-1e5", "replace -n 1e5 -d phase", "replace -n 1e5 -d phase -o 1e6", 1),
    ("phase-1e6", "replace -n 1e6 -d phase -o 6e6", None, 3),
    ("phase-1e7", "replace -n 1e7 -d phase -b 256 -o 16e6", None, 8, "nosys"),
)
group(
    "structures",
    ("tree", "tree -o 20e6", "tree", .4),
    ("graph", "tree -m graph -o 1e6", "tree -m graph -o 5e5", .9),
    ("strings", "strings", "strings -o 1e6", .6),
    ("vector", "vector -o 10e6", "vector -o 2e6", .5),
    ("vector-large", "vector -a 256k -b 16m -n 20 -o 100e3", None, .6),
    ("iobuf", "iobuf -o 150e3", "iobuf -o 50e3", .25, "idle"),
    ("iobuf-2t", "iobuf -t 2 -o 150e3", None, .25),
    ("batch", "batch", "batch -o 2e6", .2),
    ("batch-2t", "batch -t 2 -o 10e6", None, .7),
    ("frag", "frag -w 5000", "frag -o 4e6", 6.1, "idle"),
)
group(
    "threads that share",
    ("larson-2", "larson -t 2 -r 100e3 -g 60", None, .3),
    ("larson-64", "larson -t 64", "larson -t 64 -g 8", .5, "idle"),
    ("larson-512", "larson -t 512 -n 200 -r 2000 -g 8", None, 1.4),
    ("xmalloc-1-1", "xmalloc", "xmalloc -n 2e6", .4),
    ("xmalloc-4-4", "xmalloc -p 4 -c 4", None, .4),
    ("xmalloc-1-4", "xmalloc -p 1 -c 4", None, .6),
    ("xmalloc-4-1", "xmalloc -p 4 -c 1", None, .6),
    ("share-active", "falseshare", "falseshare -o 50e3", .8),
    ("share-passive", "falseshare -m passive", "falseshare -m passive -o 50e3", 1.2),
    ("shallow", "shallow", "shallow -o 1e6", .2, "idle"),
    ("threadlife", "threadlife -o 15e3", "threadlife -o 5e3", 2.2, "nosys"),
    ("forkload", "forkload -t 2 -o 100", "forkload -t 2 -o 30", 1.2, "nosys"),
)
group(
    "1e5 live objects over thread counts",
    *[("threads-%d" % n, "replace -n 1e5 -o 6e6 -t %d" % n,
       "replace -n 1e5 -o 2e6 -t %d" % n if n in (2, 64) else None, .25) for n in THREADS],
)
group(
    "real programs",
    ("startup", "startup -n 300", "startup -n 100", 3, "nosys"),
    ("redis", "app -s redis", "app -s redis", 1.5, "nosys", "idle"),
    ("memcached", "app -s memcached", None, 2, "nosys"),
    ("sqlite", "app sqlite", None, 2, "nosys"),
    ("python", "app python", None, 2, "nosys"),
    ("compiler", "app compiler", None, 3.2, "nosys"),
    ("solver", "app solver", None, 2, "nosys"),
    ("ghostscript", "app ghostscript", None, .9, "nosys"),
    ("lua", "app lua", "app lua", 1.3, "nosys"),
)

PROGRAMS = sorted({test.command.split()[0] for test in TESTS})
