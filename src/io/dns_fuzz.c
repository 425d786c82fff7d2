/*
 * Reads any octets as an answer. The first chooses the type that was asked, the message
 * follows; the question is taken from the message itself where it has one, so that the fuzzer
 * gets behind that check.
 */
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "io/dns_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(const struct dns_name *name)
{
    char text[DNS_TEXT_MAX];
    struct dns_name back;
    size_t n = dns_name_format(name, text);

    /* what can be written can be read back, but for the root, which is no name to ask for */
    if (n > 0 && (dns_name_parse(slice_of(text, n), &back) != 0 || !dns_name_eq(name, &back)))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum dns_type types[] = {DNS_A,   DNS_CNAME, DNS_PTR, DNS_MX,
                                          DNS_TXT, DNS_AAAA,  DNS_TLSA};
    struct dns_question q = {.edns = true};
    struct dns_reply reply;
    size_t at = 12;
    char sum = 0;

    if (size < 1)
        return 0;
    q.type = types[data[0] % (sizeof(types) / sizeof(types[0]))];
    data++;
    size--;
    if (size >= 2)
        q.id = (uint16_t)(data[0] << 8 | data[1]);
    if (size < 12 || dns_name_read(data, size, &at, &q.name) != 0)
        dns_name_parse(BARID_S("a.test"), &q.name);
    check_name(&q.name);
    if (dns_reply_read(data, size, &q, &reply) != 0)
        return 0;
    for (size_t i = 0; i < reply.n; i++)
        for (size_t j = 0; j < reply.records[i].text.n; j++)
            sum = (char)(sum ^ reply.records[i].text.p[j]); /* every octet is ours to read */
    if (reply.n > DNS_RECORDS_MAX || (reply.n > 0 && reply.status != DNS_OK) ||
        (sum == 1 && reply.n == 0))
        abort();
    free(reply.records);
    if (dns_name_parse(slice_of(data, size), &q.name) == 0)
        check_name(&q.name);
    return 0;
}
