/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes whole SASL exchanges against real accounts. The first octet chooses the mechanism and the
 * facts of the connection, the second after which step the client goes away; the rest are the
 * client's answers, parted by 0xff 0xff. Nobody is admitted but by the right password, and whatever
 * happens leaves nothing behind.
 */
#include "auth/oauth.h"
#include "tests/unit/sasl_probe.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const mechanisms[] = {
    "PLAIN",         "LOGIN",    "CRAM-MD5",           "SCRAM-SHA-1",
    "SCRAM-SHA-256", "EXTERNAL", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS",
    "OAUTHBEARER",   "XOAUTH2",
};

static const uint8_t octets[32] = "what the channel is bound to...";
static const struct auth_tls facts[] = {{.client_name = "nobody"},
                                        {.exporter = octets, .exporter_length = 32},
                                        {.unique = octets, .unique_length = 12}};
static const struct auth_policy policy = {.plaintext_without_tls = true,
                                          .cram_md5 = true,
                                          .scram = true,
                                          .external = true,
                                          .oauth = true,
                                          .oauth_without_tls = true};

/* The first key of RFC 7517 appendix A.1. */
static const char keys[] = "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
                           "\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\","
                           "\"y\":\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\"}]}";
static struct stage stage;

static void close_stage(void)
{
    stage_close(&stage);
}

static void open_stage(void)
{
    char path[] = "/tmp/restante-jwks-XXXXXX";
    int fd = mkstemp(path);
    ssize_t written = write(fd, keys, sizeof keys - 1);
    assert(written == (ssize_t)sizeof keys - 1);
    (void)written;
    (void)close(fd);
    const struct oauth_config oauth = {.jwks_file = path};
    stage_open(&stage, &(struct auth_config){.default_domain = "localhost",
                                             .hash_threads = 1,
                                             .exempt_loopback = true,
                                             .oauth = &oauth});
    (void)unlink(path); /* read once */
    stage_add_complete(&stage, "demo@localhost", 3);
    stage_add(&stage, "plain@localhost", 4, "{PLAIN}a password nobody guesses");
    (void)atexit(close_stage); /* so that nothing is left behind; there is always room for it */
}

/* What stands before the next mark, as a copy of its own size, so that reading beyond is seen. */
static char *take(const uint8_t **data, size_t *size, size_t *out_length)
{
    size_t length = 0;
    while (length < *size &&
           !(length + 1 < *size && (*data)[length] == 0xff && (*data)[length + 1] == 0xff)) {
        length++;
    }
    char *copy = malloc(length > 0 ? length : 1);
    assert(copy != NULL);
    memcpy(copy, *data, length);
    size_t used = length < *size ? length + 2 : length;
    *data += used;
    *size -= used;
    *out_length = length;
    return copy;
}

/* A token is looked at in little time and waited for; a password takes its hash's, and is not. */
static enum auth_verdict go_on(struct probe *probe, enum auth_verdict verdict)
{
    return probe->request.own.wait == NULL ? probe_wait(probe, verdict) : AUTH_FAILED;
}

static void exchange(const uint8_t *data, size_t size, struct probe *probe, unsigned mechanism,
                     unsigned steps)
{
    size_t length = 0;
    char *initial = size > 0 ? take(&data, &size, &length) : NULL;
    enum auth_verdict verdict =
        go_on(probe, auth_start(&probe->request, mechanisms[mechanism],
                                strlen(mechanisms[mechanism]), initial, length));
    free(initial);
    while (verdict == AUTH_CHALLENGE && steps-- > 0) {
        assert(probe->request.challenge_length <= AUTH_SASL_RESPONSE_MAX + 1024);
        char *answer = take(&data, &size, &length);
        verdict = go_on(probe, auth_continue(&probe->request, answer, length));
        free(answer);
    }
    assert(verdict != AUTH_OK || strcmp(probe->request.identity.name, "demo@localhost") == 0);
    assert((verdict == AUTH_CHALLENGE) == (probe->request.own.sasl != NULL));
    auth_cancel(&probe->request);
    assert(probe->request.own.sasl == NULL && probe->request.own.wait == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct probe probe;
    if (size < 2) {
        return 0;
    }
    if (stage.auth == NULL) {
        open_stage();
    }
    unsigned mechanism = data[0] % 10, which = data[0] / 10 % 4;
    probe_init(&probe, &stage, &policy, which < 3 ? &facts[which] : NULL);
    exchange(data + 2, size - 2, &probe, mechanism, data[1] % 6);
    return 0;
}
