/*
 * policy/engine.c: running hooks.
 *
 *   hook_run ──▶ thread of the pool: function and arguments pushed ──▶ go ──resume──▶ the function
 *
 *   returned      verdict_take, answered; the thread goes back to the pool
 *   raised        its text, answered as failed; the thread is reset and goes back
 *   engine_wait   it yields: WAITING, call->waiting = the thread
 *                   what it waited for is there: engine_resume ──▶ go
 *                   hook_cancel: cancelled, reset, back to the pool
 *
 * Invariants: running is the thread whose coroutine is on the C stack, else NULL; a thread is
 * in the free list exactly while its call is NULL; outside of a coroutine only functions of Lua
 * are called that can neither raise nor allocate, or they are called through lua_pcall. Most
 * hooks find all their arguments made and return nothing: for them only the resume is left.
 */
#include "policy/engine.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/slice.h"
#include "io/loop.h"

struct thread *engine_running(lua_State *L, const char *what)
{
    struct thread *t = engine_of(L)->running;

    if (t == NULL)
        luaL_error(L, "%s can be used only in a hook", what);
    return t;
}

/* --- threads --------------------------------------------------------------------------------
 */

static int make_thread(lua_State *L)
{
    struct thread *t = lua_touserdata(L, 1);

    t->L = lua_newthread(L);
    t->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static struct thread *thread_take(struct engine *e)
{
    struct thread *t = e->free;
    lua_State *L = e->script.L;

    if (t != NULL) {
        e->free = t->next;
        return t;
    }
    if (e->n_threads >= ENGINE_THREADS_MAX ||
        (t = mem_zalloc(e->script.mem, sizeof(*t))) == NULL)
        return NULL;
    t->engine = e;
    lua_pushcfunction(L, make_thread);
    lua_pushlightuserdata(L, t);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        lua_settop(L, 0);
        mem_free(e->script.mem, t);
        return NULL;
    }
    e->n_threads++;
    return t;
}

static void drop_own_session(struct thread *t)
{
    struct policy_session *s = t->session;

    policy_session_clear(t->engine->policy, s);
    mem_free(t->engine->script.mem, s);
    t->own_session = false;
}

static void thread_give(struct thread *t)
{
    struct engine *e = t->engine;

    about_over(t);
    if (t->own_session)
        drop_own_session(t);
    t->session = NULL;
    t->call = NULL;
    t->cancel = NULL;
    t->waits_for = NULL;
    t->used = 0;
    t->hidden = 0;
    t->next = e->free;
    e->free = t;
}

/* A count hook that raised leaves its coroutine with hooks turned off for good: such a one is
 * not used again. */
static void thread_drop(struct thread *t)
{
    struct engine *e = t->engine;

    thread_give(t);
    e->free = t->next;
    e->n_threads--;
    luaL_unref(e->script.L, LUA_REGISTRYINDEX, t->ref);
    mem_free(e->script.mem, t);
}

static void threads_free(struct engine *e)
{
    for (struct thread *t = e->free, *next; t != NULL; t = next) {
        next = t->next;
        mem_free(e->script.mem, t);
    }
}

/* --- the arguments --------------------------------------------------------------------------
 */

/* Pushes the arguments of the event (DESIGN of the signatures: events.def and docs/lua.md). */
static int push_name(lua_State *L, struct thread *t)
{
    push_session(L, t->session);
    script_push(L, t->call->argument);
    return 2;
}

static int push_session_only(lua_State *L, struct thread *t)
{
    push_session(L, t->session);
    return 1;
}

static int push_credentials(lua_State *L, struct thread *t)
{
    const struct policy_credentials *c = t->call->credentials;
    static const struct policy_credentials none;

    if (c == NULL)
        c = &none;
    push_session(L, t->session);
    lua_createtable(L, 0, 4);
    lua_pushstring(L, barid_auth_mechanism_name(c->mechanism));
    lua_setfield(L, -2, "mechanism");
    script_push(L, c->authcid);
    lua_setfield(L, -2, "name");
    script_push(L, c->authzid);
    lua_setfield(L, -2, "authorize_as");
    if (c->mechanism == BARID_AUTH_PLAIN || c->mechanism == BARID_AUTH_LOGIN) {
        script_push(L, c->password);
        lua_setfield(L, -2, "password");
    }
    return 2;
}

static int push_transaction(lua_State *L, struct thread *t)
{
    push_session(L, t->session);
    push_mail(L, t->session, t->call->mail);
    return 2;
}

static int push_recipient(lua_State *L, struct thread *t)
{
    push_transaction(L, t);
    push_rcpt(L, t->session, t->call->mail, t->call->rcpt);
    return 3;
}

static int push_chunk(lua_State *L, struct thread *t)
{
    push_transaction(L, t);
    script_push(L, t->call->data);
    return 3;
}

static int push_queued(lua_State *L, struct thread *t)
{
    push_mail(L, t->session, t->call->mail);
    return 1;
}

static int push_route(lua_State *L, struct thread *t)
{
    const struct policy_route *r = t->call->route;

    push_mail(L, t->session, t->call->mail);
    push_rcpts(L, t->session, t->call->mail, r->rcpts, r->n_rcpts);
    return 2;
}

static int push_relay(lua_State *L, struct thread *t)
{
    push_about(L, t, CLASS_HOP, t->call->relay);
    push_mail(L, t->session, t->call->mail);
    return 2;
}

static int push_attempt(lua_State *L, struct thread *t)
{
    push_about(L, t, CLASS_RESULT, t->call->attempt);
    push_mail(L, t->session, t->call->mail);
    return 2;
}

static int push_report(lua_State *L, struct thread *t)
{
    push_about(L, t, CLASS_REPORT, t->call->report);
    push_mail(L, t->session, t->call->mail);
    return 2;
}

static int push_close(lua_State *L, struct thread *t)
{
    push_session(L, t->session);
    lua_pushstring(L, barid_close_reason_name(t->call->reason));
    return 2;
}

typedef int (*push_fn)(lua_State *L, struct thread *t);
static push_fn push_of(enum barid_event_id event)
{
    static const push_fn table[BARID_EVENTS] = {
        [BARID_EVENT_CONNECT] = push_session_only,
        [BARID_EVENT_TLS] = push_session_only,
        [BARID_EVENT_HELO] = push_name,
        [BARID_EVENT_AUTH] = push_credentials,
        [BARID_EVENT_MAIL] = push_transaction,
        [BARID_EVENT_RCPT] = push_recipient,
        [BARID_EVENT_DATA] = push_transaction,
        [BARID_EVENT_HEADERS] = push_transaction,
        [BARID_EVENT_BODY] = push_chunk,
        [BARID_EVENT_MESSAGE] = push_transaction,
        [BARID_EVENT_RECIPIENT] = push_recipient,
        [BARID_EVENT_NOOP] = push_name,
        [BARID_EVENT_RSET] = push_name,
        [BARID_EVENT_VRFY] = push_name,
        [BARID_EVENT_EXPN] = push_name,
        [BARID_EVENT_HELP] = push_name,
        [BARID_EVENT_QUIT] = push_name,
        [BARID_EVENT_UNKNOWN] = push_name,
        [BARID_EVENT_QUEUED] = push_queued,
        [BARID_EVENT_ROUTE] = push_route,
        [BARID_EVENT_RELAY] = push_relay,
        [BARID_EVENT_ATTEMPT] = push_attempt,
        [BARID_EVENT_FAILURE] = push_report,
        [BARID_EVENT_DELAY] = push_report,
        [BARID_EVENT_DISCONNECT] = push_close,
    };
    return table[event];
}

/* --- one run --------------------------------------------------------------------------------
 */

/* Whether pushing the arguments is only looking them up: nothing to be made, nothing that could
 * fail. */
static bool args_are_made(const struct thread *t)
{
    const struct policy_call *call = t->call;
    const struct policy_session *s = t->session;
    push_fn push = push_of(t->hook->event);

    if (s->self.object == NULL ||
        (push != push_session_only && push != push_transaction && push != push_recipient))
        return false;
    if (push == push_session_only)
        return true;
    if (s->mail.object == NULL || s->mail.of != call->mail)
        return false;
    return push == push_transaction || (call->rcpt != NULL && call->rcpt->index < s->n_rcpts &&
                                        s->rcpts[call->rcpt->index].object != NULL &&
                                        s->rcpts[call->rcpt->index].of == call->rcpt);
}

/* stack: thread. Whatever fails here is an error of the hook. */
static int make_args(lua_State *L)
{
    struct thread *t = lua_touserdata(L, 1);

    lua_settop(L, 0);
    lua_rawgeti(L, LUA_REGISTRYINDEX, t->hook->fn);
    return 1 + push_of(t->hook->event)(L, t);
}

/* The function and n_r arguments onto the thread's empty stack (of LUA_MINSTACK places). */
static int push_call(struct thread *t, int *n_r)
{
    int status;

    if (t->hook->params == 0 || args_are_made(t)) {
        lua_rawgeti(t->L, LUA_REGISTRYINDEX, t->hook->fn);
        *n_r = t->hook->params > 0 ? push_of(t->hook->event)(t->L, t) : 0;
        return LUA_OK;
    }
    lua_pushcfunction(t->L, make_args);
    lua_pushlightuserdata(t->L, t);
    status = lua_pcall(t->L, 1, LUA_MULTRET, 0);
    *n_r = lua_gettop(t->L) - 1;
    return status;
}

/* stack: what the hook returned, thread. */
static int take_answer(lua_State *L)
{
    verdict_take(L, 1, lua_touserdata(L, 2));
    return 0;
}

/* The hook has returned; the first of its results is its answer. */
static int finish(struct thread *t)
{
    int status = LUA_OK;

    if (!lua_isnoneornil(t->L, 1)) {
        lua_settop(t->L, 1);
        lua_pushcfunction(t->L, take_answer);
        lua_insert(t->L, 1);
        lua_pushlightuserdata(t->L, t);
        status = lua_pcall(t->L, 2, 0, 0);
    }
    t->call->verdict.hide_extensions = t->hidden;
    return status;
}

/* stack of the main state: message, coroutine's message with a traceback of where it was
 * raised. */
static int traceback(lua_State *L)
{
    lua_State *co = lua_touserdata(L, 1);
    const char *message = lua_tostring(co, -1);

    luaL_traceback(L, co, message != NULL ? message : "an error that is no text", 0);
    return 1;
}

/* "policy.lua:17: what" and the first lines of how it got there, on one line. */
static void keep_error(struct thread *t, int status)
{
    struct engine *e = t->engine;
    lua_State *L = e->script.L;
    const char *text;
    size_t n = 0;

    if (status == LUA_ERRMEM) {
        snprintf(e->error, sizeof(e->error), "not enough memory (limits.lua_memory)");
        return;
    }
    lua_pushcfunction(L, traceback);
    lua_pushlightuserdata(L, t->L);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK)
        text = lua_type(t->L, -1) == LUA_TSTRING ? lua_tostring(t->L, -1)
                                                 : "not enough memory (limits.lua_memory)";
    else
        text = lua_tostring(L, -1);
    for (; *text != '\0' && n < sizeof(e->error) - 1; text++) {
        if (*text == '\n')
            e->error[n++] = ' ';
        else if (*text != '\t')
            e->error[n++] = *text;
    }
    e->error[n] = '\0';
    lua_settop(L, 0);
}

static void failed(struct thread *t, int status)
{
    struct engine *e = t->engine;

    keep_error(t, status);
    if (!e->script.budget.stopped) { /* else it is dropped, and its __close must not run:
                                        nothing could stop them */
        lua_resetthread(t->L);
        lua_settop(t->L, 0);
    }
    if (status == LUA_ERRMEM)
        lua_gc(e->script.L, LUA_GCCOLLECT);
    t->call->failed = true;
    t->call->error = slice_str(e->error);
}

/* Run or continue the coroutine, unless its arguments could not be made (status). The thread is
 * back in the pool when this returns ANSWERED. */
static enum policy_outcome go(struct thread *t, int status, int n_args)
{
    struct engine *e = t->engine;
    struct thread *outer = e->running;
    int n;

    e->running = t;
    budget_resume(&e->script.budget, t->L, t->used);
    if (status == LUA_OK)
        status = lua_resume(t->L, e->script.L, n_args, &n);
    if (status == LUA_OK && !e->script.budget.stopped)
        status = finish(t);
    if (status == LUA_YIELD) {
        t->used = e->script.budget.used;
    } else if (status != LUA_OK || e->script.budget.stopped) {
        failed(t, status != LUA_OK ? status : LUA_ERRRUN);
    } else {
        lua_settop(t->L, 0);
    }
    arena_reset(&e->scratch);
    e->running = outer;
    if (status == LUA_YIELD)
        return POLICY_WAITING;
    if (e->script.budget.stopped)
        thread_drop(t);
    else
        thread_give(t);
    return POLICY_ANSWERED;
}

static struct policy_session *session_for(struct engine *e, struct policy_call *call,
                                          struct thread *t)
{
    struct policy_session *s = call->session;

    if (s != NULL)
        return s;
    s = mem_zalloc(e->script.mem, sizeof(*s));
    if (s == NULL)
        return NULL;
    s->policy = e->policy; /* not counted: it lives no longer than the hook */
    s->facts = call->mail != NULL ? call->mail->session : NULL;
    t->own_session = true;
    return s;
}

static enum policy_outcome hook_run(void *user, struct policy_call *call)
{
    const struct hook *h = user;
    struct engine *e = h->engine;
    struct thread *t = thread_take(e);
    int status, n;

    if (t == NULL || (t->session = session_for(e, call, t)) == NULL) {
        if (t != NULL)
            thread_give(t);
        call->failed = true;
        call->error = BARID_S("not enough memory for a hook, or too many are waiting");
        return POLICY_ANSWERED;
    }
    t->hook = h;
    t->call = call;
    status = push_call(t, &n);
    if (go(t, status, n) == POLICY_ANSWERED)
        return POLICY_ANSWERED;
    call->waiting = t;
    return POLICY_WAITING;
}

static void hook_cancel(void *user, struct policy_call *call)
{
    struct thread *t = call->waiting;

    (void)user;
    call->waiting = NULL;
    if (t->cancel != NULL)
        t->cancel(t);
    budget_resume(&t->engine->script.budget, t->L, t->used); /* __close may run */
    lua_resetthread(t->L);
    lua_settop(t->L, 0);
    if (t->engine->script.budget.stopped)
        thread_drop(t);
    else
        thread_give(t);
}

/* --- waiting --------------------------------------------------------------------------------
 */

void engine_can_wait(lua_State *L, const char *what)
{
    engine_running(L, what);
    if (!lua_isyieldable(L))
        luaL_error(L, "%s cannot wait inside a callback of the standard library (gsub, sort)",
                   what);
}

int engine_wait(lua_State *L, struct thread *t, lua_KFunction k)
{
    return lua_yieldk(L, 0, (lua_KContext)t, k);
}

void engine_resume(struct thread *t, const void *result)
{
    struct policy_call *call = t->call;
    struct policy *p = t->engine->policy;

    t->cancel = NULL;
    t->waits_for = NULL;
    t->result = result;
    if (go(t, LUA_OK, 0) == POLICY_WAITING)
        return;
    call->waiting = NULL;
    policy_resume(p, call);
}

/* --- making one -----------------------------------------------------------------------------
 */

static void script_session_del(void *user, struct policy_session *s)
{
    session_over(user, s);
}

static void script_mail_over(void *user, struct policy_session *s, struct mail *m)
{
    mail_over(user, s, m);
}

static void engine_del(void *user)
{
    struct engine *e = user;
    const barid_mem *mem = e->script.mem;

    threads_free(e);
    script_deinit(&e->script);
    for (struct hook *h = e->hooks, *next; h != NULL; h = next) {
        next = h->next;
        mem_free(mem, h);
    }
    arena_deinit(&e->scratch);
    mem_free(mem, e->text);
    mem_free(mem, e);
}

static struct engine *engine_new(const struct policy_services *services)
{
    const struct config_limits *limits = &services->config->limits;
    struct engine *e = mem_zalloc(services->mem, sizeof(*e));

    if (e == NULL)
        return NULL;
    e->services = *services;
    e->script.mem = services->mem;
    e->script.max = limits->lua_memory;
    e->script.log = services->log;
    e->script.clock = services->loop != NULL ? loop_clock(services->loop) : &clock_system;
    e->script.config = services->config;
    e->script.engine = e;
    e->script.budget.instructions = limits->hook_instructions;
    e->script.budget.cpu_ms = limits->hook_cpu_ms;
    arena_init(&e->scratch, services->mem, ENGINE_SCRATCH_MAX);
    return e;
}

/* In the order of registration, which equal priorities keep. */
static int add_hooks(struct engine *e, struct policy *p)
{
    int rc = 0;

    for (struct hook *h = e->hooks; rc == 0 && h != NULL; h = h->next)
        rc = policy_add(p, &(struct policy_handler){.name = h->name,
                                                    .where = h->where,
                                                    .event = h->event,
                                                    .priority = h->priority,
                                                    .run = hook_run,
                                                    .cancel = hook_cancel,
                                                    .user = h});
    return rc;
}

int policy_lua_new(struct policy **p_r, const struct policy_services *services,
                   barid_slice text, uint64_t version, struct err *err)
{
    struct policy *p;
    struct engine *e;
    int rc = policy_new_mem(&p, services->loop, services->log, services->config->limits.hook_ms,
                            version, services->mem);

    *p_r = NULL;
    if (rc < 0)
        return err_set(err, rc, "policy: out of memory");
    e = engine_new(services);
    if (e == NULL) {
        policy_unref(&p);
        return err_set(err, BARID_ENOMEM, "policy: out of memory");
    }
    e->policy = p;
    p->script = (struct policy_script){script_session_del, script_mail_over, engine_del, e};
    if (script_init(&e->script) < 0)
        rc = err_set(err, BARID_ENOMEM, "policy: out of memory (limits.lua_memory)");
    else
        rc = script_load(&e->script,
                         services->config->file != NULL ? services->config->file : "policy.lua",
                         text, err);
    if (rc == 0) {
        script_freeze(&e->script);
        if ((rc = add_hooks(e, p)) < 0)
            err_set(err, rc, "policy: %s while hooks were registered", barid_strerror(rc));
    }
    if (rc < 0)
        policy_unref(&p);
    *p_r = p;
    return rc;
}

void engine_open(lua_State *L)
{
    class_open(L, &session_class);
    class_open(L, &mail_class);
    class_open(L, &rcpt_class);
    class_open(L, &vars_class);
    class_open(L, &verdict_class);
    verdict_open(L);
    hook_open(L);
    mime_open(L);
    delivery_open(L);
    dns_open(L);
    sleep_open(L);
    shared_open(L);
    log_open(L);
    config_open(L);
}
