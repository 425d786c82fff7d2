/* smtp/sasl_testing.c: see sasl_testing.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/slice.h"
#include "smtp/sasl_testing.h"
#include "smtp/smtp_testing.h"

void assert_slice(barid_slice got, const char *want)
{
    if (!slice_eq(got, slice_str(want)))
        fail_msg("got \"%.*s\", want \"%s\"", (int)got.n, got.p, want);
}

const char *text_of(json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));

    assert_non_null(s);
    return s;
}

void sasl_vectors(const char *fallback, const struct sasl_vectors *to)
{
    struct buf file;
    json_t *all, *v;
    size_t i, seen = 0;

    buf_init(&file, NULL, 0);
    if (!conformance_read(fallback, "sasl/vectors.json", &file)) {
        buf_deinit(&file);
        return;
    }
    all = json_loadb(file.p, file.len, JSON_ALLOW_NUL, NULL);
    assert_non_null(all);
    json_array_foreach(all, i, v)
    {
        const char *mech = text_of(v, "mech");

        seen++;
        if (strcmp(mech, "CRAM-MD5") == 0)
            to->cram(v);
        else if (strcmp(mech, "PLAIN") == 0)
            to->plain(v);
        else if (strcmp(mech, "SCRAM-SHA-1") == 0)
            to->scram(v, BARID_AUTH_SCRAM_SHA_1);
        else if (strcmp(mech, "SCRAM-SHA-256") == 0)
            to->scram(v, BARID_AUTH_SCRAM_SHA_256);
        else
            seen--;
    }
    assert_true(seen >= 4);
    json_decref(all);
    buf_deinit(&file);
}
