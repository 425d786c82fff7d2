/* delivery/relay_int.h: what the files of the relay share. */
#ifndef DELIVERY_RELAY_INT_H
#define DELIVERY_RELAY_INT_H

#include "base/buf.h"
#include "delivery/courier.h"
#include "delivery/relay_open.h"

/*
 * relay_source.c: the octets of a message as one server gets them: header, blank line, body; or what they were converted to.
 */
struct relay_source {
    struct consignment *c;
    struct buf piece; /* header and the beginning of the body in one */
};
void relay_source_init(struct relay_source *s, struct consignment *c, const barid_mem *mem);
void relay_source_deinit(struct relay_source *s);
uint64_t relay_source_size(const struct relay_source *s);
/* What this server gets, by what it offers (without what the hop does not use). mail->params are set to it. As courier_ops.on_server. */
int relay_source_choose(struct relay_source *s, uint32_t extensions, barid_client_mail *mail,
                        char refusal[COURIER_TEXT_SIZE]);
/* As courier_ops.on_body. */
int relay_source_read(struct relay_source *s, uint64_t offset, size_t n, barid_slice *p_r,
                      bool *last_r);

/*
 * relay_config.c: a hop and a mail in the words of the client session. Slices are borrowed.
 */
void relay_config(barid_client_config *config, const struct hop *hop, const struct rng *rng);
void relay_params(barid_mail_params *params, const struct consignment *c, uint64_t size);

#endif
