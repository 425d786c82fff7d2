/*
 * server/step_auth.c: AUTH: the hook first, else the users file. Whatever costs PBKDF2
 * (checking a password against a verifier, making a verifier from a password) runs on the pool;
 * an unknown user costs the same work against a fixed verifier, so that time tells nothing.
 */
#include "barid/verifier.h"
#include "base/mem.h"
#include "base/slice.h"
#include "server/ask.h"
#include "server/steps.h"

struct auth_job {
    struct pool_job job;
    struct connection *c;
    enum barid_auth_mechanism mechanism;
    bool check; /* password against secret; else make a verifier of the mechanism from secret */
    bool known;
    char *secret, *password, *user;
    int result; /* check: 1 = right; make: 0 = made */
    char made[BARID_VERIFIER_TEXT_MAX];
    uint8_t salt[BARID_VERIFIER_SALT];
};

/* In time that depends on the presented length only. */
static bool secret_equal(barid_slice secret, barid_slice presented)
{
    unsigned char diff = secret.n != presented.n;
    for (size_t i = 0; i < presented.n; i++)
        diff |= (unsigned char)(presented.p[i] ^ (secret.n ? secret.p[i % secret.n] : 0));
    return diff == 0;
}

static void wipe_free(char *s)
{
    if (s)
        mem_wipe(s, strlen(s));
    mem_free(NULL, s);
}

static void job_free(struct auth_job *j)
{
    wipe_free(j->secret);
    wipe_free(j->password);
    mem_free(NULL, j->user);
    mem_wipe(j->made, sizeof j->made);
    mem_free(NULL, j);
}

static void run_make(struct auth_job *j)
{
    barid_verifier v;
    j->result =
        barid_verifier_make(&v, j->mechanism, slice_str(j->secret),
                            slice_of(j->salt, sizeof j->salt), BARID_VERIFIER_ITERATIONS);
    if (j->result == 0)
        barid_verifier_format(&v, j->made);
    mem_wipe(&v, sizeof v);
}

static void run_check(struct auth_job *j)
{
    barid_verifier v;
    int rc = j->secret ? barid_verifier_parse(slice_str(j->secret), &v) : BARID_ENOTFOUND;
    if (rc < 0) /* unknown user: the same work, then no */
        rc = barid_verifier_make(&v, BARID_AUTH_SCRAM_SHA_256, BARID_S("x"),
                                 slice_of(j->salt, sizeof j->salt), BARID_VERIFIER_ITERATIONS);
    else
        rc = barid_verifier_check(&v, slice_str(j->password));
    j->result = j->known ? rc : 0;
    mem_wipe(&v, sizeof v);
}

static void run_job(struct pool_job *job) /* pool thread */
{
    struct auth_job *j = LIST_ENTRY(job, struct auth_job, job);
    if (j->check)
        run_check(j);
    else
        run_make(j);
}

static void answer_result(struct connection *c, const struct auth_job *j)
{
    barid_verdict v = {.kind = BARID_ACCEPT, .user = slice_str(j->user)};
    bool ok = j->check ? j->result == 1 : j->result == 0;
    if (j->result == BARID_ENOMEM) {
        connection_answer_reply(c, BARID_REPLY_AUTH_TEMPFAIL);
        return;
    }
    if (!j->check && ok) {
        v.secret_kind = BARID_SECRET_VERIFIER;
        v.secret = slice_str(j->made);
    }
    if (ok)
        connection_answer(c, &v);
    else
        connection_answer_reply(c, BARID_REPLY_AUTH_FAILED);
}

static void job_done(struct pool_job *job)
{
    struct auth_job *j = LIST_ENTRY(job, struct auth_job, job);
    struct connection *c = j->c;
    if (connection_back(c))
        answer_result(c, j);
    job_free(j);
}

/* secret empty = unknown user. */
static void start_job(struct connection *c, const struct auth_request *rq, bool check,
                      barid_slice secret, barid_slice user)
{
    struct auth_job *j = mem_zalloc(NULL, sizeof *j);
    if (j) {
        *j = (struct auth_job){.job = {.run = run_job, .done = job_done},
                               .c = c,
                               .mechanism = rq->mechanism,
                               .check = check,
                               .known = secret.n > 0};
        rng_fill(c->server->o.rng, j->salt, sizeof j->salt);
        j->secret = secret.n ? mem_strdup(NULL, secret) : NULL;
        j->password = check ? mem_strdup(NULL, rq->password) : NULL;
        j->user = mem_strdup(NULL, user);
    }
    bool whole = j && j->user && (!secret.n || j->secret) && (!check || j->password);
    if (whole)
        c->under_way++;
    if (!whole || pool_start(c->server->o.pool, c->server->o.loop, &j->job) < 0) {
        if (whole)
            c->under_way--;
        if (j)
            job_free(j);
        connection_answer_reply(c, BARID_REPLY_AUTH_TEMPFAIL);
    }
}

/* --- deciding --- */

static bool carries_password(enum barid_auth_mechanism m)
{
    return m == BARID_AUTH_PLAIN || m == BARID_AUTH_LOGIN;
}

static bool is_verifier_of(barid_slice secret, enum barid_auth_mechanism m)
{
    return slice_starts_nocase(secret, slice_str(barid_auth_mechanism_name(m)));
}

/* A known secret against what the client presented. */
static void use_secret(struct connection *c, const struct auth_request *rq,
                       enum barid_secret_kind kind, barid_slice secret, barid_slice user)
{
    barid_verdict v = {
        .kind = BARID_ACCEPT, .secret_kind = kind, .secret = secret, .user = user};
    if (carries_password(rq->mechanism) && kind == BARID_SECRET_PLAIN) {
        if (!secret_equal(secret, rq->password))
            connection_answer_reply(c, BARID_REPLY_AUTH_FAILED);
        else
            connection_answer(c, &(barid_verdict){.kind = BARID_ACCEPT, .user = user});
    } else if (carries_password(rq->mechanism)) {
        start_job(c, rq, true, secret, user);
    } else if (rq->mechanism == BARID_AUTH_CRAM_MD5 ||
               (kind == BARID_SECRET_VERIFIER && is_verifier_of(secret, rq->mechanism))) {
        connection_answer(c, &v); /* the session finishes the exchange; a verifier for CRAM-MD5
                                     fails there like a wrong password */
    } else if (kind == BARID_SECRET_PLAIN) {
        start_job(c, rq, false, secret, user);
    } else {
        connection_answer_reply(c, BARID_REPLY_AUTH_FAILED);
    }
}

/* RFC 4616 2: an authorization identity of somebody else needs a right that users files do not
 * express. */
static bool may_act_as(const struct auth_request *rq)
{
    return rq->authzid.n == 0 || slice_eq(rq->authzid, rq->authcid);
}

static void use_users_file(struct connection *c, const struct auth_request *rq)
{
    const struct user_entry *e =
        may_act_as(rq) ? users_find(c->version->users, rq->authcid) : NULL;
    if (e)
        use_secret(c, rq, e->plaintext ? BARID_SECRET_PLAIN : BARID_SECRET_VERIFIER, e->secret,
                   rq->authcid);
    else if (carries_password(rq->mechanism))
        start_job(c, rq, true, BARID_S(""), rq->authcid);
    else
        connection_answer_reply(c, BARID_REPLY_AUTH_FAILED);
}

static void after_auth(struct connection *c, const barid_verdict *v)
{
    struct auth_request rq = c->auth;
    c->auth = (struct auth_request){0};
    if (v->kind == BARID_CONTINUE && c->version->users)
        use_users_file(c, &rq);
    else if (v->kind == BARID_CONTINUE)
        connection_answer_reply(c, BARID_REPLY_AUTH_FAILED);
    else if (v->kind == BARID_ACCEPT && v->secret_kind != BARID_SECRET_NONE)
        use_secret(c, &rq, v->secret_kind, v->secret, v->user);
    else
        connection_answer(c, v);
}

void server_step_auth(struct connection *c, const barid_event *ev)
{
    c->auth = (struct auth_request){.mechanism = ev->mechanism,
                                    .authcid = ev->authcid,
                                    .authzid = ev->authzid,
                                    .password = ev->password};
    ask(c, ev->id, ev, NULL, after_auth);
}
