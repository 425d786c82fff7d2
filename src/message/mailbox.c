/*
 * message/mailbox.c: an address as policy and delivery see it. Knows the grammar only through
 * barid/address.h.
 *
 * Case: a domain is compared without it, so it is kept in ASCII lower case (UTF-8 beyond ASCII
 * stays as given); a local part belongs to its domain and is kept and compared exactly (RFC
 * 5321 2.4), but for postmaster (RFC 5321 4.5.1). `user` is our own key for look-ups and
 * directories, so it is in lower case whatever the sender typed.
 */
#include <string.h>

#include "base/slice.h"
#include "message/mail.h"

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static int copy_lower(struct arena *arena, barid_slice s, barid_slice *copy_r)
{
    char *copy = arena_strdup(arena, s);

    if (copy == NULL)
        return BARID_ENOMEM;
    for (size_t i = 0; i < s.n; i++)
        copy[i] = lower(copy[i]);
    *copy_r = slice_of(copy, s.n);
    return 0;
}

static int copy_local(struct mailbox *box, struct arena *arena, const barid_path *path)
{
    char *local = arena_strdup(arena, path->local);
    size_t n;

    if (local == NULL)
        return BARID_ENOMEM;
    n = barid_local_unquote(path, local);
    local[n] = '\0';
    box->local = slice_of(local, n);
    return 0;
}

static int set_user(struct mailbox *box, struct arena *arena, char separator)
{
    size_t cut = separator != '\0' ? slice_find(box->local, separator) : box->local.n;

    /* "+tag" alone names no user: then it is no subaddress. */
    if (cut == 0)
        cut = box->local.n;
    box->tag = slice_from(box->local, cut + 1);
    return copy_lower(arena, slice_head(box->local, cut), &box->user);
}

int mailbox_from_path(struct mailbox *box, struct arena *arena, const barid_path *path,
                      char separator)
{
    int rc;

    *box = (struct mailbox){.null = path->null,
                            .quoted = path->quoted,
                            .literal = path->literal,
                            .utf8 = path->utf8};
    if (path->null)
        return 0;
    rc = arena_slice(arena, path->raw, &box->address);
    if (rc == 0)
        rc = copy_local(box, arena, path);
    if (rc == 0)
        rc = copy_lower(arena, path->domain, &box->domain);
    return rc < 0 ? rc : set_user(box, arena, separator);
}

int mailbox_from_text(struct mailbox *box, struct arena *arena, barid_slice text,
                      char separator)
{
    barid_path path = {.null = true};

    if (text.n > 0 && !slice_eq(text, BARID_S("<>")) &&
        barid_mailbox_parse(text, BARID_PATH_UTF8_OK | BARID_PATH_POSTMASTER_OK, &path) < 0)
        return BARID_ESYNTAX;
    return mailbox_from_path(box, arena, &path, separator);
}

bool mailbox_same(const struct mailbox *a, const struct mailbox *b)
{
    if (a->null || b->null)
        return a->null == b->null;
    if (!slice_eq_nocase(a->domain, b->domain))
        return false;
    return slice_eq(a->local, b->local) || (slice_eq_nocase(a->local, BARID_S("postmaster")) &&
                                            slice_eq_nocase(b->local, BARID_S("postmaster")));
}
