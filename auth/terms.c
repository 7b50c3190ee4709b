/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/terms.h"

#include "auth/account.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static_assert(AUTH_NETWORKS_MAX <= UINT8_MAX, "counted in one octet");

bool terms_of(const struct account *account, struct terms *out_terms)
{
    if (!account->disabled && !account->tls_required && account->network_count == 0) {
        return false;
    }
    assert(account->network_count <= AUTH_NETWORKS_MAX);
    *out_terms = (struct terms){.is_disabled = account->disabled,
                                .needs_tls = account->tls_required,
                                .network_count = (uint8_t)account->network_count};
    memcpy(out_terms->networks, account->networks, sizeof out_terms->networks);
    if (account->disabled) {
        memcpy(out_terms->reason, account->reason, sizeof out_terms->reason);
    }
    return true;
}

static bool is_in_a_network(const struct terms *terms, const struct address *peer)
{
    for (size_t i = 0; peer != NULL && i < terms->network_count; i++) {
        if (address_in_network(peer, &terms->networks[i])) {
            return true;
        }
    }
    return false;
}

bool terms_admit(const struct terms *terms, const struct address *peer, bool tls,
                 char out_reason[AUTH_REASON_MAX + 1])
{
    if (terms->is_disabled) {
        memcpy(out_reason, terms->reason, AUTH_REASON_MAX + 1);
        return false;
    }
    if (terms->needs_tls && !tls) {
        (void)snprintf(out_reason, AUTH_REASON_MAX + 1, "it may only be used with TLS");
        return false;
    }
    if (terms->network_count > 0 && !is_in_a_network(terms, peer)) {
        (void)snprintf(out_reason, AUTH_REASON_MAX + 1, "it may not be used from this address");
        return false;
    }
    return true;
}

/* Appends what one word stands for. */
static enum status add_networks(const char *word, size_t length,
                                struct address_network networks[AUTH_NETWORKS_MAX], uint32_t *count)
{
    static const char *const local[] = {"127.0.0.0/8", "::1"};
    bool is_local = length == 5 && memcmp(word, "local", 5) == 0;
    for (size_t i = 0; i < (is_local ? 2 : 1); i++) {
        const char *text = is_local ? local[i] : word;
        if (*count == AUTH_NETWORKS_MAX) {
            return STATUS_LIMIT;
        }
        if (address_network_parse(text, is_local ? strlen(text) : length, &networks[*count]) !=
            STATUS_OK) {
            return STATUS_INVALID;
        }
        (*count)++;
    }
    return STATUS_OK;
}

enum status terms_parse_networks(const char *text, size_t length, struct account *account)
{
    struct address_network networks[AUTH_NETWORKS_MAX] = {0};
    uint32_t count = 0;
    size_t at = 0;
    while (at < length) {
        size_t end = at;
        while (end < length && text[end] != ',' && text[end] != ' ') {
            end++;
        }
        enum status status =
            end == at ? STATUS_OK : add_networks(text + at, end - at, networks, &count);
        if (status != STATUS_OK) {
            return status;
        }
        at = end + 1;
    }
    memcpy(account->networks, networks, sizeof networks);
    account->network_count = count;
    return STATUS_OK;
}
