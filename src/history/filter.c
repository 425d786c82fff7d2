/* history/filter.c: a Bloom filter of the ids of a file, and the footer behind it. Pure. */
#include "history/history_int.h"

#include <string.h>

#include "base/encode.h"

#define BLOCK_BITS ((FILTER_BLOCK - 4) * 8u) /* the rest is the checksum */
#define PROBES     4

/* Ids are made by this server, not by a peer: no key is needed. */
static uint64_t mix(uint64_t v)
{
    v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9u;
    v = (v ^ v >> 27) * 0x94d049bb133111ebu;
    return v ^ v >> 31;
}

size_t filter_block_of(uint64_t id)
{
    return mix(id) % FILTER_BLOCKS;
}

static unsigned probe(uint64_t id, unsigned i)
{
    return (unsigned)(mix(id + 0x9e3779b97f4a7c15u) >> 16 * i & 0xffff) % BLOCK_BITS;
}

void filter_add(char *filter, uint64_t id)
{
    char *block = filter + filter_block_of(id) * FILTER_BLOCK;

    for (unsigned i = 0; i < PROBES; i++)
        block[probe(id, i) / 8] = (char)(block[probe(id, i) / 8] | 1 << probe(id, i) % 8);
}

void filter_seal(char *filter)
{
    for (size_t i = 0; i < FILTER_BLOCKS; i++, filter += FILTER_BLOCK)
        store_le(filter + FILTER_BLOCK - 4, crc32c(1, filter, FILTER_BLOCK - 4), 4);
}

bool filter_may_have(const char *block, uint64_t id)
{
    if (load_le(block + FILTER_BLOCK - 4, 4) != crc32c(1, block, FILTER_BLOCK - 4))
        return true;
    for (unsigned i = 0; i < PROBES; i++)
        if ((block[probe(id, i) / 8] >> probe(id, i) % 8 & 1) == 0)
            return false;
    return true;
}

void footer_make(char footer[FOOTER_SIZE], uint64_t records_end)
{
    memcpy(footer, FOOTER_MAGIC, 8);
    store_le(footer + 8, records_end, 8);
    store_le(footer + 16, crc32c(0, footer, 16), 4);
    store_le(footer + 20, 0, 4);
}

int footer_read(const char footer[FOOTER_SIZE], uint64_t *records_end_r)
{
    if (memcmp(footer, FOOTER_MAGIC, 8) != 0 ||
        load_le(footer + 16, 4) != crc32c(0, footer, 16))
        return BARID_ECORRUPT;
    *records_end_r = load_le(footer + 8, 8);
    return 0;
}
