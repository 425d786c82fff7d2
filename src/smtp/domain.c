/*
 * smtp/domain.c: domain names and address literals of RFC 5321 4.1.2, 4.1.3 and, with UTF-8,
 * RFC 6531 3.3.
 *
 * Labels outside ASCII (U-labels) are checked for form and for the length of their A-label
 * (RFC 5890 2.3.2.1), which is what DNS will see; the IDNA tables are not consulted: whether
 * such a name can exist is found out when it is looked up.
 */
#include "barid/address.h"

#include "base/encode.h"
#include "base/slice.h"
#include "smtp/literal.h"

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
}

/*
 * Never part of a U-label (RFC 5892 2 lists none of them as PVALID): controls, spaces, marks
 * that turn the direction of text, and the other characters that look like a label separator.
 */
static bool point_forbidden(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } range[] = {
        {0x80, 0xa0},     {0xad, 0xad},     {0x1680, 0x1680}, {0x2000, 0x200b},
        {0x200e, 0x200f}, {0x2028, 0x202f}, {0x205f, 0x206f}, {0x3000, 0x3002},
        {0xe000, 0xf8ff}, {0xfe52, 0xfe52}, {0xfeff, 0xfeff}, {0xff0e, 0xff0e},
        {0xff61, 0xff61}, {0xfff9, 0xffff},
    };

    for (size_t i = 0; i < sizeof(range) / sizeof(range[0]); i++)
        if (c >= range[i].first && c <= range[i].last)
            return true;
    return false;
}

/* RFC 3492 6.1 */
static uint32_t punycode_adapt(uint32_t delta, uint32_t points, bool first)
{
    uint32_t k = 0;

    delta = first ? delta / 700 : delta / 2;
    delta += delta / points;
    for (; delta > 455; k += 36)
        delta /= 35;
    return k + 36 * delta / (delta + 38);
}

/* Digits of one generalized variable-length integer (RFC 3492 3.3). */
static size_t punycode_digits(uint32_t q, uint32_t bias)
{
    size_t digits = 1;

    for (uint32_t k = 36;; k += 36, digits++) {
        uint32_t t = k <= bias ? 1 : k >= bias + 26 ? 26 : k - bias;

        if (q < t)
            return digits;
        q = (q - t) / (36 - t);
    }
}

/*
 * Octets of the label as an A-label, "xn--" included (RFC 3492 6.3, counting instead of
 * writing). At most BARID_DOMAIN_MAX points come in, so delta stays far below 2^32.
 */
static size_t alabel_length(const uint32_t *point, size_t n)
{
    uint32_t code = 0x80, delta = 0, bias = 72;
    size_t basic = 0, done, length;

    for (size_t i = 0; i < n; i++)
        basic += point[i] < 0x80;
    length = 4 + basic + (basic > 0);
    for (done = basic; done < n; delta++, code++) {
        uint32_t lowest = UINT32_MAX;

        for (size_t i = 0; i < n; i++)
            if (point[i] >= code && point[i] < lowest)
                lowest = point[i];
        delta += (lowest - code) * (uint32_t)(done + 1);
        code = lowest;
        for (size_t i = 0; i < n; i++) {
            if (point[i] < code)
                delta++;
            if (point[i] != code)
                continue;
            length += punycode_digits(delta, bias);
            bias = punycode_adapt(delta, (uint32_t)(done + 1), done == basic);
            delta = 0;
            done++;
        }
    }
    return length;
}

/* Letters of ASCII in a U-label follow the same rule as elsewhere. */
static bool ulabel_valid(barid_slice label)
{
    uint32_t point[BARID_DOMAIN_MAX];
    size_t n = 0;

    if (label.n > BARID_DOMAIN_MAX || !utf8_valid(label))
        return false;
    for (size_t i = 0; i < label.n;) {
        uint32_t c = utf8_next(label, &i);

        if (c < 0x80 ? !is_alnum((char)c) && c != '-' : point_forbidden(c))
            return false;
        point[n++] = c;
    }
    return alabel_length(point, n) <= BARID_LABEL_MAX;
}

/* sub-domain = Let-dig [Ldh-str] / U-label */
static bool label_valid(barid_slice label, bool utf8)
{
    if (label.n == 0 || label.p[0] == '-' || label.p[label.n - 1] == '-')
        return false;
    if (!ascii_only(label))
        return utf8 && ulabel_valid(label);
    if (label.n > BARID_LABEL_MAX)
        return false;
    for (size_t i = 0; i < label.n; i++)
        if (!is_alnum(label.p[i]) && label.p[i] != '-')
            return false;
    return true;
}

bool barid_domain_valid(barid_slice text, bool utf8)
{
    if (text.n == 0 || text.n > BARID_DOMAIN_MAX)
        return false;
    for (size_t start = 0; start <= text.n;) {
        barid_slice rest = slice_from(text, start);
        size_t n = slice_find(rest, '.');

        if (!label_valid(slice_head(rest, n), utf8))
            return false;
        if (n == rest.n)
            return true;
        start += n + 1;
    }
    return false;
}

/*
 * General-address-literal: its tag "MUST be specified in a Standards-Track RFC and registered
 * with IANA" (RFC 5321 4.1.3). None is but IPv6, so any other is outside the grammar.
 */
bool barid_address_literal_valid(barid_slice text)
{
    uint8_t addr[16];
    barid_slice inner;

    if (text.n < 3 || text.n > BARID_DOMAIN_MAX || text.p[0] != '[' ||
        text.p[text.n - 1] != ']')
        return false;
    inner = (barid_slice){text.p + 1, text.n - 2};
    if (slice_starts_nocase(inner, BARID_S("IPv6:")))
        return literal_ipv6(slice_from(inner, 5), false, addr);
    return literal_ipv4(inner, addr);
}
