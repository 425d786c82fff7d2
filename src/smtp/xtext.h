/* smtp/xtext.h: xtext of RFC 3461 4: "+3D" for '=', printable ASCII else. */
#ifndef SMTP_XTEXT_H
#define SMTP_XTEXT_H

#include "base/buf.h"

bool xtext_valid(barid_slice s);
/* Decode into out (at least s.n octets). The length, or BARID_ESYNTAX as a negative number. */
long xtext_decode(barid_slice s, char *out);
int xtext_encode(struct buf *out, barid_slice s); /* 0, BARID_ENOMEM, BARID_ELIMIT */

#endif
