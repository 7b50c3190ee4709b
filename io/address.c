/* SPDX-License-Identifier: Apache-2.0 */
#include "io/address.h"

#include "io/digits.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

enum { TAG_UNKNOWN, TAG_V4, TAG_V6, TAG_UNIX };

static struct sockaddr_in *as_v4(struct address *address)
{
    return (struct sockaddr_in *)(void *)&address->storage;
}

static struct sockaddr_in6 *as_v6(struct address *address)
{
    return (struct sockaddr_in6 *)(void *)&address->storage;
}

static const struct sockaddr_in *v4_of(const struct address *address)
{
    return (const struct sockaddr_in *)(const void *)&address->storage;
}

static const struct sockaddr_in6 *v6_of(const struct address *address)
{
    return (const struct sockaddr_in6 *)(const void *)&address->storage;
}

static int family_of(const struct address *address)
{
    return address->length < sizeof(sa_family_t) ? AF_UNSPEC : address->any.sa_family;
}

static enum status parse_unix(const char *path, struct address *out_address)
{
    struct address parsed;
    memset(&parsed, 0, sizeof parsed);
    struct sockaddr_un *un = (struct sockaddr_un *)(void *)&parsed.storage;
    size_t length = strlen(path);
    if (path[0] != '/' || length >= sizeof un->sun_path) {
        return STATUS_INVALID;
    }
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, length + 1);
    parsed.length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
    *out_address = parsed;
    return STATUS_OK;
}

/* Digits only, 0 to 65535. */
static bool parse_port(const char *text, in_port_t *out_port)
{
    unsigned value = 0;
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 5 || text[digits] != '\0') {
        return false;
    }
    for (size_t i = 0; i < digits; i++) {
        value = value * 10 + (unsigned)(text[i] - '0');
    }
    *out_port = htons((uint16_t)value);
    return value <= UINT16_MAX;
}

static bool parse_v6_host(char *host, struct sockaddr_in6 *out_v6)
{
    char *zone = strchr(host, '%');
    if (zone != NULL) {
        *zone++ = '\0';
        out_v6->sin6_scope_id = if_nametoindex(zone);
        if (out_v6->sin6_scope_id == 0) {
            return false;
        }
    }
    return inet_pton(AF_INET6, host, &out_v6->sin6_addr) == 1;
}

static enum status parse_v6(const char *host, size_t length, const char *port,
                            struct address *out_address)
{
    char copy[INET6_ADDRSTRLEN + IF_NAMESIZE + 1];
    struct address parsed;
    memset(&parsed, 0, sizeof parsed);
    if (length >= sizeof copy) {
        return STATUS_INVALID;
    }
    memcpy(copy, host, length);
    copy[length] = '\0';
    struct sockaddr_in6 *v6 = as_v6(&parsed);
    v6->sin6_family = AF_INET6;
    if (!parse_v6_host(copy, v6) || !parse_port(port, &v6->sin6_port)) {
        return STATUS_INVALID;
    }
    parsed.length = sizeof *v6;
    address_normalise(&parsed);
    *out_address = parsed;
    return STATUS_OK;
}

static enum status parse_v4(const char *host, size_t length, const char *port,
                            struct address *out_address)
{
    char copy[INET_ADDRSTRLEN];
    struct address parsed;
    memset(&parsed, 0, sizeof parsed);
    if (length >= sizeof copy) {
        return STATUS_INVALID;
    }
    memcpy(copy, host, length);
    copy[length] = '\0';
    struct sockaddr_in *v4 = as_v4(&parsed);
    v4->sin_family = AF_INET;
    if (inet_pton(AF_INET, copy, &v4->sin_addr) != 1 || !parse_port(port, &v4->sin_port)) {
        return STATUS_INVALID;
    }
    parsed.length = sizeof *v4;
    *out_address = parsed;
    return STATUS_OK;
}

enum status address_parse(const char *text, struct address *out_address)
{
    if (strncmp(text, "unix:", 5) == 0) {
        return parse_unix(text + 5, out_address);
    }
    if (text[0] == '[') {
        const char *end = strchr(text, ']');
        if (end == NULL || end[1] != ':') {
            return STATUS_INVALID;
        }
        return parse_v6(text + 1, (size_t)(end - text - 1), end + 2, out_address);
    }
    const char *colon = strrchr(text, ':');
    if (colon == NULL) {
        return STATUS_INVALID;
    }
    if (colon == text + 1 && text[0] == '*') {
        enum status status = parse_v6("::", 2, colon + 1, out_address);
        if (status == STATUS_OK) {
            /* How listen_open tells "*" from "[::]": only the former takes both families. */
            as_v6(out_address)->sin6_flowinfo = ADDRESS_BOTH_FAMILIES;
        }
        return status;
    }
    return parse_v4(text, (size_t)(colon - text), colon + 1, out_address);
}

static void v6_host_text(const struct address *address, char *out_text, size_t capacity)
{
    const struct sockaddr_in6 *v6 = v6_of(address);
    char host[INET6_ADDRSTRLEN], zone[IF_NAMESIZE];
    (void)inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host); /* the buffer is large enough */
    bool zoned = v6->sin6_scope_id != 0 && if_indextoname(v6->sin6_scope_id, zone) != NULL;
    (void)snprintf(out_text, capacity, "%s%s%s", host, zoned ? "%" : "", zoned ? zone : "");
}

/* By hand: every session's log lines have it, and inet_ntop(3) uses printf(3). */
static void v4_host_text(const struct address *address, char out_text[ADDRESS_TEXT_MAX])
{
    uint32_t host = ntohl(v4_of(address)->sin_addr.s_addr);
    size_t length = 0;
    for (unsigned shift = 32; shift > 0;) {
        shift -= 8;
        length += digits_decimal(out_text + length, host >> shift & 255);
        out_text[length++] = shift > 0 ? '.' : '\0';
    }
}

void address_host_text(const struct address *address, char out_text[ADDRESS_TEXT_MAX])
{
    switch (family_of(address)) {
    case AF_INET:
        v4_host_text(address, out_text);
        break;
    case AF_INET6:
        v6_host_text(address, out_text, ADDRESS_TEXT_MAX);
        break;
    case AF_UNIX:
        (void)snprintf(out_text, ADDRESS_TEXT_MAX, "unix");
        break;
    default:
        (void)snprintf(out_text, ADDRESS_TEXT_MAX, "unknown");
    }
}

static void unix_text(const struct address *address, char out_text[ADDRESS_TEXT_MAX])
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)&address->storage;
    size_t start = offsetof(struct sockaddr_un, sun_path);
    size_t length = address->length > start ? address->length - start : 0;
    (void)snprintf(out_text, ADDRESS_TEXT_MAX, "unix:%.*s", (int)strnlen(un->sun_path, length),
                   un->sun_path);
}

void address_text(const struct address *address, char out_text[ADDRESS_TEXT_MAX])
{
    char host[ADDRESS_TEXT_MAX];
    address_host_text(address, host);
    switch (family_of(address)) {
    case AF_INET:
        (void)snprintf(out_text, ADDRESS_TEXT_MAX, "%.15s:%u", host,
                       ntohs(v4_of(address)->sin_port));
        break;
    case AF_INET6:
        (void)snprintf(out_text, ADDRESS_TEXT_MAX, "[%.64s]:%u", host,
                       ntohs(v6_of(address)->sin6_port));
        break;
    case AF_UNIX:
        unix_text(address, out_text);
        break;
    default:
        (void)snprintf(out_text, ADDRESS_TEXT_MAX, "unknown");
    }
}

void address_normalise(struct address *address)
{
    if (family_of(address) != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&v6_of(address)->sin6_addr)) {
        return;
    }
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = v6_of(address)->sin6_port};
    memcpy(&v4.sin_addr, v6_of(address)->sin6_addr.s6_addr + 12, 4);
    memset(&address->storage, 0, sizeof address->storage);
    memcpy(&address->storage, &v4, sizeof v4);
    address->length = sizeof v4;
}

bool address_is_loopback(const struct address *address)
{
    struct address plain = *address;
    address_normalise(&plain);
    switch (family_of(&plain)) {
    case AF_INET:
        return ntohl(v4_of(&plain)->sin_addr.s_addr) >> 24 == 127;
    case AF_INET6:
        return IN6_IS_ADDR_LOOPBACK(&v6_of(&plain)->sin6_addr);
    default:
        return family_of(&plain) == AF_UNIX;
    }
}

void address_prefix(const struct address *address, struct address_prefix *out_prefix)
{
    struct address plain = *address;
    address_normalise(&plain);
    memset(out_prefix, 0, sizeof *out_prefix);
    switch (family_of(&plain)) {
    case AF_INET:
        out_prefix->octets[0] = TAG_V4;
        memcpy(out_prefix->octets + 1, &v4_of(&plain)->sin_addr, 4);
        break;
    case AF_INET6:
        out_prefix->octets[0] = TAG_V6;
        memcpy(out_prefix->octets + 1, v6_of(&plain)->sin6_addr.s6_addr, 6);
        break;
    case AF_UNIX:
        out_prefix->octets[0] = TAG_UNIX;
        break;
    default:
        out_prefix->octets[0] = TAG_UNKNOWN;
    }
}

void address_prefix_text(const struct address_prefix *prefix, char out_text[ADDRESS_TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN] = "";
    struct in6_addr v6 = {0};
    switch (prefix->octets[0]) {
    case TAG_V4:
        (void)inet_ntop(AF_INET, prefix->octets + 1, out_text, ADDRESS_TEXT_MAX); /* fits */
        break;
    case TAG_V6:
        memcpy(v6.s6_addr, prefix->octets + 1, 6);
        (void)inet_ntop(AF_INET6, &v6, host, sizeof host); /* fits */
        (void)snprintf(out_text, ADDRESS_TEXT_MAX, "%s/48", host);
        break;
    case TAG_UNIX:
        (void)snprintf(out_text, ADDRESS_TEXT_MAX, "unix");
        break;
    default:
        (void)snprintf(out_text, ADDRESS_TEXT_MAX, "unknown");
    }
}

/* Digits only, 0 to `bits_max`, up to the end of the text. */
static bool parse_bits(const char *text, unsigned bits_max, uint8_t *out_bits)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 3 || text[digits] != '\0') {
        return false;
    }
    unsigned long value = strtoul(text, NULL, 10);
    *out_bits = (uint8_t)value;
    return value <= bits_max;
}

/* Turns a network of mapped addresses into the IPv4 network it means. */
static void network_normalise(struct address_network *network)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (network->is_v6 && network->bits >= 96 && memcmp(network->octets, mapped, 12) == 0) {
        network->is_v6 = false;
        network->bits = (uint8_t)(network->bits - 96);
        memmove(network->octets, network->octets + 12, 4);
        memset(network->octets + 4, 0, 12);
    }
}

enum status address_network_parse(const char *text, size_t length,
                                  struct address_network *out_network)
{
    char copy[INET6_ADDRSTRLEN + 4];
    struct address_network network;
    memset(&network, 0, sizeof network);
    if (length >= sizeof copy || memchr(text, '\0', length) != NULL) {
        return STATUS_INVALID;
    }
    memcpy(copy, text, length);
    copy[length] = '\0';
    char *slash = strchr(copy, '/');
    if (slash != NULL) {
        *slash++ = '\0';
    }
    network.is_v6 = strchr(copy, ':') != NULL;
    if (inet_pton(network.is_v6 ? AF_INET6 : AF_INET, copy, network.octets) != 1) {
        return STATUS_INVALID;
    }
    network.bits = network.is_v6 ? 128 : 32;
    if (slash != NULL && !parse_bits(slash, network.bits, &network.bits)) {
        return STATUS_INVALID;
    }
    network_normalise(&network);
    *out_network = network;
    return STATUS_OK;
}

bool address_in_network(const struct address *address, const struct address_network *network)
{
    struct address plain = *address;
    address_normalise(&plain);
    const uint8_t *octets;
    if (family_of(&plain) == AF_INET && !network->is_v6) {
        octets = (const uint8_t *)&v4_of(&plain)->sin_addr;
    } else if (family_of(&plain) == AF_INET6 && network->is_v6) {
        octets = v6_of(&plain)->sin6_addr.s6_addr;
    } else {
        return false;
    }
    unsigned whole = network->bits / 8, rest = network->bits % 8;
    if (memcmp(octets, network->octets, whole) != 0) {
        return false;
    }
    uint8_t mask = (uint8_t)(0xff00u >> rest);
    return rest == 0 || ((octets[whole] ^ network->octets[whole]) & mask) == 0;
}
