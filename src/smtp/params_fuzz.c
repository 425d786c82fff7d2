/* smtp/params_fuzz.c: parameters, xtext and XCLIENT: results lie inside the text, errors name
 * an offender. */
#include <stdlib.h>

#include "barid/address.h"
#include "base/slice.h"
#include "smtp/xclient.h"
#include "smtp/xtext.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void inside(barid_slice part, const char *from, size_t n)
{
    must(part.n == 0 || (part.p >= from && part.p + part.n <= from + n));
}

static void check_xclient(barid_slice text)
{
    char *scratch = malloc(text.n + 1);
    struct xclient x;
    barid_slice bad;

    must(scratch != NULL);
    if (xclient_parse(text, scratch, &x, &bad) == 0)
        for (int i = 0; i < XCLIENT_ATTRS; i++) {
            inside(x.value[i], scratch, text.n);
            must(x.value[i].n == 0 || x.state[i] == XCLIENT_VALUE);
        }
    inside(bad, text.p, text.n);
    free(scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    barid_mail_params mail;
    barid_rcpt_params rcpt;
    barid_slice text, bad;
    uint32_t allowed;
    int r;

    if (size < 2)
        return 0;
    allowed = (uint32_t)(data[0] << 8 | data[1]);
    text = slice_of(data + 2, size - 2);
    r = barid_mail_params_parse(text, allowed, &mail, &bad);
    must((r == 0) == (bad.n == 0));
    if (r == 0) {
        inside(mail.envid, text.p, text.n);
        must(xtext_valid(mail.envid) && xtext_valid(mail.auth));
    }
    r = barid_rcpt_params_parse(text, allowed, &rcpt, &bad);
    must((r == 0) == (bad.n == 0));
    if (r == 0)
        inside(rcpt.orcpt, text.p, text.n);
    check_xclient(text);
    return 0;
}
