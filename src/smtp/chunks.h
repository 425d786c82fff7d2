/* smtp/chunks.h: the part of BDAT that other files start. */
#ifndef SMTP_CHUNKS_H
#define SMTP_CHUNKS_H

#include "smtp/session_int.h"

/* The `data` event of a first BDAT was answered (cmd_bdat.c). */
void act_first_chunk(struct barid_session *s, const barid_verdict *v);

#endif
