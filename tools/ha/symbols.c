// SPDX-License-Identifier: MIT
/*
 * From addresses to functions, files and lines: elfutils' libdw, on the files that
 * the profile names, as the process has them where it runs (it may have a root of its
 * own, or the file has been replaced), with the debug information that is installed
 * for them (by build id or .gnu_debuglink), their symbol table, or their dynamic one;
 * whatever there is.  Where a function was inlined it is a frame of its own.
 *
 * A file that is not the one that was mapped, by its build id, is not used: its names
 * would be wrong.
 */
#include <dlfcn.h>
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <gelf.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "profile.h"
#include "text.h"

/* Where the file of a mapping is looked for: see file_place(). */
#define NR_PLACES	5

struct module {
	Dwfl *dwfl;
	Dwfl_Module *mod;
	Elf *elf;
	GElf_Addr bias;
};

/* C++ names as they were written, where libstdc++ is there to say. */
static const char *demangle(const char *name)
{
	static char *(*cxa)(const char *name, char *buf, size_t *len, int *status);
	static bool looked;
	int status = 0;
	char *s;

	if (strncmp(name, "_Z", 2))
		return name;
	if (!looked) {
		void *lib = dlopen("libstdc++.so.6", RTLD_NOW);

		looked = true;
		if (lib)
			*(void **)&cxa = dlsym(lib, "__cxa_demangle");
	}
	s = cxa ? cxa(name, NULL, NULL, &status) : NULL;
	return s ? s : name;
}

/* As text: a file may name its functions and sources as it likes. */
static const char *shown(const char *name)
{
	return name ? clean_name(name) : NULL;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool same_build(const struct module *m, const struct mapping *map)
{
	const unsigned char *bits;
	GElf_Addr vaddr;
	int len = dwfl_module_build_id(m->mod, &bits, &vaddr);

	if (!*map->build_id || len <= 0)
		return true;
	for (int i = 0; i < len; i++) {
		char hex[3];

		snprintf(hex, sizeof(hex), "%02x", bits[i]);
		if (strncmp(hex, map->build_id + 2 * i, 2))
			return false;
	}
	return true;
}

static bool same_file(const char *a, const char *b)
{
	struct stat x, y;

	return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/*
 * The @i-th place where the file of @map may be, the best first: false for none.  Under
 * its own name, debug information is found beside it.
 */
static bool file_place(const struct mapping *map, pid_t pid, unsigned int i, char path[PATH_MAX])
{
	char root[PATH_MAX], link[PATH_MAX];
	ssize_t len;
	int n = 0;

	snprintf(path, PATH_MAX, "%s", map->file);
	if (!pid || i == NR_PLACES - 1)
		return i == NR_PLACES - 1;
	snprintf(root, sizeof(root), "/proc/%d/root%s", (int)pid, map->file);
	switch (i) {
	case 0:
		return same_file(path, root);
	case 1:
		n = snprintf(path, PATH_MAX, "%s", root);
		break;
	case 2:
		snprintf(path, PATH_MAX, "/proc/%d/exe", (int)pid);
		len = readlink(path, link, sizeof(link) - 1);
		link[len > 0 ? len : 0] = 0;
		return !strcmp(link, map->file);
	case 3:
		/* for root alone */
		n = snprintf(path, PATH_MAX, "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, (int)pid,
			     map->start, map->limit);
	}
	return n < PATH_MAX;
}

/* Whatever the name leads to by now: nobody is waited for. */
static int open_regular(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd >= 0 && (fstat(fd, &st) || !S_ISREG(st.st_mode))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static Elf *module_file(struct module *m, const struct mapping *map, const char *path, int fd)
{
	static char *debug_path;
	static const Dwfl_Callbacks callbacks = {
		.find_elf = dwfl_build_id_find_elf,
		.find_debuginfo = dwfl_standard_find_debuginfo,
		.section_address = dwfl_offline_section_address,
		.debuginfo_path = &debug_path,
	};

	*m = (struct module){ .dwfl = dwfl_begin(&callbacks) };
	if (m->dwfl) {
		dwfl_report_begin(m->dwfl);
		m->mod = dwfl_report_offline(m->dwfl, map->file, path, fd);
		dwfl_report_end(m->dwfl, NULL, NULL);
	}
	/* a module has taken it */
	if (!m->mod)
		close(fd);
	return m->mod ? dwfl_module_getelf(m->mod, &m->bias) : NULL;
}

static bool module_open(struct module *m, const struct mapping *map, pid_t pid)
{
	char path[PATH_MAX];
	bool other = false;

	for (unsigned int i = 0; map->file[0] == '/' && i < NR_PLACES; i++) {
		int fd = file_place(map, pid, i, path) ? open_regular(path) : -1;

		if (fd < 0)
			continue;
		m->elf = module_file(m, map, path, fd);
		if (m->elf && same_build(m, map))
			return true;
		other |= m->elf != NULL;
		dwfl_end(m->dwfl);
	}
	*m = (struct module){ 0 };
	if (other)
		fail("%s: is not the file that was running; its functions have no names",
		     map->file);
	return false;
}

/* Where in the file's own addresses, those of its symbols, @addr of @map is. */
static bool file_address(const struct module *m, const struct mapping *map, uint64_t addr,
			 uint64_t *to)
{
	uint64_t offset = addr - map->start + map->offset;
	size_t nr;

	if (elf_getphdrnum(m->elf, &nr))
		return false;
	for (size_t i = 0; i < nr; i++) {
		GElf_Phdr ph;

		if (!gelf_getphdr(m->elf, i, &ph) || ph.p_type != PT_LOAD ||
		    offset < ph.p_offset || offset >= ph.p_offset + ph.p_filesz)
			continue;
		*to = offset - ph.p_offset + ph.p_vaddr + m->bias;
		return true;
	}
	return false;
}

static bool is_function(Dwarf_Die *die)
{
	int tag = dwarf_tag(die);

	return tag == DW_TAG_inlined_subroutine || tag == DW_TAG_subprogram ||
	       tag == DW_TAG_entry_point;
}

static const char *die_name(Dwarf_Die *die)
{
	static const unsigned int names[] = { DW_AT_linkage_name, DW_AT_MIPS_linkage_name };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		Dwarf_Attribute attr;

		if (dwarf_attr_integrate(die, names[i], &attr))
			return shown(demangle(dwarf_formstring(&attr)));
	}
	return shown(dwarf_diename(die));
}

/* Where the inlined function @die was called from. */
static void call_place(Dwarf_Die *die, Dwarf_Die *cu, struct frame *f)
{
	Dwarf_Attribute attr;
	Dwarf_Files *files;
	Dwarf_Word n;

	f->file = NULL;
	f->line = 0;
	if (dwarf_getsrcfiles(cu, &files, NULL) == 0 &&
	    dwarf_formudata(dwarf_attr(die, DW_AT_call_file, &attr), &n) == 0)
		f->file = shown(dwarf_filesrc(files, n, NULL, NULL));
	if (dwarf_formudata(dwarf_attr(die, DW_AT_call_line, &attr), &n) == 0)
		f->line = n;
}

/* The functions that were inlined at @addr, and that which has them. */
static void inlined(struct module *m, uint64_t addr, struct location *l)
{
	Dwarf_Die *cu, *scopes, inner;
	struct frame *frames;
	Dwarf_Addr bias;
	size_t n = 0;
	int nr;

	cu = dwfl_module_addrdie(m->mod, addr, &bias);
	nr = cu ? dwarf_getscopes(cu, addr - bias, &scopes) : 0;
	if (nr <= 0)
		return;
	if (!dwarf_offdie(dwfl_module_getdwarf(m->mod, &bias), dwarf_dieoffset(&scopes[0]),
			  &inner)) {
		free(scopes);
		return;
	}
	free(scopes);
	nr = dwarf_getscopes_die(&inner, &scopes);
	if (nr <= 0)
		return;
	frames = xalloc(nr, sizeof(*frames));
	frames[0] = l->frames[0];
	for (int i = 0; i < nr; i++) {
		const char *name = is_function(&scopes[i]) ? die_name(&scopes[i]) : NULL;

		if (!name)
			continue;
		frames[n].function = name;
		if (dwarf_tag(&scopes[i]) != DW_TAG_inlined_subroutine || i + 1 == nr) {
			n++;
			break;
		}
		call_place(&scopes[i], cu, &frames[++n]);
	}
	free(scopes);
	/* a name from the symbol table is better than none */
	if (!n)
		return;
	if (!frames[n - 1].function)
		frames[n - 1].function = l->frames[0].function;
	l->frames = frames;
	l->nr_frames = n;
}

static void name_location(struct module *m, struct location *l)
{
	struct frame *f = l->frames;
	uint64_t addr, offset;
	Dwfl_Line *line;
	const char *name;
	GElf_Sym sym;

	if (!m->elf || !file_address(m, l->map, l->addr, &addr))
		return;
	name = dwfl_module_addrinfo(m->mod, addr, &offset, &sym, NULL, NULL, NULL);
	/* the nearest symbol before it may be of something else */
	if (name && (!sym.st_size || offset < sym.st_size))
		f->function = shown(demangle(name));
	line = dwfl_module_getsrc(m->mod, addr);
	if (line) {
		int nr = 0;

		f->file = shown(dwfl_lineinfo(line, NULL, &nr, NULL, NULL, NULL));
		f->line = nr;
	}
	inlined(m, addr, l);
}

/* Without a name: where in its file, which addr2line can go on from. */
static void place_location(struct location *l)
{
	char *s;

	l->frames = xalloc(1, sizeof(*l->frames));
	l->nr_frames = 1;
	if (!l->map || !*l->map->file)
		l->frames->function = asprintf(&s, "0x%llx", (unsigned long long)l->addr) < 0 ?
				      "?" : s;
	else
		l->frames->function = asprintf(&s, "%s+0x%llx", shown(base_name(l->map->file)),
			(unsigned long long)(l->addr - l->map->start + l->map->offset)) < 0 ?
				      "?" : s;
}

void profile_symbolise(struct profile *p)
{
	for (size_t i = 0; i < p->nr_locations; i++)
		place_location(&p->locations[i]);
	for (size_t k = 0; k < p->nr_mappings; k++) {
		const struct mapping *map = &p->mappings[k];
		struct module m = { 0 };
		bool opened = false;

		/* names point into it: it stays open */
		for (size_t i = 0; i < p->nr_locations; i++) {
			if (p->locations[i].map != map)
				continue;
			if (!opened && !module_open(&m, map, p->pid))
				break;
			opened = true;
			name_location(&m, &p->locations[i]);
		}
	}
}

/*
 * The allocator's own, where it is linked statically: then what takes samples is the
 * first frame, and these follow it.
 */
static bool is_allocator(const char *name)
{
	static const char *const names[] = {
		"malloc", "calloc", "realloc", "reallocarray", "aligned_alloc", "memalign",
		"posix_memalign", "valloc", "pvalloc", "malloc_slow", "zalloc", "cache_fresh",
		"state_profiled", "realloc_in_place", "grow_tiny", "take_slot", "take_due",
		"malloc_fast", "malloc_big",
	};
	static const char *const starts[] = {
		"ha_", "alloc_class", "heap_alloc", "alloc_large", "alloc_dense", "profile_",
		"uheap_", "operator new", "_Zn",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(name, names[i]))
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(starts); i++)
		if (!strncmp(name, starts[i], strlen(starts[i])))
			return true;
	return false;
}

static bool is_sampler(const char *name)
{
	return !strcmp(name, "profile_take") || !strcmp(name, "profile_add") ||
	       !strcmp(name, "profile_resize");
}

size_t sample_frames(const struct sample *s, const struct frame **frames, size_t max)
{
	bool inside = s->nr && is_sampler(s->location[0]->frames->function);
	size_t n = 0;

	for (size_t i = 0; i < s->nr; i++) {
		for (size_t k = 0; k < s->location[i]->nr_frames && n < max; k++) {
			const struct frame *f = &s->location[i]->frames[k];

			inside = inside && is_allocator(f->function);
			if (!inside)
				frames[n++] = f;
		}
	}
	return n;
}
