/*
 * server/session_log.c: what an operator reads: id, peer, verdicts, sizes, times.
 */
#include "server/session_log.h"

#include "base/slice.h"
#include "server/transaction.h"

static size_t count_verdict(const struct mail *m, enum rcpt_verdict v)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_rcpts; i++)
        n += m->rcpts[i]->verdict == v;
    return n;
}

void session_log_message(struct connection *c, const char *outcome)
{
    const struct log *log = c->server->o.log;
    const struct transaction *tx = c->tx;
    const struct mail *m = &tx->mail;
    if (!log_wants(log, LOG_LEVEL_INFO))
        return;
    char id[MAIL_ID_TEXT_SIZE], client[ENDPOINT_TEXT_SIZE];
    mail_id_text(m->id, id);
    endpoint_text(&c->facts.client, client);
    log_record(
        log, LOG_LEVEL_INFO, "message", outcome, LOG_CSTR("id", m->id ? id : "-"),
        LOG_CSTR("session", c->facts.id), LOG_CSTR("client", client),
        LOG_STR("user", c->facts.user), LOG_STR("from", m->sender.address),
        LOG_STR("to", m->n_rcpts ? m->rcpts[0]->box.address : m->sender.user),
        LOG_INT("recipients", m->n_rcpts),
        LOG_INT("refused", count_verdict(m, RCPT_REJECTED) + count_verdict(m, RCPT_TEMPFAILED)),
        LOG_INT("held", count_verdict(m, RCPT_HELD) + count_verdict(m, RCPT_QUARANTINED)),
        LOG_INT("size", m->header.block.n + (m->has_blank_line ? 2 : 0) + m->body_size),
        LOG_INT("units", tx->n_units), LOG_STR("reason", m->state_reason),
        LOG_NUM("seconds", (double)(clock_wall_us(c->server->o.clock) - m->received_us) / 1e6));
}

void session_log_end(struct connection *c)
{
    const struct log *log = c->server->o.log;
    if (!log_wants(log, LOG_LEVEL_INFO))
        return;
    char client[ENDPOINT_TEXT_SIZE];
    endpoint_text(&c->facts.client, client);
    log_record(
        log, LOG_LEVEL_INFO, "session", barid_close_reason_name(c->reason),
        LOG_CSTR("session", c->facts.id), LOG_CSTR("client", client),
        LOG_INT("port", c->facts.client.port), LOG_STR("listener", c->facts.listener),
        LOG_STR("helo", barid_session_helo(c->driver.session)),
        LOG_STR("user", barid_session_user(c->driver.session)),
        LOG_STR("tls", c->facts.tls_version), LOG_INT("messages", c->messages),
        LOG_INT("commands", barid_session_commands(c->driver.session)),
        LOG_INT("errors", barid_session_errors(c->driver.session)),
        LOG_INT("bytes_in", c->driver.bytes_in),
        LOG_NUM("seconds",
                (double)(clock_wall_us(c->server->o.clock) - c->facts.started_us) / 1e6));
}
