/* delivery/courier_text.h: the line of a courier's result, cut at COURIER_TEXT_SIZE. */
#ifndef DELIVERY_COURIER_TEXT_H
#define DELIVERY_COURIER_TEXT_H

#include "delivery/courier.h"

void courier_text(struct courier_result *r, const char *fmt, ...) BARID_PRINTF(2, 3);
void courier_text_reply(struct courier_result *r,
                        const barid_reply *reply); /* what the server said */
/* What no server said: "451 4.4.2 mx.test (192.0.2.1:25): stage: why". stage may be NULL. */
void courier_text_error(struct courier_result *r, const char *status, const char *stage,
                        barid_slice why);

#endif
