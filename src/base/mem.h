/*
 * base/mem.h: allocation through a barid_mem. NULL mem means malloc(3). All may return
 * NULL; mem_array checks the product.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include "barid/types.h"

void *mem_alloc(const barid_mem *mem, size_t size);           /* uninitialised */
void *mem_zalloc(const barid_mem *mem, size_t size);          /* zeroed */
void *mem_array(const barid_mem *mem, size_t n, size_t size); /* zeroed, product checked */
void *mem_realloc(const barid_mem *mem, void *p, size_t size);
void mem_free(const barid_mem *mem, void *p);
char *mem_strdup(const barid_mem *mem, barid_slice s); /* NUL-terminated copy */
void mem_wipe(void *p, size_t n);                      /* never optimised away: for secrets */

/* For the daemon's own start-up and wiring only: on failure print one line and abort.
 * Safe there because accepted mail is already durable. */
void *xalloc(size_t size); /* zeroed */
char *xstrdup(barid_slice s);

#endif
