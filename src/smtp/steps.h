/* smtp/steps.h: one step of each phase, for the loop in session_run.c. A step returns false
 * when it needs more input (or a handshake) to go on. */
#ifndef SMTP_STEPS_H
#define SMTP_STEPS_H

#include <stdbool.h>

struct barid_session;

bool step_proxy(struct barid_session *s);   /* greeting.c */
bool step_connect(struct barid_session *s); /* greeting.c */
bool step_command(struct barid_session *s); /* verbs.c */
bool step_auth(struct barid_session *s);    /* cmd_auth.c */
bool step_data(struct barid_session *s);    /* message.c */
bool step_chunk(struct barid_session *s);   /* cmd_bdat.c */
bool step_skip(struct barid_session *s);    /* cmd_bdat.c */
bool step_message(struct barid_session *s); /* message.c */

#endif
