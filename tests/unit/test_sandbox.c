/* SPDX-License-Identifier: Apache-2.0 */
/* The whole of it, as the demo's configuration asks for it. */
#include "server/sandbox.h"
#include "tests/unit/in_child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char folder[] = "/tmp/restante-test-sandbox-XXXXXX";
static struct config *config;

static void load(const char *override)
{
    const char *overrides[] = {override};
    struct error error = {.status = STATUS_OK};
    char path[128];
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/mail", folder);
    cr_assert_eq(mkdir(path, 0700), 0);
    cr_assert_eq(config_demo(path, overrides, 1, &config, &error), STATUS_OK, "%s", error.text);
}

static void teardown(void)
{
    char command[128];
    config_free(&config);
    (void)snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(sandbox, .fini = teardown);

static void enter_and_seal(void)
{
    struct sandbox sandbox = {.is_off = true};
    struct error error = {.status = STATUS_OK};
    CHILD_EXPECT(sandbox_enter(config, true, &sandbox, &error) == STATUS_OK);
    sandbox_seal(config, &sandbox);
    sandbox_log(&sandbox, true);
    CHILD_EXPECT(sandbox.privileges && !sandbox.is_off);

    char path[160];
    (void)snprintf(path, sizeof path, "%s/file", config->store.path);
    CHILD_EXPECT(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) >= 0);
    CHILD_EXPECT(open("/proc/self/statm", O_RDONLY | O_CLOEXEC) >= 0);
    if (sandbox.landlock > 0) {
        CHILD_EXPECT(open("/etc/shadow", O_RDONLY | O_CLOEXEC) < 0 && errno == EACCES);
        CHILD_EXPECT(open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC) < 0 && errno == EACCES);
        CHILD_EXPECT(unlink(path) == 0 && rmdir(config->store.path) == 0);
    }
    if (sandbox.seccomp) {
        CHILD_EXPECT(fork() < 0 && errno == EPERM);
    }
}

Test(sandbox, leaves_the_server_its_store_and_little_else)
{
    if (CHILD_HAS_SANITIZER) {
        cr_skip_test("a sanitizer needs what the sandbox takes"); /* without teardown */
    }
    load("workers=1");
    cr_assert(in_child(enter_and_seal));
}

static void enter_nothing(void)
{
    struct sandbox sandbox = {.is_off = false};
    struct error error = {.status = STATUS_OK};
    CHILD_EXPECT(sandbox_enter(config, true, &sandbox, &error) == STATUS_OK);
    sandbox_seal(config, &sandbox);
    sandbox_log(&sandbox, false);
    CHILD_EXPECT(sandbox.is_off && !sandbox.privileges && !sandbox.seccomp);
    CHILD_EXPECT(open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0);
    char *const arguments[] = {"true", NULL};
    (void)execv("/bin/true", arguments);
    CHILD_EXPECT(!"it can run programs");
}

Test(sandbox, can_be_switched_off)
{
    load("sandbox=off");
    cr_assert(in_child(enter_nothing));
}
