/* control/json_text.c: making JSON strings of octets that came from outside. */
#include "control/json_text.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/encode.h"
#include "base/slice.h"

static size_t valid_char(barid_slice s)
{
    for (size_t n = 1; n <= 4 && n <= s.n; n++)
        if (utf8_valid(slice_head(s, n)))
            return n;
    return 0;
}

static int replace_invalid(struct buf *out, barid_slice s)
{
    for (size_t at = 0; at < s.n;) {
        barid_slice rest = slice_from(s, at);
        size_t n = valid_char(rest);
        int rc = n > 0 ? buf_append(out, slice_head(rest, n)) : buf_str(out, "\xef\xbf\xbd");

        if (rc < 0)
            return rc;
        at += n > 0 ? n : 1;
    }
    return 0;
}

json_t *json_text(barid_slice s)
{
    struct buf out;
    json_t *text;

    if (utf8_valid(s))
        return json_stringn(s.n > 0 ? s.p : "", s.n);
    buf_init(&out, NULL, 0);
    text = replace_invalid(&out, s) < 0 ? NULL : json_stringn(out.p, out.len);
    buf_deinit(&out);
    return text;
}

json_t *json_time(int64_t wall_us)
{
    char text[CLOCK_RFC3339_SIZE];

    if (wall_us == INT64_MAX)
        return json_null();
    clock_rfc3339(wall_us, text);
    return json_string(text);
}
