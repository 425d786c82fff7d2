/*
 * daemon/log_format.c: log records as lines. Must not know where lines go.
 *
 * A record that grows over LOG_LINE_MAX loses its remaining fields and says so with cut=true, so that a line is always a
 * whole record of its format.
 */
#include "daemon/log_format.h"

#include <inttypes.h>
#include <math.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/slice.h"

const char *log_level_name(enum log_level level)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};

    return (unsigned)level < sizeof(names) / sizeof(names[0]) ? names[level] : "?";
}

/* Octets of the well-formed UTF-8 character at the start of s, 0 when it is none. */
static size_t utf8_char(barid_slice s)
{
    for (size_t n = 1; n <= 4 && n <= s.n; n++)
        if (utf8_valid(slice_head(s, n)))
            return n;
    return 0;
}

/* C1 controls (U+0080 to U+009F) act on terminals like their 7-bit forms. */
static bool is_c1(barid_slice s, size_t n)
{
    return n == 2 && (unsigned char)s.p[0] == 0xc2 && (unsigned char)s.p[1] < 0xa0;
}

static int put_escape(struct buf *out, unsigned char c, bool json)
{
    switch (c) {
    case '\n':
        return buf_str(out, "\\n");
    case '\r':
        return buf_str(out, "\\r");
    case '\t':
        return buf_str(out, "\\t");
    case '"':
        return buf_str(out, "\\\"");
    case '\\':
        return buf_str(out, "\\\\");
    default:
        return buf_fmt(out, json ? "\\u%04x" : "\\x%02x", c);
    }
}

static bool must_escape(unsigned char c)
{
    return c < 0x20 || c == 0x7f || c == '"' || c == '\\';
}

static int put_octets(struct buf *out, barid_slice s, bool json)
{
    size_t at = 0;

    while (at < s.n) {
        barid_slice rest = slice_from(s, at);
        unsigned char c = (unsigned char)rest.p[0];
        size_t n = c < 0x80 ? 1 : utf8_char(rest);
        int rc;

        if (n == 0) /* not UTF-8: JSON has no octets, so it gets the replacement character */
            rc = json ? buf_str(out, "\\ufffd") : buf_fmt(out, "\\x%02x", c);
        else if (is_c1(rest, n))
            rc = buf_fmt(out, "\\u%04x", (unsigned char)rest.p[1]);
        else if (n == 1 && must_escape(c))
            rc = put_escape(out, c, json);
        else
            rc = buf_append(out, slice_head(rest, n));
        if (rc < 0)
            return rc;
        at += n == 0 ? 1 : n;
    }
    return 0;
}

static int put_quoted(struct buf *out, barid_slice s, bool json)
{
    int rc = buf_byte(out, '"');

    if (rc == 0)
        rc = put_octets(out, slice_head(s, LOG_VALUE_MAX), json);
    if (rc == 0 && s.n > LOG_VALUE_MAX)
        rc = buf_str(out, "...");
    return rc == 0 ? buf_byte(out, '"') : rc;
}

/* Text values are quoted only where a reader could mistake their end. */
static bool plain_word(barid_slice s)
{
    if (s.n == 0 || s.n > LOG_VALUE_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '=')
            return false;
    }
    return true;
}

static int put_value(struct buf *out, const struct log_field *f, bool json)
{
    switch (f->type) {
    case LOG_FIELD_STR:
        return !json && plain_word(f->str) ? buf_append(out, f->str) : put_quoted(out, f->str, json);
    case LOG_FIELD_INT:
        return buf_fmt(out, "%" PRId64, f->num);
    case LOG_FIELD_BOOL:
        return buf_str(out, f->num != 0 ? "true" : "false");
    case LOG_FIELD_NUM:
        /* JSON knows no NaN and no infinity. */
        return isfinite(f->real) ? buf_fmt(out, "%.9g", f->real) : buf_str(out, json ? "null" : "nan");
    }
    return 0;
}

static int put_field(struct buf *out, const struct log_field *f, bool json)
{
    int rc = json ? buf_byte(out, ',') : buf_byte(out, ' ');

    if (rc == 0)
        rc = json ? put_quoted(out, slice_str(f->key), true) : buf_str(out, f->key);
    if (rc == 0)
        rc = buf_byte(out, json ? ':' : '=');
    return rc == 0 ? put_value(out, f, json) : rc;
}

static int put_fields(struct buf *out, size_t start, const struct log_field *fields, bool json)
{
    static const struct log_field cut = {.key = "cut", .type = LOG_FIELD_BOOL, .num = 1};

    for (const struct log_field *f = fields; f->key != NULL; f++) {
        size_t before = out->len;
        int rc = put_field(out, f, json);

        if (rc < 0)
            return rc;
        if (out->len - start > LOG_LINE_MAX) {
            out->len = before;
            return put_field(out, &cut, json);
        }
    }
    return 0;
}

static int put_line(struct buf *out, int64_t wall_us, enum log_level level, const char *area, const char *what,
                    const struct log_field *fields, bool json)
{
    char when[CLOCK_RFC3339_SIZE];
    size_t start = out->len;
    int rc;

    clock_rfc3339(wall_us, when);
    rc = buf_fmt(out, json ? "{\"time\":\"%s\",\"level\":\"%s\",\"area\":" : "%s %s ", when, log_level_name(level));
    if (rc == 0)
        rc = json ? put_quoted(out, slice_str(area), true) : put_octets(out, slice_str(area), false);
    if (rc == 0)
        rc = buf_str(out, json ? ",\"what\":" : ": ");
    if (rc == 0)
        rc = json ? put_quoted(out, slice_str(what), true) : put_octets(out, slice_str(what), false);
    if (rc == 0)
        rc = put_fields(out, start, fields, json);
    if (rc == 0)
        rc = buf_str(out, json ? "}\n" : "\n");
    if (rc < 0)
        out->len = start;
    return rc;
}

int log_format_text(struct buf *out, int64_t wall_us, enum log_level level, const char *area, const char *what,
                    const struct log_field *fields)
{
    return put_line(out, wall_us, level, area, what, fields, false);
}

int log_format_json(struct buf *out, int64_t wall_us, enum log_level level, const char *area, const char *what,
                    const struct log_field *fields)
{
    return put_line(out, wall_us, level, area, what, fields, true);
}
