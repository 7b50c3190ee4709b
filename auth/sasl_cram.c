/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRAM-MD5 (RFC 2195) and APOP (RFC 1939 section 7): digests of the password and of something the
 * server said. The server must have the password readably; where it has not, and for nobody's name,
 * a password that nobody has takes its place, so that all goes the same way.
 */
#include "auth/account.h"
#include "auth/auth_state.h"
#include "auth/credential.h"
#include "auth/digest.h"
#include "auth/sasl.h"
#include "auth/sasl_gsasl.h"
#include "auth/secret.h"
#include "io/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define CRAM_CHALLENGE_MAX 320 /* octets with NUL: two numbers and a host name of 255 */
#define APOP_DIGEST_OCTETS 16

/* The account's password, or another in `substitute`. */
static const char *password_of(const struct account *account, char substitute[33])
{
    const char *password = account != NULL ? credential_readable(account) : NULL;
    if (password != NULL) {
        return password;
    }
    secret_random(substitute, 32);
    for (size_t i = 0; i < 32; i++) {
        substitute[i] = (char)('a' + ((unsigned char)substitute[i] & 15));
    }
    substitute[32] = '\0';
    return substitute;
}

/* --- CRAM-MD5 ----------------------------------------------------------------------------------
 */

/* Random digits, the time, and who asks (RFC 2195 section 2). */
static enum sasl_step cram_begin(struct auth_sasl *sasl)
{
    uint64_t number;
    char challenge[CRAM_CHALLENGE_MAX];
    const char *hostname = sasl->request->hostname;
    secret_random(&number, sizeof number);
    int length = snprintf(challenge, sizeof challenge, "<%020" PRIu64 ".%lld@%.255s>", number,
                          (long long)time(NULL), hostname != NULL ? hostname : "localhost");
    assert(length > 0 && (size_t)length < sizeof challenge);
    sasl->step = 1;
    return sasl_challenge(sasl, challenge, (size_t)length);
}

/* The name ends at the last space: it may have some itself. */
static enum sasl_step cram_on_response(struct auth_sasl *sasl, const char *data, size_t length)
{
    if (sasl->step == 0) {
        /* The server speaks first: an initial response is wrong (RFC 5034 section 4). */
        return data == NULL ? cram_begin(sasl) : SASL_REFUSE;
    }
    if (length < SASL_GSASL_CRAM_DIGITS + 2 || memchr(data, '\0', length) != NULL) {
        return SASL_REFUSE;
    }
    size_t name_length = length - SASL_GSASL_CRAM_DIGITS - 1;
    if (data[name_length] != ' ') {
        return SASL_REFUSE;
    }
    return sasl_hold(sasl, data, length) ? sasl_find(sasl, data, name_length) : SASL_UNAVAILABLE;
}

static enum sasl_step cram_on_account(struct auth_sasl *sasl, const struct account *account)
{
    char substitute[33], wanted[SASL_GSASL_CRAM_DIGITS];
    const char *password = password_of(account, substitute);
    const char *given = sasl->held + sasl->held_length - SASL_GSASL_CRAM_DIGITS;
    enum status status = sasl_gsasl_cram(sasl->request->client->auth->gsasl, sasl->challenge,
                                         sasl->challenge_length, password, wanted);
    if (status == STATUS_NO_MEMORY) {
        return SASL_UNAVAILABLE;
    }
    bool same = status == STATUS_OK && secret_equal(wanted, given, sizeof wanted);
    mem_wipe(wanted, sizeof wanted);
    return same && password != substitute ? SASL_ADMIT : SASL_REFUSE;
}

const struct sasl_ops sasl_cram_ops = {.on_response = cram_on_response,
                                       .on_account = cram_on_account};

/* --- APOP: auth_apop holds the digest and then the timestamp ------------------------------------
 */

static enum sasl_step apop_on_account(struct auth_sasl *sasl, const struct account *account)
{
    char substitute[33];
    uint8_t wanted[DIGEST_OCTETS_MAX];
    const char *password = password_of(account, substitute);
    if (digest_salted(DIGEST_MD5, sasl->held + APOP_DIGEST_OCTETS,
                      sasl->held_length - APOP_DIGEST_OCTETS, password, strlen(password),
                      wanted) != STATUS_OK) {
        return SASL_UNAVAILABLE;
    }
    bool same = secret_equal(wanted, sasl->held, APOP_DIGEST_OCTETS);
    mem_wipe(wanted, sizeof wanted);
    return same && password != substitute ? SASL_ADMIT : SASL_REFUSE;
}

const struct sasl_ops sasl_apop_ops = {.on_account = apop_on_account};
