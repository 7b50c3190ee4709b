/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/oauth.h"

#include "auth/auth.h"
#include "auth/auth_limits.h"
#include "tests/unit/auth_stage.h"
#include "tests/unit/jwt_maker.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <sys/socket.h>
#include <time.h>

static char folder[64], path[96];
static cjose_jwk_t *key;
static struct oauth *oauth;

static void write_set(cjose_jwk_t *const *keys, size_t count)
{
    char *set = jwt_make_set(keys, count);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    (void)fputs(set, file);
    (void)fclose(file);
    free(set);
}

static void open_all(void)
{
    stage_make_folder(folder);
    (void)snprintf(path, sizeof path, "%s/jwks", folder);
    key = jwt_make_key(0, "one");
    write_set(&key, 1);
}

static void close_all(void)
{
    oauth_destroy(&oauth);
    oauth_destroy(&oauth);
    (void)cjose_jwk_release(key);
    stage_remove_folder(folder);
}

TestSuite(oauth, .init = open_all, .fini = close_all);

static enum status create(struct oauth_config config)
{
    struct error error = {0};
    config.jwks_file =
        config.jwks_file != NULL || config.jwks_url != NULL ? config.jwks_file : path;
    enum status tried = oauth_try(&config, NULL);
    enum status status = oauth_create(&config, &oauth, &error);
    cr_expect_eq(tried, status, "to try says what happens");
    if (status != STATUS_OK) {
        cr_expect_neq(error.text[0], '\0');
    }
    if (status == STATUS_INVALID && config.jwks_url == NULL && config.leeway_s == 0) {
        cr_expect_str_eq(error.path, config.jwks_file, "the file that is wrong is named");
    }
    return status;
}

/* The verdict on claims, of which `format` may contain the time now once. */
static enum status check(const char *format, long long offset_s, char user[64])
{
    char claims[1000];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)snprintf(claims, sizeof claims, format, (long long)time(NULL) + offset_s);
#pragma GCC diagnostic pop
    char *token = jwt_make_token(key, "ES256", "one", claims);
    enum status status = oauth_check(oauth, token, strlen(token), user, 64);
    free(token);
    return status;
}

#define ALL \
    "\"iss\":\"https://i\",\"aud\":[\"x\",\"mail\"],\"scope\":\"openid pop\",\"email\":\"demo\""

Test(oauth, names_the_user_of_a_good_token)
{
    char user[64];
    cr_assert_eq(
        create((struct oauth_config){.issuer = "https://i", .audience = "mail", .scope = "pop"}),
        STATUS_OK);
    cr_assert_eq(check("{" ALL ",\"exp\":%lld}", 60, user), STATUS_OK);
    cr_expect_str_eq(user, "demo");
    cr_expect_eq(check("{" ALL ",\"exp\":%lld.5}", 60, user), STATUS_OK);
    struct oauth_numbers numbers;
    oauth_numbers(oauth, &numbers);
    cr_expect_eq(numbers.keys, 1);
    cr_expect_eq(numbers.refreshes, 1);
}

Test(oauth, minds_the_time_with_a_little_leeway)
{
    char user[64];
    cr_assert_eq(create((struct oauth_config){.leeway_s = 30}), STATUS_OK);
    cr_expect_eq(check("{" ALL ",\"exp\":%lld}", -10, user), STATUS_OK);
    cr_expect_eq(check("{" ALL ",\"exp\":%lld}", -40, user), STATUS_DENIED);
    cr_expect_eq(check("{" ALL "}", 0, user), STATUS_DENIED);
    cr_expect_eq(check("{" ALL ",\"exp\":\"%lld\"}", 60, user), STATUS_DENIED);
    cr_expect_eq(check("{" ALL ",\"exp\":-1}", 60, user), STATUS_DENIED);
    cr_expect_eq(check("{" ALL ",\"exp\":99999999999,\"nbf\":%lld}", 10, user), STATUS_OK);
    cr_expect_eq(check("{" ALL ",\"exp\":99999999999,\"nbf\":%lld}", 100, user), STATUS_DENIED);
    cr_expect_eq(check("{" ALL ",\"exp\":99999999999,\"nbf\":\"x\"}", 0, user), STATUS_DENIED);
}

Test(oauth, minds_issuer_audience_scope_and_user)
{
    static const struct {
        struct oauth_config config;
        enum status wanted;
    } cases[] = {
        {{.issuer = "https://i"}, STATUS_OK},   {{.issuer = "https://i/"}, STATUS_DENIED},
        {{.audience = "x"}, STATUS_OK},         {{.audience = "mai"}, STATUS_DENIED},
        {{.scope = "pop openid"}, STATUS_OK},   {{.scope = "pop mail"}, STATUS_DENIED},
        {{.scope = "po"}, STATUS_DENIED},       {{.user_claim = "iss"}, STATUS_OK},
        {{.user_claim = "sub"}, STATUS_DENIED}, {{.user_claim = "aud"}, STATUS_DENIED},
    };
    char user[64];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert_eq(create(cases[i].config), STATUS_OK);
        cr_expect_eq(check("{" ALL ",\"exp\":%lld}", 60, user), cases[i].wanted, "%zu", i);
        oauth_destroy(&oauth);
    }
    cr_assert_eq(create((struct oauth_config){.audience = "one", .scope = "pop"}), STATUS_OK);
    cr_expect_eq(
        check("{\"aud\":\"one\",\"scp\":[\"a\",\"pop\"],\"email\":\"d\",\"exp\":%lld}", 60, user),
        STATUS_OK);
    cr_expect_eq(
        check("{\"aud\":1,\"scp\":[\"a\",\"pop\"],\"email\":\"d\",\"exp\":%lld}", 60, user),
        STATUS_DENIED);
    cr_expect_eq(check("{\"aud\":\"one\",\"scp\":[\"pop\"],\"email\":\"\",\"exp\":%lld}", 60, user),
                 STATUS_DENIED);
}

Test(oauth, refuses_settings_that_cannot_be_meant)
{
    cr_expect_eq(create((struct oauth_config){.jwks_url = "http://example.org/keys"}),
                 STATUS_INVALID);
    cr_expect_eq(create((struct oauth_config){.jwks_url = "ftp://x"}), STATUS_INVALID);
    cr_expect_eq(create((struct oauth_config){.jwks_file = path, .jwks_url = "https://x"}),
                 STATUS_INVALID);
    cr_expect_eq(create((struct oauth_config){.leeway_s = OAUTH_LEEWAY_MAX_S + 1}), STATUS_INVALID);
    cr_expect_eq(create((struct oauth_config){.jwks_file = "/nowhere/keys"}), STATUS_NOT_FOUND);
    cr_expect_eq(create((struct oauth_config){.jwks_file = "/dev/null"}), STATUS_INVALID);
    cr_expect_eq(create((struct oauth_config){.jwks_file = "/dev/zero"}), STATUS_TOO_BIG);
    write_set(&key, 0);
    cr_expect_eq(create((struct oauth_config){.jwks_file = path}), STATUS_INVALID);
}

Test(oauth, tells_clients_what_they_lack)
{
    cr_assert_eq(
        create((struct oauth_config){.scope = "pop \"x\"", .openid_configuration = "https://i/c"}),
        STATUS_OK);
    cr_expect_str_eq(oauth_refusal(oauth, false),
                     "{\"status\":\"invalid_token\",\"scope\":\"pop \\\"x\\\"\","
                     "\"openid-configuration\":\"https://i/c\"}");
    cr_expect_str_eq(oauth_refusal(oauth, true),
                     "{\"status\":\"401\",\"schemes\":\"bearer\",\"scope\":\"pop \\\"x\\\"\"}");
}

/* --- keys from an address ------------------------------------------------------------------------
 */

/* Answers `count` requests with the set of `key`. */
struct issuer {
    int listener;
    int count;
    const char *answer;
};

static void *serve(void *owner)
{
    struct issuer *issuer = owner;
    for (int i = 0; i < issuer->count; i++) {
        int peer = accept(issuer->listener, NULL, NULL);
        char request[4096];
        cr_assert_geq(peer, 0);
        (void)!read(peer, request, sizeof request);
        (void)!write(peer, issuer->answer, strlen(issuer->answer));
        (void)shutdown(peer, SHUT_WR);
        (void)close(peer);
    }
    return NULL;
}

static void listen_on(struct issuer *issuer, char out_url[64])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    issuer->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(issuer->listener, (struct sockaddr *)&address, size), 0);
    cr_assert_eq(listen(issuer->listener, 4), 0);
    cr_assert_eq(getsockname(issuer->listener, (struct sockaddr *)&address, &size), 0);
    (void)snprintf(out_url, 64, "http://127.0.0.1:%u/keys", ntohs(address.sin_port));
}

static uint64_t readings(void)
{
    struct oauth_numbers numbers;
    oauth_numbers(oauth, &numbers);
    return numbers.refreshes + numbers.failures;
}

Test(oauth, fetches_keys_in_the_background)
{
    char url[64], user[64], answer[4000];
    pthread_t thread;
    char *set = jwt_make_set(&key, 1);
    (void)snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%s", set);
    struct issuer issuer = {.count = 1, .answer = answer};
    listen_on(&issuer, url);
    cr_assert_eq(create((struct oauth_config){.jwks_url = url}), STATUS_OK);
    cr_expect_eq(check("{" ALL ",\"exp\":%lld}", 60, user), STATUS_AGAIN); /* nobody answers yet */
    cr_assert_eq(pthread_create(&thread, NULL, serve, &issuer), 0);
    (void)pthread_join(thread, NULL);
    while (readings() == 0) {
        (void)sched_yield();
    }
    cr_expect_eq(check("{" ALL ",\"exp\":%lld}", 60, user), STATUS_OK);
    (void)close(issuer.listener);
    free(set);
}

static pthread_mutex_t told_lock = PTHREAD_MUTEX_INITIALIZER;
static char told[512]; /* event and text, one line each */

static void on_notice(void *owner, const struct auth_notice *notice)
{
    size_t length = strlen(told);
    pthread_mutex_lock(&told_lock);
    (void)snprintf(told + length, sizeof told - length, "%s%s %s\n",
                   notice->is_trouble ? "trouble: " : "", notice->event, notice->text);
    pthread_mutex_unlock(&told_lock);
    cr_expect_eq(owner, (void *)folder);
}

static void wait_told(const char *event)
{
    for (bool found = false; !found; (void)sched_yield()) {
        pthread_mutex_lock(&told_lock);
        found = strstr(told, event) != NULL;
        pthread_mutex_unlock(&told_lock);
    }
}

Test(oauth, tells_once_that_keys_cannot_be_read_and_once_that_they_can)
{
    char expected[512], user[64];
    cr_assert_eq(
        create((struct oauth_config){.refresh_s = 1, .on_notice = on_notice, .owner = folder}),
        STATUS_OK);
    (void)remove(path);
    wait_told("jwks_down");
    uint64_t before = readings();
    while (readings() == before) {
        (void)sched_yield(); /* one more that is not told */
    }
    cr_expect_eq(check("{" ALL ",\"exp\":%lld}", 60, user), STATUS_OK, "the old keys stay");
    write_set(&key, 1);
    wait_told("jwks_up");
    (void)snprintf(expected, sizeof expected,
                   "trouble: jwks_down %s: reading the keys of the token issuer: "
                   "No such file or directory\njwks_up %s: the keys can be read again\n",
                   path, path);
    cr_expect_str_eq(told, expected);
}

Test(oauth, gives_a_fetch_up_when_it_is_to_end)
{
    char url[64];
    struct issuer issuer = {0};
    listen_on(&issuer, url); /* accepts and never answers */
    cr_assert_eq(create((struct oauth_config){.jwks_url = url}), STATUS_OK);
    oauth_destroy(&oauth);
    (void)close(issuer.listener);
}

Test(oauth, without_keys_nobody_can_tell)
{
    char url[64], user[64];
    pthread_t thread;
    struct issuer issuer = {.count = 1,
                            .answer = "HTTP/1.1 302 x\r\nLocation: http://127.0.0.1/\r\n"
                                      "Content-Length: 0\r\n\r\n"};
    listen_on(&issuer, url);
    cr_assert_eq(create((struct oauth_config){.jwks_url = url}), STATUS_OK);
    cr_assert_eq(pthread_create(&thread, NULL, serve, &issuer), 0);
    (void)pthread_join(thread, NULL);
    while (readings() == 0) {
        (void)sched_yield();
    }
    cr_expect_eq(check("{" ALL ",\"exp\":%lld}", 60, user), STATUS_AGAIN);
    (void)close(issuer.listener);
}
