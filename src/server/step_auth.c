/*
 * server/step_auth.c: AUTH: the hook first, else the users file. Whatever costs PBKDF2
 * (checking a password against a verifier, making a verifier from a password) runs on the pool;
 * an unknown user costs the same work against a fixed verifier, so that time tells nothing. Where
 * some users have a verifier and some a password, both cost what an unknown one does.
 */
#include "barid/verifier.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/slice.h"
#include "server/ask.h"
#include "server/steps.h"

enum auth_work {
    AUTH_CHECK,   /* password against the verifier in secret */
    AUTH_COMPARE, /* password against secret, which is one too */
    AUTH_MAKE,    /* a verifier of the mechanism from secret */
    AUTH_SHOW     /* secret is the verifier already: only as slow as making one */
};

struct auth_job {
    struct pool_job job;
    struct connection *c;
    enum barid_auth_mechanism mechanism;
    enum auth_work work;
    char *secret; /* NULL = unknown user */
    char *password, *user;
    int result; /* 1 = let in, or the verifier is there; 0 = no; or a barid_err */
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

/* The price of every answer. */
static int make(struct auth_job *j, enum barid_auth_mechanism m, barid_slice password)
{
    barid_verifier v;
    int rc = barid_verifier_make(&v, m, password, slice_of(j->salt, sizeof j->salt),
                                 BARID_VERIFIER_ITERATIONS);
    if (rc == 0)
        barid_verifier_format(&v, j->made);
    mem_wipe(&v, sizeof v);
    return rc < 0 ? rc : 1;
}

static int run_check(struct auth_job *j)
{
    barid_verifier v;
    int rc = barid_verifier_parse(slice_str(j->secret), &v);
    if (rc == 0)
        rc = barid_verifier_check(&v, slice_str(j->password));
    mem_wipe(&v, sizeof v);
    return rc;
}

static void run_job(struct pool_job *job) /* pool thread */
{
    struct auth_job *j = LIST_ENTRY(job, struct auth_job, job);
    const bool shown = j->work == AUTH_MAKE || j->work == AUTH_SHOW;
    const enum barid_auth_mechanism m = shown ? j->mechanism : BARID_AUTH_SCRAM_SHA_256;
    if (j->work == AUTH_CHECK && j->secret)
        j->result = run_check(j);
    else
        j->result =
            make(j, m, j->work == AUTH_MAKE && j->secret ? slice_str(j->secret) : BARID_S("x"));
    if (j->result == 1 && !j->secret)
        j->result = 0;
    else if (j->result == 1 && j->work == AUTH_COMPARE)
        j->result = secret_equal(slice_str(j->secret), slice_str(j->password));
}

static void answer_result(struct connection *c, const struct auth_job *j)
{
    barid_verdict v = {.kind = BARID_ACCEPT, .user = slice_str(j->user)};
    if (j->work == AUTH_MAKE || j->work == AUTH_SHOW) {
        v.secret_kind = BARID_SECRET_VERIFIER;
        v.secret = slice_str(j->work == AUTH_MAKE ? j->made : j->secret);
    }
    if (j->result == 1)
        connection_answer(c, &v);
    else
        connection_answer_reply(c, j->result == BARID_ENOMEM ? BARID_REPLY_AUTH_TEMPFAIL
                                                             : BARID_REPLY_AUTH_FAILED);
}

static void job_done(struct pool_job *job)
{
    struct auth_job *j = LIST_ENTRY(job, struct auth_job, job);
    struct connection *c = j->c;
    if (connection_back(c))
        answer_result(c, j);
    job_free(j);
}

/* The salt of a verifier made on the spot stays the same for a user, as a stored one does and as
 * what an unknown user is shown: one that changed would tell them apart. */
static void fill_salt(const struct server_options *o, const struct auth_request *rq,
                      uint8_t *salt)
{
    uint64_t key[4] = {0}, word[2];
    if (o->auth_seed)
        memcpy(key, o->auth_seed, sizeof key);
    key[0] ^= (uint64_t)rq->mechanism;
    word[0] = siphash(key, rq->authcid);
    word[1] = siphash(key + 2, rq->authcid);
    _Static_assert(sizeof word == BARID_VERIFIER_SALT, "a salt is two words");
    memcpy(salt, word, sizeof word);
    mem_wipe(key, sizeof key);
}

/* secret empty = unknown user. */
static void start_job(struct connection *c, const struct auth_request *rq, enum auth_work work,
                      barid_slice secret, barid_slice user)
{
    struct auth_job *j = mem_zalloc(NULL, sizeof *j);
    if (j) {
        j->job = (struct pool_job){.run = run_job, .done = job_done};
        j->c = c;
        j->mechanism = rq->mechanism;
        j->work = work;
        fill_salt(&c->server->o, rq, j->salt);
        j->secret = secret.n ? mem_strdup(NULL, secret) : NULL;
        j->password = mem_strdup(NULL, rq->password);
        j->user = mem_strdup(NULL, user);
    }
    bool whole = j && j->user && j->password && (!secret.n || j->secret);
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
    if (carries_password(rq->mechanism)) {
        start_job(c, rq, kind == BARID_SECRET_PLAIN ? AUTH_COMPARE : AUTH_CHECK, secret, user);
    } else if (rq->mechanism == BARID_AUTH_CRAM_MD5 ||
               (kind == BARID_SECRET_VERIFIER && is_verifier_of(secret, rq->mechanism))) {
        connection_answer(c, &v); /* the session finishes the exchange; a verifier for CRAM-MD5
                                     fails there like a wrong password */
    } else if (kind == BARID_SECRET_PLAIN) {
        start_job(c, rq, AUTH_MAKE, secret, user);
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
    const bool scram = !carries_password(rq->mechanism) && rq->mechanism != BARID_AUTH_CRAM_MD5;
    if (scram && users_has_plaintext(c->version->users) && !(e && e->plaintext))
        start_job(c, rq, AUTH_SHOW,
                  e && is_verifier_of(e->secret, rq->mechanism) ? e->secret : BARID_S(""),
                  rq->authcid);
    else if (e)
        use_secret(c, rq, e->plaintext ? BARID_SECRET_PLAIN : BARID_SECRET_VERIFIER, e->secret,
                   rq->authcid);
    else if (carries_password(rq->mechanism))
        start_job(c, rq, AUTH_CHECK, BARID_S(""), rq->authcid);
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
