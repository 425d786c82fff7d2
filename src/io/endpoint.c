/* io/endpoint.c: addresses from text, and to and from struct sockaddr. Pure but for
 * inet_pton(3). */
#include "io/endpoint.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "base/slice.h"

int endpoint_parse_address(barid_slice text, barid_endpoint *e_r)
{
    char z[INET6_ADDRSTRLEN];
    bool ipv6 = slice_find(text, ':') < text.n;

    *e_r = (barid_endpoint){BARID_FAMILY_NONE, {0}, 0};
    if (text.n == 0 || text.n >= sizeof(z) || slice_find(text, '\0') < text.n)
        return BARID_ESYNTAX;
    memcpy(z, text.p, text.n);
    z[text.n] = '\0';
    if (inet_pton(ipv6 ? AF_INET6 : AF_INET, z, e_r->addr) != 1)
        return BARID_ESYNTAX;
    e_r->family = ipv6 ? BARID_FAMILY_IPV6 : BARID_FAMILY_IPV4;
    return 0;
}

int endpoint_parse(barid_slice text, barid_endpoint *e_r)
{
    size_t colon = slice_find_last(text, ':');
    barid_slice host = slice_head(text, colon);
    bool brackets = host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
    uint64_t port;

    if (brackets)
        host = slice_of(host.p + 1, host.n - 2);
    if (colon == text.n || endpoint_parse_address(host, e_r) != 0 ||
        slice_u64(slice_from(text, colon + 1), UINT16_MAX, &port) != 0)
        return BARID_ESYNTAX;
    /* "::1:25" could mean two things: IPv6 needs its brackets. */
    if (brackets != (e_r->family == BARID_FAMILY_IPV6))
        return BARID_ESYNTAX;
    e_r->port = (uint16_t)port;
    return 0;
}

socklen_t endpoint_to_sockaddr(const barid_endpoint *e, struct sockaddr_storage *sa_r)
{
    struct sockaddr_in *in4 = (struct sockaddr_in *)sa_r;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)sa_r;

    memset(sa_r, 0, sizeof(*sa_r));
    if (e->family == BARID_FAMILY_IPV4) {
        in4->sin_family = AF_INET;
        in4->sin_port = htons(e->port);
        memcpy(&in4->sin_addr, e->addr, 4);
        return sizeof(*in4);
    }
    if (e->family == BARID_FAMILY_IPV6) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(e->port);
        memcpy(&in6->sin6_addr, e->addr, 16);
        return sizeof(*in6);
    }
    return 0;
}

void endpoint_from_sockaddr(const struct sockaddr_storage *sa, barid_endpoint *e_r)
{
    const struct sockaddr_in *in4 = (const struct sockaddr_in *)sa;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;

    *e_r = (barid_endpoint){BARID_FAMILY_NONE, {0}, 0};
    if (sa->ss_family == AF_INET) {
        e_r->family = BARID_FAMILY_IPV4;
        e_r->port = ntohs(in4->sin_port);
        memcpy(e_r->addr, &in4->sin_addr, 4);
    } else if (sa->ss_family == AF_INET6) {
        bool mapped = IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr);

        e_r->family = mapped ? BARID_FAMILY_IPV4 : BARID_FAMILY_IPV6;
        e_r->port = ntohs(in6->sin6_port);
        memcpy(e_r->addr, in6->sin6_addr.s6_addr + (mapped ? 12 : 0), mapped ? 4 : 16);
    } else if (sa->ss_family == AF_UNIX) {
        e_r->family = BARID_FAMILY_UNIX;
    }
}
