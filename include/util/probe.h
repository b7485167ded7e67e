/* SPDX-License-Identifier: MIT */
/*
 * Probes: places where a tracer can look in, by name (USDT, provider
 * "heaparena"; README.md lists them).
 *
 *	PROBE(grow, nid, base, size);
 *
 * is one nop, and a note in the ELF file that says where it is and which
 * registers or stack words hold the arguments then.  Nobody is asked whether
 * a tracer is there (no semaphores), so that the arguments must be at hand:
 * integers that the function has anyway, no calls.  Slow paths only: even a nop
 * whose arguments stay alive costs a register.
 *
 * Without <sys/sdt.h> (systemtap-sdt-dev), or with CONFIG_NO_PROBES, a probe is
 * nothing: its arguments are compiled and not evaluated.
 */
#ifndef _UTIL_PROBE_H
#define _UTIL_PROBE_H

#if !defined(CONFIG_NO_PROBES) && __has_include(<sys/sdt.h>)
#define SDT_USE_VARIADIC
#include <sys/sdt.h>
#define PROBE(name, ...)	STAP_PROBEV(heaparena, name, __VA_ARGS__)
#else
static inline void probe_nothing(int nr, ...)
{
}
#define PROBE(name, ...)				\
do {							\
	if (0)						\
		probe_nothing(0, __VA_ARGS__);		\
} while (0)
#endif

#endif /* _UTIL_PROBE_H */
