/*
 * smtp/proxy.c: the PROXY protocol header, versions 1 and 2 (haproxy.org, proxy-protocol.txt).
 *
 * The first octets decide the version; a beginning that can be neither is refused at once, so
 * that a client that speaks first is not waited for. Version 2 TLVs are walked (their lengths
 * must add up) and passed over, but the checksum, which is verified.
 */
#include "smtp/proxy.h"

#include "base/encode.h"
#include "base/slice.h"
#include "smtp/literal.h"

#define SIGNATURE   "\r\n\r\n\0\r\nQUIT\n"
#define SIGNATURE_N 12

enum { PP2_TYPE_CRC32C = 0x03 };

static unsigned be16(const char *p)
{
    return (unsigned)((unsigned char)p[0] << 8 | (unsigned char)p[1]);
}

/* --- version 1 ---------------------------------------------------------------------------- */

/* 0 to 65535 without leading zeros (2.1) */
static bool read_port(barid_slice s, uint16_t *port_r)
{
    uint64_t value;

    if (slice_u64(s, 65535, &value) < 0 || (s.n > 1 && s.p[0] == '0'))
        return false;
    *port_r = (uint16_t)value;
    return true;
}

static bool read_address(barid_slice s, barid_endpoint *e)
{
    return e->family == BARID_FAMILY_IPV4 ? literal_ipv4(s, e->addr)
                                          : literal_ipv6(s, true, e->addr);
}

/* The line without CRLF, after "PROXY ". */
static int parse_v1_line(barid_slice line, struct proxy_header *h)
{
    barid_slice word[5];

    word[0] = slice_cut(line, ' ', &line);
    if (slice_eq(word[0], BARID_S("UNKNOWN"))) {
        /* 2.1: whatever follows is ignored up to CRLF. */
        h->local = true;
        return 0;
    }
    if (slice_eq(word[0], BARID_S("TCP4")))
        h->src.family = BARID_FAMILY_IPV4;
    else if (slice_eq(word[0], BARID_S("TCP6")))
        h->src.family = BARID_FAMILY_IPV6;
    else
        return BARID_ESYNTAX;
    h->dest.family = h->src.family;
    for (int i = 1; i < 4; i++)
        word[i] = slice_cut(line, ' ', &line);
    word[4] = line;
    if (!read_address(word[1], &h->src) || !read_address(word[2], &h->dest) ||
        !read_port(word[3], &h->src.port) || !read_port(word[4], &h->dest.port))
        return BARID_ESYNTAX;
    return 0;
}

static int parse_v1(barid_slice in, struct proxy_header *h, size_t *used_r)
{
    size_t cr = slice_find(slice_head(in, PROXY_V1_MAX), '\r');

    /* An LF or NUL before the CR can never become a valid line. */
    if (slice_find(slice_head(in, cr), '\n') != cr ||
        slice_find(slice_head(in, cr), '\0') != cr)
        return BARID_ESYNTAX;
    if (cr + 2 > PROXY_V1_MAX)
        return BARID_ELIMIT;
    if (cr + 1 >= in.n)
        return BARID_EAGAIN;
    if (in.p[cr + 1] != '\n')
        return BARID_ESYNTAX;
    h->version = 1;
    *used_r = cr + 2;
    return parse_v1_line(slice_from(slice_head(in, cr), 6), h);
}

/* --- version 2 ---------------------------------------------------------------------------- */

/* Addresses of TCP over IPv4 or IPv6; *used_r octets. */
static int read_inet(barid_slice s, size_t width, struct proxy_header *h, size_t *used_r)
{
    if (s.n < 2 * width + 4)
        return BARID_ESYNTAX;
    h->src.family = h->dest.family = width == 4 ? BARID_FAMILY_IPV4 : BARID_FAMILY_IPV6;
    memcpy(h->src.addr, s.p, width);
    memcpy(h->dest.addr, s.p + width, width);
    h->src.port = (uint16_t)be16(s.p + 2 * width);
    h->dest.port = (uint16_t)be16(s.p + 2 * width + 2);
    *used_r = 2 * width + 4;
    return 0;
}

static int read_unix(barid_slice s, struct proxy_header *h, size_t *used_r)
{
    if (s.n < 216)
        return BARID_ESYNTAX;
    h->src.family = h->dest.family = BARID_FAMILY_UNIX;
    *used_r = 216;
    return 0;
}

static int read_addresses(unsigned char kind, barid_slice s, struct proxy_header *h,
                          size_t *used_r)
{
    switch (kind) {
    case 0x11:
        return read_inet(s, 4, h, used_r);
    case 0x21:
        return read_inet(s, 16, h, used_r);
    case 0x31:
        return read_unix(s, h, used_r);
    default:
        break;
    }
    /* 2.2: unspecified, datagrams and families not known: the receiver uses the real endpoints
     * and skips the block, whose layout it cannot know. */
    if (kind >> 4 > 3 || (kind & 15) > 2)
        return BARID_ESYNTAX;
    h->local = true;
    *used_r = s.n;
    return 0;
}

/* 2.2.3: over the whole header with the checksum itself taken as zero. */
static bool checksum_right(barid_slice header, size_t at)
{
    static const char zero[4];
    uint32_t crc = crc32c(0, header.p, at);
    uint32_t want = (uint32_t)be16(header.p + at) << 16 | be16(header.p + at + 2);

    crc = crc32c(crc, zero, 4);
    crc = crc32c(crc, header.p + at + 4, header.n - at - 4);
    return crc == want;
}

/* The TLVs from `at` to the end of the header. */
static int check_tlvs(barid_slice header, size_t at)
{
    while (at < header.n) {
        size_t n;

        if (header.n - at < 3)
            return BARID_ESYNTAX;
        n = be16(header.p + at + 1);
        if (header.n - at - 3 < n)
            return BARID_ESYNTAX;
        if (header.p[at] == PP2_TYPE_CRC32C && (n != 4 || !checksum_right(header, at + 3)))
            return BARID_ESYNTAX;
        at += 3 + n;
    }
    return 0;
}

static int parse_v2(barid_slice in, struct proxy_header *h, size_t *used_r)
{
    unsigned char command;
    barid_slice header;
    size_t variable, used;
    int r;

    if (in.n > SIGNATURE_N) {
        command = (unsigned char)in.p[SIGNATURE_N];
        if (command != 0x20 && command != 0x21)
            return BARID_ESYNTAX;
    }
    if (in.n < PROXY_V2_FIXED)
        return BARID_EAGAIN;
    variable = be16(in.p + 14);
    if (variable > PROXY_V2_VARIABLE_MAX)
        return BARID_ELIMIT;
    if (in.n < PROXY_V2_FIXED + variable)
        return BARID_EAGAIN;
    h->version = 2;
    *used_r = PROXY_V2_FIXED + variable;
    header = slice_head(in, *used_r);
    if (in.p[SIGNATURE_N] == 0x20) {
        /* LOCAL: the rest is to be discarded, whatever it is. */
        h->local = true;
        return 0;
    }
    if ((r = read_addresses((unsigned char)in.p[13], slice_from(header, PROXY_V2_FIXED), h,
                            &used)) < 0)
        return r;
    return check_tlvs(header, PROXY_V2_FIXED + used);
}

/* Does in begin with s, as far as it goes? */
static bool may_begin(barid_slice in, const char *s, size_t n)
{
    return memcmp(in.p, s, in.n < n ? in.n : n) == 0;
}

int proxy_parse(barid_slice in, struct proxy_header *h_r, size_t *used_r)
{
    int r;

    *h_r = (struct proxy_header){0};
    *used_r = 0;
    if (in.n == 0)
        return BARID_EAGAIN;
    if (may_begin(in, SIGNATURE, SIGNATURE_N))
        r = parse_v2(in, h_r, used_r);
    else if (may_begin(in, "PROXY ", 6))
        r = in.n < 6 ? BARID_EAGAIN : parse_v1(in, h_r, used_r);
    else
        r = BARID_ESYNTAX;
    if (r < 0) {
        *h_r = (struct proxy_header){0};
        *used_r = 0;
    }
    literal_unmap(&h_r->src);
    literal_unmap(&h_r->dest);
    return r;
}
