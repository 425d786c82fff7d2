/*
 * smtp/cmd_xclient.c: XCLIENT: a trusted peer says for whom it speaks. Afterwards the session
 * is as if that client had just connected: `connect` is raised again and its greeting is the
 * reply. To a peer that is not trusted the verb does not exist.
 */
#include "smtp/xclient.h"

#include "base/mem.h"
#include "smtp/verbs.h"

static bool is_given(const struct xclient *x, enum xclient_attr attr)
{
    return x->state[attr] != XCLIENT_ABSENT;
}

static int set_addresses(struct barid_session *s, const struct xclient *x)
{
    if (is_given(x, XCLIENT_ADDR))
        s->peer = x->addr;
    else if (is_given(x, XCLIENT_PORT))
        s->peer.port = x->addr.port;
    if (!is_given(x, XCLIENT_DESTADDR))
        return 0;
    if (s->proxy_dest == NULL)
        s->proxy_dest = mem_alloc(s->mem, sizeof(*s->proxy_dest));
    if (s->proxy_dest == NULL)
        return BARID_ENOMEM;
    *s->proxy_dest = x->dest;
    return 0;
}

static int set_names(struct barid_session *s, const struct xclient *x)
{
    /* What is not available has an empty value. */
    if (is_given(x, XCLIENT_NAME) &&
        session_set_fact(s, &s->peer_name, x->value[XCLIENT_NAME]) < 0)
        return BARID_ENOMEM;
    if (session_set_fact(s, &s->helo, x->value[XCLIENT_HELO]) < 0 ||
        session_set_fact(s, &s->user, x->value[XCLIENT_LOGIN]) < 0)
        return BARID_ENOMEM;
    s->greeted = s->helo.n > 0;
    s->esmtp = s->greeted && x->esmtp;
    s->authenticated = s->user.n > 0;
    return 0;
}

static void apply(struct barid_session *s, const struct xclient *x)
{
    session_forget_greeting(s);
    if (set_addresses(s, x) < 0 || set_names(s, x) < 0) {
        /* Half an identity must not be trusted. */
        session_close(s, BARID_CLOSE_NOMEM, BARID_REPLY_OUT_OF_RESOURCES);
        return;
    }
    s->greeting_sent = false;
    session_enter(s, PHASE_CONNECT);
}

void cmd_xclient(struct barid_session *s, const struct command *c)
{
    barid_slice bad = {NULL, 0};
    struct xclient x;
    char *scratch;

    if ((session_extensions(s) & BARID_EXT_XCLIENT) == 0) {
        cmd_unknown(s, c);
        return;
    }
    scratch = mem_alloc(s->mem, c->arg.n + 1);
    if (scratch == NULL)
        reply(s, BARID_REPLY_LOCAL_ERROR);
    else if (xclient_parse(c->arg, scratch, &x, &bad) < 0)
        reply_detail(s, BARID_REPLY_SYNTAX,
                     bad.n > 0 ? bad : BARID_S("XCLIENT attribute=value ..."));
    else
        apply(s, &x);
    mem_free(s->mem, scratch);
}
