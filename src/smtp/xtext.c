/*
 * smtp/xtext.c: xtext (RFC 3461 4): octets 33 to 126 but '+' and '=' stand for themselves,
 * all others are '+' and two upper case hexadecimal digits.
 */
#include "smtp/xtext.h"

static bool is_xchar(unsigned char c)
{
    return c >= 33 && c <= 126 && c != '+' && c != '=';
}

/* RFC 3461 4: hexchar uses upper case only. */
static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

long xtext_decode(barid_slice s, char *out)
{
    long n = 0;

    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (c == '+') {
            int hi, lo;

            if (s.n - i < 3)
                return BARID_ESYNTAX;
            hi = hex_value(s.p[i + 1]);
            lo = hex_value(s.p[i + 2]);
            if (hi < 0 || lo < 0)
                return BARID_ESYNTAX;
            c = (char)(hi << 4 | lo);
            i += 2;
        } else if (!is_xchar((unsigned char)c)) {
            return BARID_ESYNTAX;
        }
        if (out != NULL)
            out[n] = c;
        n++;
    }
    return n;
}

bool xtext_valid(barid_slice s)
{
    return xtext_decode(s, NULL) >= 0;
}

int xtext_encode(struct buf *out, barid_slice s)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t extra = 0;
    int r;

    for (size_t i = 0; i < s.n; i++)
        extra += is_xchar((unsigned char)s.p[i]) ? 1 : 3;
    /* Reserved first, so that an error appends nothing. */
    if ((r = buf_reserve(out, extra)) < 0)
        return r;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (is_xchar(c)) {
            (void)buf_byte(out, (char)c);
        } else {
            (void)buf_byte(out, '+');
            (void)buf_byte(out, hex[c >> 4]);
            (void)buf_byte(out, hex[c & 15]);
        }
    }
    return 0;
}
