# SPDX-License-Identifier: MIT
"""The allocators that are compared, and the libraries that they are in."""
import glob
import os
import platform
import sys

SUBJECT = "heaparena"

# Peer -> patterns of its library; glibc is the program as it is.
KNOWN = {
    "glibc": None,
    "jemalloc": ["libjemalloc.so.2", "libjemalloc.so*"],
    "mimalloc": ["libmimalloc.so.2*", "libmimalloc.so*"],
    "tcmalloc": ["libtcmalloc_minimal.so.4", "libtcmalloc_minimal.so*"],
}
LIB_DIRS = ["/usr/lib/" + platform.machine() + "-linux-gnu", "/usr/lib64",
            "/usr/lib", "/usr/local/lib"]


def die(message):
    sys.exit("tools/bench/run: " + message)


def find_library(patterns):
    for folder in LIB_DIRS:
        for pattern in patterns:
            for path in sorted(glob.glob(os.path.join(folder, pattern))):
                return path
    return None


def named(items):
    """NAME=LIBRARY words as a dictionary."""
    result = {}
    for item in items:
        name, sep, path = item.partition("=")
        if not sep or not name or not os.path.exists(path):
            die("'%s' is not NAME=LIBRARY" % item)
        if name in KNOWN or name == SUBJECT or name in result:
            die("the name %s is taken" % name)
        result[name] = os.path.abspath(path)
    return result


class Allocators:
    """paths: name -> library ("" is none), in the order of the tables;
    peers: the names whose best is the 1.00 of a row."""

    def __init__(self, args):
        self.paths = {}
        extra = named(os.environ.get("PEERS", "").split())
        more = named(args.library)
        wanted = args.allocs.split(",") if args.allocs else None
        unknown = set(wanted or []) - set(KNOWN) - {SUBJECT} - set(extra)
        if unknown:
            die("unknown in --allocs: %s; known: %s" % (
                ", ".join(sorted(unknown)), ", ".join(list(KNOWN) + list(extra) + [SUBJECT])))
        for name, patterns in KNOWN.items():
            if wanted and name not in wanted:
                continue
            path = "" if patterns is None else find_library(patterns)
            if path is None:
                print("# no library of %s here: left out" % name)
            else:
                self.paths[name] = path
        self.paths.update((n, p) for n, p in extra.items() if not wanted or n in wanted)
        self.peers = list(self.paths)
        if not wanted or SUBJECT in wanted:
            path = args.lib or os.path.join(args.build, "libheaparena.so.1")
            if os.path.exists(path):
                self.paths[SUBJECT] = os.path.abspath(path)
            else:
                print("# %s is not built: left out" % path)
        self.paths.update(more)
        if not self.paths:
            die("no allocator to run")

    def __iter__(self):
        return iter(self.paths)

    def __len__(self):
        return len(self.paths)
