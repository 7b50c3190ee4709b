/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/fetch.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

/* What has arrived. */
struct body {
    char *text;
    size_t length, size_max;
    bool is_too_big;
};

enum status fetch_start(void)
{
    /* Once in a process counts; the library keeps count itself. */
    bool started = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    const curl_version_info_data *version = started ? curl_version_info(CURLVERSION_NOW) : NULL;
    return version != NULL && (version->features & CURL_VERSION_SSL) != 0 ? STATUS_OK
                                                                          : STATUS_UNSUPPORTED;
}

bool fetch_is_allowed(const char *url)
{
    static const char *const local[] = {"http://127.0.0.1", "http://[::1]", "http://localhost"};
    if (strncmp(url, "https://", 8) == 0) {
        return url[8] != '\0';
    }
    for (size_t i = 0; i < sizeof local / sizeof local[0]; i++) {
        size_t length = strlen(local[i]);
        if (strncmp(url, local[i], length) == 0 && (url[length] == ':' || url[length] == '/')) {
            return true;
        }
    }
    return false;
}

static size_t on_data(char *data, size_t size, size_t count, void *owner)
{
    struct body *body = owner;
    size_t length = size * count; /* size is 1 */
    if (length > body->size_max - body->length) {
        body->is_too_big = true;
        return 0;
    }
    char *text = realloc(body->text, body->length + length + 1);
    if (text == NULL) {
        return 0;
    }
    memcpy(text + body->length, data, length);
    body->text = text;
    body->length += length;
    body->text[body->length] = '\0';
    return length;
}

static int on_progress(void *owner, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                       curl_off_t up)
{
    const struct fetch_request *request = owner;
    /* relaxed: a request to give up, nothing else is read by it. */
    return atomic_load_explicit(request->is_over, memory_order_relaxed) ? 1 : 0;
}

static enum status code_status(CURLcode code, const struct body *body)
{
    switch (code) {
    case CURLE_OK:
        return body->text != NULL ? STATUS_OK : STATUS_IO;
    case CURLE_OPERATION_TIMEDOUT:
        return STATUS_TIMEOUT;
    case CURLE_ABORTED_BY_CALLBACK:
        return STATUS_CANCELLED;
    case CURLE_OUT_OF_MEMORY:
        return STATUS_NO_MEMORY;
    default:
        return body->is_too_big ? STATUS_TOO_BIG : STATUS_IO;
    }
}

/* Tells the library what is wanted. False: it does not know one of the options. */
static bool set_options(CURL *handle, const struct fetch_request *request, struct body *body)
{
    bool set = curl_easy_setopt(handle, CURLOPT_URL, request->url) == CURLE_OK;
    set &= curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "https,http") == CURLE_OK;
    set &= curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK;
    set &= curl_easy_setopt(handle, CURLOPT_FAILONERROR, 1L) == CURLE_OK;
    set &= curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
    set &= curl_easy_setopt(handle, CURLOPT_PROXY, "") == CURLE_OK; /* whatever the environment */
    set &= curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms) == CURLE_OK;
    set &= curl_easy_setopt(handle, CURLOPT_USERAGENT, "Restante") == CURLE_OK;
    set &= curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_data) == CURLE_OK;
    set &= curl_easy_setopt(handle, CURLOPT_WRITEDATA, body) == CURLE_OK;
    set &= curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L) == CURLE_OK;
    set &= curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, on_progress) == CURLE_OK;
    set &= curl_easy_setopt(handle, CURLOPT_XFERINFODATA, request) == CURLE_OK;
    if (request->ca_file != NULL) {
        set &= curl_easy_setopt(handle, CURLOPT_CAINFO, request->ca_file) == CURLE_OK;
    }
    return set;
}

enum status fetch_document(const struct fetch_request *request, char **out_text, size_t *out_length,
                           struct error *out_error)
{
    struct body body = {.size_max = request->size_max};
    CURL *handle = curl_easy_init();
    if (handle == NULL || !set_options(handle, request, &body)) {
        curl_easy_cleanup(handle);
        return error_set(out_error, STATUS_NO_MEMORY, 0, request->url, "preparing to fetch");
    }
    CURLcode code = curl_easy_perform(handle);
    enum status status = code_status(code, &body);
    curl_easy_cleanup(handle);
    if (status != STATUS_OK) {
        free(body.text);
        return error_set(out_error, status, 0, request->url, "fetching: %s",
                         code == CURLE_OK ? "the document is empty" : curl_easy_strerror(code));
    }
    *out_text = body.text;
    *out_length = body.length;
    return STATUS_OK;
}
