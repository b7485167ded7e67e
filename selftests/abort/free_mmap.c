// SPDX-License-Identifier: MIT
/* Memory of mmap. */
/* expect: ^heaparena: invalid free of 0x[0-9a-f]+: not allocated by heaparena$ */
#include "misuse.h"

int main(void)
{
	do_free(mmap(NULL, 65536, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	return 0;
}
