/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/auth_penalty.h"

#include "auth/auth_state.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PENALTIES_MAX ((size_t)AUTH_THROTTLE_SETS * AUTH_THROTTLE_WAYS)

static void source_text(const struct throttle_source *source, char out[ADDRESS_TEXT_MAX])
{
    struct address_prefix prefix;
    static_assert(sizeof prefix.octets == sizeof source->octets, "a source is a prefix");
    memcpy(prefix.octets, source->octets, sizeof prefix.octets);
    address_prefix_text(&prefix, out);
}

static void fill(struct auth_penalty *out, const struct throttle_penalty *from, bool is_account)
{
    *out = (struct auth_penalty){.is_account = is_account,
                                 .failures = from->failures,
                                 .delay_ms = from->delay_ms,
                                 .age_ms = from->age_ms};
    if (is_account) {
        (void)snprintf(out->who, sizeof out->who, "%s", from->label); /* cut to fit */
    } else {
        source_text(&from->source, out->who);
    }
}

uint64_t auth_penalties(struct auth *auth, struct auth_penalty *out, size_t max)
{
    struct throttle *const tables[] = {auth->prefixes, auth->targets};
    struct throttle_penalty *list = calloc(PENALTIES_MAX, sizeof *list);
    uint64_t count = 0;
    if (list == NULL) {
        return 0;
    }
    for (size_t table = 0; table < 2; table++) {
        uint64_t found = throttle_list(tables[table], auth_clock_us() / 1000, list, PENALTIES_MAX);
        for (uint64_t i = 0; i < found; i++, count++) {
            if (count < max) {
                fill(&out[count], &list[i], table == 1);
            }
        }
    }
    free(list);
    return count;
}

/* The prefix of an address, or of a network such as the list shows. */
static bool read_prefix(const char *text, struct throttle_source *out_source)
{
    struct address address;
    struct address_prefix prefix;
    char copy[ADDRESS_TEXT_MAX];
    size_t length = strcspn(text, "/");
    bool is_v6 = memchr(text, ':', length) != NULL;
    int written = snprintf(copy, sizeof copy, is_v6 ? "[%.*s]:0" : "%.*s:0",
                           length < sizeof copy ? (int)length : (int)sizeof copy, text);
    if (written < 0 || (size_t)written >= sizeof copy ||
        address_parse(copy, &address) != STATUS_OK) {
        return false;
    }
    address_prefix(&address, &prefix);
    memcpy(out_source->octets, prefix.octets, sizeof prefix.octets);
    return true;
}

uint64_t auth_penalty_clear(struct auth *auth, const char *who)
{
    struct throttle_source source;
    struct identity identity;
    if (who == NULL) {
        return throttle_clear(auth->prefixes, NULL) + throttle_clear(auth->targets, NULL);
    }
    if (strchr(who, '@') == NULL && read_prefix(who, &source)) {
        return throttle_clear(auth->prefixes, &source);
    }
    if (identity_from_login(who, strlen(who), auth->default_domain, &identity) != STATUS_OK) {
        return 0;
    }
    source = throttle_source_of(auth->targets, identity.name);
    return throttle_clear(auth->targets, &source);
}
