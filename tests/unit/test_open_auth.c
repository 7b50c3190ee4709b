/* SPDX-License-Identifier: Apache-2.0 */
#include "server/open_auth.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/restante-test-open-auth-XXXXXX";
static struct config *config;
static struct auth *opened;
static struct error error;

static void set_up(void)
{
    cr_assert_not_null(mkdtemp(folder));
}

static int remove_one(const char *path, const struct stat *facts, int kind, struct FTW *walk)
{
    return remove(path);
}

static void tear_down(void)
{
    if (opened != NULL) {
        auth_close(&opened);
    }
    config_free(&config);
    (void)nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(open_auth, .init = set_up, .fini = tear_down);

static void write_file(const char *name, const char *text)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
}

/* The demo's configuration; in the override "%s" is the folder. */
static void configure(const char *override)
{
    char text[512] = "";
    const char *overrides[] = {text};
    const char *at = override != NULL ? strstr(override, "%s") : NULL;
    if (override != NULL) {
        (void)snprintf(text, sizeof text, "%.*s%s%s",
                       at != NULL ? (int)(at - override) : (int)strlen(override), override,
                       at != NULL ? folder : "", at != NULL ? at + 2 : "");
    }
    config_free(&config);
    cr_assert_eq(config_demo(folder, overrides, override != NULL, &config, &error), STATUS_OK, "%s",
                 error.text);
}

static uint64_t accounts(void)
{
    struct auth_numbers numbers;
    auth_numbers(opened, &numbers);
    return numbers.accounts;
}

Test(open_auth, begins_with_the_embedded_accounts)
{
    configure(NULL);
    cr_assert_eq(open_auth(config, false, &opened, &error), STATUS_OK, "%s", error.text);
    cr_assert_not_null(auth_accounts(opened));
    cr_assert_eq(accounts(), 0);
}

Test(open_auth, asks_the_databases_that_are_named)
{
    write_file("users", "one:{PLAIN}x::::::\ntwo:{PLAIN}y::::::\n");
    configure("auth.databases=embedded,passwd-file:%s/users");
    cr_assert_eq(open_auth(config, false, &opened, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(accounts(), 2);
    cr_assert_not_null(auth_accounts(opened));
}

Test(open_auth, names_the_file_that_is_not_there)
{
    configure("auth.databases=passwd-file:%s/nobody");
    cr_assert_neq(open_auth(config, false, &opened, &error), STATUS_OK);
    cr_assert_not_null(strstr(error.path, "nobody"), "%s: %s", error.path, error.text);
    cr_assert_null(opened);
}

Test(open_auth, needs_the_keys_of_tokens_to_serve_and_not_for_the_administrators_command)
{
    configure("oauth.jwks=%s/jwks.json");
    cr_assert_neq(open_auth(config, false, &opened, &error), STATUS_OK);
    cr_assert_null(opened);
    cr_assert_eq(open_auth(config, true, &opened, &error), STATUS_OK, "%s", error.text);
}

Test(open_auth, takes_an_address_for_keys_that_come_later)
{
    configure("oauth.jwks=http://127.0.0.1:1/jwks.json");
    enum status status = open_auth(config, false, &opened, &error);
    /* Unless this was built without cjose and libcurl, and says so. */
    cr_assert(status == STATUS_OK || status == STATUS_UNSUPPORTED, "%s", error.text);
}
