/*
 * barid/server.h: libbarid-server, a small callback server on top of the sessions: it opens the sockets, runs the event loop and
 * TLS, and hands every event to one callback.
 *
 *   static void on_event(barid_connection *c, const barid_event *ev, void *user)
 *   {
 *       barid_verdict v = {.kind = BARID_CONTINUE};
 *       if (ev->id == BARID_EVENT_COMMIT)
 *           v.kind = store(...) ? BARID_ACCEPT : BARID_TEMPFAIL;   // only after it is safe
 *       if (ev->token)
 *           barid_connection_answer(c, ev->token, &v);             // now or later
 *   }
 *
 *   barid_server_new(&s, on_event, NULL, user, error, sizeof error);
 *   barid_server_listen(s, "127.0.0.1:2525", &config, NULL, error, sizeof error);
 *   barid_server_run(s);                                            // until barid_server_stop
 *   barid_server_del(&s);
 *
 * Rules. Everything runs on the thread that called barid_server_run; only barid_server_stop and barid_server_post may be
 * called from elsewhere. There is no policy but the callback: in particular no relay check, so a callback that accepts every
 * recipient must keep what it accepts and never send it on. Signals are the caller's.
 */
#ifndef BARID_SERVER_H
#define BARID_SERVER_H

#include "barid/session.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct barid_server barid_server;
typedef struct barid_connection barid_connection;

/* Every event of every connection. ev is valid during the call, its slices until the answer. Events with a token must be
 * answered exactly once; the connection waits until then. */
typedef void (*barid_server_event)(barid_connection *c, const barid_event *ev, void *user);
/* The connection is gone: c is invalid after the call, unanswered tokens need no answer. May be NULL. */
typedef void (*barid_server_closed)(barid_connection *c, void *user);

/* 0, BARID_ENOMEM, BARID_EIO (no event loop). error gets one line; may be NULL with size 0. */
BARID_API int barid_server_new(barid_server **s_r, barid_server_event on_event, barid_server_closed on_closed, void *user,
                               char *error, size_t error_size);
/* Only when not running. Closes what is open; accepts NULL. */
BARID_API void barid_server_del(barid_server **s);

/* PEM files of a listener with TLS. */
typedef struct barid_server_tls {
    const char *cert_file, *key_file;
} barid_server_tls;

/*
 * Listen on "127.0.0.1:2525", "[::1]:2525", "*:25" or "unix:/path". config is copied, but what it points to (hostname, replies)
 * stays borrowed; config->random may be NULL (the system's is used). tls NULL = none: STARTTLS and implicit TLS are then off.
 * 0, or BARID_ESYNTAX, BARID_EIO, BARID_ENOMEM, BARID_EINVALID with one line in error.
 */
BARID_API int barid_server_listen(barid_server *s, const char *address, const barid_session_config *config,
                                  const barid_server_tls *tls, char *error, size_t error_size);
/* The port of the n-th listener (for ":0"); 0 when there is none or it is a unix socket. */
BARID_API uint16_t barid_server_port(const barid_server *s, size_t n);

/* Serves until barid_server_stop. */
BARID_API void barid_server_run(barid_server *s);
/* Any thread. Graceful: idle sessions get 421, transactions finish within drain_ms, then run returns. */
BARID_API void barid_server_stop(barid_server *s, uint32_t drain_ms);
/* Any thread: fn(arg) runs on the server's thread: the way to answer from a worker thread. 0 or BARID_ENOMEM. */
BARID_API int barid_server_post(barid_server *s, void (*fn)(void *arg), void *arg);

/* 0, BARID_EINVALID (wrong token, or a verdict that the event does not allow). May end the connection. */
BARID_API int barid_connection_answer(barid_connection *c, barid_token token, const barid_verdict *verdict);
/* For the getters of session.h; never feed or answer it directly. */
BARID_API const barid_session *barid_connection_session(const barid_connection *c);
/* A pointer of the embedder's, NULL at first. */
BARID_API void barid_connection_set_data(barid_connection *c, void *data);
BARID_API void *barid_connection_data(const barid_connection *c);

#ifdef __cplusplus
}
#endif
#endif
