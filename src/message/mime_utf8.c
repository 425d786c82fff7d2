/*
 * message/mime_utf8.c: text of any charset as valid UTF-8. Knows GMime's names for charsets and
 * iconv.
 *
 * Invariant: whatever the input and whatever iconv makes of it, what is appended is well-formed
 * UTF-8.
 */
#include "message/mime_utf8.h"

#include <errno.h>
#include <gmime/gmime.h>
#include <iconv.h>

#include "base/encode.h"
#include "base/slice.h"

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */
#define CHUNK       4096

/* Octets of the character at the start of s, 0 when there is none. */
static size_t character(barid_slice s)
{
    for (size_t n = 1; n <= 4 && n <= s.n; n++)
        if (utf8_valid(slice_head(s, n)))
            return n;
    return 0;
}

int mime_utf8_clean(struct buf *out, barid_slice s)
{
    int rc = 0;

    if (utf8_valid(s))
        return buf_append(out, s);
    while (rc == 0 && s.n > 0) {
        size_t n = character(s);

        rc = n > 0 ? buf_append(out, slice_head(s, n)) : buf_str(out, REPLACEMENT);
        s = slice_from(s, n > 0 ? n : 1);
    }
    return rc;
}

/* One round: as much as fits. 0 = go on or done, or an error of buf. */
static int convert_some(struct buf *out, iconv_t cd, char **in, size_t *left)
{
    char chunk[CHUNK], *to = chunk;
    size_t room = sizeof(chunk), done;
    int rc;

    done = iconv(cd, in, left, &to, &room);
    rc = mime_utf8_clean(out, slice_of(chunk, (size_t)(to - chunk)));
    if (rc < 0 || done != (size_t)-1 || errno == E2BIG)
        return rc;
    /* EILSEQ: this octet is nothing. EINVAL: the text ends within a character. */
    (*in)++;
    (*left)--;
    return buf_str(out, REPLACEMENT);
}

int mime_utf8_convert(struct buf *out, const char *charset, barid_slice s)
{
    bool known = charset != NULL && charset[0] != '\0';
    iconv_t cd = known ? g_mime_iconv_open("UTF-8", charset) : (iconv_t)-1;
    /* iconv takes char ** for history's sake and writes nothing there. */
    char *in = (char *)(uintptr_t)s.p;
    size_t left = s.n;
    int rc = 0;

    if (cd == (iconv_t)-1)
        return mime_utf8_clean(out, s);
    while (rc == 0 && left > 0)
        rc = convert_some(out, cd, &in, &left);
    g_mime_iconv_close(cd);
    return rc;
}
