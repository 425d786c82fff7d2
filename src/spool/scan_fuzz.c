/*
 * spool/scan_fuzz.c: any octets as a segment: the scan ends, moves forwards, and stays inside.
 * Checksums of heads are put right first, or nothing would get past them.
 */
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "spool/log_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_right(uint8_t *p, size_t size)
{
    for (size_t at = 0; at + LOG_RECORD_SIZE <= size; at += 8) {
        uint32_t crc;

        if (memcmp(p + at, "SBR1", 4) != 0)
            continue;
        crc = crc32c(0, p + at + 8, LOG_RECORD_SIZE - 8);
        for (size_t i = 0; i < 4; i++)
            p[at + 4 + i] = (uint8_t)(crc >> (8 * i));
    }
}

static void walk(const uint8_t *p, size_t size, uint64_t known_end, unsigned trust)
{
    static struct unit_state units[SPOOL_UNITS_MAX];
    struct log_record r;
    struct log_scan s;
    size_t off, length, last = 0;
    enum log_found found;

    log_scan_init(&s, p, size, 0, known_end);
    s.trust = trust;
    while ((found = log_scan_next(&s, &r, &off, &length)) != LOG_FOUND_END) {
        if (off < last || length == 0 || off > size || length > size - off)
            abort();
        last = off + length;
        if (found == LOG_FOUND_RECORD && length >= LOG_RECORD_SIZE + (size_t)r.units_len)
            log_units_decode(units, r.units, p + off + LOG_RECORD_SIZE, r.units_len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *p;

    if (size < 2 || size > 65536)
        return 0;
    p = calloc(1, LOG_BLOCK + size);
    if (p == NULL)
        return 0;
    memcpy(p + LOG_BLOCK, data + 2, size - 2); /* the scan begins behind the header block */
    put_right(p, LOG_BLOCK + size);
    walk(p, LOG_BLOCK + size, data[0] & 1 ? LOG_BLOCK + (uint64_t)data[1] * 16 : 0,
         data[0] >> 1 & 3u);
    free(p);
    return 0;
}
