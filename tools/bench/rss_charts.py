# SPDX-License-Identifier: MIT
"""Resident memory over time as SVG, and the targets as a table."""
import os

import charts
from peers import SUBJECT

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, RIGHT = 900, 480, 64, 84, 70, 24
MIB = 1024


# ---- what a run says ------------------------------------------------------------

def marks(run, name):
    return [(t, v) for n, t, v in run["marks"] if n == name]


def value(run, name):
    found = marks(run, name)
    return found[-1][1] if found else None


def at(run, seconds):
    """Resident KiB at a moment: the last sample before it."""
    kb = run["samples"][0][1] if run["samples"] else 0
    for t, v in run["samples"]:
        if t > seconds:
            break
        kb = v
    return kb


def peak(run):
    return max((kb for _, kb in run["samples"]), default=0)


def begin(run):
    """What is resident before the first object: after the first mark."""
    return at(run, 0.25)


def at_mark(run, name, later=0.0):
    found = marks(run, name)
    return at(run, found[0][0] + later) - begin(run) if found else None


# ---- pictures ---------------------------------------------------------------------

class Chart:
    def __init__(self, title, subtitle, names, seconds, kb):
        self.seconds = seconds
        ticks = charts.even_ticks(kb / MIB)
        self.top_mib = ticks[-1]
        self.svg = charts.Svg(WIDTH, HEIGHT)
        self.svg.text(16, 26, title, 16, weight="bold")
        self.svg.text(16, 44, subtitle, 11, fill="#555")
        charts.legend(self.svg, names, 16, 66, True)
        for tick in ticks:
            self.svg.line(LEFT, self.y(tick * MIB), WIDTH - RIGHT, self.y(tick * MIB), "#e2e2e2")
            self.svg.text(LEFT - 6, self.y(tick * MIB) + 4, "%g" % tick, 10, "end", fill="#444")
        for tick in charts.even_ticks(seconds):
            if tick <= seconds:
                self.svg.line(self.x(tick), HEIGHT - BOTTOM, self.x(tick), HEIGHT - BOTTOM + 4,
                              "#444")
                self.svg.text(self.x(tick), HEIGHT - BOTTOM + 17, "%g" % tick, 10, "middle",
                              fill="#444")
        self.svg.line(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, "#444")
        self.svg.line(LEFT, TOP, LEFT, HEIGHT - BOTTOM, "#444")
        self.svg.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 36, "seconds", 11, "middle")
        self.svg.text(20, (TOP + HEIGHT - BOTTOM) / 2, "resident MiB", 11, "middle", turn=-90)

    def x(self, seconds):
        return LEFT + (WIDTH - LEFT - RIGHT) * min(seconds / self.seconds, 1)

    def y(self, kb):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * kb / MIB / self.top_mib

    def level(self, kb, text, seconds=0.0, end=None, below=False):
        end = self.seconds if end is None else end
        self.svg.line(self.x(seconds), self.y(kb), self.x(end), self.y(kb), "#d00", 1.2, "5 3")
        self.svg.text(self.x(end) - 4, self.y(kb) + (14 if below else -5), text, 10, "end", fill="#d00")

    def moment(self, seconds, text):
        self.svg.line(self.x(seconds), TOP, self.x(seconds), HEIGHT - BOTTOM, "#bbb", 0.8, "2 3")
        self.svg.text(self.x(seconds) + 4, TOP + 10, text, 10, fill="#666")

    def curve(self, names, name, samples, shift=0.0, pale=False):
        points = thin([(t - shift, kb) for t, kb in samples if t - shift >= 0],
                      self.seconds / 800)
        if not points:
            return
        fill, stroke, dash, marker = charts.style(names, name)
        d = "M" + " L".join("%.1f %.1f" % (self.x(t), self.y(max(kb, 0))) for t, kb in points)
        if pale:
            self.svg.path(d, stroke, dash, 1.2, 0.55)
            return
        self.svg.path(d, stroke, dash)
        step = max(1, len(points) // 8)
        for t, kb in points[step // 2::step]:
            self.svg.marker(marker, self.x(t), self.y(max(kb, 0)), fill, stroke)

    def save(self, data, path):
        charts.source_note(self.svg, data, HEIGHT - 12)
        return self.svg.save(path)


def thin(samples, step):
    """The highest of each step, and every turn of direction is kept by it well
    enough for the eye."""
    result, begin_at = [], None
    for t, kb in samples:
        if begin_at is None or t - begin_at >= step:
            result.append((t, kb))
            begin_at = t
        elif kb > result[-1][1]:
            result[-1] = (t, kb)
    return result


def draw_burst(data, picture, path):
    runs = picture["runs"]
    names = list(runs)
    # from the moment when 97 % are dead: filling takes each its own time
    shift = {n: max(0, marks(r, "freed")[0][0] - 3) for n, r in runs.items()}
    end = max(r["samples"][-1][0] - shift[n] for n, r in runs.items())
    chart = Chart("After a burst of small objects",
                  "600 MiB of 32 to 470 bytes; 97 % freed in random order; no call into the "
                  "allocator; then the rest is freed", names, end,
                  max(map(peak, runs.values())))
    ours = runs.get(SUBJECT) or runs[names[0]]
    freed, gone = marks(ours, "freed")[0][0], marks(ours, "gone")[0][0]
    where = shift[SUBJECT if SUBJECT in runs else names[0]]
    chart.moment(freed - where, "97 % freed")
    chart.moment(gone - where, "all freed")
    chart.level(value(ours, "freed"), "kernel pages that hold a living byte",
                freed - where, gone - where, below=True)
    for n, r in runs.items():
        chart.curve(names, n, r["samples"], shift[n])
    return chart.save(data, path)


def draw_service(data, picture, path):
    runs, free = picture["runs"], picture["free"]
    names = list(runs)
    chart = Chart("A service with a limit", "300 MiB alive; eight threads make 80 MiB of garbage "
                  "each by turns; " + picture["how"] + " (pale: without a limit)", names,
                  max(r["samples"][-1][0] for r in list(runs.values()) + list(free.values())),
                  max(map(peak, free.values())))
    limit = next(iter(runs.values()))["limit"]
    for n, r in free.items():
        if n != SUBJECT:
            chart.curve(names, n, r["samples"], pale=True)
    for n, r in runs.items():
        chart.curve(names, n, r["samples"])
    chart.level(limit, "limit")
    killed = ["%s after %.1f s" % (n, r["samples"][-1][0]) for n, r in runs.items()
              if r["status"] == -9]
    if killed:
        chart.svg.text(LEFT + 8, TOP + 12, "ended by the kernel at the limit: "
                       + ", ".join(killed), 10, fill="#d00")
    return chart.save(data, path)


def draw_swing(data, picture, path, period, shown):
    runs = picture["runs"]
    names = list(runs)
    first = {n: marks(r, "high")[0][0] for n, r in runs.items()}
    chart = Chart("A load that swings, each %d seconds" % period if period > 1 else
                  "A load that swings, each second",
                  "100 MiB always, of which 1 in 100 is replaced in a period; 200 MiB more for "
                  "half of it; small objects by a power law", names, shown,
                  max(map(peak, runs.values())))
    ours = runs.get(SUBJECT) or runs[names[0]]
    live = value(ours, "live")
    chart.level(live, "alive when low")
    for n, r in runs.items():
        chart.curve(names, n, [(t, kb) for t, kb in r["samples"] if t <= first[n] + shown],
                    first[n])
    return chart.save(data, path)


def draw(data, folder):
    os.makedirs(folder, exist_ok=True)
    for name, picture in data["pictures"].items():
        path = os.path.join(folder, name + ".svg")
        if name == "burst":
            yield draw_burst(data, picture, path)
        elif name == "service":
            yield draw_service(data, picture, path)
        elif name == "swing":
            yield draw_swing(data, picture, path, 1, 6)
        elif name == "swing-slow":
            yield draw_swing(data, picture, path, 12, 36)


# ---- tables -----------------------------------------------------------------------

def table(title, rows, names):
    print("\n%s" % title)
    print("%-42s" % "" + "".join("%12s" % n for n in names))
    for text, cells in rows:
        print("%-42s" % text + "".join("%12s" % cells.get(n, "-") for n in names))


def mib(kb):
    return "-" if kb is None else "%.1f" % (kb / MIB)


def cells(runs, fn):
    return {n: fn(r) for n, r in runs.items()}


def target(text, figure, good):
    print("  %-64s %-16s %s" % (text, figure, "met" if good else "NOT MET"))


def reached(run, kb):
    """Seconds from the mark "freed" until no more is resident."""
    freed, gone = marks(run, "freed")[0][0], marks(run, "gone")[0][0]
    for t, v in run["samples"]:
        if freed <= t <= gone and v - begin(run) <= kb:
            return "%.1f" % (t - freed)
    return "never"


def table_burst(picture):
    runs = picture["runs"]

    def after(run):
        return at_mark(run, "idle", -0.05)

    table("burst: resident MiB above the start", [
        ("at the peak", cells(runs, lambda r: mib(peak(r) - begin(r)))),
        ("97 % freed, at once", cells(runs, lambda r: mib(at_mark(r, "freed")))),
        ("after 15 s", cells(runs, lambda r: mib(after(r)))),
        ("the pages that hold a living byte", cells(runs, lambda r: mib(value(r, "freed")))),
        ("ratio", cells(runs, lambda r: "%.2f" % (after(r) / value(r, "freed")))),
        ("seconds to 1.10 of them",
         cells(runs, lambda r: reached(r, 1.1 * value(r, "freed")))),
        ("all freed, at once", cells(runs, lambda r: mib(at_mark(r, "gone", 0.03)))),
        ("10 s later", cells(runs, lambda r: mib(at_mark(r, "end", -0.05)))),
    ], runs)
    ours = runs.get(SUBJECT)
    if ours:
        ratio = after(ours) / value(ours, "freed")
        target("at most 1.10 x the pages that hold a living byte, after 15 s", "%.2f x" % ratio,
               ratio <= 1.10)
        end = at_mark(ours, "end", -0.05)
        target("at most 4 MiB above the start, all freed", mib(end) + " MiB", end <= 4 * MIB)


def table_service(picture):
    runs, free = picture["runs"], picture["free"]
    table("service: 300 MiB alive, garbage in waves (%s)" % picture["how"], [
        ("peak MiB without a limit", cells(free, lambda r: mib(peak(r)))),
        ("peak MiB with it", cells(runs, lambda r: mib(peak(r)))),
        ("waves done, of %d" % max(len(marks(r, "wave")) for r in free.values()),
         cells(runs, lambda r: "%d" % (len(marks(r, "wave")) - (r["status"] != 0)))),
        ("ended by", cells(runs, lambda r: "kernel" if r["status"] == -9 else
                           "itself" if not r["status"] else "status %d" % r["status"])),
    ], runs)
    ours = runs.get(SUBJECT)
    if ours:
        target("lives", "status %d" % ours["status"], not ours["status"])


def per_period(run):
    """Page faults of a period, the median of all but the first."""
    low = [v for _, v in marks(run, "high")] + [value(run, "end")]
    steps = sorted(b - a for a, b in zip(low[1:], low[2:]))
    return steps[len(steps) // 2] if steps else 0


def trough(run):
    found = sorted(v for _, v in marks(run, "trough")[1:])
    return found[len(found) // 2] - begin(run) if found else 0


def table_swing(name, picture):
    runs = picture["runs"]
    all_runs = dict(runs)
    if "without" in runs.get(SUBJECT, {}):
        all_runs["no thread"] = runs[SUBJECT]["without"]
    table("%s: a load that swings" % name, [
        ("peak MiB above the start", cells(all_runs, lambda r: mib(peak(r) - begin(r)))),
        ("trough MiB, median", cells(all_runs, lambda r: mib(trough(r)))),
        ("ratio to what lives then",
         cells(all_runs, lambda r: "%.2f" % (trough(r) / value(r, "live")))),
        ("page faults a period, median", cells(all_runs, lambda r: "%d" % per_period(r))),
        ("background CPU, percent",
         cells(all_runs, lambda r: "-" if r["background"] is None else
               "%.2f" % (100 * r["background"] / r["marks"][-1][1]))),
    ] + [("malloc, ns: %s" % text, cells(all_runs, lambda r, n=n: "%d" % (value(r, n) or 0)))
         for n, text in (("p50", "half"), ("p99", "99 %"), ("p999", "99.9 %"),
                         ("p9999", "99.99 %"), ("max", "longest"))], all_runs)
    ours = runs.get(SUBJECT)
    if not ours:
        return
    if "mimalloc" in runs:
        limit = 1.2 * per_period(runs["mimalloc"])
        target("page faults a period at most 1.2 x mimalloc's",
               "%d of %d" % (per_period(ours), limit), per_period(ours) <= limit)
    if name == "swing-slow":
        ratio = trough(ours) / value(ours, "live")
        target("trough at most 1.2 x what lives then", "%.2f x" % ratio, ratio <= 1.2)
    used = 100 * (ours["background"] or 0) / ours["marks"][-1][1]
    target("background thread at most 1 % of a CPU", "%.2f %%" % used, used <= 1)
    if "without" in ours:
        with_it, without = value(ours, "p999"), value(ours["without"], "p999")
        target("99.9 % of malloc no slower than without it (+ 10 % for noise)",
               "%d of %d ns" % (with_it, without), with_it <= 1.1 * without)


def tables(data):
    for name, picture in data["pictures"].items():
        if name == "burst":
            table_burst(picture)
        elif name == "service":
            table_service(picture)
        else:
            table_swing(name, picture)
