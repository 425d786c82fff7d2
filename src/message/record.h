/*
 * message/record.h: a mail as octets in the spool and back: tag-length-value, unknown tags are skipped, so a newer minor
 * version can be read. Holds everything but header block, body and unit states (the spool keeps those apart).
 */
#ifndef MESSAGE_RECORD_H
#define MESSAGE_RECORD_H

#include "message/mail.h"

/* 0 or BARID_ENOMEM / ELIMIT. */
int record_encode(const struct mail *m, const struct unit *units, size_t n_units, struct buf *out);

/* Into arena; meta and header stay borrowed (copy them into the arena first if they do not live as long).
 * 0, BARID_ECORRUPT, BARID_EVERSION, BARID_ENOMEM. */
int record_decode(struct mail *m, struct arena *arena, barid_slice meta, barid_slice header,
                  struct unit **units_r, size_t *n_units_r);

#endif
