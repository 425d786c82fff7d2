/* message/mail_id_fuzz.c: a text that is an id prints as itself in capitals; eight octets as an
 * id read back. */
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "message/mail.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    barid_slice in = slice_of(data, size);
    char text[MAIL_ID_TEXT_SIZE];
    uint64_t id, again;

    if (mail_id_parse(in, &id) == 0) {
        mail_id_text(id, text);
        must(slice_eq_nocase(slice_str(text), in));
    }
    if (size >= sizeof(id)) {
        memcpy(&id, data, sizeof(id));
        mail_id_text(id, text);
        must(strlen(text) == MAIL_ID_TEXT_SIZE - 1);
        must(mail_id_parse(slice_str(text), &again) == 0 && again == id);
    }
    return 0;
}
