/* SPDX-License-Identifier: Apache-2.0 */
/* What stands on the metrics page. Reads counters only; sums are over the workers. */
#include "auth/auth.h"
#include "io/log.h"
#include "server/lmtp.h"
#include "server/metrics.h"
#include "server/pop3.h"
#include "server/session.h"
#include "storage/store.h"
#include "storage/writer.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* The sum over the workers of the counter that stands `offset` octets into struct worker. */
static uint64_t sum_of(const struct metrics_source *source, size_t offset)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < source->worker_count; i++) {
        const char *base = (const char *)source->workers[i];
        sum += counter_read((const struct counter *)(const void *)(base + offset));
    }
    return sum;
}

#define SUM(source, member)     sum_of(source, offsetof(struct worker, counters.member))
#define SUM_OUT(source, member) sum_of(source, offsetof(struct worker, host.counters.member))

static void render_process(const struct metrics_source *source, struct prometheus *page)
{
    struct timespec now;
    struct rusage usage;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
    int64_t now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    prometheus_family(page, "build_info", "gauge", "Version of the running program, always 1.");
    prometheus_number(page, "build_info", "version=\"" RESTANTE_VERSION "\"", 1);
    prometheus_family(page, "uptime_seconds", "gauge", "Seconds since the program started.");
    prometheus_scaled(page, "uptime_seconds", "",
                      now_ms > source->started_ms ? (uint64_t)(now_ms - source->started_ms) : 0,
                      1000);
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        prometheus_family(page, "process_cpu_seconds_total", "counter",
                          "Processor time used, by mode.");
        prometheus_scaled(
            page, "process_cpu_seconds_total", "mode=\"user\"",
            (uint64_t)usage.ru_utime.tv_sec * 1000000 + (uint64_t)usage.ru_utime.tv_usec, 1000000);
        prometheus_scaled(
            page, "process_cpu_seconds_total", "mode=\"system\"",
            (uint64_t)usage.ru_stime.tv_sec * 1000000 + (uint64_t)usage.ru_stime.tv_usec, 1000000);
    }
    unsigned long pages = 0;
    FILE *memory = fopen("/proc/self/statm", "re");
    if (memory != NULL) {
        if (fscanf(memory, "%*u %lu", &pages) == 1) {
            prometheus_gauge(page, "process_resident_memory_bytes", "Memory in use.",
                             pages * (uint64_t)sysconf(_SC_PAGESIZE));
        }
        (void)fclose(memory); /* it was only read */
    }
    DIR *descriptors = opendir("/proc/self/fd");
    if (descriptors != NULL) {
        uint64_t count = 0;
        while (readdir(descriptors) != NULL) {
            count++;
        }
        (void)closedir(descriptors); /* it was only read */
        prometheus_gauge(page, "process_open_fds", "Open file descriptors.",
                         count - 3); /* without ".", ".." and this one */
    }
}

static void render_loop(const struct metrics_source *source, struct prometheus *page)
{
    uint64_t turns = 0, starved = 0, overflows = 0, stale = 0;
    for (unsigned i = 0; i < source->worker_count; i++) {
        const struct loop_counters *counters = loop_counters(source->workers[i]->loop);
        turns += counter_read(&counters->turns);
        starved += counter_read(&counters->buffers_starved);
        overflows += counter_read(&counters->overflows);
        stale += counter_read(&counters->stale_completions);
    }
    const char *name = loop_backend_name(source->workers[0]->loop);
    const char *const names[] = {"io_uring", "epoll"};
    prometheus_family(page, "io_backend", "gauge", "1 for the I/O back end that runs.");
    for (unsigned i = 0; i < 2; i++) {
        char label[32];
        (void)snprintf(label, sizeof label, "backend=\"%s\"", names[i]);
        prometheus_number(page, "io_backend", label, strcmp(name, names[i]) == 0);
    }
    prometheus_gauge(page, "io_backend_fallback",
                     "1 when io_uring was refused and epoll took its place.",
                     source->workers[0]->io_error.status != STATUS_OK);
    prometheus_gauge(page, "workers", "Worker threads.", source->worker_count);
    prometheus_counter(page, "loop_turns_total", "Turns of the workers' loops.", turns);
    prometheus_counter(page, "receive_buffers_starved_total",
                       "Receives that found no buffer (ENOBUFS).", starved);
    prometheus_counter(page, "completion_queue_overflows_total",
                       "Completion queue overflows the kernel reported.", overflows);
    prometheus_counter(page, "stale_completions_total",
                       "Completions for operations that no longer exist; must stay 0.", stale);
    prometheus_counter(page, "log_lines_dropped_total", "Log lines the queue had no room for.",
                       log_dropped());
}

static void render_connections(const struct metrics_source *source, struct prometheus *page)
{
    prometheus_family(page, "sessions", "gauge", "Open sessions, by protocol.");
    prometheus_number(page, "sessions", "protocol=\"pop3\"", SUM(source, sessions_pop3));
    prometheus_number(page, "sessions", "protocol=\"lmtp\"", SUM(source, sessions_lmtp));
    prometheus_family(page, "connections_total", "counter", "Connections, by what became of them.");
    prometheus_number(page, "connections_total", "result=\"accepted\"",
                      SUM(source, connections_accepted));
    prometheus_number(page, "connections_total", "result=\"refused\"",
                      SUM(source, connections_refused));
    prometheus_family(page, "worker_connections_total", "counter",
                      "Connections accepted, by worker: shows how evenly they fall.");
    for (unsigned i = 0; i < source->worker_count; i++) {
        char label[32];
        (void)snprintf(label, sizeof label, "worker=\"%u\"", i);
        prometheus_number(page, "worker_connections_total", label,
                          counter_read(&source->workers[i]->counters.connections_accepted));
    }
    prometheus_counter(page, "received_bytes_total", "Octets received from clients.",
                       SUM_OUT(source, octets_in));
    prometheus_family(page, "sent_bytes_total", "counter", "Octets sent to clients, by path.");
    prometheus_number(page, "sent_bytes_total", "path=\"copy\"", SUM_OUT(source, octets_copied));
    prometheus_number(page, "sent_bytes_total", "path=\"sendfile\"",
                      SUM_OUT(source, octets_sendfile));
    prometheus_number(page, "sent_bytes_total", "path=\"read\"", SUM_OUT(source, octets_read));
}

static void render_sandbox(const struct metrics_source *source, struct prometheus *page)
{
    const struct sandbox *sandbox = source->sandbox;
    if (sandbox == NULL) {
        return;
    }
    prometheus_family(page, "sandbox", "gauge", "1 for each part of the sandbox in force.");
    prometheus_number(page, "sandbox", "part=\"privileges\"", sandbox->privileges);
    prometheus_number(page, "sandbox", "part=\"landlock\"", sandbox->landlock > 0);
    prometheus_number(page, "sandbox", "part=\"seccomp\"", sandbox->seccomp);
}

static void render_tls(const struct metrics_source *source, struct prometheus *page)
{
    uint64_t kernel = SUM_OUT(source, tls_kernel);
    uint64_t full = SUM_OUT(source, tls_full), resumed = SUM_OUT(source, tls_resumed);
    prometheus_family(page, "tls_handshakes_total", "counter",
                      "TLS handshakes that ended well, by kind.");
    prometheus_number(page, "tls_handshakes_total", "kind=\"full\"", full);
    prometheus_number(page, "tls_handshakes_total", "kind=\"resumed\"", resumed);
    prometheus_family(page, "tls_handshake_failures_total", "counter",
                      "TLS handshakes that failed, by what was the matter.");
    for (int i = TLS_FAILURE_NONE + 1; i < TLS_FAILURE_COUNT; i++) {
        char label[64];
        (void)snprintf(label, sizeof label, "reason=\"%s\"", tls_failure_name((enum tls_failure)i));
        prometheus_number(page, "tls_handshake_failures_total", label,
                          sum_of(source, offsetof(struct worker, host.counters.tls_failed) +
                                             (size_t)i * sizeof(struct counter)));
    }
    prometheus_family(page, "tls_connections_total", "counter",
                      "TLS connections, by who encrypts what is sent.");
    prometheus_number(page, "tls_connections_total", "path=\"user\"", full + resumed - kernel);
    prometheus_number(page, "tls_connections_total", "path=\"kernel\"", kernel);
    int64_t expires_s =
        source->certificates_expire_s != NULL ? atomic_load(source->certificates_expire_s) : 0;
    if (expires_s > 0) {
        prometheus_gauge(page, "tls_certificate_expiry_timestamp_seconds",
                         "When the first of the certificates ends, UNIX time.",
                         (uint64_t)expires_s);
    }
}

static void render_command(const struct metrics_source *source, struct prometheus *page,
                           const char *protocol, const char *verb, unsigned counter, bool ok)
{
    char label[96];
    (void)snprintf(label, sizeof label, "protocol=\"%s\",verb=\"%s\",result=\"%s\"", protocol, verb,
                   ok ? "ok" : "failed");
    size_t offset = ok ? offsetof(struct worker, counters.commands_ok)
                       : offsetof(struct worker, counters.commands_failed);
    prometheus_number(page, "commands_total", label,
                      sum_of(source, offset + counter * sizeof(struct counter)));
}

static void render_commands(const struct metrics_source *source, struct prometheus *page)
{
    const struct session_protocol *const protocols[] = {&pop3_protocol, &lmtp_protocol};
    prometheus_family(page, "commands_total", "counter",
                      "Commands, by verb and result; unknown: lines without a verb of ours.");
    for (unsigned p = 0; p < 2; p++) {
        const struct session_protocol *protocol = protocols[p];
        for (size_t i = 0; i < protocol->command_count; i++) {
            const struct command *row = &protocol->commands[i];
            render_command(source, page, protocol->name, row->verb, row->counter, true);
            render_command(source, page, protocol->name, row->verb, row->counter, false);
        }
        render_command(source, page, protocol->name, "unknown", protocol->unknown_counter, false);
    }
}

/* A histogram of the workers' counters, `offset` octets into struct worker. */
static void render_worker_histogram(const struct metrics_source *source, struct prometheus *page,
                                    const char *name, const char *help, size_t offset)
{
    struct prometheus_histogram sum = {.sum = 0};
    for (unsigned i = 0; i < source->worker_count; i++) {
        const char *base = (const char *)source->workers[i];
        prometheus_histogram_add(&sum, (const struct histogram *)(const void *)(base + offset));
    }
    prometheus_histogram(page, name, help, &sum, 4, 1000000);
}

static void render_logins(const struct metrics_source *source, struct prometheus *page)
{
    prometheus_family(page, "logins_total", "counter", "Login attempts, by result.");
    for (int i = AUTH_OK; i < AUTH_VERDICTS; i++) {
        char label[64];
        (void)snprintf(label, sizeof label, "result=\"%s\"",
                       auth_verdict_name((enum auth_verdict)i));
        prometheus_number(page, "logins_total", label,
                          sum_of(source, offsetof(struct worker, counters.logins) +
                                             (size_t)i * sizeof(struct counter)));
    }
    prometheus_counter(page, "logins_in_use_total",
                       "Right passwords whose maildrop another session held.",
                       SUM(source, login_in_use));
    render_worker_histogram(source, page, "login_duration_seconds",
                            "From the password to the reply, held-back failures left out.",
                            offsetof(struct worker, counters.login_us));
    struct auth_numbers numbers;
    auth_numbers(source->auth, &numbers);
    prometheus_gauge(page, "accounts", "Accounts.", numbers.accounts);
    prometheus_gauge(page, "auth_cache_entries", "Credentials remembered.", numbers.cache_entries);
    prometheus_family(page, "auth_cache_lookups_total", "counter",
                      "Look-ups of remembered credentials, by result.");
    prometheus_number(page, "auth_cache_lookups_total", "result=\"hit\"", numbers.cache_hits);
    prometheus_number(page, "auth_cache_lookups_total", "result=\"negative_hit\"",
                      numbers.cache_negative_hits);
    prometheus_number(page, "auth_cache_lookups_total", "result=\"miss\"", numbers.cache_misses);
    prometheus_counter(page, "password_hashes_total", "Slow password verifications computed.",
                       numbers.hashes);
    prometheus_family(page, "password_hash_seconds_total", "counter",
                      "Time the hashing threads spent on them.");
    prometheus_scaled(page, "password_hash_seconds_total", "", numbers.hash_us_sum, 1000000);
    prometheus_gauge(page, "password_hash_queue", "Verifications that wait for a thread.",
                     numbers.hash_waiting);
    prometheus_counter(page, "password_hash_refused_total",
                       "Verifications refused because the queue was full.", numbers.hash_refused);
    prometheus_counter(page, "auth_delayed_replies_total", "Failed replies that were held back.",
                       numbers.delayed);
    prometheus_gauge(page, "auth_penalised_prefixes", "Source prefixes whose failures are delayed.",
                     numbers.penalised_prefixes);
    prometheus_gauge(page, "auth_penalised_accounts",
                     "Accounts whose failures are delayed, wherever they come from.",
                     numbers.penalised_accounts);
    prometheus_gauge(page, "auth_databases_down", "User databases that do not answer.",
                     numbers.databases_down);
    prometheus_counter(page, "auth_stale_logins_total",
                       "Logins on a remembered credential while the database was down.",
                       numbers.stale);
    prometheus_counter(page, "auth_master_logins_total", "Logins of masters for somebody else.",
                       numbers.master_logins);
}

static void render_caps(const struct metrics_source *source, struct prometheus *page)
{
    static const char *const kinds[CAPS_KINDS] = {
        [CAPS_PREFIX] = "cap=\"prefix\"",
        [CAPS_USER] = "cap=\"user\"",
        [CAPS_USER_PREFIX] = "cap=\"user_prefix\"",
    };
    struct caps_numbers numbers;
    if (source->caps == NULL) {
        return;
    }
    caps_numbers(source->caps, &numbers);
    prometheus_family(page, "capped", "gauge", "What is counted against each cap now.");
    for (int kind = 0; kind < CAPS_KINDS; kind++) {
        prometheus_number(page, "capped", kinds[kind], numbers.held[kind]);
    }
    prometheus_family(page, "cap_refusals_total", "counter",
                      "Connections and logins refused because there were too many.");
    for (int kind = 0; kind < CAPS_KINDS; kind++) {
        prometheus_number(page, "cap_refusals_total", kinds[kind], numbers.refused[kind]);
    }
    prometheus_counter(page, "cap_uncounted_total",
                       "Sessions that the table of counts had no room for.", numbers.uncounted);
}

static void render_mail(const struct metrics_source *source, struct prometheus *page)
{
    prometheus_counter(page, "messages_retrieved_total", "Messages sent by RETR.",
                       SUM(source, messages_retrieved));
    prometheus_counter(page, "retrieved_bytes_total", "Octets of messages sent by RETR.",
                       SUM(source, octets_retrieved));
    prometheus_counter(page, "messages_expunged_total", "Messages removed at QUIT.",
                       SUM(source, messages_expunged));
    prometheus_counter(page, "deliveries_total", "Messages made durable.", SUM(source, deliveries));
    prometheus_counter(page, "delivery_recipients_total", "Recipients of these messages.",
                       SUM(source, delivery_recipients));
    prometheus_counter(page, "delivery_bytes_total", "Octets of these messages.",
                       SUM(source, delivery_octets));
    prometheus_counter(page, "delivery_failures_total", "Messages that were not delivered.",
                       SUM(source, delivery_failures));
    prometheus_counter(page, "bare_lf_messages_total", "Messages that came with bare line feeds.",
                       SUM(source, bare_lf_messages));
    render_worker_histogram(source, page, "delivery_duration_seconds",
                            "From the end of the message to the reply.",
                            offsetof(struct worker, counters.delivery_us));
}

static void render_writer(const struct metrics_source *source, struct prometheus *page)
{
    const struct writer_counters *writer = store_writer_counters(source->store);
    struct prometheus_histogram records = {.sum = 0}, octets = {.sum = 0}, sync = {.sum = 0},
                                group = {.sum = 0};
    prometheus_histogram_add(&records, &writer->group_records);
    prometheus_histogram_add(&octets, &writer->group_octets);
    prometheus_histogram_add(&sync, &writer->sync_us);
    prometheus_histogram_add(&group, &writer->group_us);
    prometheus_histogram(page, "commit_batch_records", "Records that shared one sync.", &records, 0,
                         1);
    prometheus_histogram(page, "commit_batch_bytes", "Octets that shared one sync.", &octets, 8, 1);
    prometheus_histogram(page, "commit_sync_duration_seconds", "Time of one fdatasync.", &sync, 4,
                         1000000);
    prometheus_histogram(page, "commit_duration_seconds", "From taking the queue to the answers.",
                         &group, 4, 1000000);
    prometheus_counter(page, "commit_records_total", "Records appended to the log.",
                       counter_read(&writer->records));
    prometheus_counter(page, "commit_bytes_total", "Octets appended to the log.",
                       counter_read(&writer->octets));
    prometheus_counter(page, "commit_failures_total", "Groups that could not be made durable.",
                       counter_read(&writer->failures));
}

static void render_space(const struct store_numbers *numbers, struct prometheus *page)
{
    prometheus_counter(page, "compacted_bytes_total", "Octets copied by compaction.",
                       numbers->copied_octets);
    prometheus_counter(page, "reclaimed_bytes_total", "Octets of files that were unlinked.",
                       numbers->reclaimed_octets);
    prometheus_counter(page, "reclaimed_segments_total", "Segments among them.",
                       numbers->reclaimed_segments);
    prometheus_counter(page, "reclaimed_blobs_total", "Large messages among them.",
                       numbers->reclaimed_blobs);
    prometheus_gauge(page, "blobs_waiting", "Large messages that older sessions hold.",
                     numbers->waiting_blobs);
    prometheus_gauge(page, "segments_left", "Segments that cannot be compacted: damaged.",
                     numbers->left_segments);
    prometheus_gauge(page, "compaction_stopped", "1 after a failure: until the next start.",
                     numbers->compact_stopped);
    prometheus_family(page, "reclaimed_timestamp_seconds", "gauge", "When last, UNIX time.");
    prometheus_scaled(page, "reclaimed_timestamp_seconds", "", (uint64_t)numbers->reclaimed_ms,
                      1000);
}

static void render_store(const struct metrics_source *source, struct prometheus *page)
{
    struct store_numbers numbers;
    store_numbers(source->store, &numbers);
    prometheus_gauge(page, "maildrops", "Maildrops, as of the last checkpoint.", numbers.maildrops);
    prometheus_gauge(page, "stored_messages", "Messages, as of the last checkpoint.",
                     numbers.messages);
    prometheus_gauge(page, "stored_bytes", "Their octets.", numbers.octets);
    prometheus_gauge(page, "log_segments", "Segments of the log.", numbers.segments);
    prometheus_gauge(page, "log_bytes", "Octets of the log.", numbers.log_octets);
    prometheus_gauge(page, "log_needed_bytes", "Part of it that is still needed, by estimate.",
                     numbers.needed_octets);
    prometheus_gauge(page, "delta_events", "Events held in the delta.", numbers.delta_events);
    prometheus_gauge(page, "delta_bytes", "Memory of the delta.", numbers.delta_octets);
    prometheus_gauge(page, "checkpoint_lag_events", "Published events not yet in the index.",
                     numbers.checkpoint_lag_events);
    prometheus_family(page, "checkpoint_lag_seconds", "gauge", "Age of the oldest of them.");
    prometheus_scaled(page, "checkpoint_lag_seconds", "", numbers.checkpoint_lag_ms, 1000);
    prometheus_counter(page, "checkpoints_total", "Checkpoints done.", numbers.checkpoints);
    prometheus_family(page, "checkpoint_seconds_total", "counter", "Time spent on them.");
    prometheus_scaled(page, "checkpoint_seconds_total", "", numbers.checkpoint_us_sum, 1000000);
    prometheus_gauge(page, "index_map_bytes", "Size limit of the index (LMDB map).",
                     numbers.map_octets);
    prometheus_gauge(page, "index_map_used_bytes", "Part of it in use: the size of the file.",
                     numbers.map_used_octets);
    prometheus_gauge(page, "index_map_free_bytes", "Part of that which is free to be used again.",
                     numbers.map_free_octets);
    prometheus_gauge(page, "store_quarantined_places",
                     "Damaged places of the log that recovery went round.", numbers.quarantined);
    prometheus_counter(page, "scrubbed_bytes_total", "Octets of messages the scrubber verified.",
                       numbers.scrub_octets);
    prometheus_counter(page, "scrubbed_messages_total", "Messages the scrubber verified.",
                       numbers.scrub_messages);
    prometheus_counter(page, "scrub_passes_total", "Times it came to the end of the store.",
                       numbers.scrub_passes);
    prometheus_gauge(page, "damaged_messages", "Messages that are known to be damaged.",
                     numbers.damaged);
    prometheus_gauge(page, "index_damaged", "1 when the scrubber found a damaged page.",
                     numbers.index_damaged);
    render_space(&numbers, page);
    prometheus_gauge(page, "store_read_only", "1 after a failed sync: no writes until restart.",
                     numbers.read_only);
    prometheus_gauge(page, "store_space_low", "1 when new mail is refused for lack of space.",
                     numbers.space_low);
}

void metrics_render(const struct metrics_source *source, struct prometheus *page)
{
    render_process(source, page);
    if (!source->draining) {
        render_loop(source, page);
    }
    render_connections(source, page);
    render_sandbox(source, page);
    render_tls(source, page);
    render_commands(source, page);
    render_logins(source, page);
    render_caps(source, page);
    render_mail(source, page);
    render_writer(source, page);
    render_store(source, page);
}
