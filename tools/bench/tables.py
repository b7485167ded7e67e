# SPDX-License-Identifier: MIT
"""Tables on the terminal."""
import math

from tests import GROUPS

NAME = 16
CELL = 17
NOTE = "(x: to the best peer)"


def short(value):
    if value >= 10000:
        return "%.0f" % value
    return "%.1f" % value if value >= 1 or value == 0 else "%.2f" % value


def in_time(ns):
    """Nanoseconds, or what they are in a unit that can be read."""
    if ns < 1e4:
        return short(ns)
    return "%.1fus" % (ns / 1e3) if ns < 1e7 else "%.1fms" % (ns / 1e6)


def header(title, allocators):
    print("\n%s" % title)
    print("%-*s" % (NAME, "") + "".join("%*s" % (CELL, a) for a in allocators))


def table(title, results, allocators, field, kind="median", scale=1):
    """One row a test that has the figure at all."""
    rows = [(n, t) for n, t in results.items()
            if any(field in f for f in t["allocators"].values())]
    if not rows:
        return
    header(title, allocators)
    for name, test in rows:
        row = "%-*s" % (NAME, name)
        for a in allocators:
            figures = test["allocators"].get(a)
            if figures is None or field not in figures:
                row += "%*s" % (CELL, "failed" if a in test["failed"] else "-")
                continue
            ratio = figures[field].get("ratio_" + kind)
            text = (in_time if field in ("ns", "cpu_ns") else short)(
                figures[field][kind] / scale)
            row += "%*s" % (CELL, text + " %5.2fx" % ratio if ratio else text + " " * 7)
        print(row)


def curves(results, allocators):
    """Percentiles of latency; the other curves are for the charts."""
    for name, test in results.items():
        if not test["command"].startswith("latency"):
            continue
        for curve in ("malloc", "free"):
            header("%s: ns of one %s, at percentile" % (name, curve), allocators)
            series = {a: dict(map(tuple, f["series"].get(curve, [])))
                      for a, f in test["allocators"].items()}
            for x in next(iter(series.values()), {}):
                print("%-*g" % (NAME, x) + "".join(
                    "%*s" % (CELL, short(series[a][x]) if a in series else "failed")
                    for a in allocators))
        timer = {a: f["notes"].get("timer_ns", 0) for a, f in test["allocators"].items()}
        print("%-*s" % (NAME, "timer alone") + "".join(
            "%*s" % (CELL, short(timer.get(a, 0))) for a in allocators))


def notes(results, allocators):
    """Figures that one program alone has; bench.h calls them key=value."""
    rows = [(name, key) for name, test in results.items()
            for key in next((f["notes"] for f in test["allocators"].values()), {})
            if "detail" not in test["flags"]]
    if not rows:
        return
    header("figures of single tests, median", allocators)
    for name, key in rows:
        figures = results[name]["allocators"]
        print("%s %s" % (name, key))
        print("%-*s" % (NAME, "") + "".join(
            "%*s" % (CELL, short(figures[a]["notes"][key]) if a in figures else "failed")
            for a in allocators))


def pages(figures):
    if not figures:
        return
    print("\nthis library's page allocator: a search for 64 pages")
    print("%-*s%*s%*s%*s" % (NAME, "heap, GiB", CELL, "ns", CELL, "summaries read",
                             CELL, "ns to free"))
    steps = dict(map(tuple, figures["series"]["steps"]))
    free = dict(map(tuple, figures["series"]["free"]))
    for gib, ns in figures["series"]["find"]:
        print("%-*d%*s%*s%*s" % (NAME, gib, CELL, short(ns), CELL, short(steps[gib]),
                                 CELL, short(free[gib])))


def cpusim(rows):
    if not rows:
        return
    print("\nmany CPUs, simulated, on 8 nodes (no time is taken)")
    print("%-*s%*s%*s%*s%*s%*s" % (NAME, "pattern, CPUs", CELL, "MiB in caches", CELL,
                                   "of one CPU", CELL, "MiB live", CELL, "hand-overs",
                                   CELL, "remote"))
    for row in rows:
        print("%-*s%*s%*s%*s%*d%*d" % (
            NAME, "%(pattern)s-%(cpus)d" % row, CELL, short(row["all_mb"]),
            CELL, short(row["one_mb"]), CELL, short(row["live"] / 2 ** 20),
            CELL, row["handed"], CELL, row["remote"]))
    print("(hand-overs of cache lines and uses of another node's, for 1e6 allocations)")


# ---- the end of the table -----------------------------------------------------

def values(results, field, a):
    """Row -> figure, of the rows that count."""
    return {name: test["allocators"][a][field]["median"]
            for name, test in results.items()
            if "detail" not in test["flags"] and field in test["allocators"].get(a, {})
            and test["allocators"][a][field]["median"] > 0}


def geomean(ratios):
    ratios = list(ratios)
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


def summarize(results, allocators, peers):
    """Field -> best single peer, means and worst rows of every allocator."""
    result = {}
    for field, label in (("ns", "time"), ("cpu_ns", "CPU time"), ("rss_kb", "peak memory"),
                         ("after_kb", "memory after"), ("idle_kb", "memory idle")):
        rows = {a: values(results, field, a) for a in allocators}
        # A row that one allocator failed is in no mean: they stay comparable. One
        # that failed most of them has none itself.
        most = max(map(len, rows.values()), default=0)
        present = [a for a in allocators if most and len(rows[a]) * 2 >= most]
        common = set.intersection(*(set(rows[a]) for a in present)) if present else set()
        if not common or not set(present) & set(peers):
            continue
        result[field] = means(label, rows, common, present, [p for p in peers if p in present])
    return result


def means(label, rows, common, allocators, peers):
    best = {n: min(rows[p][n] for p in peers) for n in common}
    to_best = {a: geomean(rows[a][n] / best[n] for n in common) for a in allocators}
    single = min(peers, key=lambda p: to_best[p])
    worst = {a: max((rows[a][n] / best[n], n) for n in common) for a in allocators}
    return {"label": label, "rows": len(common), "best_peer": single, "to_best": to_best,
            "to_single": {a: to_best[a] / to_best[single] for a in allocators},
            "worst": {a: {"ratio": w[0], "test": w[1]} for a, w in worst.items()}}


def means_row(label, values, allocators, note=""):
    print("%-*s" % (NAME, label) + "".join(
        "%*.2fx" % (CELL - 1, values[a]) if a in values else "%*s" % (CELL, "failed")
        for a in allocators) + note)


def show_summary(summary, allocators):
    if not summary:
        return
    header("geometric means: to the best peer of every row", allocators)
    for s in summary.values():
        means_row(s["label"], s["to_best"], allocators, "   %d rows" % s["rows"])
    header("the same to the single peer that is best over all rows", allocators)
    for s in summary.values():
        means_row(s["label"], s["to_single"], allocators, "   " + s["best_peer"])
    header("worst row: to its best peer", allocators)
    for s in summary.values():
        means_row(s["label"], {a: w["ratio"] for a, w in s["worst"].items()}, allocators)
        print("%-*s" % (NAME, "") + "".join(
            "%*s" % (CELL, s["worst"][a]["test"] if a in s["worst"] else "")
            for a in allocators))


def show(results, allocators, quick):
    """The tables; quick leaves the counts out."""
    for title, names in GROUPS:
        part = {n: results[n] for n in names if n in results}
        table("ns an operation, median: %s %s" % (title, NOTE), part, allocators, "ns")
    for field, title, scale in (
            ("cpu_ns", "CPU ns an operation, best round " + NOTE, 1),
            ("rss_kb", "peak resident memory, MiB, median " + NOTE, 1024),
            ("after_kb", "resident MiB when all is freed, median " + NOTE, 1024),
            ("idle_kb", "the same after 10 s of doing nothing " + NOTE, 1024)):
        table(title, results, allocators, field, "min" if field == "cpu_ns" else "median",
              scale)
    notes(results, allocators)
    if quick:
        return
    curves(results, allocators)
    table("page faults of the whole process, thousands, median", results, allocators,
          "faults", scale=1000)
    table("context switches of the timed section: it waited", results, allocators,
          "voluntary")
    table("context switches of the timed section: it was put aside", results, allocators,
          "involuntary")
    table("system calls for 1000 operations, a quarter of the work", results, allocators,
          "syscalls")
