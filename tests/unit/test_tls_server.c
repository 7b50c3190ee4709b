/* SPDX-License-Identifier: Apache-2.0 */
/* What a server presents and accepts: names, protocols, versions, client certificates, tickets. */
#include "tests/unit/tls_fixture.h"

#include <sys/stat.h>
#include <time.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

/* One handshake of a client with `context`; true when both sides are content. The facts of the
 * connection that is then open, or the failure, are in the world. */
static bool shake(struct world *world, SSL_CTX *context, const char *name, SSL_SESSION *session)
{
    world_connect(world, LOOP_RECEIVE_STREAM);
    client_begin(world, context);
    if (name != NULL) {
        cr_assert_eq(SSL_set_tlsext_host_name(world->client, name), 1);
    }
    if (session != NULL) {
        cr_assert_eq(SSL_set_session(world->client, session), 1);
    }
    bool done = client_handshake(world);
    UNTIL(world, world->secured > 0);
    if (world->secure_status != STATUS_OK) {
        UNTIL(world, world->closed > 0 && (!done || world->got_end));
        return false;
    }
    return done;
}

/* The alert that ended the client's side, 0 for none. */
static int alert_of(void)
{
    int reason = ERR_GET_REASON(ERR_peek_error());
    return reason > SSL_AD_REASON_OFFSET ? reason - SSL_AD_REASON_OFFSET : 0;
}

static bool presented(const struct world *world, const char *name)
{
    X509 *certificate = SSL_get1_peer_certificate(world->client);
    bool matches = X509_check_host(certificate, name, 0, 0, NULL) == 1;
    X509_free(certificate);
    return matches;
}

static struct tls_server *server_of(const struct pairs *pairs, struct tls_config config)
{
    struct tls_server *server = NULL;
    struct error error = {.text = ""};
    config.pairs = pairs->pairs;
    config.pair_count = pairs->count;
    cr_assert_eq(tls_server_create(&config, 2, NULL, &server, &error), STATUS_OK, "%s", error.text);
    return server;
}

static const char *const first_names[] = {"mail.example.org", "pop.example.org", NULL};
static const char *const second_names[] = {"*.example.net", "Mail.Example.COM", NULL};

Test(tls_server, each_name_gets_its_certificate)
{
    static const struct {
        const char *asked, *given;
    } cases[] = {{NULL, "mail.example.org"},
                 {"mail.example.org", "mail.example.org"},
                 {"POP.example.org", "mail.example.org"},
                 {"a.example.net", "x.example.net"},
                 {"mail.example.com", "mail.example.com"},
                 {"a.b.example.net", "mail.example.org"}, /* a wildcard is one label */
                 {"example.net", "mail.example.org"},
                 {"unknown.example", "mail.example.org"}};
    for (unsigned strict = 0; strict < 2; strict++) {
        struct pairs pairs = {.count = 0};
        pairs_add(&pairs, first_names);
        pairs_add(&pairs, second_names);
        struct world *world = world_make(
            LOOP_AUTO, server_of(&pairs, (struct tls_config){.strict_names = strict == 1}));
        SSL_CTX *context = client_context();
        for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            bool refused = strict == 1 && i >= 5;
            cr_assert_eq(shake(world, context, cases[i].asked, NULL), !refused, "case %u", i);
            if (refused) {
                cr_assert_eq(alert_of(), SSL_AD_UNRECOGNIZED_NAME);
                cr_assert_eq(world->failure, TLS_FAILURE_NAME);
            } else {
                cr_assert(presented(world, cases[i].given), "case %u", i);
                const char *told = conn_tls(&world->conn)->server_name;
                cr_assert(i >= 5 || cases[i].asked == NULL ? true
                                                           : strcmp(told, cases[i].asked) == 0);
            }
            world_disconnect(world);
        }
        SSL_CTX_free(context);
        world_close(world);
        pairs_free(&pairs);
    }
}

Test(tls_server, names_can_be_given_in_place_of_the_certificates)
{
    static const char *const given[] = {"Other.Example"};
    struct pairs pairs = {.count = 0};
    pairs_add(&pairs, first_names);
    pairs_add(&pairs, second_names);
    pairs.pairs[1].names = given;
    pairs.pairs[1].name_count = 1;
    struct world *world =
        world_make(LOOP_AUTO, server_of(&pairs, (struct tls_config){.kernel = 1}));
    SSL_CTX *context = client_context();
    cr_assert(shake(world, context, "other.example", NULL));
    cr_assert(presented(world, "mail.example.com"));
    world_disconnect(world);
    cr_assert(shake(world, context, "mail.example.com", NULL));
    cr_assert(presented(world, "mail.example.org"));
    SSL_CTX_free(context);
    world_close(world);
    pairs_free(&pairs);
}

Test(tls_server, a_client_that_insists_on_another_protocol_is_refused)
{
    static const struct {
        const char *offer;
        unsigned length;
        bool accepted;
    } cases[] = {{"\4pop3", 5, true},
                 {"\2h2\4pop3", 8, true},
                 {"\2h2\10http/1.1", 12, false},
                 {"\4imap", 5, false},
                 {"\4POP3", 5, false}};
    struct world *world = world_make(LOOP_AUTO, server_make(NULL, NULL));
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        SSL_CTX *context = client_context();
        cr_assert_eq(SSL_CTX_set_alpn_protos(context, (const unsigned char *)cases[i].offer,
                                             cases[i].length),
                     0);
        cr_assert_eq(shake(world, context, NULL, NULL), cases[i].accepted, "case %u", i);
        if (cases[i].accepted) {
            const unsigned char *chosen;
            unsigned length;
            SSL_get0_alpn_selected(world->client, &chosen, &length);
            cr_assert(length == 4 && memcmp(chosen, "pop3", 4) == 0);
        } else {
            cr_assert_eq(alert_of(), SSL_AD_NO_APPLICATION_PROTOCOL);
            cr_assert_eq(world->failure, TLS_FAILURE_PROTOCOL);
        }
        world_disconnect(world);
        SSL_CTX_free(context);
    }
    world_close(world);
}

Test(tls_server, without_a_protocol_of_its_own_any_is_accepted)
{
    struct tls_config config = {.protocol = NULL};
    struct world *world = world_make(LOOP_AUTO, server_make(&config, NULL));
    SSL_CTX *context = client_context();
    (void)SSL_CTX_set_alpn_protos(context, (const unsigned char *)"\2h2", 3);
    cr_assert(shake(world, context, NULL, NULL));
    world_close(world);
    SSL_CTX_free(context);
}

Test(tls_server, old_versions_are_refused)
{
    for (unsigned i = 0; i < 2; i++) {
        struct tls_config config = {.tls13_only = i == 1};
        struct world *world = world_make(LOOP_AUTO, server_make(&config, NULL));
        SSL_CTX *context = client_context();
        SSL_CTX_set_security_level(context, 0);
        SSL_CTX_set_min_proto_version(context, TLS1_VERSION);
        SSL_CTX_set_max_proto_version(context, i == 0 ? TLS1_1_VERSION : TLS1_2_VERSION);
        cr_assert_not(shake(world, context, NULL, NULL));
        cr_assert_eq(alert_of(), SSL_AD_PROTOCOL_VERSION);
        cr_assert_eq(world->failure, TLS_FAILURE_VERSION);
        cr_assert_eq(world->secure_status, STATUS_DENIED);
        world_close(world);
        SSL_CTX_free(context);
    }
}

Test(tls_server, ciphers_without_forward_secrecy_are_refused)
{
    static const char *const lists[] = {"AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA",
                                        "ECDHE-ECDSA-AES128-SHA256"};
    struct world *world = world_make(LOOP_AUTO, server_make(NULL, NULL));
    for (unsigned i = 0; i < 3; i++) {
        SSL_CTX *context = client_context();
        SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
        cr_assert_eq(SSL_CTX_set_cipher_list(context, lists[i]), 1);
        cr_assert_not(shake(world, context, NULL, NULL));
        cr_assert_eq(world->failure, TLS_FAILURE_CIPHER);
        world_disconnect(world);
        SSL_CTX_free(context);
    }
    world_close(world);
}

Test(tls_server, a_peer_that_does_not_like_our_certificate_is_counted_apart)
{
    struct world *world = world_make(LOOP_AUTO, server_make(NULL, NULL));
    SSL_CTX *context = client_context();
    SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    cr_assert_not(shake(world, context, NULL, NULL));
    cr_assert_eq(world->failure, TLS_FAILURE_REFUSED);
    world_close(world);
    SSL_CTX_free(context);
}

/* Client certificates */

static char *file_of(const char *text)
{
    char *path = strdup("/tmp/tls_server_XXXXXX");
    int fd = mkstemp(path);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
    return path;
}

static void use_pem(SSL_CTX *context, const struct tls_pem *pem)
{
    BIO *bio = BIO_new_mem_buf(pem->certificate, -1);
    X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    bio = BIO_new_mem_buf(pem->key, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    cr_assert_eq(SSL_CTX_use_certificate(context, certificate), 1);
    cr_assert_eq(SSL_CTX_use_PrivateKey(context, key), 1);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

Test(tls_server, client_certificates_are_asked_for_and_named)
{
    static const char *const client_names[] = {"demo1@example.org"};
    static const char *const stranger_names[] = {"stranger"};
    struct tls_pem client, stranger;
    cr_assert_eq(tls_self_signed(client_names, 1, 30, &client), STATUS_OK);
    cr_assert_eq(tls_self_signed(stranger_names, 1, 30, &stranger), STATUS_OK);
    char *path = file_of(client.certificate);
    for (unsigned i = 0; i < 6; i++) {
        bool require = i >= 3;
        struct tls_config config = {.client_ca_file = path,
                                    .client_certificates =
                                        require ? TLS_CLIENT_REQUIRE : TLS_CLIENT_REQUEST};
        struct world *world = world_make(LOOP_AUTO, server_make(&config, NULL));
        SSL_CTX *context = client_context();
        if (i % 3 != 0) {
            use_pem(context, i % 3 == 1 ? &client : &stranger);
        }
        bool good = i % 3 == 1;
        cr_assert_eq(shake(world, context, NULL, NULL), good || !require, "case %u", i);
        if (good) {
            cr_assert_str_eq(conn_tls(&world->conn)->client_name, "demo1@example.org");
        } else if (!require) {
            cr_assert_null(conn_tls(&world->conn)->client_name);
        } else {
            cr_assert_eq(world->failure, TLS_FAILURE_CERTIFICATE, "case %u", i);
        }
        world_close(world);
        SSL_CTX_free(context);
    }
    (void)unlink(path);
    free(path);
    tls_pem_free(&client);
    tls_pem_free(&stranger);
}

/* Tickets */

static SSL_SESSION *kept;

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    SSL_SESSION_free(kept);
    kept = session;
    return 1;
}

static SSL_CTX *resuming_context(int version)
{
    SSL_CTX *context = client_context();
    SSL_CTX_set_max_proto_version(context, version);
    SSL_CTX_set_session_cache_mode(context,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(context, keep_session);
    return context;
}

static void forget_session(void)
{
    SSL_SESSION_free(kept);
    kept = NULL;
}

/* A full handshake whose ticket is kept. */
static void get_ticket(struct world *world, SSL_CTX *context)
{
    forget_session();
    cr_assert(shake(world, context, NULL, NULL));
    cr_assert_not(conn_tls(&world->conn)->resumed);
    client_write(world, "NOOP\r\n", 6);
    cr_assert_eq(conn_write(&world->conn, "+OK\r\n", 5), STATUS_OK);
    got(world, "+OK\r\n"); /* in TLS 1.3 the ticket comes in front of it */
    world_disconnect(world);
}

static bool resumes(struct world *world, SSL_CTX *context)
{
    SSL_SESSION *session = kept;
    kept = NULL;
    cr_assert_not_null(session);
    cr_assert(shake(world, context, NULL, session));
    bool resumed = conn_tls(&world->conn)->resumed;
    cr_assert_eq(SSL_session_reused(world->client), resumed);
    cr_assert_eq(conn_write(&world->conn, "+OK\r\n", 5), STATUS_OK);
    got(world, "+OK\r\n");
    world_disconnect(world);
    SSL_SESSION_free(session);
    return resumed;
}

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

Test(tls_server, tickets_resume_sessions_one_after_the_other)
{
    for (unsigned i = 0; i < 2; i++) {
        struct world *world = world_make(LOOP_AUTO, server_make(NULL, NULL));
        SSL_CTX *context = resuming_context(versions[i]);
        get_ticket(world, context);
        cr_assert(resumes(world, context));
        if (i == 1) { /* each resumption in TLS 1.3 brings a ticket; in 1.2 the old one is good */
            cr_assert_not_null(kept);
            cr_assert(resumes(world, context));
        }
        cr_assert_eq(counter_read(&world->host.counters.tls_full), 1);
        cr_assert_eq(counter_read(&world->host.counters.tls_resumed), 1 + i);
        world_close(world);
        SSL_CTX_free(context);
        forget_session();
    }
}

Test(tls_server, tickets_can_be_switched_off)
{
    for (unsigned i = 0; i < 2; i++) {
        struct tls_config config = {.no_tickets = true};
        struct world *world = world_make(LOOP_AUTO, server_make(&config, NULL));
        SSL_CTX *context = resuming_context(versions[i]);
        get_ticket(world, context);
        cr_assert(kept == NULL || (i == 0 && !SSL_SESSION_has_ticket(kept)));
        world_close(world);
        SSL_CTX_free(context);
        forget_session();
    }
}

Test(tls_server, a_reload_hands_on_random_keys_and_a_stranger_has_others)
{
    for (unsigned i = 0; i < 2; i++) {
        struct world *world = world_make(LOOP_AUTO, server_make(NULL, NULL));
        SSL_CTX *context = resuming_context(versions[i]);
        get_ticket(world, context);
        struct tls_server *next = server_make(NULL, world->server);
        tls_server_unref(&world->server);
        world->server = next;
        cr_assert(resumes(world, context));
        get_ticket(world, context);
        tls_server_unref(&world->server);
        world->server = server_make(NULL, NULL);
        cr_assert_not(resumes(world, context));
        world_close(world);
        SSL_CTX_free(context);
        forget_session();
    }
}

/* Writes keys made of the letters in `which` to `path`, with a time of change of its own. */
static void write_keys(const char *path, const char *which)
{
    static time_t changed = 1000000;
    char octets[80 * 20];
    for (size_t i = 0; i < strlen(which); i++) {
        memset(octets + i * 80, which[i], 80);
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert_eq(write(fd, octets, strlen(which) * 80), (ssize_t)(strlen(which) * 80));
    changed++;
    struct timespec times[2] = {{.tv_sec = changed}, {.tv_sec = changed}};
    cr_assert_eq(futimens(fd, times), 0);
    (void)close(fd);
}

Test(tls_server, nodes_that_share_a_key_file_resume_each_others_sessions)
{
    char *path = file_of("");
    write_keys(path, "A");
    struct tls_config config = {.ticket_key_file = path};
    struct tls_server *nodes[2] = {server_make(&config, NULL), server_make(&config, NULL)};
    struct error error = {.text = ""};
    for (unsigned i = 0; i < 2; i++) {
        write_keys(path, "A");
        cr_assert_eq(tls_server_refresh(nodes[0], &error), STATUS_OK);
        cr_assert_eq(tls_server_refresh(nodes[1], &error), STATUS_OK);
        struct world *world = world_make(LOOP_AUTO, tls_server_ref(nodes[0]));
        SSL_CTX *context = resuming_context(versions[i]);
        get_ticket(world, context);
        tls_server_unref(&world->server);
        world->server = tls_server_ref(nodes[1]);
        cr_assert(resumes(world, context), "another node, the same keys");

        get_ticket(world, context);
        write_keys(path, "BA");
        cr_assert_eq(tls_server_refresh(nodes[1], &error), STATUS_OK);
        cr_assert(resumes(world, context), "the older key still opens");

        get_ticket(world, context); /* made with B */
        tls_server_unref(&world->server);
        world->server = tls_server_ref(nodes[0]);
        cr_assert_not(resumes(world, context), "this node does not know B yet");
        cr_assert_eq(tls_server_refresh(nodes[0], &error), STATUS_OK);
        get_ticket(world, context);
        write_keys(path, "CB");
        cr_assert_eq(tls_server_refresh(nodes[0], &error), STATUS_OK);
        cr_assert(resumes(world, context));
        world_close(world);
        SSL_CTX_free(context);
        forget_session();
    }
    tls_server_unref(&nodes[0]);
    tls_server_unref(&nodes[1]);
    (void)unlink(path);
    free(path);
}

Test(tls_server, a_bad_key_file_is_refused_and_leaves_the_old_keys)
{
    char *path = file_of("");
    write_keys(path, "A");
    struct tls_config config = {.ticket_key_file = path};
    struct world *world = world_make(LOOP_AUTO, server_make(&config, NULL));
    SSL_CTX *context = resuming_context(TLS1_3_VERSION);
    get_ticket(world, context);
    struct error error = {.text = ""};
    static const char *const bad[] = {"", "ABCDEFGHIJKLMNOPQ"};
    for (unsigned i = 0; i < 2; i++) {
        write_keys(path, bad[i]);
        cr_assert_eq(tls_server_refresh(world->server, &error), STATUS_INVALID);
        cr_assert_not_null(strstr(error.text, "80 octets"));
        cr_assert_str_eq(error.path, path);
    }
    cr_assert_eq(truncate(path, 79), 0);
    cr_assert_eq(tls_server_refresh(world->server, &error), STATUS_INVALID);
    (void)unlink(path);
    cr_assert_eq(tls_server_refresh(world->server, &error), STATUS_NOT_FOUND);
    cr_assert(resumes(world, context));
    world_close(world);
    SSL_CTX_free(context);
    forget_session();
    free(path);
}

Test(tls_server, random_keys_change_by_themselves)
{
    struct tls_config config = {.ticket_rotate_s = 1};
    struct world *world = world_make(LOOP_AUTO, server_make(&config, NULL));
    SSL_CTX *context = resuming_context(TLS1_3_VERSION);
    get_ticket(world, context);
    int64_t until_ms = loop_now_ms(world->loop) + 2600; /* time itself is what is tested */
    while (loop_now_ms(world->loop) < until_ms) {
        loop_turn(world->loop, 100);
    }
    cr_assert_not(resumes(world, context));
    world_close(world);
    SSL_CTX_free(context);
    forget_session();
}

Test(tls_server, a_session_of_another_kind_of_listener_is_not_resumed)
{
    static const char *const client_names[] = {"demo1"};
    struct tls_pem client;
    cr_assert_eq(tls_self_signed(client_names, 1, 30, &client), STATUS_OK);
    char *path = file_of(client.certificate);
    struct world *world = world_make(LOOP_AUTO, server_make(NULL, NULL));
    SSL_CTX *context = resuming_context(TLS1_3_VERSION);
    get_ticket(world, context);
    struct tls_config config = {.client_ca_file = path, .client_certificates = TLS_CLIENT_REQUIRE};
    struct tls_server *next = server_make(&config, world->server); /* with the same ticket keys */
    tls_server_unref(&world->server);
    world->server = next;
    cr_assert_not(shake(world, context, NULL, kept), "no way around the certificate");
    world_close(world);
    SSL_CTX_free(context);
    forget_session();
    tls_pem_free(&client);
    (void)unlink(path);
    free(path);
}

/* Making */

Test(tls_server, what_is_wrong_with_a_file_is_said)
{
    static const char *const names[] = {"a.example"};
    struct tls_pem one, other;
    cr_assert_eq(tls_self_signed(names, 1, 30, &one), STATUS_OK);
    cr_assert_eq(tls_self_signed(names, 1, 30, &other), STATUS_OK);
    char *certificate = file_of(one.certificate), *key = file_of(one.key);
    char *other_key = file_of(other.key), *garbage = file_of("garbage\n");
    const struct {
        const char *certificate, *key;
        enum status status;
        const char *text;
    } cases[] = {{certificate, key, STATUS_OK, ""},
                 {"/nowhere/at/all", key, STATUS_NOT_FOUND, "cannot be opened"},
                 {certificate, other_key, STATUS_INVALID, "does not belong"},
                 {garbage, key, STATUS_INVALID, "the certificate cannot be used"},
                 {certificate, garbage, STATUS_INVALID, "the private key cannot be used"},
                 {key, key, STATUS_INVALID, "the certificate cannot be used"}};
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tls_pair pair = {.certificate_file = cases[i].certificate, .key_file = cases[i].key};
        struct tls_config config = {.pairs = &pair, .pair_count = 1};
        struct tls_server *server = NULL;
        struct error error = {.text = ""};
        cr_assert_eq(tls_server_create(&config, 1, NULL, &server, &error), cases[i].status,
                     "case %u: %s", i, error.text);
        cr_assert(cases[i].status == STATUS_OK || strstr(error.text, cases[i].text) != NULL,
                  "case %u: %s", i, error.text);
        tls_server_unref(&server);
    }
    char *files[] = {certificate, key, other_key, garbage};
    for (unsigned i = 0; i < 4; i++) {
        (void)unlink(files[i]);
        free(files[i]);
    }
    tls_pem_free(&one);
    tls_pem_free(&other);
}

Test(tls_server, certificates_are_described)
{
    struct pairs pairs = {.count = 0};
    pairs_add(&pairs, second_names);
    pairs_add(&pairs, first_names);
    struct tls_server *server = server_of(&pairs, (struct tls_config){.kernel = false});
    int64_t in_30_days_s = (int64_t)time(NULL) + 30 * 86400;
    cr_assert_eq(tls_server_certificates(server), 2);
    struct tls_certificate first = tls_server_certificate(server, 0);
    cr_assert_str_eq(first.name, "*.example.net");
    cr_assert_str_eq(first.file, "");
    cr_assert_eq(first.name_count, 2);
    cr_assert_lt(llabs(first.not_after_s - in_30_days_s), 100);
    cr_assert_lt(llabs(tls_server_expires_s(server) - in_30_days_s), 100);
    tls_server_unref(&server);
    pairs_free(&pairs);
}

Test(tls_server, an_address_becomes_an_address_in_a_self_signed_certificate)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "::1"};
    struct tls_pem pem;
    cr_assert_eq(tls_self_signed(names, 3, 30, &pem), STATUS_OK);
    BIO *bio = BIO_new_mem_buf(pem.certificate, -1);
    X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    cr_assert_eq(X509_check_ip_asc(certificate, "127.0.0.1", 0), 1);
    cr_assert_eq(X509_check_ip_asc(certificate, "::1", 0), 1);
    cr_assert_eq(X509_check_host(certificate, "localhost", 0, 0, NULL), 1);
    cr_assert_eq(X509_check_host(certificate, "elsewhere", 0, 0, NULL), 0);
    BIO_free(bio);
    X509_free(certificate);
    tls_pem_free(&pem);
    cr_assert_eq(tls_self_signed(names, 0, 30, &pem), STATUS_INVALID);
}

Test(tls_server, failures_have_names)
{
    for (unsigned i = 0; i <= TLS_FAILURE_COUNT; i++) {
        cr_assert_gt(strlen(tls_failure_name((enum tls_failure)i)), 0);
    }
    cr_assert_str_eq(tls_failure_name(TLS_FAILURE_PLAINTEXT), "plaintext");
}
