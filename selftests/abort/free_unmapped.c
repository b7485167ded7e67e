// SPDX-License-Identifier: MIT
/* Memory that was mapped once. */
/* expect: ^heaparena: invalid free of 0x[0-9a-f]+: not allocated by heaparena$ */
#include "misuse.h"

int main(void)
{
	void *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	munmap(p, 65536);
	do_free(p);
	return 0;
}
