/* SPDX-License-Identifier: Apache-2.0 */
/* A connection with input and output of every kind, and a listener, on both loop back ends. */
#include "tests/proof/faults.h"
#include "tests/proof/shim.h"

#include "io/conn.h"
#include "io/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#define TURNS_MAX   20000 /* of a loop, until everything must have ended */
#define FILE_OCTETS 200000
#define SAID        3000 /* octets the peer sends */

const struct scenario faults_scenarios[] = {
    {"new store", faults_store_begin, faults_store_end, faults_prepare_new, faults_run_store,
     faults_check_store},
    {"killed store", faults_store_begin, faults_store_end, faults_prepare_killed, faults_run_store,
     faults_check_store},
    {"rebuilt store", faults_store_begin, faults_store_end, faults_prepare_rebuild,
     faults_run_store, faults_check_store},
    {"compaction", faults_compact_begin, faults_store_end, faults_prepare_killed,
     faults_run_compact, faults_check_compact},
    {"connection, epoll", faults_io_begin, faults_io_end, faults_prepare_io, faults_run_epoll,
     faults_check_io},
    {"connection, io_uring", faults_io_begin, faults_io_end, faults_prepare_io, faults_run_uring,
     faults_check_io},
    {"listener", faults_io_begin, faults_io_end, faults_prepare_io, faults_run_listen,
     faults_check_io},
    {0},
};

/* What the shim itself must notice: memory and a descriptor that are forgotten after a fault. */
static void run_careless(struct trial *trial)
{
    char *first = SHIM_IN(malloc(100)), *second = SHIM_IN(malloc(100));
    int fd = SHIM_IN(open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (first == NULL || second == NULL || fd < 0) {
        return;
    }
    (void)close(fd);
    free(first);
    free(second);
    (void)trial;
}

const struct scenario faults_careless = {
    "careless", faults_io_begin, faults_io_end, faults_prepare_io, run_careless, faults_check_io,
};

static struct {
    char path[64];
    int file;
    uint8_t octets[FILE_OCTETS];
} stage;

void faults_io_begin(void)
{
    strcpy(stage.path, "/tmp/restante-faults-XXXXXX");
    stage.file = mkstemp(stage.path);
    assert(stage.file >= 0);
    for (size_t i = 0; i < FILE_OCTETS; i++) {
        stage.octets[i] = (uint8_t)(i * 7 + i / 251);
    }
    ssize_t written = write(stage.file, stage.octets, FILE_OCTETS);
    assert(written == FILE_OCTETS);
    (void)unlink(stage.path);
}

void faults_io_end(void)
{
    (void)close(stage.file);
}

void faults_prepare_io(struct trial *trial)
{
    (void)trial;
}

void faults_check_io(struct trial *trial)
{
    (void)trial;
}

/* --- a connection --- */

struct world {
    struct conn conn;
    struct trial *trial;
    struct conn_host host;
    struct loop *loop;
    int peer;
    size_t heard, said, got; /* octets: by us, by the peer; what the peer has got */
    unsigned releases;
    bool closed, is_wrong;
    enum status reason;
};

static struct world *world_of(struct conn *conn)
{
    return (struct world *)(void *)conn; /* its first member */
}

static void on_released(void *owner)
{
    ((struct world *)owner)->releases++;
}

/* Once all has been heard: memory, a file, memory, the end. */
static void answer(struct world *world)
{
    struct sendq_extent extent = {.fd = stage.file,
                                  .offset = 100,
                                  .length = FILE_OCTETS - 200,
                                  .hold = {.release = on_released, .owner = world}};
    struct sendq_hold hold = {.release = on_released, .owner = world};
    (void)conn_write(&world->conn, stage.octets, 100);
    (void)conn_send_extent(&world->conn, &extent);
    (void)conn_send_memory(&world->conn, stage.octets + FILE_OCTETS - 100, 100, hold);
    conn_finish(&world->conn);
}

static size_t on_input(struct conn *conn, const uint8_t *data, size_t length)
{
    struct world *world = world_of(conn);
    world->heard += length;
    if (world->heard == SAID) {
        answer(world);
    }
    return length;
}

static void on_input_end(struct conn *conn, size_t left)
{
    conn_finish(conn);
}

static void on_drained(struct conn *conn)
{
}

static void on_closed(struct conn *conn, enum status reason)
{
    struct world *world = world_of(conn);
    world->closed = true;
    world->reason = reason;
}

static const struct conn_events events = {.on_input = on_input,
                                          .on_input_end = on_input_end,
                                          .on_drained = on_drained,
                                          .on_closed = on_closed};

/* The other end: says its octets, then reads until there is no more. It must get the beginning of
 * what was sent, and nothing else. */
static void peer_turn(struct world *world)
{
    uint8_t buffer[65536];
    if (world->said < SAID) {
        ssize_t sent = send(world->peer, stage.octets, SAID - world->said, MSG_NOSIGNAL);
        world->said += sent > 0 ? (size_t)sent : 0;
    }
    ssize_t got = recv(world->peer, buffer, sizeof buffer, 0);
    if (got > 0) {
        size_t length = (size_t)got;
        if (world->got + length > FILE_OCTETS ||
            memcmp(buffer, stage.octets + world->got, length) != 0) {
            world->is_wrong = true;
        }
        world->got += length;
    } else if (got == 0) {
        (void)shutdown(world->peer, SHUT_RDWR);
    }
}

static void talk(struct world *world)
{
    int pair[2];
    struct address address = {.length = sizeof(sa_family_t)};
    int code = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair);
    assert(code == 0);
    address.any.sa_family = AF_UNIX;
    world->peer = pair[1];
    SHIM_DO(conn_init(&world->conn, &world->host, pair[0], LOOP_RECEIVE_STREAM, &events, &address,
                      &address));
    SHIM_DO(conn_start(&world->conn));
    for (unsigned i = 0; i < TURNS_MAX && !world->closed; i++) {
        peer_turn(world);
        SHIM_DO(loop_turn(world->loop, world->closed ? 0 : 1));
        if (i == TURNS_MAX / 2) {
            SHIM_DO(conn_abort(&world->conn, STATUS_TIMEOUT));
        }
    }
    peer_turn(world);
    for (size_t before = SIZE_MAX; before != world->got;) {
        before = world->got;
        peer_turn(world);
    }
    (void)close(world->peer);
}

static void run_conn(struct trial *trial, enum loop_kind kind)
{
    struct loop_config config = {
        .kind = kind, .connections_max = 64, .stream_buffers = 2, .bulk_buffers = 2};
    struct world *world = calloc(1, sizeof *world);
    assert(world != NULL);
    world->trial = trial;
    enum status status = SHIM_IN(loop_create(&config, &world->loop, NULL));
    if (status == STATUS_OK) {
        SHIM_DO(conn_host_init(&world->host, world->loop));
        talk(world);
        trial->struck = shim_struck();
        if (!world->closed) {
            faults_complain(trial, "the connection does not end");
        }
        if (world->is_wrong || (trial->strict && world->got != FILE_OCTETS)) {
            faults_complain(trial, "the peer got something else");
        }
        if (world->heard == SAID && world->releases != 2) {
            faults_complain(trial, "what was sent was not released");
        }
        SHIM_DO(conn_host_deinit(&world->host));
        SHIM_DO(loop_destroy(&world->loop));
    } else if (trial->strict) {
        faults_complain(trial, "no loop");
    }
    free(world);
}

void faults_run_epoll(struct trial *trial)
{
    run_conn(trial, LOOP_EPOLL);
}

void faults_run_uring(struct trial *trial)
{
    static int is_refused = -1;
    if (is_refused < 0) {
        is_refused = loop_probe_uring(NULL) != STATUS_OK;
    }
    if (is_refused == 0) {
        run_conn(trial, LOOP_IO_URING);
    }
}

/* --- a listener --- */

struct gate {
    struct listener listener;
    struct loop *loop;
    int accepted;
    bool stopped;
};

static void on_connection(struct listener *listener, int fd, const struct address *peer,
                          const struct address *local)
{
    struct gate *gate = listener->owner;
    gate->accepted++;
    (void)close(fd);
}

static void on_stopped(struct listener *listener)
{
    ((struct gate *)listener->owner)->stopped = true;
}

static void knock(struct gate *gate, const struct address *bound, struct trial *trial)
{
    int client = socket(bound->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert(client >= 0);
    int code = connect(client, &bound->any, bound->length);
    for (unsigned i = 0; i < 400 && gate->accepted == 0 && (code == 0 || errno == EINPROGRESS);
         i++) {
        SHIM_DO(loop_turn(gate->loop, 1));
        code = 0;
    }
    if (trial->strict && gate->accepted != 1) {
        trial->struck = shim_struck();
        faults_complain(trial, "the connection was not accepted");
    }
    (void)close(client);
}

void faults_run_listen(struct trial *trial)
{
    struct gate gate = {0};
    struct loop_config loop_config = {.kind = LOOP_EPOLL};
    struct listen_config config = {.reuse_port = true};
    struct address bound;
    int fd = -1;
    enum status status = address_parse("127.0.0.1:0", &config.address);
    assert(status == STATUS_OK);
    if (SHIM_IN(loop_create(&loop_config, &gate.loop, NULL)) != STATUS_OK) {
        return;
    }
    status = SHIM_IN(listen_open(&config, &fd, &bound, NULL));
    if (status == STATUS_OK) {
        SHIM_DO(listener_init(&gate.listener, gate.loop, fd, &gate));
        gate.listener.on_connection = on_connection;
        gate.listener.on_stopped = on_stopped;
        SHIM_DO(listener_start(&gate.listener));
        if (bound.length > 0) { /* else it could not be asked for */
            knock(&gate, &bound, trial);
        }
        SHIM_DO(listener_stop(&gate.listener));
        for (unsigned i = 0; i < TURNS_MAX && !gate.stopped; i++) {
            SHIM_DO(loop_turn(gate.loop, 1));
        }
        if (!gate.stopped) {
            faults_complain(trial, "the listener does not stop");
        }
        (void)close(fd);
    } else if (trial->strict) {
        faults_complain(trial, "no listening socket");
    }
    SHIM_DO(loop_destroy(&gate.loop));
}
