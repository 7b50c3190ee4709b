/* SPDX-License-Identifier: Apache-2.0 */
#include "io/io_limits.h"
#include "io/mem.h"
#include "io/tls_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *tls_error_reason(void)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);
    ERR_clear_error();
    return reason == NULL ? "no reason given" : reason;
}

/* Reading */

/* The whole of a small file, terminated; wiped and freed by text_free. */
static enum status text_read(const char *path, char **out_text, struct error *out_error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat facts;
    if (fd < 0 || fstat(fd, &facts) != 0) {
        int errno_value = errno;
        if (fd >= 0) {
            (void)close(fd); /* read only */
        }
        return error_set(out_error, status_from_errno(errno_value), errno_value, path,
                         "a file for TLS cannot be opened");
    }
    enum status status = STATUS_OK;
    char *text = NULL;
    if (facts.st_size > TLS_FILE_MAX) {
        status = error_set(out_error, STATUS_TOO_BIG, 0, path, "a file for TLS is over %d octets",
                           TLS_FILE_MAX);
    } else if ((text = calloc(1, (size_t)facts.st_size + 1)) == NULL) {
        status = error_set(out_error, STATUS_NO_MEMORY, 0, path, "no memory for a file for TLS");
    } else if (pread(fd, text, (size_t)facts.st_size, 0) != facts.st_size) {
        status = error_set(out_error, STATUS_IO, errno, path, "a file for TLS cannot be read");
        free(text);
        text = NULL;
    }
    (void)close(fd); /* read only */
    if (status == STATUS_OK) {
        *out_text = text;
    }
    return status;
}

static void text_free(char *text)
{
    if (text != NULL) {
        mem_wipe(text, strlen(text));
        free(text);
    }
}

/* OpenSSL would ask at the terminal. */
static int no_password(char *buffer, int size, int writing, void *owner)
{
    return -1;
}

static enum status certificates_parse(const char *text, struct tls_identity *identity)
{
    BIO *bio = BIO_new_mem_buf(text, -1);
    identity->chain = sk_X509_new_null();
    if (bio == NULL || identity->chain == NULL) {
        BIO_free(bio);
        return STATUS_NO_MEMORY;
    }
    identity->certificate = PEM_read_bio_X509_AUX(bio, NULL, no_password, NULL);
    X509 *next = NULL;
    while (identity->certificate != NULL &&
           (next = PEM_read_bio_X509(bio, NULL, no_password, NULL)) != NULL) {
        if (sk_X509_num(identity->chain) >= TLS_CHAIN_MAX ||
            sk_X509_push(identity->chain, next) == 0) {
            X509_free(next);
            BIO_free(bio);
            return STATUS_TOO_BIG;
        }
    }
    BIO_free(bio);
    if (identity->certificate == NULL) {
        return STATUS_INVALID;
    }
    /* The end of the text is an error to OpenSSL, and the only one that is none to us. */
    bool ended = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (ended) {
        ERR_clear_error();
    }
    return ended ? STATUS_OK : STATUS_INVALID;
}

static enum status key_parse(const char *text, struct tls_identity *identity)
{
    BIO *bio = BIO_new_mem_buf(text, -1);
    if (bio == NULL) {
        return STATUS_NO_MEMORY;
    }
    identity->key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    BIO_free(bio);
    return identity->key == NULL ? STATUS_INVALID : STATUS_OK;
}

/* What `parse` makes of the text that is in memory, or in `file`. */
static enum status parse_either(enum status (*parse)(const char *text, struct tls_identity *into),
                                const char *pem, const char *file, const char *what,
                                struct tls_identity *identity, struct error *out_error)
{
    char *read_text = NULL;
    if (pem == NULL) {
        enum status status = text_read(file, &read_text, out_error);
        if (status != STATUS_OK) {
            return status;
        }
    }
    ERR_clear_error();
    enum status status = parse(pem == NULL ? read_text : pem, identity);
    text_free(read_text);
    if (status != STATUS_OK) {
        (void)error_set(out_error, status, 0, pem == NULL ? file : NULL,
                        "%s cannot be used: %s; it must be PEM, without a password", what,
                        tls_error_reason());
    }
    return status;
}

enum status tls_identity_read(const struct tls_pair *pair, struct tls_identity *out_identity,
                              struct error *out_error)
{
    memset(out_identity, 0, sizeof *out_identity);
    enum status status =
        parse_either(certificates_parse, pair->certificate_pem, pair->certificate_file,
                     "the certificate", out_identity, out_error);
    if (status == STATUS_OK) {
        status = parse_either(key_parse, pair->key_pem, pair->key_file, "the private key",
                              out_identity, out_error);
    }
    if (status == STATUS_OK &&
        X509_check_private_key(out_identity->certificate, out_identity->key) != 1) {
        ERR_clear_error();
        status = error_set(out_error, STATUS_INVALID, 0, pair->key_file,
                           "the private key does not belong to the certificate");
    }
    return status;
}

void tls_identity_deinit(struct tls_identity *identity)
{
    X509_free(identity->certificate);
    EVP_PKEY_free(identity->key);
    sk_X509_pop_free(identity->chain, X509_free);
    memset(identity, 0, sizeof *identity);
}

/* Names */

/* The text of `string`, in lower case, if it is printable ASCII of a name's length; else NULL. */
static char *name_copy(const ASN1_STRING *string)
{
    int length = ASN1_STRING_length(string);
    const unsigned char *data = ASN1_STRING_get0_data(string);
    if (length <= 0 || length > TLS_NAME_MAX) {
        return NULL;
    }
    char *name = malloc((size_t)length + 1);
    if (name == NULL) {
        return NULL;
    }
    for (int i = 0; i < length; i++) {
        if (data[i] <= ' ' || data[i] > '~') {
            free(name);
            return NULL;
        }
        name[i] = (char)(data[i] >= 'A' && data[i] <= 'Z' ? data[i] + ('a' - 'A') : data[i]);
    }
    name[length] = '\0';
    return name;
}

static char *common_name(const X509 *certificate)
{
    const X509_NAME *subject = X509_get_subject_name(certificate);
    int index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    return index < 0 ? NULL
                     : name_copy(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index)));
}

/* The entries of one kind among the certificate's alternative names, in order, until `on_name`
 * fails; *out_count is how many there were. */
static enum status each_alternative(const X509 *certificate, int kind,
                                    enum status (*on_name)(void *owner, const char *name),
                                    void *owner, size_t *out_count)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    enum status status = STATUS_OK;
    *out_count = 0;
    for (int i = 0; names != NULL && i < sk_GENERAL_NAME_num(names) && status == STATUS_OK; i++) {
        const GENERAL_NAME *entry = sk_GENERAL_NAME_value(names, i);
        char *name = entry->type == kind ? name_copy(entry->d.ia5) : NULL;
        if (name != NULL) {
            status = on_name(owner, name);
            free(name);
            ++*out_count;
        }
    }
    GENERAL_NAMES_free(names);
    return status;
}

enum status tls_certificate_names(const X509 *certificate,
                                  enum status (*on_name)(void *owner, const char *name),
                                  void *owner)
{
    size_t count;
    enum status status = each_alternative(certificate, GEN_DNS, on_name, owner, &count);
    if (status != STATUS_OK || count > 0) {
        return status;
    }
    char *name = common_name(certificate);
    if (name != NULL) {
        status = on_name(owner, name);
        free(name);
    }
    return status;
}

static enum status keep_first(void *owner, const char *name)
{
    char **first = owner;
    *first = strdup(name);
    return STATUS_EOF; /* no more of them */
}

char *tls_certificate_client_name(const X509 *certificate)
{
    char *name = NULL;
    size_t count;
    (void)each_alternative(certificate, GEN_EMAIL, keep_first, &name, &count); /* `name` says it */
    return name != NULL ? name : common_name(certificate);
}

int64_t tls_certificate_not_after_s(const X509 *certificate)
{
    struct tm when;
    if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &when) != 1) {
        return 0;
    }
    return (int64_t)timegm(&when);
}

/* Self-signed */

/* "DNS:mail.example.org,IP:127.0.0.1", allocated. */
static char *alternatives_text(const char *const *names, size_t name_count)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    if (stream == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < name_count; i++) {
        unsigned char address[sizeof(struct in6_addr)];
        bool is_address = inet_pton(AF_INET, names[i], address) == 1 ||
                          inet_pton(AF_INET6, names[i], address) == 1;
        (void)fprintf(stream, "%s%s:%s", i == 0 ? "" : ",", is_address ? "IP" : "DNS", names[i]);
    }
    if (fclose(stream) != 0) { /* the one place that tells of any failure of the stream */
        free(text);
        return NULL;
    }
    return text;
}

static bool extension_add(X509 *certificate, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool added = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return added;
}

static bool certificate_fill(X509 *certificate, EVP_PKEY *key, const char *name,
                             const char *alternatives, unsigned days)
{
    X509_NAME *subject = X509_get_subject_name(certificate);
    /* An hour back, for clients whose clock is a little behind. */
    return X509_set_version(certificate, X509_VERSION_3) == 1 &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), (uint64_t)time(NULL)) == 1 &&
           X509_gmtime_adj(X509_getm_notBefore(certificate), -3600) != NULL &&
           X509_time_adj_ex(X509_getm_notAfter(certificate), (int)days, 0, NULL) != NULL &&
           X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1,
                                      -1, 0) == 1 &&
           X509_set_issuer_name(certificate, subject) == 1 &&
           X509_set_pubkey(certificate, key) == 1 &&
           extension_add(certificate, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
           extension_add(certificate, NID_subject_alt_name, alternatives) &&
           X509_sign(certificate, key, EVP_sha256()) > 0;
}

/* What `bio` has been given, terminated, allocated. */
static char *bio_text(BIO *bio)
{
    char *data;
    long length = BIO_get_mem_data(bio, &data);
    return length <= 0 ? NULL : strndup(data, (size_t)length);
}

static enum status pem_write(X509 *certificate, EVP_PKEY *key, struct tls_pem *out_pem)
{
    BIO *certificate_bio = BIO_new(BIO_s_mem());
    BIO *key_bio = BIO_new(BIO_s_secmem());
    struct tls_pem pem = {NULL, NULL};
    if (certificate_bio != NULL && key_bio != NULL &&
        PEM_write_bio_X509(certificate_bio, certificate) == 1 &&
        PEM_write_bio_PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL) == 1) {
        pem.certificate = bio_text(certificate_bio);
        pem.key = bio_text(key_bio);
    }
    BIO_free(certificate_bio);
    BIO_free(key_bio);
    if (pem.certificate == NULL || pem.key == NULL) {
        tls_pem_free(&pem);
        return STATUS_NO_MEMORY;
    }
    *out_pem = pem;
    return STATUS_OK;
}

enum status tls_self_signed(const char *const *names, size_t name_count, unsigned days,
                            struct tls_pem *out_pem)
{
    if (name_count == 0) {
        return STATUS_INVALID;
    }
    enum status status = STATUS_NO_MEMORY;
    char *alternatives = alternatives_text(names, name_count);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    if (alternatives == NULL || key == NULL || certificate == NULL) {
        goto done;
    }
    status = STATUS_INVALID;
    if (certificate_fill(certificate, key, names[0], alternatives, days)) {
        status = pem_write(certificate, key, out_pem);
    }
done:
    ERR_clear_error();
    X509_free(certificate);
    EVP_PKEY_free(key);
    free(alternatives);
    return status;
}

void tls_pem_free(struct tls_pem *pem)
{
    free(pem->certificate);
    text_free(pem->key);
    pem->certificate = pem->key = NULL;
}
