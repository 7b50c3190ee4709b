/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/caps.h"

#include "auth/auth_limits.h"
#include "auth/secret.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct caps *caps;

static void make(uint32_t prefix, uint32_t user, uint32_t user_prefix, bool exempt)
{
    const struct caps_config config = {
        .max = {prefix, user, user_prefix}, .sessions_max = 100, .exempt_loopback = exempt};
    cr_assert_eq(secret_start(), STATUS_OK);
    cr_assert_eq(caps_create(&config, &caps), STATUS_OK);
}

static struct address peer_of(const char *text)
{
    struct address address;
    cr_assert_eq(address_parse(text, &address), STATUS_OK);
    return address;
}

static bool connect_from(const char *peer, struct caps_hold *hold)
{
    struct address address = peer_of(peer);
    return caps_connect(caps, &address, hold);
}

static bool log_in(const char *name, const char *peer, struct caps_session *session,
                   enum caps_kind *kind)
{
    struct address address = peer_of(peer);
    return caps_log_in(caps, name, &address, session, kind);
}

Test(caps, a_prefix_has_so_many_connections_and_no_more)
{
    struct caps_hold holds[4], other;
    make(3, 0, 0, false);
    cr_expect(connect_from("192.0.2.1:1", &holds[0]));
    cr_expect(connect_from("192.0.2.1:2", &holds[1]));
    cr_expect(connect_from("[::ffff:192.0.2.1]:3", &holds[2]));
    cr_expect_not(connect_from("192.0.2.1:4", &holds[3]));
    cr_expect(connect_from("192.0.2.2:1", &other));
    caps_disconnect(caps, &holds[1]);
    caps_disconnect(caps, &holds[1]); /* once is enough */
    cr_expect(connect_from("192.0.2.1:4", &holds[3]));
    struct caps_numbers numbers;
    caps_numbers(caps, &numbers);
    cr_expect_eq(numbers.held[CAPS_PREFIX], 4);
    cr_expect_eq(numbers.refused[CAPS_PREFIX], 1);
    caps_disconnect(caps, &holds[0]);
    caps_disconnect(caps, &holds[2]);
    caps_disconnect(caps, &holds[3]);
    caps_disconnect(caps, &other);
    caps_destroy(&caps);
    caps_destroy(&caps);
}

Test(caps, a_user_has_so_many_sessions_and_fewer_from_one_place)
{
    struct caps_session sessions[4];
    enum caps_kind kind;
    make(0, 3, 2, false);
    cr_expect(log_in("a@x", "192.0.2.1:1", &sessions[0], &kind));
    cr_expect(log_in("a@x", "192.0.2.1:1", &sessions[1], &kind));
    cr_expect_not(log_in("a@x", "192.0.2.1:1", &sessions[2], &kind));
    cr_expect_eq(kind, CAPS_USER_PREFIX);
    cr_expect(log_in("a@x", "[2001:db8:1::1]:1", &sessions[2], &kind));
    cr_expect_not(log_in("a@x", "192.0.2.9:1", &sessions[3], &kind));
    cr_expect_eq(kind, CAPS_USER);
    cr_expect(log_in("b@x", "192.0.2.1:1", &sessions[3], &kind));
    for (size_t i = 0; i < 4; i++) {
        caps_log_out(caps, &sessions[i]);
        caps_log_out(caps, &sessions[i]);
    }
    caps_destroy(&caps);
}

Test(caps, loopback_is_exempt_by_setting)
{
    struct caps_hold hold;
    struct caps_session session;
    enum caps_kind kind;
    make(1, 1, 1, true);
    for (int i = 0; i < 5; i++) {
        cr_expect(connect_from("127.0.0.1:1", &hold));
        cr_expect(log_in("a@x", "[::1]:1", &session, &kind));
    }
    caps_destroy(&caps);
}

Test(caps, a_full_table_refuses_nobody)
{
    enum { MANY = 20000 };
    static struct caps_hold holds[MANY];
    struct caps_numbers numbers;
    char peer[32];
    make(1, 0, 0, false);
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(peer, sizeof peer, "10.0.%u.%u:1", i / 256, i % 256);
        cr_assert(connect_from(peer, &holds[i]));
    }
    caps_numbers(caps, &numbers);
    cr_expect_gt(numbers.uncounted, 0);
    cr_expect_gt(numbers.held[CAPS_PREFIX], 64 * 60);
    for (unsigned i = 0; i < MANY; i++) {
        caps_disconnect(caps, &holds[i]);
    }
    caps_numbers(caps, &numbers);
    cr_expect_eq(numbers.held[CAPS_PREFIX], 0);
    caps_destroy(&caps);
}
