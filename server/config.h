/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration: read once, checked whole, immutable afterwards. A reload builds a new one.
 * Main thread makes it; everybody reads it.
 */
#ifndef SERVER_CONFIG_H
#define SERVER_CONFIG_H

#include "auth/auth.h"
#include "auth/caps.h"
#include "io/address.h"
#include "io/listen.h"
#include "io/log.h"
#include "io/loop.h"
#include "io/status.h"
#include "io/tls.h"
#include "server/setting.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum config_protocol { CONFIG_POP3, CONFIG_LMTP, CONFIG_METRICS };
#define CONFIG_PROTOCOLS 3
enum config_plaintext { CONFIG_PLAINTEXT_TLS, CONFIG_PLAINTEXT_ALWAYS };
enum config_sandbox { CONFIG_SANDBOX_AUTO, CONFIG_SANDBOX_OFF };
enum config_tls { CONFIG_TLS_NONE, CONFIG_TLS_STARTTLS, CONFIG_TLS_IMPLICIT };

#define CONFIG_ADDRESSES_MAX 16 /* of one listener */
#define CONFIG_NETWORKS_MAX  64 /* of one allow list */
#define CONFIG_LISTENERS_MAX 32
#define CONFIG_OVERRIDES_MAX 256 /* -o of one command line */
#define CONFIG_SETTINGS_MAX  128 /* keys outside of listeners */

#define CONFIG_EMBEDDED    "embedded"
#define CONFIG_PASSWD_FILE "passwd-file:"

#define CONFIG_FILE_DEFAULT         "/etc/restante.conf"
#define CONFIG_STORE_PATH_DEFAULT   "/var/lib/restante"
#define CONFIG_ADMIN_SOCKET_DEFAULT "/run/restante/admin.sock"
#define CONFIG_SOCKET_PATH_MAX      107 /* octets; sun_path of unix(7) without its NUL */

struct config_listener {
    const char *name; /* the section's title: "pop3", "lmtp" */
    int line;         /* of the file, where the section ends; 0: it is not in the file */
    enum config_protocol protocol;
    enum config_tls tls;
    enum config_plaintext plaintext;
    struct auth_policy policy; /* `plaintext` is part of it */
    bool optional;             /* when an address is in use the server starts without it */
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
    uint64_t scrub_rate;                                    /* octets a second; 0: no scrubber */
    uint32_t checkpoint_ms;
    uint64_t compact_rate; /* octets a second; 0: only when asked */
    uint32_t compact_ms;   /* between two looks */
    uint32_t compact_live; /* per cent */
};

struct config_auth {
    const char *default_domain;
    char recipient_delimiter;
    uint32_t hash_threads, hash_queue, cache_entries, cache_ttl_s, cache_negative_ttl_s;
    /* Who is asked who somebody is, in this order: "embedded", "passwd-file:PATH". None: embedded
     * alone. */
    struct setting_list databases;
    const char *domain_separators; /* "%": user%domain */
    char master_separator;         /* '*': user*master */
    struct caps_config caps;       /* its exempt_loopback is not cap_loopback */
    bool cap_loopback;             /* peers on this machine are counted too */
    bool exempt_loopback;
};

/* Whose tokens are good; "" leaves a check out. */
struct config_oauth {
    const char *jwks; /* the issuer's keys: a path, or an address; "": no OAuth */
    const char *ca;   /* whom to trust for the address; "": the system's */
    const char *issuer, *audience, *scope, *user_claim, *openid_configuration;
    uint32_t refresh_s, leeway_s;
};

/* A certificate for the names that the section's title says. */
struct config_sni {
    const char *name;
    const char *certificate, *key;
    int line; /* of the file */
};

struct config_tls_files {
    struct setting_list certificates, keys; /* in pairs; each is shown for the names in it */
    unsigned sni_count;
    struct config_sni *sni;
    bool strict_names;
    int min_version; /* enum of the row: 0 is 1.2, 1 is 1.3 */
    enum tls_client_certificates client_certificates;
    const char *client_ca; /* "": none */
    bool tickets;
    const char *ticket_key_file; /* "": random keys */
    uint32_t ticket_rotate_s;
    bool kernel;
    uint32_t handshake_s;
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
    uint32_t bad_commands;       /* in a row, after which a session ends: 20 */
    bool refuse_bare_lf;         /* 550 5.6.0 instead of making CRLF of it */
};

struct config {
    const char *file;     /* it was read from; "": from none */
    const char *hostname; /* in greetings and trace headers */
    uint32_t workers;     /* 0: one per available core */
    enum loop_kind io_backend;
    enum log_level log_level;
    const char *admin_socket; /* path; empty: none */
    uint32_t drain_timeout_s; /* SIGTERM: how long sessions may take to end: 30 */
    const char *user, *group; /* whom to become after the sockets are bound; "": nobody else */
    enum config_sandbox sandbox;
    struct config_store store;
    struct config_auth auth;
    struct config_oauth oauth;
    struct config_tls_files tls;
    struct config_pop3 pop3;
    struct config_lmtp lmtp;
    unsigned listener_count;
    struct config_listener *listeners;
    int lines[CONFIG_SETTINGS_MAX]; /* by row of `settings`: where the file set it; 0: nowhere */
    void *own;                      /* what the strings point into */
};

/*
 * Reads `path` (NULL: no file, only defaults and overrides), expands ${VAR:-default}, applies the
 * overrides ("section.key=value", "listener.pop3.address=127.0.0.1:2110", or a bare "workers=2"),
 * checks everything. A failure's text says file:line, the key and the nearest known one.
 */
MUST_CHECK enum status config_load(const char *path, const char *const *overrides,
                                   size_t override_count, struct config **out_config,
                                   struct error *out_error);
/* The demo's: listeners on 127.0.0.1 ports 2110 (pop3), 2995 (pop3s), 2024 (lmtp), 9110 (metrics),
 * the store, the admin socket and a certificate under `directory`, loopback exempt from delays,
 * passwords in the clear allowed on its pop3 listener; then the overrides. */
MUST_CHECK enum status config_demo(const char *directory, const char *const *overrides,
                                   size_t override_count, struct config **out_config,
                                   struct error *out_error);
void config_free(struct config **config);

/* The line of the file that set a key, for messages; 0: none did, or an override did. */
int config_line(const struct config *config, const char *section, const char *name);

struct store_config;
/* What the store is told; its strings are the configuration's. */
void config_store(const struct config *config, struct store_config *out_store);

#endif
