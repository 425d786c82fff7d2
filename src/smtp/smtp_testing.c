/* smtp/smtp_testing.c: see the header. */
#include "smtp/smtp_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"

struct exact exact_of(barid_slice s)
{
    char *p = malloc(s.n > 0 ? s.n : 1);

    if (p == NULL)
        abort();
    if (s.n > 0)
        memcpy(p, s.p, s.n);
    return (struct exact){p, {p, s.n}};
}

void exact_free(struct exact *e)
{
    free(e->p);
}

bool conformance_read(const char *fallback, const char *name, struct buf *out)
{
    const char *dir = getenv("BARID_CONFORMANCE");
    char path[1024], block[4096];
    size_t n;
    FILE *f;

    if (dir == NULL || *dir == '\0')
        dir = fallback;
    snprintf(path, sizeof(path), "%s/%s", dir == NULL ? "." : dir, name);
    if ((f = fopen(path, "rb")) == NULL) {
        printf("# no %s: skipped (set BARID_CONFORMANCE)\n", path);
        return false;
    }
    while ((n = fread(block, 1, sizeof(block), f)) > 0)
        if (buf_append(out, slice_of(block, n)) < 0)
            abort();
    fclose(f);
    return true;
}
