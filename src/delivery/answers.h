/*
 * delivery/answers.h: what DNS said, for as long as that may be believed (TTL; RFC 2308). One loop, its thread.
 *
 * Mail comes in crowds: a thousand messages for one domain are one question here, also while it is under way, and a thousand domains are
 * not a thousand questions at once: the others wait in line, where the resolver would only say that it has too many. Failures are not
 * remembered, only shared by those who wait for the same answer.
 */
#ifndef DELIVERY_ANSWERS_H
#define DELIVERY_ANSWERS_H

#include "delivery/hosts.h"

/* Memory of all that is known or asked: some twenty thousand names. The one that was wanted longest ago is forgotten first. */
#define ANSWERS_OCTETS_MAX ((size_t)8 << 20)
/* Questions at once: what a resolver nearby bears, and far fewer than io/dns takes. */
#define ANSWERS_ASKING_MAX 256
/* Seconds, whatever the records say: who moves a server waits no longer for us. */
#define ANSWERS_TTL_MAX_S 3600
/* Likewise, that there is no such name or record (RFC 2308 5 proposes hours; a mistake in a zone is mended sooner). */
#define ANSWERS_NEGATIVE_MAX_S 300

struct answers;

/* source: who is asked. 0 or BARID_ENOMEM. mem NULL = malloc. */
int answers_new(struct answers **a_r, struct loop *loop, const struct hosts_source *source,
                const struct rng *rng, const barid_mem *mem);
/* Nobody may be waiting any more. Accepts NULL. */
void answers_del(struct answers **a);
/* Asks as dns_ask does; it lives as long as a. */
struct hosts_source answers_source(struct answers *a);
/* Another one is asked from now on, and nothing is known. What is under way stays with the old one; what that cancels is asked again. */
void answers_set_source(struct answers *a, const struct hosts_source *source);

/* Names that are known or asked for. */
size_t answers_count(const struct answers *a);

#endif
