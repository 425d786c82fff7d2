/* delivery/relay_int.h: what the files of the relay share. */
#ifndef DELIVERY_RELAY_INT_H
#define DELIVERY_RELAY_INT_H

#include "base/buf.h"
#include "delivery/courier.h"
#include "delivery/relay_open.h"
#include "message/downgrade.h"

/*
 * relay_conversion.c: a message being made fit for a server, a slice of work in each turn of the loop.
 */
struct relay_conversion;
struct relay_conversion_options {
    struct loop *loop;
    struct downgrade_options downgrade; /* its mem is that of the conversion, too */
    void (*on_ready)(void *user);       /* prepare may be called again, after BARID_EAGAIN */
    void *user;
};
/* As downgrade_new. */
int relay_conversion_new(struct relay_conversion **v_r,
                         const struct relay_conversion_options *o);
/* As downgrade_prepare, but after an error it says the same again. */
int relay_conversion_prepare(struct relay_conversion *v, struct err *err);
/* Once prepared. */
struct downgrade *relay_conversion_result(struct relay_conversion *v);
enum barid_body_type relay_conversion_target(const struct relay_conversion *v);
/* Also from on_ready. Accepts NULL. */
void relay_conversion_del(struct relay_conversion **conversion);

/*
 * relay_source.c: the octets of a message as one server gets them: header, blank line, body; or what they were converted to.
 *
 * Whether a body needs more than a server offers, its label says: BODY= of MAIL. What came without is sent as it is: to look at each
 * octet of each mail for what most servers take anyway costs more than it is worth, and who did not ask for 8BITMIME has no claim to it.
 */
struct relay_source {
    struct consignment *c;
    struct loop *loop;
    const barid_mem *mem;
    void (*on_ready)(void *user); /* relay_source_choose may be called again */
    void *user;
    struct buf piece; /* header and the beginning of the body in one; or what was converted */
    struct relay_conversion
        *conversion;             /* for the last server that needed one; the next may, too */
    struct downgrade *converted; /* what this server gets, or NULL: the message as it is */
    bool waits;                  /* relay_source_choose said 0 and the body has to come first */
};
void relay_source_init(struct relay_source *s, struct consignment *c, struct loop *loop,
                       const barid_mem *mem, void (*on_ready)(void *user), void *user);
void relay_source_deinit(struct relay_source *s);
uint64_t relay_source_size(const struct relay_source *s); /* of the message as it is */
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
