/* message/hop_fuzz.c: a list of next hops. What is one has a text that reads as the same one; the list ends. */
#include <stdlib.h>

#include "base/slice.h"
#include "message/hop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check(struct arena *arena, const struct hop *hop)
{
    static const uint8_t key[16] = "sixteen octets.";
    char text[HOP_TEXT_SIZE], again_text[HOP_TEXT_SIZE];
    size_t n = hop_text(hop, text);
    struct hop again = {0};

    must(n <= HOP_TEXT_MAX && text[n] == '\0');
    must((hop->name.n == 0) != (hop->unix_path.n == 0) && hop->port > 0);
    must(hop->unix_path.n == 0 || (hop->protocol == HOP_LMTP && hop->is_host));
    for (size_t i = 0; i < n; i++)
        must((unsigned char)text[i] > ' ');
    must(hop_parse(&again, arena, slice_of(text, n), NULL) == 0);
    must(hop_text(&again, again_text) == n &&
         slice_eq(slice_of(text, n), slice_of(again_text, n)));
    must(slice_eq(hop->name, again.name) && slice_eq(hop->unix_path, again.unix_path));
    must(hop->port == again.port && hop->is_host == again.is_host &&
         hop->protocol == again.protocol);
    must(hop_group(hop, key) == hop_group(&again, key) && hop_group(hop, key) >= 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    barid_slice rest = slice_of(data, size), text;
    struct arena arena;
    struct hop hop;

    arena_init(&arena, NULL, 0);
    while (hop_list_next(&rest, &text)) {
        struct err err = {0};

        hop_init(&hop);
        if (hop_parse(&hop, &arena, text, &err) == 0)
            check(&arena, &hop);
        else
            must(err.code == BARID_ESYNTAX && err.text[0] != '\0');
    }
    arena_deinit(&arena);
    return 0;
}
