/* smtp/reply.c: the rows of replies.def as tables. */
#include "barid/reply.h"

#include "base/slice.h"

static const struct {
    const char *name;
    barid_reply reply;
} rows[BARID_REPLY_IDS] = {
#define X(NAME, name, code, enhanced, text)                                                \
    [BARID_REPLY_##NAME] = {                                                               \
        #name, {code, {enhanced, sizeof(enhanced) - 1}, {text, sizeof(text) - 1}}},
#include "barid/replies.def"
};

const barid_reply *barid_reply_default(enum barid_reply_id id)
{
    return id < BARID_REPLY_IDS ? &rows[id].reply : &rows[BARID_REPLY_NONE].reply;
}

const char *barid_reply_name(enum barid_reply_id id)
{
    return id < BARID_REPLY_IDS ? rows[id].name : rows[BARID_REPLY_NONE].name;
}

enum barid_reply_id barid_reply_by_name(barid_slice name)
{
    for (unsigned id = 0; id < BARID_REPLY_IDS; id++) {
        if (slice_eq(slice_str(rows[id].name), name))
            return (enum barid_reply_id)id;
    }
    return BARID_REPLY_NONE;
}
