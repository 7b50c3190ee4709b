/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/sim_world.h"

#include "server/lmtp.h"
#include "server/pop3.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TURNS_MAX 200000 /* until the last session must have ended */

struct sim_world *sim_world;

static unsigned items; /* on loan */
static uint64_t clock_now;

uint64_t sim_tick(void)
{
    return ++clock_now;
}

void sim_fail(const char *format, ...)
{
    va_list arguments;
    if (sim_world->failures++ == 0) {
        va_start(arguments, format);
        (void)vsnprintf(sim_world->failure, sizeof sim_world->failure, format, arguments);
        va_end(arguments);
    }
}

/* --- what the sessions ask of a worker --- */

void *worker_item_get(struct worker *worker, size_t size)
{
    items++;
    return malloc(size);
}

void worker_item_put(struct worker *worker, size_t size, void *item)
{
    items -= item != NULL;
    free(item);
}

/* --- the user database --- */

#define LATE_MAX 64

/* Answers on their way. */
static struct {
    struct auth_request *logins[LATE_MAX];
    struct auth_lookup *lookups[LATE_MAX];
    struct deadline timer;
} late;

static bool identify(struct auth_identity *identity, const char *name, size_t length)
{
    if (length != 5 || memcmp(name, "user", 4) != 0 || name[4] < '0' ||
        name[4] >= '0' + SIM_USERS) {
        return false;
    }
    (void)snprintf(identity->name, sizeof identity->name, "%.*s@sim.test", (int)length, name);
    identity->drop = (struct store_drop){0, sim_world->ledger.drops[name[4] - '0'].id};
    return true;
}

static void arm_late(void)
{
    struct loop *loop = sim_world->worker.loop;
    deadline_arm(loop_wheel(loop), &late.timer,
                 loop_now_ms(loop) + (int64_t)chance_below(&sim_world->chance, 200));
}

static void on_late(struct deadline *deadline)
{
    for (unsigned i = 0; i < LATE_MAX; i++) {
        struct auth_request *login = late.logins[i];
        struct auth_lookup *lookup = late.lookups[i];
        late.logins[i] = NULL;
        late.lookups[i] = NULL;
        if (login != NULL) {
            login->on_verdict(login, AUTH_OK);
        }
        if (lookup != NULL) {
            lookup->on_done(lookup, STATUS_OK);
        }
    }
}

static bool is_late(void)
{
    return chance_percent(&sim_world->chance, 30);
}

enum auth_verdict auth_login(struct auth_request *request, const char *name, size_t name_length,
                             const char *password, size_t password_length)
{
    request->mechanism = "user";
    bool is_known = identify(&request->identity, name, name_length);
    if (!is_known || password_length != 5 || memcmp(password, "right", 5) != 0) {
        return AUTH_FAILED;
    }
    for (unsigned i = 0; i < LATE_MAX && is_late(); i++) {
        if (late.logins[i] == NULL) {
            late.logins[i] = request;
            arm_late();
            return AUTH_PENDING;
        }
    }
    return AUTH_OK;
}

void auth_cancel(struct auth_request *request)
{
    for (unsigned i = 0; i < LATE_MAX; i++) {
        late.logins[i] = late.logins[i] == request ? NULL : late.logins[i];
    }
}

enum status auth_find_recipient(struct auth_lookup *lookup, const char *address, size_t length)
{
    if (!identify(&lookup->identity, address, length)) {
        return STATUS_NOT_FOUND;
    }
    for (unsigned i = 0; i < LATE_MAX && is_late(); i++) {
        if (late.lookups[i] == NULL) {
            late.lookups[i] = lookup;
            arm_late();
            return STATUS_PENDING;
        }
    }
    return STATUS_OK;
}

void auth_lookup_cancel(struct auth_lookup *lookup)
{
    for (unsigned i = 0; i < LATE_MAX; i++) {
        late.lookups[i] = late.lookups[i] == lookup ? NULL : late.lookups[i];
    }
}

void auth_lookup_clear(struct auth_lookup *lookup)
{
    free(lookup->others);
    lookup->others = NULL;
    lookup->other_count = 0;
}

const char *auth_verdict_name(enum auth_verdict verdict)
{
    return verdict == AUTH_OK ? "ok" : "failed";
}

bool auth_plaintext_allowed(const struct auth_policy *policy, bool tls)
{
    return true;
}

bool auth_apop_allowed(const struct auth_policy *policy)
{
    return false;
}

size_t auth_mechanisms(const struct auth_client *client, const struct auth_policy *policy,
                       const struct auth_tls *tls_facts, bool tls, const char **out_names,
                       size_t max)
{
    return 0;
}

enum auth_verdict auth_start(struct auth_request *request, const char *mechanism,
                             size_t mechanism_length, const char *initial, size_t initial_length)
{
    return AUTH_FAILED;
}

enum auth_verdict auth_continue(struct auth_request *request, const char *data, size_t length)
{
    return AUTH_FAILED;
}

enum auth_verdict auth_apop(struct auth_request *request, const char *name, size_t name_length,
                            const char *digest, size_t digest_length, const char *timestamp)
{
    return AUTH_FAILED;
}

/* --- the world --- */

static void on_wake(void *owner)
{
    (void)post_run(&sim_world->worker.box);
}

static uint32_t asked(void *owner)
{
    return sim_world->worker.store.inflight;
}

static uint32_t answered(void *owner)
{
    uint32_t count = 0;
    const struct post_message *message =
        atomic_load_explicit(&sim_world->worker.box.newest, memory_order_acquire);
    for (; message != NULL; message = message->next) {
        count++;
    }
    return count;
}

static void open_store(void)
{
    struct store_config config = {
        .segment_size = chance_between(&sim_world->chance, 64, 512) * 1024,
        .map_size = 256u << 20,
        .checkpoint_ms = 3600000,
    };
    if (chance_percent(&sim_world->chance, 25)) {
        config.blob_min = 20000;
    }
    site_make_folder(sim_world->folder);
    enum status status = site_open(&sim_world->site, sim_world->folder, &config, NULL);
    assert(status == STATUS_OK);
    ledger_init(&sim_world->ledger, sim_world->seed);
    for (unsigned i = 0; i < SIM_USERS; i++) {
        uint32_t place = ledger_create(&sim_world->ledger, sim_tick());
        struct ledger_drop *drop = &sim_world->ledger.drops[place];
        drop->id = fixture_create(&sim_world->site, "user");
        drop->created = sim_tick();
    }
}

static void set_config(void)
{
    struct config *config = &sim_world->config;
    config->hostname = "sim.test";
    config->pop3 = (struct config_pop3){.idle_timeout_s = 600,
                                        .login_timeout_s = 180,
                                        .stall_timeout_s = 600,
                                        .bad_commands_login = 3,
                                        .bad_commands = 20};
    config->lmtp = (struct config_lmtp){.idle_timeout_s = 300,
                                        .recipients_max = 100,
                                        .message_octets_max = 1 << 20,
                                        .bad_commands = 20};
    sim_world->pop3_config = (struct config_listener){
        .name = "pop3", .protocol = CONFIG_POP3, .policy = {.plaintext_without_tls = true}};
    sim_world->lmtp_config = (struct config_listener){.name = "lmtp", .protocol = CONFIG_LMTP};
    sim_world->pop3 = (struct worker_listener){.config = &sim_world->pop3_config,
                                               .protocol = &pop3_protocol,
                                               .worker = &sim_world->worker};
    sim_world->lmtp = (struct worker_listener){.config = &sim_world->lmtp_config,
                                               .protocol = &lmtp_protocol,
                                               .worker = &sim_world->worker};
}

void sim_world_open(uint64_t seed, enum sim_lie lie)
{
    sim_world = calloc(1, sizeof *sim_world);
    assert(sim_world != NULL);
    sim_world->seed = seed;
    sim_world->chance = chance_make(seed, 3);
    open_store();
    set_config();
    struct sim_config config = {.seed = seed,
                                .lie = lie,
                                .on_wake = on_wake,
                                .asked = asked,
                                .answered = answered,
                                .is_vague = sim_world->site.config.blob_min > 0};
    struct worker *worker = &sim_world->worker;
    enum status status = sim_loop_create(&config, &worker->loop);
    assert(status == STATUS_OK);
    memset(&late, 0, sizeof late);
    deadline_init(&late.timer, on_late);
    worker->config = &sim_world->config;
    post_box_init_loop(&worker->box, worker->loop);
    conn_host_init(&worker->host, worker->loop);
    store_client_init(&worker->store, sim_world->site.store, worker->loop, &worker->box);
    worker->auth = (struct auth_client){.loop = worker->loop, .box = &worker->box};
    list_init(&worker->sessions);
}

struct sim_socket *sim_world_connect(struct worker_listener *listener)
{
    struct sim_socket *socket = sim_socket_make();
    struct address address = {.length = sizeof(sa_family_t)};
    address.any.sa_family = AF_UNIX;
    session_accept(listener, socket->fd, &address, &address);
    return socket;
}

void sim_world_turn(bool idle)
{
    loop_turn(sim_world->worker.loop, idle ? 700000 : 0);
}

struct ledger_message *sim_recognise(const char *wire, size_t length)
{
    static const char mark[] = "\nX-Number: ";
    const char *found = memmem(wire, length, mark, sizeof mark - 1);
    if (found == NULL) {
        return NULL;
    }
    size_t left = length - (size_t)(found + 1 - wire);
    struct ledger_message *message =
        ledger_find(&sim_world->ledger, ledger_number_of(found + 1, left));
    if (message == NULL) {
        return NULL;
    }
    const struct ledger_octets *octets = ledger_octets(&sim_world->ledger, message);
    bool is_right = octets->wire_length == left && memcmp(octets->wire, found + 1, left) == 0;
    return is_right ? message : NULL;
}

/* --- the end --- */

static void check_drop(uint32_t place, uint64_t now, uint32_t *present)
{
    struct view *view = NULL;
    struct fixture *site = &sim_world->site;
    enum status status =
        fixture_view(site, sim_world->ledger.drops[place].id, STORE_LOCK_EXCLUSIVE, &view);
    if (status != STATUS_OK) {
        sim_fail("at the end maildrop %u answers %s", place, status_name(status));
        return;
    }
    for (uint32_t i = 0; i < store_view_count(view); i++) {
        char *wire = NULL;
        size_t length = 0;
        if (site_read(site, view, i, &wire, &length) != STATUS_OK) {
            sim_fail("at the end a message of maildrop %u cannot be read", place);
            continue;
        }
        struct ledger_message *message = sim_recognise(wire, length);
        if (message == NULL || ledger_message_duty(message, place, now) == LEDGER_MUST_NOT) {
            sim_fail("at the end maildrop %u holds what it must not: message %d", place,
                     message != NULL ? (int)message->number : -1);
        } else {
            present[message->number] |= 1u << place;
        }
        free(wire);
    }
    store_view_close(&view);
}

static void check_store(void)
{
    uint32_t *present = calloc(sim_world->ledger.count + 1, sizeof *present);
    uint64_t now = sim_tick();
    assert(present != NULL);
    for (uint32_t drop = 0; drop < SIM_USERS; drop++) {
        check_drop(drop, now, present);
    }
    for (uint32_t i = 0; i < sim_world->ledger.count; i++) {
        for (uint32_t drop = 0; drop < SIM_USERS; drop++) {
            const struct ledger_message *message = &sim_world->ledger.messages[i];
            if (ledger_message_duty(message, drop, now) == LEDGER_MUST &&
                (present[i] & 1u << drop) == 0) {
                sim_fail("message %u of maildrop %u was acknowledged and is lost", i, drop);
            }
        }
    }
    free(present);
}

void sim_world_close(struct sim_counters *counters)
{
    struct worker *worker = &sim_world->worker;
    for (unsigned i = 0; worker->session_count > 0 || worker->store.inflight > 0; i++) {
        if (i == TURNS_MAX) {
            sim_fail("%u sessions do not end", worker->session_count);
            printf("seed %llu: %s\n", (unsigned long long)sim_world->seed, sim_world->failure);
            exit(1); /* nothing can be taken down */
        }
        sim_world_turn(true);
    }
    if (items != 0) {
        sim_fail("%u items were not given back", items);
    }
    *counters = *sim_loop_counters(worker->loop);
    deadline_disarm(loop_wheel(worker->loop), &late.timer);
    conn_host_deinit(&worker->host);
    post_box_deinit(&worker->box);
    loop_destroy(&worker->loop);
    check_store();
    site_close(&sim_world->site);
    site_remove(sim_world->folder);
    ledger_deinit(&sim_world->ledger);
}
