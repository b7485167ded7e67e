// SPDX-License-Identifier: MIT
/*
 * The next definition of a function, found in the tables of all loaded objects.
 *
 * dlsym(RTLD_NEXT) searches the global scope alone.  A C++ library that a C program
 * opens with RTLD_LOCAL has libstdc++ in a scope of its own, and calls this library's
 * operators because they come first.  dlopen() would find it by name, and allocates;
 * who asks here has no memory.
 *
 * Objects are looked through in the order they were loaded in, by DT_GNU_HASH:
 *
 *	bucket[hash % nbuckets] -> first symbol -> next ... -> last (lowest bit of its
 *	hash set); chain[] has the hashes of symbols from symoffset on
 *
 * Any thread, any time; takes the dynamic linker's lock for lists of objects, as the
 * unwinder does.  Not here: symbol versions, objects with DT_HASH alone.
 */
#include <elf.h>
#include <link.h>
#include <string.h>

#include <util/compiler.h>
#include "next_symbol.h"

struct tables {
	const ElfW(Sym) *sym;
	const char *str;
	const uint32_t *hash;
};

struct search {
	const char *name;
	uint32_t hash;
	void *found;
};

static uint32_t gnu_hash(const char *name)
{
	uint32_t h = 5381;

	while (*name)
		h = h * 33 + (unsigned char)*name++;
	return h;
}

/* The dynamic linker adds the base to what is in writable memory. */
static const void *table_at(const struct dl_phdr_info *o, ElfW(Addr) value)
{
	return (const void *)(value < o->dlpi_addr ? o->dlpi_addr + value : value);
}

static bool tables_find(const struct dl_phdr_info *o, struct tables *t)
{
	const ElfW(Dyn) *d = NULL;

	for (unsigned int i = 0; i < o->dlpi_phnum; i++)
		if (o->dlpi_phdr[i].p_type == PT_DYNAMIC)
			d = (const void *)(o->dlpi_addr + o->dlpi_phdr[i].p_vaddr);
	for (; d && d->d_tag != DT_NULL; d++) {
		if (d->d_tag == DT_SYMTAB)
			t->sym = table_at(o, d->d_un.d_ptr);
		else if (d->d_tag == DT_STRTAB)
			t->str = table_at(o, d->d_un.d_ptr);
		else if (d->d_tag == DT_GNU_HASH)
			t->hash = table_at(o, d->d_un.d_ptr);
	}
	return t->sym && t->str && t->hash;
}

/* Is @addr in the object? */
static bool object_has(const struct dl_phdr_info *o, uintptr_t addr)
{
	for (unsigned int i = 0; i < o->dlpi_phnum; i++)
		if (o->dlpi_phdr[i].p_type == PT_LOAD &&
		    addr - o->dlpi_addr - o->dlpi_phdr[i].p_vaddr < o->dlpi_phdr[i].p_memsz)
			return true;
	return false;
}

static bool symbol_is(const struct tables *t, const ElfW(Sym) *sym, const char *name)
{
	return sym->st_shndx != SHN_UNDEF && ELF64_ST_TYPE(sym->st_info) == STT_FUNC &&
	       !strcmp(t->str + sym->st_name, name);
}

static const ElfW(Sym) *tables_look(const struct tables *t, const struct search *s)
{
	uint32_t nbuckets = t->hash[0], symoffset = t->hash[1], bloom = t->hash[2];
	const uint32_t *bucket = t->hash + 4 + bloom * (sizeof(ElfW(Addr)) / 4);
	const uint32_t *chain = bucket + nbuckets;
	uint32_t i = nbuckets ? bucket[s->hash % nbuckets] : 0;

	if (i < symoffset)
		return NULL;
	for (;; i++) {
		uint32_t h = chain[i - symoffset];

		if ((h | 1) == (s->hash | 1) && symbol_is(t, &t->sym[i], s->name))
			return &t->sym[i];
		if (h & 1)
			return NULL;
	}
}

static int look(struct dl_phdr_info *o, size_t size, void *arg)
{
	struct tables t = { 0 };
	const ElfW(Sym) *sym;
	struct search *s = arg;

	if (object_has(o, (uintptr_t)look) || !tables_find(o, &t))
		return 0;
	sym = tables_look(&t, s);
	if (sym)
		s->found = (void *)(o->dlpi_addr + sym->st_value);
	return sym != NULL;
}

void *next_symbol(const char *name)
{
	struct search s = { .name = name, .hash = gnu_hash(name) };

	dl_iterate_phdr(look, &s);
	return s.found;
}
