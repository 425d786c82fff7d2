/* history/entry.c: an entry as octets and back. Pure. */
#include "history/history_int.h"

#include <string.h>

#include "base/encode.h"
#include "base/slice.h"

#define TAG_TEXT 0x80

/* A field's tag is its place here, counted from 1: never change the order, append. */
static const size_t text_at[TEXTS] = {
    offsetof(struct history_entry, sender), offsetof(struct history_entry, rcpts),
    offsetof(struct history_entry, hop),    offsetof(struct history_entry, remote),
    offsetof(struct history_entry, reply),  offsetof(struct history_entry, where),
    offsetof(struct history_entry, text)};
enum { NUMBER_OTHER = 1, NUMBER_DUE, NUMBER_ATTEMPTS, NUMBER_SUSPECT };

static barid_slice text_of(const struct history_entry *e, size_t i)
{
    return slice_head(*(const barid_slice *)((const char *)e + text_at[i]), HISTORY_TEXT_MAX);
}

size_t entry_room(const struct history_entry *e)
{
    size_t n = HEAD_SIZE + FIXED_SIZE + NUMBERS * 11;

    for (size_t i = 0; i < TEXTS; i++)
        n += text_of(e, i).n + 4;
    return n;
}

static char *put_number(char *p, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        *p++ = (char)(v | 0x80);
    *p++ = (char)v;
    return p;
}

static char *put_field(char *p, int tag, uint64_t v)
{
    if (v == 0)
        return p;
    *p++ = (char)tag;
    return put_number(p, v);
}

size_t entry_encode(const struct history_entry *e, int64_t time_us, char *record)
{
    char *p = record + HEAD_SIZE;

    store_le(p, e->id, 8);
    store_le(p + 8, (uint64_t)time_us, 8);
    p[16] = (char)e->kind;
    p += FIXED_SIZE;
    for (size_t i = 0; i < TEXTS; i++) {
        barid_slice s = text_of(e, i);

        if (s.n == 0)
            continue;
        *p++ = (char)(TAG_TEXT | (i + 1));
        p = put_number(p, s.n);
        memcpy(p, s.p, s.n);
        p += s.n;
    }
    p = put_field(p, NUMBER_OTHER, e->other);
    p = put_field(p, NUMBER_DUE, (uint64_t)e->due_us);
    p = put_field(p, NUMBER_ATTEMPTS, e->attempts);
    p = put_field(p, NUMBER_SUSPECT, e->suspect);
    store_le(record, (uint64_t)(p - record) - HEAD_SIZE, 4);
    return (size_t)(p - record);
}

void entry_seal(char *record)
{
    store_le(record + 4, crc32c(0, record + HEAD_SIZE, load_le(record, 4)), 4);
}

size_t entry_length(barid_slice s, bool checked)
{
    size_t n = s.n >= HEAD_SIZE ? load_le(s.p, 4) : 0;

    if (n < FIXED_SIZE || n > ENTRY_MAX - HEAD_SIZE || n > s.n - HEAD_SIZE)
        return 0;
    if (checked && crc32c(0, s.p + HEAD_SIZE, n) != load_le(s.p + 4, 4))
        return 0;
    return HEAD_SIZE + n;
}

uint64_t entry_id(const char *record)
{
    return load_le(record + HEAD_SIZE, 8);
}

static bool take_number(barid_slice *s, uint64_t *v_r)
{
    *v_r = 0;
    for (unsigned shift = 0; shift < 64 && s->n > 0; shift += 7) {
        unsigned char c = (unsigned char)*s->p;

        *v_r |= (uint64_t)(c & 0x7f) << shift;
        *s = slice_from(*s, 1);
        if (c < 0x80)
            return true;
    }
    return false;
}

static void set_number(struct history_entry *e, int tag, uint64_t v)
{
    if (tag == NUMBER_OTHER)
        e->other = v;
    else if (tag == NUMBER_DUE)
        e->due_us = (int64_t)v;
    else if (tag == NUMBER_ATTEMPTS)
        e->attempts = (uint32_t)v;
    else if (tag == NUMBER_SUSPECT)
        e->suspect = v != 0;
}

int entry_decode(barid_slice record, struct history_entry *e)
{
    barid_slice s = slice_from(record, HEAD_SIZE + FIXED_SIZE);
    const char *p = record.p + HEAD_SIZE;
    uint64_t v;

    *e = (struct history_entry){.kind = (unsigned char)p[16],
                                .id = load_le(p, 8),
                                .time_us = (int64_t)load_le(p + 8, 8)};
    while (s.n > 0) {
        unsigned tag = (unsigned char)*s.p;

        s = slice_from(s, 1);
        if (!take_number(&s, &v))
            return BARID_ECORRUPT;
        if ((tag & TAG_TEXT) == 0) {
            set_number(e, (int)tag, v);
            continue;
        }
        if (v > s.n)
            return BARID_ECORRUPT;
        tag &= TAG_TEXT - 1;
        if (tag >= 1 && tag <= TEXTS)
            *(barid_slice *)((char *)e + text_at[tag - 1]) = slice_head(s, v);
        s = slice_from(s, v);
    }
    return 0;
}
