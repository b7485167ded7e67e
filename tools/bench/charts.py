# SPDX-License-Identifier: MIT
"""Charts as SVG: bars of ratios, and lines.

Every allocator has a colour, a marker and a dash of its own; the colours differ
in lightness too, so that a print in grey can be read.
"""
import glob
import math
import os
from html import escape

from tests import HEAPS, THREADS

FONT = "font-family='DejaVu Sans, Helvetica, Arial, sans-serif'"
STYLES = {      # fill, stroke, dash, marker
    "heaparena": ("#08306b", "#08306b", "", "circle"),
    "glibc": ("#eeeeee", "#666666", "6 3", "square"),
    "jemalloc": ("#fdb863", "#c9781a", "2 2", "triangle"),
    "mimalloc": ("#41ab5d", "#238b45", "8 3 2 3", "diamond"),
    "tcmalloc": ("#cb181d", "#cb181d", "4 2", "cross"),
}
FURTHER = [("#9e9ac8", "#6a51a3", "1 3", "square"), ("#8c510a", "#8c510a", "10 4", "triangle"),
           ("#80cdc1", "#35978f", "3 1 1 1", "diamond"), ("#333333", "#333333", "12 2", "cross")]


def style(allocators, name):
    if name in STYLES:
        return STYLES[name]
    others = [a for a in allocators if a not in STYLES]
    return FURTHER[others.index(name) % len(FURTHER)]


class Svg:
    def __init__(self, width, height):
        self.size = width, height
        self.parts = ["<rect width='%d' height='%d' fill='white'/>" % self.size]

    def text(self, x, y, text, size=11, anchor="start", weight="normal", fill="#222", turn=0):
        self.parts.append(
            "<text x='%.1f' y='%.1f' font-size='%d' text-anchor='%s' font-weight='%s' "
            "fill='%s'%s>%s</text>" % (x, y, size, anchor, weight, fill,
                                       " transform='rotate(%d %.1f %.1f)'" % (turn, x, y)
                                       if turn else "", escape(text)))

    def line(self, x1, y1, x2, y2, stroke="#ccc", width=1.0, dash=""):
        self.parts.append(
            "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='%s' stroke-width='%.1f'%s/>" % (
                x1, y1, x2, y2, stroke, width, " stroke-dasharray='%s'" % dash if dash else ""))

    def rect(self, x, y, w, h, fill, stroke="none"):
        self.parts.append("<rect x='%.1f' y='%.1f' width='%.1f' height='%.1f' fill='%s' "
                          "stroke='%s' stroke-width='0.6'/>" % (x, y, w, h, fill, stroke))

    def path(self, d, stroke, dash, width=1.8, opacity=1):
        self.parts.append("<path d='%s' fill='none' stroke='%s' stroke-width='%.1f'%s%s/>" % (
            d, stroke, width, " stroke-dasharray='%s'" % dash if dash else "",
            " stroke-opacity='%.2f'" % opacity if opacity < 1 else ""))

    def marker(self, kind, x, y, fill, stroke):
        r = 3.6
        shape = {
            "circle": "<circle cx='%.1f' cy='%.1f' r='%.1f'" % (x, y, r),
            "square": "<rect x='%.1f' y='%.1f' width='%.1f' height='%.1f'" % (
                x - r, y - r, 2 * r, 2 * r),
            "triangle": "<path d='M%.1f %.1f l%.1f %.1f h%.1f z'" % (x, y - r - 1, r + .6, 2 * r,
                                                                   -2 * r - 1.2),
            "diamond": "<path d='M%.1f %.1f l%.1f %.1f l%.1f %.1f l%.1f %.1f z'" % (
                x, y - r - 1, r + 1, r + 1, -r - 1, r + 1, -r - 1, -r - 1),
            "cross": "<path d='M%.1f %.1f l%.1f %.1f m0 %.1f l%.1f %.1f'" % (
                x - r, y - r, 2 * r, 2 * r, -2 * r, -2 * r, 2 * r),
        }[kind]
        width = 2 if kind == "cross" else 1
        self.parts.append(shape + " fill='%s' stroke='%s' stroke-width='%d'/>" % (
            fill, stroke, width))

    def save(self, path):
        with open(path, "w") as f:
            f.write("<?xml version='1.0' encoding='UTF-8'?>\n"
                    "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' "
                    "viewBox='0 0 %d %d' %s>\n" % (self.size + self.size + (FONT,)))
            f.write("\n".join(self.parts) + "\n</svg>\n")
        return path


def legend(svg, allocators, x, y, lines):
    for a in allocators:
        fill, stroke, dash, marker = style(allocators, a)
        if lines:
            svg.line(x, y - 4, x + 26, y - 4, stroke, 1.8, dash)
            svg.marker(marker, x + 13, y - 4, fill, stroke)
        else:
            svg.rect(x + 4, y - 9, 18, 10, fill, stroke)
        svg.text(x + 32, y, a, 12, weight="bold" if a == "heaparena" else "normal")
        x += 50 + 7.6 * len(a)


def source_note(svg, data, y):
    svg.text(16, y, "%(cpu)s, %(cpus)s CPUs, Linux %(kernel)s, %(date)s" % data["machine"],
             9, fill="#777")


# ---- bars ---------------------------------------------------------------------

BAR, GAP, LABEL, PLOT = 5, 7, 108, 300
TICKS = [0.25, 0.5, 1, 2, 4, 8]


def bar_rows(data, groups, field):
    """(title, None) and (name, ratios) in the order of the tables."""
    rows = []
    for title, names in groups:
        part = []
        for name in names:
            test = data["tests"].get(name)
            if not test or "detail" in test["flags"]:
                continue
            ratios = {a: f[field]["ratio_median"] for a, f in test["allocators"].items()
                      if "ratio_median" in f.get(field, {})}
            if ratios:
                part.append((name, ratios))
        if part:
            rows += [(title, None)] + part
    return rows


def bar_x(ratio):
    lo, hi = math.log(TICKS[0]), math.log(TICKS[-1])
    return PLOT * (min(max(math.log(ratio), lo), hi) - lo) / (hi - lo)


def draw_bars(data, groups, field, title, path):
    allocators = list(data["libraries"])
    rows = bar_rows(data, groups, field)
    if not rows:
        return None
    height = len(allocators) * BAR + GAP

    def heights(part):
        return sum(22 if ratios is None else height for _, ratios in part)

    columns = [rows]
    heads = [i for i, row in enumerate(rows) if i and row[1] is None]
    if len(rows) > 26 and heads:    # a group is not torn
        cut = min(heads, key=lambda i: abs(heights(rows[:i]) - heights(rows[i:])))
        columns = [rows[:cut], rows[cut:]]
    width = LABEL + PLOT + 50
    top = 92
    tall = max(map(heights, columns))
    svg = Svg(width * len(columns) + 16, top + tall + 46)
    svg.text(16, 26, title, 16, weight="bold")
    svg.text(16, 44, "ratio to the best peer of each row, logarithmic; left of 1 is better than "
             "every peer", 11, fill="#555")
    legend(svg, allocators, 16, 66, False)
    for i, part in enumerate(columns):
        draw_bar_column(svg, part, allocators, 16 + i * width, top, tall)
    source_note(svg, data, top + tall + 36)
    return svg.save(path)


def draw_bar_column(svg, rows, allocators, left, top, tall):
    x0 = left + LABEL
    for tick in TICKS:
        x = x0 + bar_x(tick)
        svg.line(x, top, x, top + tall, "#444" if tick == 1 else "#ddd")
        svg.text(x, top - 4, "%gx" % tick, 9, "middle", fill="#555")
        svg.text(x, top + tall + 12, "%gx" % tick, 9, "middle", fill="#555")
    y = top
    for name, ratios in rows:
        if ratios is None:
            svg.rect(left, y + 4, 7.4 * len(name), 15, "white")
            svg.text(left, y + 15, name, 11, weight="bold", fill="#333")
            y += 22
            continue
        svg.text(x0 - 6, y + len(allocators) * BAR / 2 + 4, name, 10, "end")
        for i, a in enumerate(allocators):
            if a not in ratios:
                svg.text(x0 + bar_x(1) + 3, y + i * BAR + BAR, "failed", 6, fill="#a00")
                continue
            fill, stroke, _, _ = style(allocators, a)
            one, end = x0 + bar_x(1), x0 + bar_x(ratios[a])
            svg.rect(min(one, end), y + i * BAR, max(abs(end - one), 1), BAR - 0.8, fill, stroke)
            if a == "heaparena" or ratios[a] > TICKS[-1]:
                bold = "bold" if a == "heaparena" else "normal"
                beyond = end if ratios[a] >= 1 else one
                svg.text(beyond + 3, y + i * BAR + BAR, "%.2f" % ratios[a], 7, weight=bold,
                         fill="#08306b" if a == "heaparena" else "#555")
        y += len(allocators) * BAR + GAP


# ---- lines --------------------------------------------------------------------

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, RIGHT = 760, 460, 72, 84, 76, 24


def nice_ticks(lo, hi):
    """1 2 5 10 ... that frame [lo, hi]; at most nine or so."""
    ticks, decade = [], math.floor(math.log10(lo))
    while not ticks or ticks[-1] < hi:
        for step in (1, 2, 5):
            ticks.append(step * 10.0 ** decade)
            if ticks[-1] >= hi:
                break
        decade += 1
    while len(ticks) > 1 and ticks[1] <= lo:
        ticks.pop(0)
    if len(ticks) > 10:
        ticks = [t for t in ticks if math.log10(t) % 1 < 1e-9 or t in (ticks[0], ticks[-1])]
    return ticks


def even_ticks(hi):
    """0 and up to ten steps of 1 2 5 10 ... that reach hi."""
    step = next(t for t in nice_ticks(hi / 100, hi) if hi / t <= 8)
    return [i * step for i in range(math.ceil(hi / step) + 1)]


def plain(value):
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if value >= limit * 10 or (value >= limit and value % limit == 0):
            return "%g%s" % (value / limit, unit)
    return "%g" % value


def draw_lines(data, curves, names, title, subtitle, xlabel, ylabel, path, xticks, xtext=plain,
               linear=False):
    """curves: name -> [(x, y)]. x is logarithmic, or at its rank in xticks when all
    are there; y is logarithmic unless linear."""
    curves = {n: [(x, y) for x, y in curves[n] if y > 0] for n in names if curves.get(n)}
    curves = {n: points for n, points in curves.items() if points}
    if not curves:
        return None
    ys = [y for points in curves.values() for _, y in points]
    yticks = even_ticks(max(ys)) if linear else nice_ticks(min(ys), max(ys))
    ranks = {x: i for i, x in enumerate(xticks)}
    by_rank = len(ranks) > 1 and all(x in ranks for p in curves.values() for x, _ in p)
    xs = [x for points in curves.values() for x, _ in points]
    lo, hi = math.log(min(xs)), math.log(max(max(xs), min(xs) * 1.01))

    def place_x(x):
        part = ranks[x] / (len(ranks) - 1) if by_rank else (math.log(x) - lo) / (hi - lo)
        return LEFT + part * (WIDTH - LEFT - RIGHT)

    def place_y(y):
        part = 0
        if linear:
            part = y / yticks[-1]
        elif len(yticks) > 1:
            part = math.log(y / yticks[0]) / math.log(yticks[-1] / yticks[0])
        return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)

    svg = Svg(WIDTH, HEIGHT)
    svg.text(16, 26, title, 16, weight="bold")
    svg.text(16, 44, subtitle, 11, fill="#555")
    legend(svg, names, 16, 66, True)
    for tick in yticks:
        svg.line(LEFT, place_y(tick), WIDTH - RIGHT, place_y(tick), "#e2e2e2")
        svg.text(LEFT - 6, place_y(tick) + 4, plain(tick), 10, "end", fill="#444")
    for tick in xticks:
        if not by_rank and not min(xs) <= tick <= max(xs):
            continue
        svg.line(place_x(tick), HEIGHT - BOTTOM, place_x(tick), HEIGHT - BOTTOM + 4, "#444")
        svg.text(place_x(tick), HEIGHT - BOTTOM + 17, xtext(tick), 10, "middle", fill="#444")
    svg.line(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, "#444")
    svg.line(LEFT, TOP, LEFT, HEIGHT - BOTTOM, "#444")
    svg.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 36, xlabel, 11, "middle")
    svg.text(20, (TOP + HEIGHT - BOTTOM) / 2, ylabel, 11, "middle", turn=-90)
    for name, points in curves.items():
        fill, stroke, dash, marker = style(names, name)
        d = "M" + " L".join("%.1f %.1f" % (place_x(x), place_y(y)) for x, y in points)
        svg.path(d, stroke, dash)
        if len(points) <= 20:
            for x, y in points:
                svg.marker(marker, place_x(x), place_y(y), fill, stroke)
    source_note(svg, data, HEIGHT - 12)
    return svg.save(path)


def over(data, rows, field, scale=1):
    """Curves of a figure over the x of rows: [(x, test name)]."""
    result = {}
    for x, name in rows:
        for a, figures in data["tests"].get(name, {}).get("allocators", {}).items():
            if field in figures:
                result.setdefault(a, []).append((x, figures[field]["median"] / scale))
    return result


def series(data, test, curve):
    return {a: list(map(tuple, f["series"].get(curve, [])))
            for a, f in data["tests"].get(test, {}).get("allocators", {}).items()}


def in_bytes(x):
    return "%dM" % (x >> 20) if x >= 1 << 20 else "%dK" % (x >> 10) if x >= 1024 else "%d" % x


def percent(x):
    return "max" if x == 100 else "%g" % x


def draw_curves(data, folder):
    names = list(data["libraries"])

    def lines(file, *args, **more):
        return draw_lines(data, args[0], names, *args[1:], os.path.join(folder, file), **more)

    threads = [(n, "threads-%d" % n) for n in THREADS]
    yield lines("threads-time.svg", over(data, threads, "ns"), "Time over thread counts",
                "random replacement among 1e5 live objects of 16 to 1024 bytes",
                "threads", "ns of a CPU, an operation", xticks=THREADS)
    yield lines("threads-memory.svg", over(data, threads, "rss_kb", 1024),
                "Peak memory over thread counts", "the same work; the live objects are always 1e5",
                "threads", "peak resident MiB", xticks=THREADS)
    for kind, words in (("replace", "power law, 16 to 1024 bytes"),
                        ("uniform", "uniform, 16 to 1024 bytes (1e7: to 256)"),
                        ("phase", "uniform in a band that moves on")):
        heaps = [(float(n), "%s-%s" % (kind, n)) for n in HEAPS]
        yield lines("heaps-%s.svg" % kind, over(data, heaps, "ns"), "Time over heap sizes",
                    "random replacement; sizes: " + words, "live objects", "ns an operation",
                    xticks=[float(n) for n in HEAPS])
    for curve, words in (("pair", "malloc + free of one object"),
                         ("burst", "64 objects allocated, then freed in order")):
        yield lines("classes-%s.svg" % curve, series(data, "classes", curve),
                    "Time over object sizes", words, "bytes", "ns a pair",
                    xticks=[2 ** i for i in range(3, 21)], xtext=in_bytes)
    for test in ("latency", "latency-2t"):
        for curve in ("malloc", "free"):
            yield lines("%s-%s.svg" % (test, curve), series(data, test, curve),
                        "Latency of one %s%s" % (curve, ", two threads" if "2t" in test else ""),
                        "random replacement among 1e4 live objects; reading the clock included",
                        "percent of the calls that take at most as long", "ns",
                        xticks=[50, 90, 99, 99.9, 99.99, 99.999, 100], xtext=percent)


def draw_pages(data, folder):
    """Even steps upwards for each factor of the heap: a logarithm is a straight line."""
    figures = data.get("page_find")
    if not figures:
        return
    for curve, what, ylabel in (("find", "Time of a search", "ns"),
                                ("steps", "Summaries read in a search", "summaries")):
        yield draw_lines(
            data, {"heaparena": figures["series"][curve]}, ["heaparena"],
            what + " for 64 pages, over heap sizes",
            "every chunk of the heap has free pages, one place alone has 64 together",
            "heap, GiB", ylabel, os.path.join(folder, "pages-%s.svg" % curve),
            xticks=[1, 4, 16, 64, 256, 1024], linear=True)


def draw_cpusim(data, folder):
    rows = data.get("cpusim") or []
    names = list(dict.fromkeys(row["pattern"] for row in rows))
    for field, title, ylabel in (
            ("one_mb", "Memory in the caches of one CPU, at the most", "MiB"),
            ("all_mb", "Memory in the caches of all CPUs", "MiB"),
            ("handed", "Cache lines that CPUs hand to each other", "for 1e6 allocations"),
            ("remote", "Work on another node's structures", "for 1e6 allocations")):
        yield draw_lines(
            data, {n: [(r["cpus"], r[field]) for r in rows if r["pattern"] == n] for n in names},
            names, title, "simulated over the library's own structures, on 8 nodes; "
            "256 live objects a CPU", "CPUs", ylabel,
            os.path.join(folder, "cpusim-%s.svg" % field.replace("_mb", "")),
            xticks=[2 ** i for i in range(9)])


def draw(data, groups, folder):
    """Writes the charts that there are figures for, in place of all earlier ones;
    their paths."""
    os.makedirs(folder, exist_ok=True)
    for old in glob.glob(os.path.join(folder, "*.svg")):
        os.remove(old)
    paths = [
        draw_bars(data, groups, field, title, os.path.join(folder, file))
        for field, title, file in (
            ("ns", "Time an operation", "time.svg"),
            ("cpu_ns", "CPU time an operation", "cpu.svg"),
            ("rss_kb", "Peak resident memory", "peak.svg"),
            ("after_kb", "Resident memory when all is freed", "after.svg"))]
    paths += draw_curves(data, folder)
    paths += draw_pages(data, folder)
    paths += draw_cpusim(data, folder)
    return [path for path in paths if path]
