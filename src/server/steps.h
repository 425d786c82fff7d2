/*
 * server/steps.h: what the server does at each event of a session.
 */
#ifndef SERVER_STEPS_H
#define SERVER_STEPS_H

#include "server/connection.h"

/* Runs the step of ev->id; the event is answered through connection_answer, now or later. */
void steps_run(struct connection *c, const barid_event *ev);

/* The steps, one file per stage: steps.c, step_auth.c, step_envelope.c, step_content.c,
 * step_message.c. */
void server_step_auth(struct connection *c, const barid_event *ev);
void server_step_mail(struct connection *c, const barid_event *ev);
void server_step_rcpt(struct connection *c, const barid_event *ev);
void server_step_data(struct connection *c, const barid_event *ev);
void server_step_headers(struct connection *c, const barid_event *ev);
void server_step_body(struct connection *c, const barid_event *ev);
void server_step_message(struct connection *c, const barid_event *ev);
void server_step_recipient(struct connection *c, const barid_event *ev);
void server_step_commit(struct connection *c, const barid_event *ev);

#endif
