/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Socket addresses: text to address, address to text, and the prefix by which a source is judged.
 * Pure; any thread. IPv4-mapped IPv6 addresses are normalised to IPv4 wherever one enters.
 */
#ifndef IO_ADDRESS_H
#define IO_ADDRESS_H

#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define ADDRESS_TEXT_MAX 128 /* octets with NUL: "unix:" and a path of 107, or "[v6%zone]:port" */

/* In sin6_flowinfo of what address_parse made of "*": listen_open takes both families then. No
 * meaning to the kernel, which binds whatever the flow information says. */
#define ADDRESS_BOTH_FAMILIES 1u

struct address {
    socklen_t length; /* 0: unknown */
    union {
        struct sockaddr any;
        struct sockaddr_storage storage; /* AF_INET, AF_INET6 or AF_UNIX */
    };
};

/* Reads "127.0.0.1:110", "[::]:110", "*:110" (IPv6 any, both families) or "unix:/path". Port 0 asks
 * the kernel for a free one. STATUS_INVALID for anything else; names are not resolved. */
MUST_CHECK enum status address_parse(const char *text, struct address *out_address);

/* Writes the canonical text with port; "unix:" for a UNIX peer, "unknown" for an empty address. */
void address_text(const struct address *address, char out_text[ADDRESS_TEXT_MAX]);

/* The same without port, for logs: "192.0.2.7", "2001:db8::1", "unix". */
void address_host_text(const struct address *address, char out_text[ADDRESS_TEXT_MAX]);

/* Turns ::ffff:a.b.c.d into a.b.c.d in place. */
void address_normalise(struct address *address);

/* Whether the peer is this machine; UNIX sockets count. */
bool address_is_loopback(const struct address *address);

/* The key under which failures from one source are counted: an IPv4 address whole, an IPv6 address
 * by its first 48 bits, all UNIX peers as one. Equal prefix, equal key; different families differ.
 */
struct address_prefix {
    uint8_t octets[8]; /* [0] is the family's tag */
};
void address_prefix(const struct address *address, struct address_prefix *out_prefix);
/* "192.0.2.7", "2001:db8:1::/48", "unix" or "unknown". */
void address_prefix_text(const struct address_prefix *prefix, char out_text[ADDRESS_TEXT_MAX]);

/* A list of networks "127.0.0.0/8 ::1 10.1.0.0/16" separated by spaces or commas. */
struct address_network {
    bool is_v6;
    uint8_t bits;
    uint8_t octets[16];
};

/* Parses one network; a bare address is a network of one. */
MUST_CHECK enum status address_network_parse(const char *text, size_t length,
                                             struct address_network *out_network);
bool address_in_network(const struct address *address, const struct address_network *network);

#endif
