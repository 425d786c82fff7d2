/* message/message_testing.c: a mail made of text. Test code only. */
#include "message/message_testing.h"

#include "base/slice.h"

struct rcpt *test_rcpt(struct mail *m, const char *address)
{
    struct mailbox box;
    struct rcpt *rcpt;

    if (mailbox_from_text(&box, m->arena, slice_str(address), '+') < 0 ||
        mail_add_rcpt(m, &box, slice_str(address), &rcpt) < 0)
        return NULL;
    rcpt->verdict = RCPT_ACCEPTED;
    rcpt->is_local = true;
    return rcpt;
}

bool test_sender(struct mail *m, const char *address)
{
    if (mailbox_from_text(&m->sender, m->arena, slice_str(address), '+') < 0)
        return false;
    return arena_slice(m->arena, slice_str(address), &m->sender_original) == 0;
}

bool test_slice_is(barid_slice s, const char *text)
{
    return slice_eq(s, slice_str(text));
}
