/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration: read once, checked whole, immutable afterwards. A reload builds a new one.
 * Main thread makes it; everybody reads it.
 */
#ifndef SERVER_CONFIG_H
#define SERVER_CONFIG_H

#include "io/address.h"
#include "io/listen.h"
#include "io/log.h"
#include "io/loop.h"
#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum config_protocol { CONFIG_POP3, CONFIG_LMTP, CONFIG_METRICS };
enum config_tls { CONFIG_TLS_NONE, CONFIG_TLS_STARTTLS, CONFIG_TLS_IMPLICIT };

#define CONFIG_ADDRESSES_MAX 16 /* of one listener */
#define CONFIG_NETWORKS_MAX  64 /* of one allow list */
#define CONFIG_LISTENERS_MAX 32
#define CONFIG_OVERRIDES_MAX 256 /* -o of one command line */

#define CONFIG_FILE_DEFAULT         "/etc/restante.conf"
#define CONFIG_STORE_PATH_DEFAULT   "/var/lib/restante"
#define CONFIG_ADMIN_SOCKET_DEFAULT "/run/restante/admin.sock"
#define CONFIG_SOCKET_PATH_MAX      107 /* octets; sun_path of unix(7) without its NUL */

struct config_listener {
    const char *name; /* the section's title: "pop3", "lmtp" */
    enum config_protocol protocol;
    enum config_tls tls; /* anything but none is refused until TLS is built in */
    unsigned address_count;
    struct address addresses[CONFIG_ADDRESSES_MAX];
    mode_t unix_mode;
    uid_t unix_owner;
    gid_t unix_group;
    unsigned allow_count; /* lmtp over TCP: who may connect; loopback when empty */
    struct address_network allow[CONFIG_NETWORKS_MAX];
};

struct config_store {
    const char *path;
    uint64_t segment_size, blob_min, map_size, body_memory; /* octets; 0: default */
    uint32_t checkpoint_ms;
};

struct config_auth {
    const char *default_domain;
    char recipient_delimiter;
    uint32_t hash_threads, cache_entries, cache_ttl_s, cache_negative_ttl_s;
    bool exempt_loopback;
};

struct config_pop3 {
    uint32_t idle_timeout_s;  /* at least 600, RFC 1939 section 3; tests may go lower */
    uint32_t login_timeout_s; /* 180 */
    uint32_t stall_timeout_s; /* output without any progress: 600 */
    uint32_t bad_commands_login, bad_commands; /* 3, 20: then the session ends */
    bool takeover;             /* a second login takes the maildrop over instead of [IN-USE] */
    bool allow_short_timeouts; /* for tests: idle_timeout_s may be below what the RFC demands */
};

struct config_lmtp {
    uint32_t idle_timeout_s;     /* 300 */
    uint32_t recipients_max;     /* of one message: 1,000 */
    uint64_t message_octets_max; /* SIZE: 64 MiB */
    bool refuse_bare_lf;         /* 550 5.6.0 instead of making CRLF of it */
};

struct config {
    const char *hostname; /* in greetings and trace headers */
    uint32_t workers;     /* 0: one per available core */
    enum loop_kind io_backend;
    enum log_level log_level;
    const char *admin_socket; /* path; empty: none */
    uint32_t drain_timeout_s; /* SIGTERM: how long sessions may take to end: 30 */
    struct config_store store;
    struct config_auth auth;
    struct config_pop3 pop3;
    struct config_lmtp lmtp;
    unsigned listener_count;
    struct config_listener *listeners;
    void *own; /* what the strings point into */
};

/*
 * Reads `path` (NULL: no file, only defaults and overrides), expands ${VAR:-default}, applies the
 * overrides ("section.key=value", "listener.pop3.address=127.0.0.1:2110", or a bare "workers=2"),
 * checks everything. A failure's text says file:line, the key and the nearest known one.
 */
MUST_CHECK enum status config_load(const char *path, const char *const *overrides,
                                   size_t override_count, struct config **out_config,
                                   struct error *out_error);
/* The demo's: listeners on 127.0.0.1 ports 2110 (pop3), 2024 (lmtp), 9110 (metrics), the store and
 * the admin socket under `directory`, loopback exempt from delays; then the overrides. */
MUST_CHECK enum status config_demo(const char *directory, const char *const *overrides,
                                   size_t override_count, struct config **out_config,
                                   struct error *out_error);
void config_free(struct config **config);

#endif
