/*
 * server/admission.h: how many connections are open: in total, and per client (IPv4 address,
 * IPv6 /64). Shared by all workers.
 */
#ifndef SERVER_ADMISSION_H
#define SERVER_ADMISSION_H

#include "barid/endpoint.h"

struct admission;
int admission_new(struct admission **a_r, const uint64_t seed[2]);
void admission_del(struct admission **a);
enum admission_result { ADMISSION_OK, ADMISSION_TOTAL, ADMISSION_CLIENT };
/* per_client 0 = not counted per client (loopback, trusted, unix). Each OK is given back by
 * admission_leave with the same arguments. */
enum admission_result admission_enter(struct admission *a, const barid_endpoint *client,
                                      size_t total_max, size_t client_max);
void admission_leave(struct admission *a, const barid_endpoint *client,
                     bool counted_per_client);
size_t admission_total(const struct admission *a);

#endif
