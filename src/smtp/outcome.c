/* smtp/outcome.c: see outcome.h. */
#include "smtp/outcome.h"

static int copy(struct arena *arena, barid_slice s, barid_slice *copy_r)
{
    return s.n > 0 ? arena_slice(arena, s, copy_r) : 0;
}

static void out_of_memory(struct outcome *o)
{
    *o = (struct outcome){.kind = BARID_TEMPFAIL, .row = BARID_REPLY_LOCAL_ERROR};
}

void outcome_set(struct outcome *o, struct arena *arena, const barid_verdict *v,
                 enum barid_reply_id row)
{
    *o = (struct outcome){.kind = v->kind, .row = row, .code = v->code, .silent = v->silent};
    if (copy(arena, v->enhanced, &o->enhanced) < 0 || copy(arena, v->text, &o->text) < 0 ||
        copy(arena, v->id, &o->detail) < 0)
        out_of_memory(o);
}

void outcome_refuse(struct outcome *o, struct arena *arena, enum barid_reply_id row,
                    barid_slice detail)
{
    *o = (struct outcome){.kind = BARID_REJECT, .row = row};
    if (barid_reply_default(row)->code < 500)
        o->kind = BARID_TEMPFAIL;
    if (copy(arena, detail, &o->detail) < 0)
        out_of_memory(o);
}
