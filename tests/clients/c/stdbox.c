/* See stdbox.h. First the job (text that grows), then the report (text that is read), then the process between them. */
#define _GNU_SOURCE
#include "stdbox.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Same numbers on every architecture; a C library may be older than the kernel. */
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4U
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U
#endif
#define WAIT_BY_PIDFD ((idtype_t)3)

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* stdbox refuses a job that is nested deeper, and writes no report that is. */
#define MAX_DEPTH 64

/* How long a stdbox that was told to stop may take beyond the job's grace_ms until it is killed. */
#define PATIENCE_MS 10000

const char *stdbox_error_text(stdbox_error error)
{
    switch (error) {
    case STDBOX_OK: return "There is a report.";
    case STDBOX_OUT_OF_MEMORY: return "Memory is exhausted.";
    case STDBOX_BAD_ARGUMENT: return "The job cannot be written: a pointer is null, a name is not UTF-8 or a raw value is not JSON.";
    case STDBOX_NOT_STARTED: return "The stdbox binary cannot be executed.";
    case STDBOX_SYSTEM_ERROR: return "A system call of the caller failed.";
    case STDBOX_NO_REPORT: return "stdbox ended without a report.";
    case STDBOX_BAD_REPORT: return "What stdbox wrote is not a report of version 1.";
    case STDBOX_TIMED_OUT: return "The job was ended because it took too long.";
    case STDBOX_CANCELLED: return "The job was cancelled.";
    }
    return "Unknown error.";
}

/* ---- UTF-8 ---- */

/* Length of the sequence at `at`, 0 if it is not one of RFC 3629. */
static size_t utf8_length(const unsigned char *at, const unsigned char *end)
{
    size_t left = (size_t)(end - at);
    size_t length = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : at[0] < 0xf5 ? 4 : 0;

    if (length == 0 || length > left)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    /* Overlong forms, surrogates, and what lies beyond U+10FFFF. */
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) || (at[0] == 0xf0 && at[1] < 0x90) ||
        (at[0] == 0xf4 && at[1] > 0x8f))
        return 0;
    return length;
}

static bool is_utf8(const void *data, size_t size)
{
    const unsigned char *at = data, *end = at + size;

    while (at < end) {
        size_t length = utf8_length(at, end);
        if (length == 0)
            return false;
        at += length;
    }
    return true;
}

/* ---- Reading JSON ---- */

/* `text` takes decoded strings. It is as large as the JSON: a string with its NUL is never longer than with its quotes. */
typedef struct {
    const unsigned char *at, *end;
    char *text;
    bool no_memory;
} reader;

static void skip_space(reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
        r->at++;
}

static bool next_is(reader *r, char c)
{
    skip_space(r);
    return r->at < r->end && *r->at == (unsigned char)c;
}

static bool take(reader *r, char c)
{
    if (!next_is(r, c))
        return false;
    r->at++;
    return true;
}

static bool take_word(reader *r, const char *word)
{
    size_t length = strlen(word);

    skip_space(r);
    if ((size_t)(r->end - r->at) < length || memcmp(r->at, word, length) != 0)
        return false;
    r->at += length;
    return true;
}

static bool take_hex4(reader *r, unsigned *value)
{
    *value = 0;
    for (int i = 0; i < 4; i++, r->at++) {
        if (r->at == r->end)
            return false;
        unsigned char c = *r->at;
        if (c >= '0' && c <= '9')
            *value = *value * 16 + (c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            *value = *value * 16 + ((c | 0x20) - 'a' + 10u);
        else
            return false;
    }
    return true;
}

/* Writes up to four bytes to `to`, if that is not null. */
static size_t put_utf8(char *to, unsigned code)
{
    unsigned char bytes[4];
    size_t size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

    for (size_t i = size; i-- > 1; code >>= 6)
        bytes[i] = (unsigned char)(0x80 | (code & 0x3f));
    bytes[0] = (unsigned char)(size == 1 ? code : (0xf00u >> size & 0xff) | code);
    if (to != NULL)
        memcpy(to, bytes, size);
    return size;
}

static bool take_escape(reader *r, unsigned *code)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    unsigned low;

    if (r->at == r->end)
        return false;
    unsigned char c = *r->at++;
    if (c != 'u') {
        const char *letter = c == 0 ? NULL : strchr(letters, c);
        if (letter == NULL)
            return false;
        *code = (unsigned char)meanings[letter - letters];
        return true;
    }
    if (!take_hex4(r, code) || (*code >= 0xdc00 && *code < 0xe000))
        return false;
    if (*code < 0xd800 || *code >= 0xdc00)
        return true;
    if (r->end - r->at < 2 || r->at[0] != '\\' || r->at[1] != 'u')
        return false;
    r->at += 2;
    if (!take_hex4(r, &low) || low < 0xdc00 || low >= 0xe000)
        return false;
    *code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);
    return true;
}

/* Without `text` the string is only checked. */
static bool read_string(reader *r, stdbox_bytes *string)
{
    char *begin = r->text;

    if (!take(r, '"'))
        return false;
    while (r->at < r->end && *r->at != '"') {
        if (*r->at == '\\') {
            unsigned code;
            r->at++;
            if (!take_escape(r, &code))
                return false;
            size_t size = put_utf8(r->text, code);
            if (r->text != NULL)
                r->text += size;
        } else {
            size_t length = utf8_length(r->at, r->end);
            if (length == 0 || *r->at < 0x20)
                return false;
            if (r->text != NULL) {
                memcpy(r->text, r->at, length);
                r->text += length;
            }
            r->at += length;
        }
    }
    if (!take(r, '"'))
        return false;
    if (r->text != NULL) {
        string->data = begin;
        string->size = (size_t)(r->text - begin);
        *r->text++ = 0;
    }
    return true;
}

static bool skip_digits(reader *r)
{
    const unsigned char *begin = r->at;

    while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
        r->at++;
    return r->at > begin;
}

static bool skip_number(reader *r)
{
    if (r->at < r->end && *r->at == '-')
        r->at++;
    if (r->at < r->end && *r->at == '0')
        r->at++;
    else if (!skip_digits(r))
        return false;
    if (r->at < r->end && *r->at == '.') {
        r->at++;
        if (!skip_digits(r))
            return false;
    }
    if (r->at < r->end && (*r->at | 0x20) == 'e') {
        r->at++;
        if (r->at < r->end && (*r->at == '+' || *r->at == '-'))
            r->at++;
        if (!skip_digits(r))
            return false;
    }
    return true;
}

static bool skip_value(reader *r, int depth)
{
    stdbox_bytes ignored;
    char *text = r->text;

    if (next_is(r, '"')) {
        bool good = read_string(r, &ignored);
        r->text = text;
        return good;
    }
    bool object = next_is(r, '{');
    if (object || next_is(r, '[')) {
        char close = object ? '}' : ']';
        if (depth == MAX_DEPTH)
            return false;
        r->at++;
        if (take(r, close))
            return true;
        do {
            if (object) {
                if (!read_string(r, &ignored) || !take(r, ':'))
                    return false;
                r->text = text;
            }
            if (!skip_value(r, depth + 1))
                return false;
        } while (take(r, ','));
        return take(r, close);
    }
    return take_word(r, "null") || take_word(r, "true") || take_word(r, "false") || skip_number(r);
}

/* Of the numbers of a report all are whole and none is negative. */
static bool read_count(reader *r, int64_t max, int64_t *value)
{
    skip_space(r);
    const unsigned char *begin = r->at;
    *value = 0;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9') {
        int digit = *r->at - '0';
        if (*value > (max - digit) / 10)
            return false;
        *value = *value * 10 + digit;
        r->at++;
    }
    if (r->at == begin || (*begin == '0' && r->at - begin > 1))
        return false;
    return r->at == r->end || (*r->at != '.' && (*r->at | 0x20) != 'e');
}

static int base64_digit(unsigned char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

/* In place, since bytes are shorter than their base64; `string` is in the reader's own text. */
static bool decode_base64(stdbox_bytes *string)
{
    char *to = (char *)string->data;
    const unsigned char *from = (const unsigned char *)string->data;
    size_t size = string->size, done = 0, padding = 0;
    unsigned bits = 0;

    if (size % 4 != 0)
        return false;
    while (padding < 2 && padding < size && from[size - 1 - padding] == '=')
        padding++;
    for (size_t i = 0; i < size - padding; i++) {
        int digit = base64_digit(from[i]);
        if (digit < 0)
            return false;
        bits = (bits << 6 | (unsigned)digit) & 0xffffff;
        if (i % 4 != 0)
            to[done++] = (char)(bits >> (6 - 2 * (i % 4)) & 0xff);
    }
    /* What is left of the last digit must be zero, or two texts would mean the same bytes. */
    if (padding != 0 && (bits & (padding == 1 ? 3u : 15u)) != 0)
        return false;
    to[done] = 0;
    string->size = done;
    return true;
}

/* ---- The report ---- */

typedef enum {
    VERSION,
    OUTCOME,
    LIMIT,
    EXIT_CODE,
    SIGNAL,
    ERRNO,
    TEXT,
    TEXT_OR_NULL,
    BASE64,
    PATH,
    PATH_OR_NULL,
    BYTES_OR_NULL,
    NUMBER,
    NUMBER_OR_NULL,
    FLAG,
    JOB_ERROR,
    USAGE,
    STREAM,
    RESULTS,
    RESULT_LIST,
    WARNINGS,
    DEGRADED
} field_kind;

typedef struct {
    const char *name;
    field_kind kind;
    size_t offset;
    bool optional;
} field;

/* Where the text of a captured stream goes before it is known to be text or base64. */
typedef struct {
    stdbox_bytes text, base64;
    int64_t written;
    bool truncated;
} stream_parts;

#define FIELD(type, json_name, member, kind) {json_name, kind, offsetof(type, member), false}

static const field report_fields[] = {
    {"version", VERSION, 0, false},
    FIELD(stdbox_report, "id", id, BYTES_OR_NULL),
    FIELD(stdbox_report, "outcome", outcome, OUTCOME),
    FIELD(stdbox_report, "exit_code", exit_code, EXIT_CODE),
    FIELD(stdbox_report, "signal", signal, SIGNAL),
    FIELD(stdbox_report, "limit", limit, LIMIT),
    FIELD(stdbox_report, "error", error, JOB_ERROR),
    FIELD(stdbox_report, "usage", usage, USAGE),
    FIELD(stdbox_report, "stdout", out, STREAM),
    FIELD(stdbox_report, "stderr", err, STREAM),
    {"results", RESULTS, 0, false},
    {"warnings", WARNINGS, 0, false},
    {"degraded", DEGRADED, 0, false},
};

static const field error_fields[] = {
    FIELD(stdbox_job_error, "code", code, TEXT),
    FIELD(stdbox_job_error, "stage", stage, TEXT),
    FIELD(stdbox_job_error, "operation", operation, TEXT_OR_NULL),
    FIELD(stdbox_job_error, "path", path, PATH_OR_NULL),
    FIELD(stdbox_job_error, "errno", errnum, ERRNO),
    FIELD(stdbox_job_error, "errno_name", errno_name, TEXT_OR_NULL),
    FIELD(stdbox_job_error, "message", message, TEXT),
    FIELD(stdbox_job_error, "hint", hint, TEXT_OR_NULL),
    FIELD(stdbox_job_error, "at", at, TEXT_OR_NULL),
};

#define USED(member, kind) FIELD(stdbox_usage, #member, member, kind)

static const field usage_fields[] = {
    USED(wall_ns, NUMBER),
    USED(cpu_user_ns, NUMBER),
    USED(cpu_system_ns, NUMBER),
    USED(max_rss_bytes, NUMBER),
    USED(minor_faults, NUMBER),
    USED(major_faults, NUMBER),
    USED(voluntary_switches, NUMBER),
    USED(involuntary_switches, NUMBER),
    USED(block_reads, NUMBER),
    USED(block_writes, NUMBER),
    USED(memory_peak_bytes, NUMBER_OR_NULL),
    USED(processes_peak, NUMBER_OR_NULL),
    USED(throttled_ns, NUMBER_OR_NULL),
    USED(io_read_bytes, NUMBER_OR_NULL),
    USED(io_write_bytes, NUMBER_OR_NULL),
    USED(scratch_bytes, NUMBER),
};

static const field stream_fields[] = {
    {"text", BYTES_OR_NULL, offsetof(stream_parts, text), true},
    {"base64", BASE64, offsetof(stream_parts, base64), true},
    FIELD(stream_parts, "bytes", written, NUMBER),
    FIELD(stream_parts, "truncated", truncated, FLAG),
};

static const field path_fields[] = {{"base64", BASE64, 0, false}};

static const field results_fields[] = {{"files", RESULT_LIST, 0, false}};

static const field result_fields[] = {
    FIELD(stdbox_result, "path", path, PATH),
    FIELD(stdbox_result, "bytes", bytes, NUMBER),
};

static const field notice_fields[] = {
    FIELD(stdbox_notice, "code", code, TEXT),
    FIELD(stdbox_notice, "path", path, PATH_OR_NULL),
    FIELD(stdbox_notice, "message", message, TEXT),
};

static const char *const outcome_names[] = {
    [STDBOX_EXITED] = "exited",
    [STDBOX_SIGNALED] = "signaled",
    [STDBOX_LIMIT_EXCEEDED] = "limit-exceeded",
    [STDBOX_JOB_CANCELLED] = "cancelled",
    [STDBOX_SETUP_FAILED] = "setup-failed",
    [STDBOX_INVALID_JOB] = "invalid-job",
    [STDBOX_VALID] = "valid",
};

static const char *const exceeded_names[] = {
    [STDBOX_LIMIT_WALL_TIME] = "wall-time",
    [STDBOX_LIMIT_CPU_TIME] = "cpu-time",
    [STDBOX_LIMIT_MEMORY] = "memory",
    [STDBOX_LIMIT_PROCESSES] = "processes",
    [STDBOX_LIMIT_OUTPUT] = "output",
};

/* The index of one of `names`, whose first is not used; 0 for none of them. */
static size_t read_name(reader *r, const char *const *names, size_t count)
{
    char *text = r->text;
    stdbox_bytes name;

    if (!read_string(r, &name))
        return 0;
    r->text = text;
    for (size_t i = 1; i < count; i++)
        if (strlen(names[i]) == name.size && memcmp(names[i], name.data, name.size) == 0)
            return i;
    return 0;
}

/* A C string: one with a NUL inside would be read as a shorter one. */
static bool as_c_string(const stdbox_bytes *bytes, const char **string)
{
    *string = bytes->data;
    return strlen(bytes->data) == bytes->size;
}

static bool read_member(reader *r, field_kind kind, void *into, stdbox_report *report);

/* Fields that are not in the list are skipped, so that a later stdbox may add some. */
static bool read_object(reader *r, const field *fields, size_t count, void *into, stdbox_report *report)
{
    uint32_t seen = 0;

    if (!take(r, '{'))
        return false;
    if (!take(r, '}')) {
        do {
            char *text = r->text;
            stdbox_bytes key;
            size_t i = 0;

            if (!read_string(r, &key) || !take(r, ':'))
                return false;
            while (i < count && (strlen(fields[i].name) != key.size || memcmp(fields[i].name, key.data, key.size) != 0))
                i++;
            r->text = text;
            if (i == count) {
                if (!skip_value(r, 1))
                    return false;
                continue;
            }
            if (seen & 1u << i)
                return false;
            seen |= 1u << i;
            if (!read_member(r, fields[i].kind, (char *)into + fields[i].offset, report))
                return false;
        } while (take(r, ','));
        if (!take(r, '}'))
            return false;
    }
    for (size_t i = 0; i < count; i++)
        if (!fields[i].optional && !(seen & 1u << i))
            return false;
    return true;
}

static bool read_path(reader *r, const char **path, stdbox_report *report)
{
    stdbox_bytes bytes = {NULL, 0};

    if (next_is(r, '{') ? !read_object(r, path_fields, COUNT(path_fields), &bytes, report) : !read_string(r, &bytes))
        return false;
    return as_c_string(&bytes, path);
}

static bool read_stream(reader *r, stdbox_captured *stream, stdbox_report *report)
{
    stream_parts parts = {{NULL, 0}, {NULL, 0}, 0, false};

    if (take_word(r, "null"))
        return true;
    if (!read_object(r, stream_fields, COUNT(stream_fields), &parts, report) ||
        (parts.text.data == NULL) == (parts.base64.data == NULL))
        return false;
    stream->data = parts.text.data != NULL ? parts.text.data : parts.base64.data;
    stream->size = parts.text.data != NULL ? parts.text.size : parts.base64.size;
    stream->written = parts.written;
    stream->truncated = parts.truncated;
    return true;
}

static bool read_list(reader *r, const field *fields, size_t count, size_t item_size, void **items, size_t *item_count,
                      stdbox_report *report)
{
    size_t room = 0;

    if (!take(r, '['))
        return false;
    if (take(r, ']'))
        return true;
    do {
        if (*item_count == room) {
            /* An item takes more of the JSON than of this, so the product cannot overflow. */
            room = room == 0 ? 8 : room * 2;
            void *larger = realloc(*items, room * item_size);
            if (larger == NULL) {
                r->no_memory = true;
                return false;
            }
            *items = larger;
        }
        char *item = (char *)*items + *item_count * item_size;
        memset(item, 0, item_size);
        if (!read_object(r, fields, count, item, report))
            return false;
        ++*item_count;
    } while (take(r, ','));
    return take(r, ']');
}

static bool read_notices(reader *r, stdbox_notice **notices, size_t *count, stdbox_report *report)
{
    void *items = NULL;
    bool good = read_list(r, notice_fields, COUNT(notice_fields), sizeof **notices, &items, count, report);

    *notices = items;
    return good;
}

static bool read_results(reader *r, stdbox_report *report)
{
    void *items = NULL;
    bool good =
        read_list(r, result_fields, COUNT(result_fields), sizeof *report->results, &items, &report->result_count, report);

    report->results = items;
    return good;
}

static bool read_small(reader *r, int64_t max, int null, int *value)
{
    int64_t number = null;

    if (!take_word(r, "null") && !read_count(r, max, &number))
        return false;
    *value = (int)number;
    return true;
}

static bool read_member(reader *r, field_kind kind, void *into, stdbox_report *report)
{
    stdbox_bytes bytes;
    int64_t number;
    size_t index;

    switch (kind) {
    case VERSION: return read_count(r, INT64_MAX, &number) && number == 1;
    case OUTCOME:
        index = read_name(r, outcome_names, COUNT(outcome_names));
        *(stdbox_outcome *)into = (stdbox_outcome)index;
        return index != 0;
    case LIMIT:
        if (take_word(r, "null"))
            return true;
        index = read_name(r, exceeded_names, COUNT(exceeded_names));
        *(stdbox_exceeded *)into = (stdbox_exceeded)index;
        return index != 0;
    case EXIT_CODE: return read_small(r, 255, -1, into);
    case SIGNAL: return read_small(r, 64, 0, into);
    case ERRNO: return read_small(r, 4095, 0, into);
    case TEXT_OR_NULL:
        if (take_word(r, "null"))
            return true;
        return read_string(r, &bytes) && as_c_string(&bytes, into);
    case TEXT: return read_string(r, &bytes) && as_c_string(&bytes, into);
    case PATH_OR_NULL: return take_word(r, "null") || read_path(r, into, report);
    case PATH: return read_path(r, into, report);
    case BYTES_OR_NULL: return take_word(r, "null") || read_string(r, into);
    case BASE64: return read_string(r, into) && decode_base64(into);
    case NUMBER_OR_NULL:
        *(int64_t *)into = -1;
        return take_word(r, "null") || read_count(r, INT64_MAX, into);
    case NUMBER: return read_count(r, INT64_MAX, into);
    case FLAG:
        *(bool *)into = take_word(r, "true");
        return *(bool *)into || take_word(r, "false");
    case JOB_ERROR: return take_word(r, "null") || read_object(r, error_fields, COUNT(error_fields), into, report);
    case USAGE: return read_object(r, usage_fields, COUNT(usage_fields), into, report);
    case STREAM: return read_stream(r, into, report);
    case RESULTS: return take_word(r, "null") || read_object(r, results_fields, COUNT(results_fields), into, report);
    case RESULT_LIST: return read_results(r, report);
    case WARNINGS: return read_notices(r, &report->warnings, &report->warning_count, report);
    case DEGRADED: return read_notices(r, &report->degraded, &report->degraded_count, report);
    }
    return false;
}

/* What the schema says about fields that depend on the outcome. */
static bool is_consistent(const stdbox_report *report)
{
    bool refused = report->outcome == STDBOX_SETUP_FAILED || report->outcome == STDBOX_INVALID_JOB;

    return (report->outcome == STDBOX_LIMIT_EXCEEDED) == (report->limit != STDBOX_NO_LIMIT) &&
           (report->outcome != STDBOX_EXITED || report->exit_code >= 0) &&
           (report->outcome != STDBOX_SIGNALED || report->signal != 0) && (!refused || report->error.code != NULL);
}

static void empty_report(stdbox_report *report)
{
    memset(report, 0, sizeof *report);
    report->exit_code = -1;
    report->wait_status = -1;
}

void stdbox_report_free(stdbox_report *report)
{
    if (report == NULL)
        return;
    free(report->results);
    free(report->warnings);
    free(report->degraded);
    free(report->text);
    free((char *)report->json);
    empty_report(report);
}

/* Takes over `json`, which is from malloc and has a byte more than `size`. */
static stdbox_error read_report(char *json, size_t size, stdbox_report *report)
{
    reader r = {(const unsigned char *)json, (const unsigned char *)json + size, NULL, false};
    int errnum = report->errnum, wait_status = report->wait_status;

    json[size] = 0;
    report->json = json;
    report->json_size = size;
    r.text = report->text = malloc(size + 1);
    if (r.text == NULL) {
        stdbox_report_free(report);
        return STDBOX_OUT_OF_MEMORY;
    }
    bool good = read_object(&r, report_fields, COUNT(report_fields), report, report) && is_consistent(report);
    skip_space(&r);
    if (good && r.at == r.end)
        return STDBOX_OK;
    /* Half of a report is none, lest somebody believe it. */
    stdbox_report_free(report);
    report->errnum = errnum;
    report->wait_status = wait_status;
    return r.no_memory ? STDBOX_OUT_OF_MEMORY : STDBOX_BAD_REPORT;
}

stdbox_error stdbox_report_read(const void *json, size_t size, stdbox_report *report)
{
    char *copy;

    empty_report(report);
    if (json == NULL)
        return STDBOX_BAD_ARGUMENT;
    copy = size == SIZE_MAX ? NULL : malloc(size + 1);
    if (copy == NULL)
        return STDBOX_OUT_OF_MEMORY;
    memcpy(copy, json, size);
    return read_report(copy, size, report);
}

/* ---- The job ---- */

typedef struct {
    char *data;
    size_t size, room;
} buffer;

/* Fields with one value of their own, in the order of `single_names`. */
typedef enum { ID, CWD, ROOT, NETWORK, TAKE_RESULTS, STDIN, STDOUT, STDERR, SINGLES } single;

static const char *const single_names[SINGLES] = {"id",      "cwd",   "root",   "network",
                                                  "results", "stdin", "stdout", "stderr"};

static const char *const limit_names[] = {
    [STDBOX_WALL_TIME_MS] = "wall_time_ms",
    [STDBOX_CPU_TIME_MS] = "cpu_time_ms",
    [STDBOX_MEMORY_BYTES] = "memory_bytes",
    [STDBOX_PROCESSES] = "processes",
    [STDBOX_OUTPUT_BYTES] = "output_bytes",
    [STDBOX_OPEN_FILES] = "open_files",
    [STDBOX_FILE_SIZE_BYTES] = "file_size_bytes",
    [STDBOX_STACK_BYTES] = "stack_bytes",
    [STDBOX_ADDRESS_SPACE_BYTES] = "address_space_bytes",
    [STDBOX_CORE_BYTES] = "core_bytes",
    [STDBOX_GRACE_MS] = "grace_ms",
};

static const char *const mode_names[] = {
    [STDBOX_HIDDEN] = "hidden",
    [STDBOX_READ_ONLY] = "read-only",
    [STDBOX_OVERLAY] = "overlay",
    [STDBOX_FULL_ACCESS] = "full-access",
};

struct stdbox_job {
    stdbox_error error; /* the first one */
    buffer argv, directories, env_set, env_unset, fds, raw;
    buffer singles[SINGLES];
    enum { INHERIT_DEFAULT, INHERIT, INHERIT_NOT } inherit;
    uint64_t limits[COUNT(limit_names)];
    bool limited[COUNT(limit_names)];
    int stream_fds[3]; /* -1: none */
    int *passed;
    size_t passed_count;
};

static void fail(stdbox_job *job, stdbox_error error)
{
    if (job->error == STDBOX_OK)
        job->error = error;
}

static void put(stdbox_job *job, buffer *b, const void *data, size_t size)
{
    if (b->room - b->size < size) {
        size_t room = b->room < 64 ? 64 : b->room;
        while (room - b->size < size && room <= SIZE_MAX / 2)
            room *= 2;
        char *larger = room - b->size < size ? NULL : realloc(b->data, room);
        if (larger == NULL) {
            fail(job, STDBOX_OUT_OF_MEMORY);
            return;
        }
        b->data = larger;
        b->room = room;
    }
    if (size > 0) {
        memcpy(b->data + b->size, data, size);
        b->size += size;
    }
}

static void put_text(stdbox_job *job, buffer *b, const char *text)
{
    put(job, b, text, strlen(text));
}

static void put_number(stdbox_job *job, buffer *b, uint64_t number)
{
    char digits[24];

    put(job, b, digits, (size_t)snprintf(digits, sizeof digits, "%llu", (unsigned long long)number));
}

/* `data` must be UTF-8. */
static void put_string(stdbox_job *job, buffer *b, const void *data, size_t size)
{
    const unsigned char *begin = data, *end = begin + size, *at;
    char escape[8];

    put(job, b, "\"", 1);
    for (at = begin; at < end; at++) {
        if (*at >= 0x20 && *at != '"' && *at != '\\')
            continue;
        put(job, b, begin, (size_t)(at - begin));
        put(job, b, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", *at));
        begin = at + 1;
    }
    put(job, b, begin, (size_t)(end - begin));
    put(job, b, "\"", 1);
}

static void put_base64(stdbox_job *job, buffer *b, const unsigned char *data, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    put(job, b, "{\"base64\":\"", 11);
    for (size_t i = 0; i < size; i += 3) {
        size_t part = size - i < 3 ? size - i : 3;
        unsigned bits = (unsigned)data[i] << 16 | (part > 1 ? (unsigned)data[i + 1] << 8 : 0) | (part > 2 ? data[i + 2] : 0u);
        char four[4] = {digits[bits >> 18], digits[bits >> 12 & 63], '=', '='};

        if (part > 1)
            four[2] = digits[bits >> 6 & 63];
        if (part > 2)
            four[3] = digits[bits & 63];
        put(job, b, four, 4);
    }
    put(job, b, "\"}", 2);
}

/* A path or argument. */
static void put_any(stdbox_job *job, buffer *b, const char *string)
{
    if (string == NULL) {
        fail(job, STDBOX_BAD_ARGUMENT);
        return;
    }
    size_t size = strlen(string);
    if (is_utf8(string, size))
        put_string(job, b, string, size);
    else
        put_base64(job, b, (const unsigned char *)string, size);
}

static void put_name(stdbox_job *job, buffer *b, const char *name)
{
    if (name == NULL || !is_utf8(name, strlen(name)))
        fail(job, STDBOX_BAD_ARGUMENT);
    else
        put_string(job, b, name, strlen(name));
}

static void put_comma(stdbox_job *job, buffer *b)
{
    if (b->size > 0)
        put(job, b, ",", 1);
}

/* A single value that is given again replaces the former one. */
static buffer *anew(stdbox_job *job, single which)
{
    job->singles[which].size = 0;
    if (which >= STDIN)
        job->stream_fds[which - STDIN] = -1;
    return &job->singles[which];
}

stdbox_job *stdbox_job_new(void)
{
    stdbox_job *job = calloc(1, sizeof *job);

    if (job != NULL)
        job->stream_fds[0] = job->stream_fds[1] = job->stream_fds[2] = -1;
    return job;
}

void stdbox_job_free(stdbox_job *job)
{
    if (job == NULL)
        return;
    for (size_t i = 0; i < SINGLES; i++)
        free(job->singles[i].data);
    free(job->argv.data);
    free(job->directories.data);
    free(job->env_set.data);
    free(job->env_unset.data);
    free(job->fds.data);
    free(job->raw.data);
    free(job->passed);
    free(job);
}

void stdbox_job_arg(stdbox_job *job, const char *argument)
{
    if (job == NULL)
        return;
    put_comma(job, &job->argv);
    put_any(job, &job->argv, argument);
}

void stdbox_job_args(stdbox_job *job, const char *const *arguments)
{
    if (job == NULL)
        return;
    if (arguments == NULL)
        fail(job, STDBOX_BAD_ARGUMENT);
    else
        for (; *arguments != NULL; arguments++)
            stdbox_job_arg(job, *arguments);
}

void stdbox_job_id(stdbox_job *job, const char *id)
{
    if (job != NULL)
        put_name(job, anew(job, ID), id);
}

void stdbox_job_cwd(stdbox_job *job, const char *directory)
{
    if (job != NULL)
        put_any(job, anew(job, CWD), directory);
}

void stdbox_job_root(stdbox_job *job, const char *directory)
{
    if (job != NULL)
        put_any(job, anew(job, ROOT), directory);
}

void stdbox_job_directory(stdbox_job *job, const char *path, stdbox_mode mode)
{
    if (job == NULL)
        return;
    if ((size_t)mode >= COUNT(mode_names)) {
        fail(job, STDBOX_BAD_ARGUMENT);
        return;
    }
    put_comma(job, &job->directories);
    put_text(job, &job->directories, "{\"path\":");
    put_any(job, &job->directories, path);
    put_text(job, &job->directories, ",\"mode\":\"");
    put_text(job, &job->directories, mode_names[mode]);
    put_text(job, &job->directories, "\"}");
}

void stdbox_job_limit(stdbox_job *job, stdbox_limit limit, uint64_t value)
{
    if (job == NULL)
        return;
    if ((size_t)limit >= COUNT(limit_names)) {
        fail(job, STDBOX_BAD_ARGUMENT);
        return;
    }
    job->limits[limit] = value;
    job->limited[limit] = true;
}

void stdbox_job_env_inherit(stdbox_job *job, bool inherit)
{
    if (job != NULL)
        job->inherit = inherit ? INHERIT : INHERIT_NOT;
}

void stdbox_job_env_set(stdbox_job *job, const char *name, const char *value)
{
    if (job == NULL)
        return;
    put_comma(job, &job->env_set);
    put_name(job, &job->env_set, name);
    put(job, &job->env_set, ":", 1);
    put_any(job, &job->env_set, value);
}

void stdbox_job_env_unset(stdbox_job *job, const char *name)
{
    if (job == NULL)
        return;
    put_comma(job, &job->env_unset);
    put_any(job, &job->env_unset, name);
}

void stdbox_job_network_host(stdbox_job *job)
{
    if (job != NULL)
        put_text(job, anew(job, NETWORK), "\"host\"");
}

void stdbox_job_results(stdbox_job *job, const char *directory, const char *const *patterns)
{
    if (job == NULL)
        return;
    buffer *b = anew(job, TAKE_RESULTS);
    put_text(job, b, "{\"directory\":");
    put_any(job, b, directory);
    if (patterns != NULL) {
        put_text(job, b, ",\"patterns\":[");
        for (size_t i = 0; patterns[i] != NULL; i++) {
            if (i > 0)
                put(job, b, ",", 1);
            put_any(job, b, patterns[i]);
        }
        put_text(job, b, "]");
    }
    put_text(job, b, "}");
}

void stdbox_job_stdin_bytes(stdbox_job *job, const void *data, size_t size)
{
    if (job == NULL)
        return;
    buffer *b = anew(job, STDIN);
    if (size == 0)
        data = "";
    if (data == NULL) {
        fail(job, STDBOX_BAD_ARGUMENT);
    } else if (is_utf8(data, size)) {
        put_text(job, b, "{\"text\":");
        put_string(job, b, data, size);
        put_text(job, b, "}");
    } else {
        put_base64(job, b, data, size);
    }
}

void stdbox_job_stdin_file(stdbox_job *job, const char *path)
{
    if (job == NULL)
        return;
    buffer *b = anew(job, STDIN);
    put_text(job, b, "{\"file\":");
    put_any(job, b, path);
    put_text(job, b, "}");
}

static void stream_fd(stdbox_job *job, single which, int fd)
{
    if (job == NULL)
        return;
    buffer *b = anew(job, which);
    if (fd < 0) {
        fail(job, STDBOX_BAD_ARGUMENT);
        return;
    }
    job->stream_fds[which - STDIN] = fd;
    put_text(job, b, "{\"fd\":");
    put_number(job, b, (uint64_t)fd);
    put_text(job, b, "}");
}

static single output(stdbox_stream stream)
{
    return stream == STDBOX_STDERR ? STDERR : STDOUT;
}

void stdbox_job_stdin_fd(stdbox_job *job, int fd)
{
    stream_fd(job, STDIN, fd);
}

void stdbox_job_output_fd(stdbox_job *job, stdbox_stream stream, int fd)
{
    stream_fd(job, output(stream), fd);
}

void stdbox_job_capture(stdbox_job *job, stdbox_stream stream, uint64_t max_bytes)
{
    if (job == NULL)
        return;
    buffer *b = anew(job, output(stream));
    put_text(job, b, "{\"capture\":{\"max_bytes\":");
    put_number(job, b, max_bytes);
    put_text(job, b, "}}");
}

void stdbox_job_output_file(stdbox_job *job, stdbox_stream stream, const char *path, bool append)
{
    if (job == NULL)
        return;
    buffer *b = anew(job, output(stream));
    put_text(job, b, "{\"file\":");
    put_any(job, b, path);
    put_text(job, b, append ? ",\"append\":true}" : "}");
}

void stdbox_job_output_null(stdbox_job *job, stdbox_stream stream)
{
    if (job != NULL)
        put_text(job, anew(job, output(stream)), "\"null\"");
}

void stdbox_job_merge_output(stdbox_job *job)
{
    if (job != NULL)
        put_text(job, anew(job, STDERR), "\"stdout\"");
}

void stdbox_job_pass_fd(stdbox_job *job, int fd)
{
    if (job == NULL)
        return;
    if (fd < 0) {
        fail(job, STDBOX_BAD_ARGUMENT);
        return;
    }
    int *more = realloc(job->passed, (job->passed_count + 1) * sizeof *more);
    if (more == NULL) {
        fail(job, STDBOX_OUT_OF_MEMORY);
        return;
    }
    job->passed = more;
    job->passed[job->passed_count++] = fd;
}

void stdbox_job_keep_fd(stdbox_job *job, int fd)
{
    if (job == NULL)
        return;
    stdbox_job_pass_fd(job, fd);
    put_comma(job, &job->fds);
    put_number(job, &job->fds, fd < 0 ? 0 : (uint64_t)fd);
}

void stdbox_job_raw(stdbox_job *job, const char *name, const char *json)
{
    if (job == NULL)
        return;
    if (json == NULL) {
        fail(job, STDBOX_BAD_ARGUMENT);
        return;
    }
    size_t size = strlen(json);
    reader r = {(const unsigned char *)json, (const unsigned char *)json + size, NULL, false};
    bool good = skip_value(&r, 1);
    skip_space(&r);
    /* A value that is not one could change the meaning of what stands around it. */
    if (!good || r.at != r.end) {
        fail(job, STDBOX_BAD_ARGUMENT);
        return;
    }
    put(job, &job->raw, ",", 1);
    put_name(job, &job->raw, name);
    put(job, &job->raw, ":", 1);
    put(job, &job->raw, json, size);
}

static void put_member(stdbox_job *job, buffer *b, const char *before, const buffer *value, const char *after)
{
    if (value->size == 0)
        return;
    put_text(job, b, before);
    put(job, b, value->data, value->size);
    put_text(job, b, after);
}

/* Writes the job into `b`; `scratch` is where a failure of that is kept, so that the job itself stays as it is. */
static void put_job(const stdbox_job *job, stdbox_job *scratch, buffer *b)
{
    const char *comma = "";

    put_text(scratch, b, "{\"argv\":[");
    put(scratch, b, job->argv.data, job->argv.size);
    put_text(scratch, b, "]");
    for (size_t i = 0; i < SINGLES; i++) {
        char before[16];
        snprintf(before, sizeof before, ",\"%s\":", single_names[i]);
        put_member(scratch, b, before, &job->singles[i], "");
    }
    put_member(scratch, b, ",\"directories\":[", &job->directories, "]");
    put_member(scratch, b, ",\"fds\":[", &job->fds, "]");
    if (job->inherit != INHERIT_DEFAULT || job->env_set.size > 0 || job->env_unset.size > 0) {
        put_text(scratch, b, job->inherit == INHERIT_NOT ? ",\"env\":{\"inherit\":false" : ",\"env\":{\"inherit\":true");
        put_member(scratch, b, ",\"set\":{", &job->env_set, "}");
        put_member(scratch, b, ",\"unset\":[", &job->env_unset, "]");
        put_text(scratch, b, "}");
    }
    put_text(scratch, b, ",\"limits\":{");
    for (size_t i = 0; i < COUNT(limit_names); i++) {
        if (!job->limited[i])
            continue;
        put_text(scratch, b, comma);
        put_name(scratch, b, limit_names[i]);
        put_text(scratch, b, ":");
        put_number(scratch, b, job->limits[i]);
        comma = ",";
    }
    put_text(scratch, b, "}");
    put(scratch, b, job->raw.data, job->raw.size);
    put_text(scratch, b, "}");
}

static stdbox_error write_job(const stdbox_job *job, buffer *b)
{
    stdbox_job scratch = {.error = STDBOX_OK};

    if (job == NULL)
        return STDBOX_OUT_OF_MEMORY;
    if (job->error != STDBOX_OK)
        return job->error;
    put_job(job, &scratch, b);
    return scratch.error;
}

char *stdbox_job_json(const stdbox_job *job, size_t *size)
{
    buffer b = {NULL, 0, 0};
    stdbox_job scratch = {.error = STDBOX_OK};

    if (write_job(job, &b) != STDBOX_OK || (put(&scratch, &b, "", 1), scratch.error != STDBOX_OK)) {
        free(b.data);
        return NULL;
    }
    if (size != NULL)
        *size = b.size - 1;
    return b.data;
}

/* ---- Cancelling ---- */

stdbox_error stdbox_canceller_open(stdbox_canceller *canceller)
{
    canceller->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return canceller->fd < 0 ? STDBOX_SYSTEM_ERROR : STDBOX_OK;
}

void stdbox_cancel(const stdbox_canceller *canceller)
{
    int saved = errno;
    uint64_t one = 1;
    ssize_t written = write(canceller->fd, &one, sizeof one);

    (void)written; /* a full counter is as readable as one of 1 */
    errno = saved;
}

void stdbox_canceller_close(stdbox_canceller *canceller)
{
    if (canceller->fd >= 0)
        close(canceller->fd);
    canceller->fd = -1;
}

/* ---- The process ---- */

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t after_ms(uint64_t start_ns, uint64_t ms)
{
    return ms > (UINT64_MAX - start_ns) / 1000000u ? UINT64_MAX : start_ns + ms * 1000000u;
}

/* Not one of the first three, which are the job's to inherit: a caller may have closed them. */
static int above_standard(int fd)
{
    if (fd < 0 || fd > 2)
        return fd;
    int higher = fcntl(fd, F_DUPFD_CLOEXEC, 3), saved = errno;
    close(fd);
    errno = saved;
    return higher;
}

/* A file in memory takes job and report whole: neither side ever waits for the other, and there is no broken pipe. */
static int memory_file(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_NOEXEC_SEAL);

    if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
        fd = memfd_create(name, MFD_CLOEXEC);
    return above_standard(fd);
}

static bool write_file(int fd, const char *data, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t n = pwrite(fd, data + done, size - done, (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

/* The path to execute, from malloc; NULL with errno. Looked up before the fork, where the heap may be used. */
static char *find_program(const char *name)
{
    if (name == NULL)
        name = "stdbox";
    if (strchr(name, '/') != NULL)
        return strdup(name);

    const char *path = getenv("PATH");
    int failure = ENOENT;
    for (const char *at = path == NULL ? "/usr/local/bin:/usr/bin:/bin" : path; at != NULL;) {
        const char *colon = strchr(at, ':');
        int length = (int)(colon == NULL ? strlen(at) : (size_t)(colon - at));
        size_t size = (size_t)length + strlen(name) + 3;
        char *candidate = malloc(size);
        struct stat status;

        if (candidate == NULL)
            return NULL;
        snprintf(candidate, size, "%.*s/%s", length == 0 ? 1 : length, length == 0 ? "." : at, name);
        if (stat(candidate, &status) == 0 && S_ISREG(status.st_mode)) {
            if (access(candidate, X_OK) == 0)
                return candidate;
            failure = errno;
        }
        free(candidate);
        at = colon == NULL ? NULL : colon + 1;
    }
    errno = failure;
    return NULL;
}

/* Between fork and exec only what is safe in a signal handler: other threads may have held locks. Never returns. */
static void become_stdbox(const stdbox_job *job, const char *program, char *const *argv, int job_fd, int report_fd, int failure_fd,
                          pid_t parent)
{
    struct sigaction action;
    sigset_t none;

    /* Handlers of the caller must not run here, and what it ignores must end stdbox. */
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    for (int number = 1; number <= SIGRTMAX; number++)
        sigaction(number, &action, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(1);

    /* Nothing of the caller's is kept that the job did not name, even if it was opened without O_CLOEXEC. */
    syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
    fcntl(job_fd, F_SETFD, 0);
    fcntl(report_fd, F_SETFD, 0);
    /* One that is not open stays so: stdbox says which field named it. */
    for (size_t i = 0; i < COUNT(job->stream_fds); i++)
        if (job->stream_fds[i] > 2)
            fcntl(job->stream_fds[i], F_SETFD, 0);
    for (size_t i = 0; i < job->passed_count; i++)
        if (job->passed[i] > 2)
            fcntl(job->passed[i], F_SETFD, 0);

    execv(program, argv);
    int failure = errno;
    ssize_t written = write(failure_fd, &failure, sizeof failure);
    (void)written;
    _exit(1);
}

/* What the child writes if exec fails, 0 if it does not. */
static int read_failure(int fd)
{
    int failure = 0;
    ssize_t n;

    do
        n = read(fd, &failure, sizeof failure);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof failure ? failure : 0;
}

static void close_if_open(int fd)
{
    if (fd >= 0)
        close(fd);
}

static void reap(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

/* Forks; `process` has pid and pidfd then. */
static stdbox_error spawn(const stdbox_job *job, const char *program, int job_fd, stdbox_process *process)
{
    char job_number[16], report_number[16];
    char *argv[] = {"stdbox", "--spec-fd", job_number, "--report-fd", report_number, NULL};
    int failure_fds[2] = {-1, -1};
    sigset_t all, before;
    pid_t self = getpid(), pid;

    snprintf(job_number, sizeof job_number, "%d", job_fd);
    snprintf(report_number, sizeof report_number, "%d", process->report_fd);
    if (pipe2(failure_fds, O_CLOEXEC) < 0)
        return STDBOX_SYSTEM_ERROR;
    failure_fds[1] = above_standard(failure_fds[1]);
    if (failure_fds[1] < 0) {
        int saved = errno;
        close(failure_fds[0]);
        errno = saved;
        return STDBOX_SYSTEM_ERROR;
    }

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = fork();
    if (pid == 0)
        become_stdbox(job, program, argv, job_fd, process->report_fd, failure_fds[1], self);
    int failure = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(failure_fds[1]);
    if (pid < 0) {
        close(failure_fds[0]);
        errno = failure;
        return STDBOX_SYSTEM_ERROR;
    }

    failure = read_failure(failure_fds[0]);
    close(failure_fds[0]);
    if (failure != 0) {
        reap(pid);
        errno = failure;
        return STDBOX_NOT_STARTED;
    }
    process->pid = pid;
    process->pidfd = (int)syscall(SYS_pidfd_open, pid, 0u);
    /* ESRCH: it has ended, and something else in this program, or the kernel if SIGCHLD is ignored, waited for it. */
    if (process->pidfd < 0 && errno != ESRCH) {
        failure = errno;
        kill(pid, SIGKILL);
        reap(pid);
        errno = failure;
        return STDBOX_SYSTEM_ERROR;
    }
    return STDBOX_OK;
}

stdbox_error stdbox_start(const stdbox_options *options, const stdbox_job *job, stdbox_process *process, int *errnum)
{
    static const stdbox_options defaults = {NULL, 0, NULL};
    buffer json = {NULL, 0, 0};
    char *program = NULL;
    int job_fd = -1;
    uint64_t now = now_ns();

    if (options == NULL)
        options = &defaults;
    *process = (stdbox_process){.pid = -1, .pidfd = -1, .report_fd = -1, .deadline_ns = UINT64_MAX, .cancel_fd = -1};
    errno = 0;
    stdbox_error error = write_job(job, &json);
    if (error == STDBOX_OK && (program = find_program(options->program)) == NULL)
        error = errno == ENOMEM ? STDBOX_OUT_OF_MEMORY : STDBOX_NOT_STARTED;
    if (error == STDBOX_OK && ((job_fd = memory_file("stdbox-job")) < 0 || !write_file(job_fd, json.data, json.size) ||
                               (process->report_fd = memory_file("stdbox-report")) < 0))
        error = STDBOX_SYSTEM_ERROR;
    if (error == STDBOX_OK)
        error = spawn(job, program, job_fd, process);
    int failure = errno;

    if (error == STDBOX_OK) {
        uint64_t grace = job->limited[STDBOX_GRACE_MS] ? job->limits[STDBOX_GRACE_MS] : 0;
        process->patience_ns = after_ms(after_ms(0, grace), PATIENCE_MS);
        if (options->timeout_ms > 0)
            process->deadline_ns = after_ms(now, options->timeout_ms);
        if (options->cancel != NULL)
            process->cancel_fd = options->cancel->fd;
    } else {
        close_if_open(process->report_fd);
        process->report_fd = -1;
    }
    close_if_open(job_fd);
    free(program);
    free(json.data);
    if (errnum != NULL)
        *errnum = error == STDBOX_NOT_STARTED || error == STDBOX_SYSTEM_ERROR ? failure : 0;
    return error;
}

static int poll_timeout(uint64_t deadline_ns)
{
    uint64_t now = now_ns();

    if (deadline_ns == UINT64_MAX)
        return -1;
    if (deadline_ns <= now)
        return 0;
    uint64_t ms = (deadline_ns - now + 999999) / 1000000;
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

/* Waits until stdbox has ended; says for whose sake it was told to. */
static stdbox_error wait_for_end(const stdbox_process *process)
{
    stdbox_error reason = STDBOX_OK;
    uint64_t deadline = process->deadline_ns;
    struct pollfd polled[2] = {{.fd = process->pidfd, .events = POLLIN}, {.fd = process->cancel_fd, .events = POLLIN}};

    while (process->pidfd >= 0) {
        int ready = poll(polled, 2, poll_timeout(deadline));
        if (ready < 0 && errno != EINTR && errno != ENOMEM && errno != EAGAIN)
            break;
        if (ready > 0 && polled[0].revents != 0)
            break;
        if (ready > 0 && polled[1].revents != 0) {
            reason = STDBOX_CANCELLED;
        } else if (ready == 0 && deadline <= now_ns()) {
            if (reason != STDBOX_OK) {
                syscall(SYS_pidfd_send_signal, process->pidfd, SIGKILL, NULL, 0u);
                deadline = UINT64_MAX;
                continue;
            }
            reason = STDBOX_TIMED_OUT;
        } else {
            continue;
        }
        syscall(SYS_pidfd_send_signal, process->pidfd, SIGTERM, NULL, 0u);
        polled[1].fd = -1;
        deadline = now_ns();
        deadline = process->patience_ns > UINT64_MAX - deadline ? UINT64_MAX : deadline + process->patience_ns;
    }
    return reason;
}

/* By its descriptor, since the number may be another child's by now if something else waited for this one. */
static int exit_status(const stdbox_process *process)
{
    siginfo_t info;
    int result;

    if (process->pidfd < 0)
        return -1;
    memset(&info, 0, sizeof info);
    do
        result = waitid(WAIT_BY_PIDFD, (id_t)process->pidfd, &info, WEXITED);
    while (result < 0 && errno == EINTR);
    if (result < 0)
        return -1;
    return info.si_code == CLD_EXITED ? (info.si_status & 0xff) << 8 : info.si_status | (info.si_code == CLD_DUMPED ? 0x80 : 0);
}

static stdbox_error collect_report(int fd, stdbox_report *report)
{
    struct stat status;

    if (fstat(fd, &status) < 0) {
        report->errnum = errno;
        return STDBOX_SYSTEM_ERROR;
    }
    if (status.st_size == 0)
        return STDBOX_NO_REPORT;
    size_t size = (size_t)status.st_size, done = 0;
    char *json = malloc(size + 1);
    if (json == NULL)
        return STDBOX_OUT_OF_MEMORY;
    while (done < size) {
        ssize_t n = pread(fd, json + done, size - done, (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    return read_report(json, done, report);
}

stdbox_error stdbox_wait(stdbox_process *process, stdbox_report *report)
{
    empty_report(report);
    stdbox_error reason = wait_for_end(process);
    report->wait_status = exit_status(process);
    stdbox_error error = collect_report(process->report_fd, report);
    close_if_open(process->pidfd);
    close_if_open(process->report_fd);
    process->pidfd = process->report_fd = -1;

    /* A stdbox that was killed while it wrote has left a part. */
    if (error == STDBOX_BAD_REPORT && report->wait_status != -1 && WIFSIGNALED(report->wait_status))
        error = STDBOX_NO_REPORT;
    /* The job may have ended by itself just before it was told to: then it was not cancelled. */
    bool told = error == STDBOX_OK ? report->outcome == STDBOX_JOB_CANCELLED : error == STDBOX_NO_REPORT;
    return told && reason != STDBOX_OK ? reason : error;
}

stdbox_error stdbox_run(const stdbox_options *options, const stdbox_job *job, stdbox_report *report)
{
    stdbox_process process;

    empty_report(report);
    stdbox_error error = stdbox_start(options, job, &process, &report->errnum);
    return error == STDBOX_OK ? stdbox_wait(&process, report) : error;
}
