/* SPDX-License-Identifier: Apache-2.0 */
/* OAuth in a program that was built without cjose or libcurl: it cannot be opened. */
#include "auth/oauth.h"

enum status oauth_create(const struct oauth_config *config, struct oauth **out_oauth,
                         struct error *out_error)
{
    return error_set(out_error, STATUS_UNSUPPORTED, 0, NULL,
                     "OAuth needs a program built with libcjose and libcurl; this one is not");
}

enum status oauth_try(const struct oauth_config *config, struct error *out_error)
{
    struct oauth *none;
    return oauth_create(config, &none, out_error);
}

void oauth_destroy(struct oauth **oauth)
{
    *oauth = NULL;
}

enum status oauth_check(struct oauth *oauth, const char *token, size_t length, char *out_user,
                        size_t size)
{
    return STATUS_DENIED;
}

const char *oauth_refusal(const struct oauth *oauth, bool is_xoauth2)
{
    return "{}";
}

void oauth_numbers(struct oauth *oauth, struct oauth_numbers *out_numbers)
{
    *out_numbers = (struct oauth_numbers){0};
}
