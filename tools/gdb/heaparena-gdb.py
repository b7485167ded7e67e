# SPDX-License-Identifier: MIT
"""
heaparena in gdb: a heap, and whose an address is.

	info heaparena			nodes and size classes
	heaparena owner EXPRESSION	the object, span and state at an address

For processes and for core files, at any moment: memory is read, no function of the
program is called.  What another thread is in the middle of changing may be told
half; nothing breaks by it.

gdb loads this file with an installed library (share/gdb/auto-load); else

	(gdb) source tools/gdb/heaparena-gdb.py

It needs the library's debugging information, for the names and places of its
variables: a build of one's own has it, packages have libheaparena1-dbgsym.  A few
constants that are macros in the sources are repeated here.
"""
import struct

import gdb

PAGE_SHIFT = 13				# lib/page.h
ARENA_SHIFT = 26
ARENA_PAGES = 1 << (ARENA_SHIFT - PAGE_SHIFT)
ROUTE_SHIFT = 17 + 4			# lib/heap_arena.h: PLACE_ROUTE_SHIFT, PAGE_ENTRY_SHIFT
ROUTE_CLASSES = 128
ROUTE_HEAP = 127
PLACE_OFFSET_MASK = (16 << PAGE_SHIFT) - 1
MAG_SLOT_UNITS = 2			# include/asm-generic/rseq.h


class Missing(gdb.GdbError):
	pass


def size(n):
	"""Bytes, as people read them."""
	for unit in ("", "K", "M", "G"):
		if n < 10240 or unit == "G":
			return "%d%s" % (n, unit)
		n = (n + 512) // 1024


def words(fmt, addr, nr):
	"""nr numbers of the format's size from memory."""
	width = struct.calcsize("=" + fmt)
	data = gdb.selected_inferior().read_memory(addr, width * nr)
	return struct.unpack("=%d%s" % (nr, fmt), data.tobytes())


class Library:
	"""The library's variables: in its own object file, or in a static program."""

	def __init__(self):
		for objfile in gdb.objfiles():
			# its private names, so that no variable of a program's is taken
			if objfile.lookup_global_symbol("mcentrals"):
				self.objfile = objfile
				break
		else:
			raise Missing("No heaparena with debugging information here "
				      "(a library without: libheaparena1-dbgsym).")
		if not gdb.selected_inferior().pid and not gdb.selected_inferior().threads():
			raise Missing("No process or core file.")
		self.block = self.symbol("mheaps").symtab.static_block()

	def symbol(self, name):
		s = (self.objfile.lookup_global_symbol(name) or
		     self.objfile.lookup_static_symbol(name))
		if not s:
			raise Missing("This heaparena has no '%s': of another version "
				      "than this script." % name)
		return s

	def var(self, name):
		return self.symbol(name).value()

	def type(self, name):
		return gdb.lookup_type(name, self.block)

	def at(self, addr, type_name):
		return gdb.Value(addr).cast(self.type(type_name).pointer()).dereference()

	def started(self):
		return int(self.var("arena_limit")) != 0

	# ---- addresses ------------------------------------------------------

	def arena(self, addr):
		"""The arena of an address, or None."""
		index = self.var("arena_index")
		limit = int(self.var("arena_limit"))
		ai = addr >> ARENA_SHIFT
		if ai >= limit:
			return None
		if index.type.code == gdb.TYPE_CODE_ARRAY:
			per_l2 = limit // (index.type.range()[1] + 1)
			index = index[ai // per_l2]
			ai %= per_l2
			if not int(index):
				return None
		arena = index[ai]
		return arena if int(arena) else None

	def entry(self, arena, page):
		"""(states, place) of a page."""
		addr = int(arena["page"]) + page * 16
		states, magic, place = struct.unpack(
			"=QII", gdb.selected_inferior().read_memory(addr, 16).tobytes())
		return states, place

	def first_page_below(self, arena, page):
		"""The nearest first page of a span at or below a page."""
		while arena is not None:
			base = int(arena["start"].address)
			bits = words("Q", base, page // 64 + 1)
			for i in range(len(bits) - 1, -1, -1):
				word = bits[i]
				if i == page // 64:
					word &= (2 << page % 64) - 1
				if word:
					return arena, i * 64 + word.bit_length() - 1
			start = int(arena["base"])
			arena = self.arena(start - 1) if start else None
			page = ARENA_PAGES - 1
		return None, 0

	def span(self, addr):
		"""(descriptor, place) of the span that covers an address, or (None, 0)."""
		arena = self.arena(addr)
		if arena is None:
			return None, 0
		page = addr >> PAGE_SHIFT & ARENA_PAGES - 1
		states, place = self.entry(arena, page)
		if not states:
			arena, page = self.first_page_below(arena, page)
			if arena is None:
				return None, 0
			states, place = self.entry(arena, page)
		if not states:
			return None, 0
		s = self.at(words("Q", states - 8, 1)[0], "struct mspan")
		start = int(s["start"])
		if not int(s["state"]) or not start <= addr < start + span_bytes(s):
			return None, 0
		return s, place

	def object_state(self, s, idx, place):
		"""What is known of an object, in a word."""
		sc = int(s["sc"])
		checked = bool(self.var("conf")["check"])
		own_heap = place >> ROUTE_SHIFT == ROUTE_HEAP
		if checked or not sc or own_heap:
			if words("B", int(s["object_state"]) + idx, 1)[0]:
				return "live"
			if not sc:
				return "free"
		bits = words("Q", int(s.address) + s.type.sizeof + idx // 64 * 8, 1)[0]
		if not bits >> idx % 64 & 1:
			return "free"
		return "free, in a cache" if checked or own_heap else \
			"live or in a cache (check:off)"

	# ---- sums -----------------------------------------------------------

	def cached(self):
		"""Objects in magazines and depots, by class."""
		nr_classes = self.var("size_classes").type.range()[1] + 1
		nr_nodes = int(self.var("topo")["nr_nodes"])
		counts = [0] * nr_classes
		slots = self.var("slot_hdrs")
		hdrs = [h for h in words("Q", int(slots.address), int(self.var("nr_slot_ids"))) if h]
		locked = self.var("locked_slots")
		for i in range(locked.type.range()[1] + 1):
			if int(locked[i]["hdrs"]):
				hdrs.append(int(locked[i]["hdrs"]))
		for h in hdrs:
			# the nodes' rows, and as many of what goes out
			for row in range(2 * nr_nodes):
				# top, three that count, floor, limit, tag, base
				w = words("H", h + row * ROUTE_CLASSES * 16, 8 * nr_classes)
				for sc in range(1, nr_classes):
					counts[sc] += (w[8 * sc] - w[8 * sc + 7]) // MAG_SLOT_UNITS
		central = self.var("mcentrals")
		for n in range(nr_nodes):
			for sc in range(1, nr_classes):
				held = int(central[n][sc]["depot"]["held"])
				counts[sc] += held & 0xffffffff
		return counts


def span_bytes(s):
	return int(s["nr_pages"]) << PAGE_SHIFT


class HeaparenaPrefix(gdb.Command):
	"""Commands about the heaparena allocator."""

	def __init__(self):
		super().__init__("heaparena", gdb.COMMAND_DATA, gdb.COMPLETE_NONE, True)


class HeaparenaOwner(gdb.Command):
	"""Whose memory is at an address: object, state, span.
Usage: heaparena owner EXPRESSION"""

	def __init__(self):
		super().__init__("heaparena owner", gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

	def invoke(self, arg, from_tty):
		if not arg:
			raise gdb.GdbError("heaparena owner: which address?")
		lib = Library()
		value = gdb.parse_and_eval(arg)
		if value.type.strip_typedefs().code == gdb.TYPE_CODE_ARRAY:
			value = value.address
		addr = int(value.cast(gdb.lookup_type("unsigned long")))
		print("0x%x: %s" % (addr, self.describe(lib, addr)))

	def describe(self, lib, addr):
		if not lib.started() or lib.arena(addr) is None:
			return "not in the heap"
		s, place = lib.span(addr)
		if s is None:
			return "in pages of the heap that are free or not in use yet"
		start = int(s["start"])
		bytes = int(s["size"]) or span_bytes(s)
		idx = (addr - start) // bytes
		kind = "large" if not int(s["sc"]) else "class %d" % int(s["sc"])
		where = "span 0x%x (%s, %d bytes x %d, node %d)" % (
			start, kind, bytes, int(s["nelems"]), int(s["nid"]))
		if place >> ROUTE_SHIFT == ROUTE_HEAP:
			where += ', heap "%s"' % s["heap"]["name"].string()
		if idx >= int(s["nelems"]):
			return "behind the last object of " + where
		first = start + idx * bytes
		text = "object 0x%x, number %d of %s: %s" % (
			first, idx, where, lib.object_state(s, idx, place))
		if addr != first:
			text = "%d bytes inside " % (addr - first) + text
		return text


class InfoHeaparena(gdb.Command):
	"""The heap of the heaparena allocator: nodes and size classes."""

	def __init__(self):
		super().__init__("info heaparena", gdb.COMMAND_STATUS)

	def invoke(self, arg, from_tty):
		lib = Library()
		if not lib.started():
			print("The heap has not been used yet.")
			return
		self.options(lib)
		self.nodes(lib)
		self.classes(lib)

	def options(self, lib):
		conf = lib.var("conf")
		print("misuse detection %s; %s caches; metadata %s" % (
			"on" if conf["check"] else "off",
			"per-CPU" if lib.var("rseq_usable") else "locked",
			size(int(lib.var("meta")["bytes"]))))
		none = (1 << 64) - 1
		limit = lib.var("limit")
		for name in "soft", "hard":
			if int(limit[name]) != none:
				print("%s limit %s" % (name, size(int(limit[name]))))

	def nodes(self, lib):
		heaps = lib.var("mheaps")
		print("%-5s %9s %9s %9s %9s %8s %9s %9s" % (
			"node", "mapped", "in use", "free", "returned", "spans", "large",
			"in large"))
		for n in range(int(lib.var("topo")["nr_nodes"])):
			h = heaps[n]
			p = h["pages"]
			pages, free = int(p["nr_pages"]), int(p["nr_free"])
			scav = int(p["nr_scav"])
			# windows count as in use there; they are free to everyone else
			for i in range(h["cache"].type.range()[1] + 1):
				window = h["cache"][i]["pages"]
				free += bin(int(window["free"])).count("1")
				scav += bin(int(window["scav"])).count("1")
			print("%-5d %9s %9s %9s %9s %8d %9d %9s" % (
				n, size(pages << PAGE_SHIFT), size(pages - free << PAGE_SHIFT),
				size(free - scav << PAGE_SHIFT), size(scav << PAGE_SHIFT),
				int(h["nr_spans"]), int(h["nr_large_now"]),
				size(int(h["large_bytes"]))))

	def classes(self, lib):
		table = lib.var("size_classes")
		central = lib.var("mcentrals")
		nr_nodes = int(lib.var("topo")["nr_nodes"])
		cached = lib.cached()
		print("%-5s %8s %8s %9s %9s %9s %9s %5s" % (
			"class", "size", "spans", "objects", "live", "in caches", "bytes",
			"live%"))
		for sc in range(1, table.type.range()[1] + 1):
			spans = sum(int(central[n][sc]["nr_spans"]) for n in range(nr_nodes))
			if not spans:
				continue
			out = sum(int(central[n][sc]["nr_out"]) for n in range(nr_nodes))
			objects = spans * int(table[sc]["nelems"])
			live = max(out - cached[sc], 0)
			print("%-5d %8d %8d %9d %9d %9d %9s %4d%%" % (
				sc, int(table[sc]["size"]), spans, objects, live, cached[sc],
				size(spans * int(table[sc]["pages"]) << PAGE_SHIFT),
				100 * live // objects))


HeaparenaPrefix()
HeaparenaOwner()
InfoHeaparena()
