/*
 * message/mail_id.c: queue ids as text.
 *
 * 13 digits of base 32 hold 65 bits, so the first digit is at most F. The alphabet is in ASCII
 * order and every id has 13 digits: texts sort like their numbers. I, L, O and U are left out,
 * as people read them aloud and mistake them.
 */
#include <string.h>

#include "base/slice.h"
#include "message/mail.h"

static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void mail_id_text(uint64_t id, char out[MAIL_ID_TEXT_SIZE])
{
    for (size_t i = MAIL_ID_TEXT_SIZE - 1; i > 0; i--, id >>= 5)
        out[i - 1] = digits[id & 31];
    out[MAIL_ID_TEXT_SIZE - 1] = '\0';
}

int mail_id_parse(barid_slice text, uint64_t *id_r)
{
    uint64_t id = 0;

    if (text.n != MAIL_ID_TEXT_SIZE - 1)
        return BARID_ESYNTAX;
    for (size_t i = 0; i < text.n; i++) {
        char c =
            text.p[i] >= 'a' && text.p[i] <= 'z' ? (char)(text.p[i] - 'a' + 'A') : text.p[i];
        const char *digit = memchr(digits, c, sizeof(digits) - 1);

        if (digit == NULL || id >> 59 != 0)
            return BARID_ESYNTAX;
        id = id << 5 | (uint64_t)(digit - digits);
    }
    *id_r = id;
    return 0;
}
