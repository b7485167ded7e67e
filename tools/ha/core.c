// SPDX-License-Identifier: MIT
/*
 * Core files, by libelf: what of a process's memory was written (PT_LOAD), from which
 * files it came (NT_FILE), who it was (NT_PRPSINFO), its threads' registers
 * (NT_PRSTATUS) and where its program began (NT_AUXV). Kernels, gdb and emulators
 * write them. One that was cut short has what it has.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "target.h"
#include "text.h"

#define MAX_THREADS	(1UL << 20)

static const struct range *range_at(const struct target *t, uint64_t addr)
{
	size_t low = 0, high = t->nr_ranges;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (addr < t->ranges[mid].start)
			high = mid;
		else if (addr >= t->ranges[mid].end)
			low = mid + 1;
		else
			return &t->ranges[mid];
	}
	return NULL;
}

uint64_t core_next(const struct target *t, uint64_t addr)
{
	size_t low = 0, high = t->nr_ranges;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (t->ranges[mid].end <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == t->nr_ranges)
		return UINT64_MAX;
	return t->ranges[low].start > addr ? t->ranges[low].start : addr;
}

bool core_read(const struct target *t, uint64_t addr, char *buf, size_t size)
{
	while (size) {
		const struct range *r = range_at(t, addr);
		size_t n;

		if (!r)
			return false;
		n = r->end - addr < size ? r->end - addr : size;
		memcpy(buf, t->image + r->offset + (addr - r->start), n);
		addr += n;
		buf += n;
		size -= n;
	}
	return true;
}

/* NT_FILE: count, page size, count x (start, end, page), count names. */
static void core_files(struct target *t, const char *desc, size_t size)
{
	uint64_t nr, *v = xalloc(1, size + 1);
	const char *name, *end = (char *)v + size;

	memcpy(v, desc, size);
	nr = size >= 16 ? v[0] : 0;
	if (nr > (size - 16) / 24)
		nr = 0;
	name = (char *)(v + 2 + 3 * nr);
	free(t->files);
	t->files = xalloc(nr, sizeof(*t->files));
	t->nr_files = 0;
	for (uint64_t i = 0; i < nr && name < end; i++, name += strlen(name) + 1) {
		uint64_t from = v[2 + 3 * i], to = v[3 + 3 * i];

		t->files[t->nr_files++] = (struct file_map){
			from, to, v[4 + 3 * i] * v[1], strdup(name),
		};
		for (size_t j = 0; j < t->nr_ranges; j++) {
			struct range *r = &t->ranges[j];

			if (r->start >= from && r->start < to && !r->file)
				r->file = strdup(name);
		}
	}
	free(v);
}

static void core_process(struct target *t, const char *desc, size_t size)
{
	struct { char state, sname, zomb, nice; uint64_t flag; uint32_t uid, gid;
		 int32_t pid, ppid, pgrp, sid; char fname[16]; } info;

	if (size < sizeof(info))
		return;
	memcpy(&info, desc, sizeof(info));
	t->pid = info.pid;
	memcpy(t->command, info.fname, sizeof(info.fname));
	clean_text(t->command);
}

/* A thread: its registers stand behind what signals it has. */
static void core_thread(struct target *t, const char *desc, size_t size)
{
	const size_t at = 112;
	struct regs *r;

	if (size <= at || t->nr_threads >= MAX_THREADS)
		return;
	t->threads = xgrow(t->threads, t->nr_threads, sizeof(*t->threads));
	r = &t->threads[t->nr_threads++];
	r->nr = (size - at) / sizeof(r->word[0]);
	if (r->nr > ARRAY_SIZE(r->word))
		r->nr = ARRAY_SIZE(r->word);
	memcpy(r->word, desc + at, r->nr * sizeof(r->word[0]));
}

static void core_auxv(struct target *t, const char *desc, size_t size)
{
	uint64_t v[2];

	for (; size >= sizeof(v); desc += sizeof(v), size -= sizeof(v)) {
		memcpy(v, desc, sizeof(v));
		if (v[0] == AT_PHDR)
			t->program = v[1];
	}
}

static void core_notes(struct target *t, Elf *elf, const GElf_Phdr *ph)
{
	Elf_Data *data = elf_getdata_rawchunk(elf, ph->p_offset, ph->p_filesz, ELF_T_NHDR);
	size_t at = 0, name, desc;
	GElf_Nhdr note;

	while (data && (at = gelf_getnote(data, at, &note, &name, &desc)) > 0) {
		const char *d = (char *)data->d_buf + desc;

		if (note.n_namesz != 5 || memcmp((char *)data->d_buf + name, "CORE", 5))
			continue;
		if (note.n_type == NT_FILE)
			core_files(t, d, note.n_descsz);
		else if (note.n_type == NT_PRPSINFO)
			core_process(t, d, note.n_descsz);
		else if (note.n_type == NT_PRSTATUS)
			core_thread(t, d, note.n_descsz);
		else if (note.n_type == NT_AUXV)
			core_auxv(t, d, note.n_descsz);
	}
}

static int by_start(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* What of a segment is there: a file that was cut short has less than it says. */
static void core_segment(struct target *t, const GElf_Phdr *ph)
{
	uint64_t size = ph->p_filesz;
	struct range *r;

	if (ph->p_offset >= t->image_size || t->nr_ranges >= TARGET_MAX_RANGES)
		return;
	if (size > t->image_size - ph->p_offset)
		size = t->image_size - ph->p_offset;
	if (!size || ph->p_vaddr + size < ph->p_vaddr)
		return;
	r = target_range_add(t);
	r->start = ph->p_vaddr;
	r->end = ph->p_vaddr + size;
	r->offset = ph->p_offset;
	r->may_hold = true;
	r->write = ph->p_flags & PF_W;
}

static int core_parse(struct target *t, Elf *elf)
{
	GElf_Ehdr eh;
	GElf_Phdr ph;
	size_t nr;

	if (!elf || elf_kind(elf) != ELF_K_ELF || !gelf_getehdr(elf, &eh) ||
	    eh.e_type != ET_CORE || elf_getphdrnum(elf, &nr))
		return fail("%s: not a core file", t->name);
	if (eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_ident[EI_DATA] != ELFDATA2LSB)
		return fail("%s: a core file of another kind of machine", t->name);
	for (size_t i = 0; i < nr && i < TARGET_MAX_RANGES; i++)
		if (gelf_getphdr(elf, i, &ph) && ph.p_type == PT_LOAD)
			core_segment(t, &ph);
	qsort(t->ranges, t->nr_ranges, sizeof(*t->ranges), by_start);
	/* overlapping ones would make a search by address end anywhere */
	for (size_t i = 1; i < t->nr_ranges; i++)
		if (t->ranges[i].start < t->ranges[i - 1].end)
			return fail("%s: a damaged core file", t->name);
	for (size_t i = 0; i < nr && i < TARGET_MAX_RANGES; i++)
		if (gelf_getphdr(elf, i, &ph) && ph.p_type == PT_NOTE)
			core_notes(t, elf, &ph);
	if (target_find_inspect(t))
		return 0;
	return fail("%s: no heaparena in this core file", t->name);
}

int core_open(struct target *t, const char *path)
{
	struct stat st;
	Elf *elf;
	int fd, ret;

	/* a pipe is none, and nobody is waited for to write to it */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st)) {
		ret = fail("%s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return ret;
	}
	if (!S_ISREG(st.st_mode) || !st.st_size) {
		close(fd);
		return fail("%s: not a core file", path);
	}
	t->image_size = st.st_size;
	t->image = mmap(NULL, t->image_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (t->image == MAP_FAILED) {
		t->image = NULL;
		return fail("%s: %s", path, strerror(errno));
	}
	elf_version(EV_CURRENT);
	elf = elf_memory((char *)t->image, t->image_size);
	ret = core_parse(t, elf);
	elf_end(elf);
	return ret;
}

void core_close(struct target *t)
{
	if (t->image)
		munmap((void *)t->image, t->image_size);
	t->image = NULL;
	for (size_t i = 0; i < t->nr_files; i++)
		free(t->files[i].file);
	free(t->files);
	free(t->threads);
	t->files = NULL;
	t->threads = NULL;
	t->nr_files = t->nr_threads = 0;
}
