/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second POP3 load generator, which shares nothing with restante-bench: to hold figures against.
 * A closed loop on epoll, one thread, the C library. Sessions that stay are kept between slices,
 * and a slice ends when the last reply has come, so that whoever starts slices of several servers
 * in turn can read between them what each has cost a server. With --ahead a client sends several
 * commands in one piece and waits for all their replies before it sends the next ones.
 *
 * Prints one line of JSON, or one for each slice: with --slices, lines on standard input are
 * lengths in milliseconds. A server that says anything but +OK ends it with code 1.
 */
#include <argp.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 4096
#define PIECE_MAX       (256 * 1024) /* octets of one recv */
#define LINE_MAX_OCTETS 256          /* of a command */
#define AHEAD_MAX       256          /* commands in one piece: the server's socket takes them all */
#define WORK_MAX_OCTETS 20           /* of such a command */
#define TAIL_MAX        4            /* octets: the longest end of a reply is one longer */
#define SILENCE_MS      60000        /* then the server is taken for dead */

static const char end_of_line[] = "\r\n", end_of_text[] = "\r\n.\r\n";

enum workload { WORK_LOGIN, WORK_NOOP, WORK_RETR };

/* What a client waits for. */
enum step { STEP_NOTHING, STEP_GREETING, STEP_USER, STEP_PASS, STEP_WORK, STEP_QUIT };

struct client {
    int fd; /* -1: not connected */
    unsigned user;
    unsigned fetched; /* messages, of those in turn */
    enum step step;
    unsigned waited;     /* replies that are to come */
    bool begun;          /* something of the first of them has come */
    char tail[TAIL_MAX]; /* what came last of it */
    size_t tail_length;
};

static struct {
    unsigned port, connections, user_count, message, messages, ahead;
    enum workload workload;
    const char *users, *password;
    double seconds;
    bool slices;
} options = {.connections = 8,
             .user_count = 8,
             .message = 1,
             .messages = 1,
             .ahead = 1,
             .users = "load%u",
             .seconds = 5};

static struct client clients[CONNECTIONS_MAX];
static int epoll_fd;
static bool stopping;                 /* the slice is over: what ends does not begin again */
static unsigned busy;                 /* clients that wait for something */
static unsigned long long operations; /* of this slice */

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double own_cpu_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The user's name in the place of the first %u. */
static void name_user(unsigned user, char out[LINE_MAX_OCTETS])
{
    const char *mark = strstr(options.users, "%u");
    if (mark == NULL) {
        (void)snprintf(out, LINE_MAX_OCTETS, "%s",
                       options.users); /* the server refuses a cut one */
    } else {
        (void)snprintf(out, LINE_MAX_OCTETS, "%.*s%u%s", (int)(mark - options.users), options.users,
                       user, mark + 2);
    }
}

static void expect(struct client *client, enum step step, unsigned replies)
{
    client->step = step;
    client->waited = replies;
    client->begun = false;
    client->tail_length = 0;
}

static void transmit(struct client *client, const char *text, size_t length)
{
    if (send(client->fd, text, length, MSG_NOSIGNAL) != (ssize_t)length) {
        err(1, "cannot send %.*s", (int)(length < 200 ? length : 200), text);
    }
}

static void say(struct client *client, enum step step, const char *verb, const char *argument)
{
    char line[LINE_MAX_OCTETS + 16];
    int length =
        snprintf(line, sizeof line, "%s%s%s\r\n", verb, *argument == '\0' ? "" : " ", argument);
    if (length >= (int)sizeof line) {
        errx(1, "too long: %s %s", verb, argument);
    }
    transmit(client, line, (size_t)length);
    expect(client, step, 1);
}

/* The next operations of a session that stays, in one piece. */
static void work(struct client *client)
{
    char text[AHEAD_MAX * WORK_MAX_OCTETS], line[WORK_MAX_OCTETS + 1] = "NOOP\r\n";
    size_t length = 0;
    unsigned count = 0;
    do {
        if (options.workload == WORK_RETR) {
            (void)snprintf(line, sizeof line, "RETR %u\r\n", /* it fits: see parse */
                           options.message + client->fetched);
            client->fetched = (client->fetched + 1) % options.messages;
        }
        memcpy(text + length, line, strlen(line));
        length += strlen(line);
    } while (++count < options.ahead);
    transmit(client, text, length);
    expect(client, STEP_WORK, options.ahead);
}

static void connect_client(struct client *client)
{
    const int one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)options.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0 || setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 ||
        connect(client->fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, client->fd, &event) != 0) {
        err(1, "cannot connect to port %u", options.port);
    }
    expect(client, STEP_GREETING, 1);
}

/* The client's next operation, if there is to be one. */
static void begin(struct client *client)
{
    if (stopping) {
        client->step = STEP_NOTHING;
        busy--;
    } else if (client->fd < 0) {
        connect_client(client);
    } else {
        work(client);
    }
}

/* The server has closed: the end of a login session, of nothing else. */
static void on_end(struct client *client)
{
    if (client->step != STEP_QUIT || client->waited > 0) {
        errx(1, "the server closed the connection");
    }
    close(client->fd);
    client->fd = -1;
    client->user += options.connections;
    if (client->user > options.user_count) {
        client->user = (client->user - 1) % options.connections + 1;
    }
    operations++;
    begin(client);
}

/* All that was waited for has come. */
static void on_replies(struct client *client)
{
    char name[LINE_MAX_OCTETS];
    switch (client->step) {
    case STEP_GREETING:
        name_user(client->user, name);
        say(client, STEP_USER, "USER", name);
        break;
    case STEP_USER:
        say(client, STEP_PASS, "PASS", options.password);
        break;
    case STEP_PASS:
        if (options.workload == WORK_LOGIN) {
            say(client, STEP_WORK, "STAT", "");
        } else {
            begin(client);
        }
        break;
    case STEP_WORK:
        if (options.workload == WORK_LOGIN) {
            say(client, STEP_QUIT, "QUIT", "");
        } else {
            operations += options.ahead;
            begin(client);
        }
        break;
    default: /* STEP_QUIT: the connection's end is waited for */
        break;
    }
}

/* Where the first reply in text ends, behind `mark`; NULL: not in what has come. The last reply
 * that is waited for ends where the text does, so no more of it is read than that. */
static const char *reply_end(const char *text, const char *end, const char *mark, bool last)
{
    ptrdiff_t wanted = (ptrdiff_t)strlen(mark);
    const char *at = last ? end - 1 : text;
    while (at < end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        at++;
        if (at - text >= wanted && memcmp(at - wanted, mark, (size_t)wanted) == 0) {
            return at;
        }
    }
    return NULL;
}

/* What has come of the replies that are waited for. */
static void take(struct client *client, const char *text, const char *end)
{
    bool message = client->step == STEP_WORK && options.workload == WORK_RETR;
    while (client->waited > 0 && text < end) {
        if (!client->begun && *text != '+') {
            errx(1, "the server said %.*s", (int)(end - text < 200 ? end - text : 200), text);
        }
        client->begun = true;
        const char *behind =
            reply_end(text, end, message ? end_of_text : end_of_line, client->waited == 1);
        if (behind == NULL) {
            break;
        }
        text = behind;
        client->begun = false;
        client->waited--;
    }
    client->tail_length = end - text < TAIL_MAX ? (size_t)(end - text) : TAIL_MAX;
    memcpy(client->tail, end - client->tail_length, client->tail_length);
    if (client->waited == 0) {
        on_replies(client);
    }
}

static void on_readable(struct client *client)
{
    static char buffer[TAIL_MAX + PIECE_MAX];
    char *piece = buffer + TAIL_MAX;
    ssize_t got = recv(client->fd, piece, PIECE_MAX, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got < 0) {
        err(1, "cannot receive");
    }
    if (got == 0) {
        on_end(client);
        return;
    }
    if (client->waited == 0) {
        errx(1, "nobody asked for %.*s", (int)(got < 200 ? got : 200), piece);
    }
    memcpy(piece - client->tail_length, client->tail, client->tail_length);
    take(client, piece - client->tail_length, piece + got);
}

static void run_slice(double seconds)
{
    struct epoll_event events[256];
    double started_s = now_s(), cpu_s = own_cpu_s();
    operations = 0;
    stopping = false;
    busy = options.connections;
    for (unsigned index = 0; index < options.connections; index++) {
        begin(&clients[index]);
    }
    while (busy > 0) {
        int count = epoll_wait(epoll_fd, events, 256, SILENCE_MS);
        if (count == 0) {
            errx(1, "the server says nothing");
        }
        stopping = now_s() - started_s >= seconds;
        for (int index = 0; index < count; index++) {
            on_readable(events[index].data.ptr);
        }
    }
    printf("{\"operations\": %llu, \"seconds\": %.6f, \"generator_cpu_s\": %.6f}\n", operations,
           now_s() - started_s, own_cpu_s() - cpu_s);
    fflush(stdout);
}

static unsigned number(struct argp_state *state, const char *text, unsigned max)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || *end != '\0' || value < 1 || value > max) {
        argp_error(state, "not a number from 1 to %u: %s", max, text);
    }
    return (unsigned)value;
}

static enum workload workload_of(struct argp_state *state, const char *text)
{
    static const char *const names[] = {
        [WORK_LOGIN] = "login", [WORK_NOOP] = "noop", [WORK_RETR] = "retr"};
    for (unsigned index = 0; index < sizeof names / sizeof names[0]; index++) {
        if (strcmp(text, names[index]) == 0) {
            return (enum workload)index;
        }
    }
    argp_error(state, "no such workload: %s", text);
    return WORK_LOGIN;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    switch (key) {
    case 'P':
        options.port = number(state, argument, 65535);
        return 0;
    case 'w':
        options.workload = workload_of(state, argument);
        return 0;
    case 'c':
        options.connections = number(state, argument, CONNECTIONS_MAX);
        return 0;
    case 'u':
        options.users = argument;
        return 0;
    case 'n':
        options.user_count = number(state, argument, 1u << 30);
        return 0;
    case 'p':
        options.password = argument;
        return 0;
    case 'm':
        options.message = number(state, argument, 1u << 30);
        return 0;
    case 'M':
        options.messages = number(state, argument, 1u << 30);
        return 0;
    case 'a':
        options.ahead = number(state, argument, AHEAD_MAX);
        return 0;
    case 'd':
        options.seconds = strtod(argument, NULL);
        return 0;
    case 's':
        options.slices = true;
        return 0;
    case ARGP_KEY_END:
        if (options.port == 0 || options.password == NULL) {
            argp_error(state, "--port and --password are wanted");
        }
        if (options.ahead > 1 && options.workload == WORK_LOGIN) {
            argp_error(state, "a login session waits for each reply: --ahead is for noop and retr");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option table[] = {
    {"port", 'P', "N", 0, "of the server, on 127.0.0.1", 0},
    {"workload", 'w', "NAME", 0, "login (the default), noop or retr", 0},
    {"connections", 'c', "N", 0, "at once (8)", 0},
    {"users", 'u', "PATTERN", 0, "user names, with %u for the number (load%u)", 0},
    {"user-count", 'n', "N", 0, "how many users there are (8)", 0},
    {"password", 'p', "WORD", 0, "everybody's", 0},
    {"message", 'm', "N", 0, "which one RETR fetches (1)", 0},
    {"messages", 'M', "N", 0, "so many from that one on, in turn (1)", 0},
    {"ahead", 'a', "N", 0, "commands sent in one piece before their replies are waited for (1)", 0},
    {"seconds", 'd', "S", 0, "how long (5)", 0},
    {"slices", 's', 0, 0, "lengths in milliseconds come on standard input, a line each", 0},
    {0}};

int main(int argc, char **argv)
{
    static const struct argp argp = {
        .options = table, .parser = parse, .doc = "A POP3 load generator: a closed loop."};
    argp_parse(&argp, argc, argv, 0, NULL, NULL);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0) {
        err(1, "no epoll");
    }
    for (unsigned index = 0; index < options.connections; index++) {
        clients[index] = (struct client){.fd = -1, .user = index % options.user_count + 1};
    }
    char line[32];
    if (!options.slices) {
        run_slice(options.seconds);
    }
    while (options.slices && fgets(line, sizeof line, stdin) != NULL) {
        run_slice(strtod(line, NULL) / 1000);
    }
    return 0;
}
