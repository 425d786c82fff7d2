/* message/mime_utf8.h: text of any charset as valid UTF-8. */
#ifndef MESSAGE_MIME_UTF8_H
#define MESSAGE_MIME_UTF8_H

#include "base/buf.h"

/* Appends s; each octet that is not part of well-formed UTF-8 becomes U+FFFD. 0, BARID_ENOMEM,
 * BARID_ELIMIT. */
int mime_utf8_clean(struct buf *out, barid_slice s);
/* Appends s read as charset (NUL-terminated; unknown or empty = UTF-8). As above. */
int mime_utf8_convert(struct buf *out, const char *charset, barid_slice s);

#endif
