/* message/mailbox_fuzz.c: the separator, then an address. Its mailbox is itself again, its
 * parts are made of the local part. */
#include <stdlib.h>

#include "base/slice.h"
#include "message/mail.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check(struct arena *arena, const struct mailbox *box, char separator)
{
    size_t cut = box->user.n;
    struct mailbox again;

    must(mailbox_same(box, box));
    must(mailbox_from_text(&again, arena, box->address, separator) == 0);
    must(mailbox_same(box, &again));
    must(slice_eq(box->user, again.user) && slice_eq(box->tag, again.tag));
    if (box->null)
        return;
    must(slice_eq_nocase(slice_head(box->local, cut), box->user));
    must(box->tag.n == 0 || (separator != '\0' && cut > 0 && box->local.p[cut] == separator &&
                             slice_eq(slice_from(box->local, cut + 1), box->tag)));
    for (size_t i = 0; i < box->domain.n; i++)
        must(box->domain.p[i] < 'A' || box->domain.p[i] > 'Z');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mailbox box;
    struct arena arena;
    char separator;

    if (size == 0)
        return 0;
    separator = data[0] == '0' ? '\0' : (char)data[0];
    arena_init(&arena, NULL, 0);
    if (mailbox_from_text(&box, &arena, slice_of(data + 1, size - 1), separator) == 0)
        check(&arena, &box, separator);
    arena_deinit(&arena);
    return 0;
}
