/* SPDX-License-Identifier: Apache-2.0 */
#include "server/landlock.h"
#include "tests/unit/in_child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static char folder[] = "/tmp/restante-test-landlock-XXXXXX";

static void make_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, "x", 1), 1);
    close(fd);
}

static void setup(void)
{
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(chdir(folder), 0);
    cr_assert_eq(mkdir("read", 0700) | mkdir("write", 0700) | mkdir("socket", 0700) |
                     mkdir("other", 0700) | mkdir("parent", 0700) | mkdir("parent/empty", 0700),
                 0);
    make_file("read/file");
    make_file("write/file");
    make_file("other/file");
    make_file("single");
}

static void teardown(void)
{
    char command[128];
    cr_assert_eq(chdir("/"), 0);
    (void)snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(landlock, .init = setup, .fini = teardown);

static void enforce(void)
{
    static const struct {
        const char *path;
        enum landlock_access access;
    } rules[] = {{"read", LANDLOCK_READ},     {"write", LANDLOCK_WRITE},
                 {"socket", LANDLOCK_SOCKET}, {"parent", LANDLOCK_REMOVE},
                 {"single", LANDLOCK_READ},   {"not-there", LANDLOCK_READ}};
    struct landlock landlock;
    struct error error = {.status = STATUS_OK};
    if (landlock_begin(&landlock, &error) != STATUS_OK) {
        _exit(CHILD_SKIPS);
    }
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        CHILD_EXPECT(landlock_allow(&landlock, rules[i].path, rules[i].access, &error) ==
                     STATUS_OK);
    }
    CHILD_EXPECT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHILD_EXPECT(landlock_enforce(&landlock, &error) == STATUS_OK);
    landlock_end(&landlock);
    landlock_end(&landlock); /* harmless */
}

static bool opens(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

static bool binds(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool bound = bind(fd, (const struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return bound;
}

static void try_everything(void)
{
    enforce();
    CHILD_EXPECT(opens("read/file", O_RDONLY));
    CHILD_EXPECT(!opens("read/file", O_WRONLY) && errno == EACCES);
    CHILD_EXPECT(!opens("read/new", O_WRONLY | O_CREAT));
    CHILD_EXPECT(unlink("read/file") != 0);
    CHILD_EXPECT(opens("single", O_RDONLY) && !opens("single", O_RDWR));

    CHILD_EXPECT(opens("write/file", O_RDWR) && opens("write/new", O_RDWR | O_CREAT));
    CHILD_EXPECT(mkdir("write/folder", 0700) == 0 && rename("write/new", "write/folder/new") == 0);
    CHILD_EXPECT(unlink("write/folder/new") == 0 && rmdir("write/folder") == 0);
    CHILD_EXPECT(truncate("write/file", 0) == 0);
    CHILD_EXPECT(symlink("file", "write/link") != 0);

    CHILD_EXPECT(binds("socket/here") && unlink("socket/here") == 0);
    CHILD_EXPECT(!binds("read/here") && !binds("other/here"));
    CHILD_EXPECT(!opens("socket/file", O_WRONLY | O_CREAT));

    CHILD_EXPECT(!opens("other/file", O_RDONLY) && errno == EACCES);
    CHILD_EXPECT(!opens("/etc/passwd", O_RDONLY) && !opens("/", O_RDONLY | O_DIRECTORY));
    CHILD_EXPECT(rmdir("parent/empty") == 0 && rmdir("other") != 0);
    char *const arguments[] = {"true", NULL};
    CHILD_EXPECT(execv("/bin/true", arguments) != 0 && errno == EACCES);
}

Test(landlock, lets_through_what_was_allowed_and_nothing_else)
{
    if (!in_child(try_everything)) {
        cr_skip_test("no Landlock here");
    }
}

static void enforce_without_promise(void)
{
    struct landlock landlock;
    struct error error = {.status = STATUS_OK};
    if (geteuid() == 0 || landlock_begin(&landlock, &error) != STATUS_OK) {
        _exit(CHILD_SKIPS); /* root need not promise anything */
    }
    CHILD_EXPECT(landlock_enforce(&landlock, &error) != STATUS_OK);
    CHILD_EXPECT(error.text[0] != '\0');
}

Test(landlock, says_when_it_cannot_be_enforced)
{
    (void)in_child(enforce_without_promise); /* skips for root */
}
