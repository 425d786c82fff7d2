/* server/users_fuzz.c: a users file that loads finds each user it lists, once, with the secret of
 * that line. */
#include <stdlib.h>

#include "barid/verifier.h"
#include "base/slice.h"
#include "server/users.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    const struct users *users;
    bool plaintext;
};

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check_entry(void *user, const struct user_entry *e)
{
    struct seen *seen = user;
    barid_verifier v;

    must(e != NULL && e->name.n > 0 && e->secret.n > 0);
    must(slice_find(e->name, ':') == e->name.n && slice_find(e->name, '\n') == e->name.n);
    must(users_find(seen->users, e->name) == e);
    must(e->plaintext || barid_verifier_parse(e->secret, &v) == 0);
    must(e->plaintext || !users_all_can(seen->users, BARID_AUTH_CRAM_MD5));
    seen->plaintext |= e->plaintext;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct users *users;
    struct seen seen = {0};
    struct err err = {0};

    if (users_parse(&users, slice_of(data, size), "users", &err) < 0) {
        must(users == NULL && err.text[0] != '\0');
        return 0;
    }
    seen.users = users;
    users_each(users, check_entry, &seen);
    must(seen.plaintext == users_has_plaintext(users));
    users_unref(&users);
    return 0;
}
