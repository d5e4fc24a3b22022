/* Tests of stdbox.c, as TAP. With the name of a test only that one. STDBOX_BIN is the binary to run. */
#define _GNU_SOURCE
#include "stdbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *binary;
static char folder[] = "/tmp/stdbox client XXXXXX";
static int failures; /* in the test that runs */

#define CHECK(condition) check(condition, #condition, __LINE__)
#define STARTS(error, report) \
    check((error) == STDBOX_OK, stdbox_error_text(error), __LINE__), explain(report)

static void check(bool holds, const char *what, int line)
{
    if (holds)
        return;
    failures++;
    printf("# line %d: does not hold: %s\n", line, what);
}

static void explain(const stdbox_report *report)
{
    if (report->error.message != NULL)
        printf("# %s: %s (%s)\n", report->error.code, report->error.message, report->error.at ? report->error.at : "-");
}

static bool same(const char *a, const char *b)
{
    return a != NULL && b != NULL && strcmp(a, b) == 0;
}

static stdbox_options with_binary(void)
{
    stdbox_options options = {binary, 0, NULL};
    return options;
}

static stdbox_job *job_of(const char *const *argv)
{
    stdbox_job *job = stdbox_job_new();

    stdbox_job_args(job, argv);
    stdbox_job_cwd(job, "/");
    stdbox_job_directory(job, "/", STDBOX_READ_ONLY);
    return job;
}

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})
#define SHELL(script) ARGV("sh", "-c", script)

static stdbox_error run(stdbox_job *job, stdbox_report *report)
{
    stdbox_options options = with_binary();
    stdbox_error error = stdbox_run(&options, job, report);

    stdbox_job_free(job);
    return error;
}

static int open_descriptors(void)
{
    DIR *list = opendir("/proc/self/fd");
    int count = 0;

    while (readdir(list) != NULL)
        count++;
    closedir(list);
    return count;
}

/* Is there a process whose command line contains `text`? */
static bool is_running(const char *text)
{
    DIR *list = opendir("/proc");
    struct dirent *entry;
    bool found = false;

    while (!found && (entry = readdir(list)) != NULL) {
        char path[300], line[4096];
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9' || atoi(entry->d_name) == getpid())
            continue;
        snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t size = fd < 0 ? 0 : read(fd, line, sizeof line);
        if (fd >= 0)
            close(fd);
        found = size > 0 && memmem(line, (size_t)size, text, strlen(text)) != NULL;
    }
    closedir(list);
    return found;
}

static bool becomes(const char *text, bool running)
{
    for (int i = 0; i < 1000; i++) {
        if (is_running(text) == running)
            return true;
        usleep(10000);
    }
    return false;
}

/* A name for a process to look for, unlike that of any other. */
static char *unique_sleep(void)
{
    static char seconds[40];
    static int number;

    snprintf(seconds, sizeof seconds, "1000.%d%d", (int)getpid(), number++);
    return seconds;
}

/* A program in the place of stdbox, to see what the client makes of a broken one. */
static char *fake(const char *script)
{
    static char path[200];
    FILE *file;

    snprintf(path, sizeof path, "%s/fake", folder);
    /* What executes it must not still have it open for writing. */
    unlink(path);
    file = fopen(path, "we");
    fprintf(file, "#!/bin/sh\n%s\n", script);
    fclose(file);
    chmod(path, 0755);
    return path;
}

/* ---- Jobs ---- */

static void a_job_is_what_was_said(void)
{
    stdbox_job *job = stdbox_job_new();
    size_t size;

    stdbox_job_args(job, ARGV("a\"\\\n", "\xff\xfe", "\xc3\xa9", ""));
    stdbox_job_id(job, "first");
    stdbox_job_id(job, "second");
    stdbox_job_cwd(job, "/x");
    stdbox_job_directory(job, "/\x80", STDBOX_FULL_ACCESS);
    stdbox_job_directory(job, "/b", STDBOX_HIDDEN);
    stdbox_job_limit(job, STDBOX_CPU_TIME_MS, 1);
    stdbox_job_limit(job, STDBOX_CPU_TIME_MS, UINT64_MAX);
    stdbox_job_env_inherit(job, false);
    stdbox_job_env_set(job, "N", "1");
    stdbox_job_env_unset(job, "M");
    stdbox_job_results(job, "/out", ARGV("*.c"));
    stdbox_job_stdin_bytes(job, "a\0b", 3);
    stdbox_job_capture(job, STDBOX_STDOUT, 7);
    stdbox_job_merge_output(job);
    stdbox_job_network_host(job);
    stdbox_job_raw(job, "user", " {\"uid\":0} ");
    char *json = stdbox_job_json(job, &size);
    CHECK(same(json,
               "{\"argv\":[\"a\\u0022\\u005c\\u000a\",{\"base64\":\"//4=\"},\"\xc3\xa9\",\"\"],\"id\":\"second\",\"cwd\":\"/x\","
               "\"network\":\"host\",\"results\":{\"directory\":\"/out\",\"patterns\":[\"*.c\"]},\"stdin\":{\"text\":\"a\\u0000b\"},"
               "\"stdout\":{\"capture\":{\"max_bytes\":7}},\"stderr\":\"stdout\",\"directories\":[{\"path\":{\"base64\":\"L4A=\"},"
               "\"mode\":\"full-access\"},{\"path\":\"/b\",\"mode\":\"hidden\"}],\"env\":{\"inherit\":false,\"set\":{\"N\":\"1\"},"
               "\"unset\":[\"M\"]},\"limits\":{\"cpu_time_ms\":18446744073709551615},\"user\": {\"uid\":0} }"));
    CHECK(json != NULL && size == strlen(json));
    free(json);
    stdbox_job_free(job);
}

static stdbox_error error_of(void (*build)(stdbox_job *))
{
    stdbox_job *job = job_of(ARGV("true"));
    stdbox_report report;

    build(job);
    stdbox_error error = run(job, &report);
    CHECK(report.outcome == STDBOX_NO_OUTCOME);
    stdbox_report_free(&report);
    return error;
}

static void null_argument(stdbox_job *job) { stdbox_job_arg(job, NULL); }
static void null_list(stdbox_job *job) { stdbox_job_args(job, NULL); }
static void null_raw(stdbox_job *job) { stdbox_job_raw(job, "user", NULL); }
static void raw_name(stdbox_job *job) { stdbox_job_raw(job, "\xff", "1"); }
static void raw_injection(stdbox_job *job) { stdbox_job_raw(job, "strict", "true,\"network\":\"host\""); }
static void raw_unfinished(stdbox_job *job) { stdbox_job_raw(job, "mounts", "[{\"type\":\"bind\""); }
static void raw_bytes(stdbox_job *job) { stdbox_job_raw(job, "hostname", "\"\xff\""); }
static void variable_name(stdbox_job *job) { stdbox_job_env_set(job, "\xff", "1"); }
static void bad_mode(stdbox_job *job) { stdbox_job_directory(job, "/", (stdbox_mode)9); }
static void bad_limit(stdbox_job *job) { stdbox_job_limit(job, (stdbox_limit)99, 1); }
static void bad_fd(stdbox_job *job) { stdbox_job_keep_fd(job, -1); }
static void bad_stdin(stdbox_job *job) { stdbox_job_stdin_bytes(job, NULL, 1); }

static void a_job_that_cannot_be_written_is_an_error(void)
{
    void (*builders[])(stdbox_job *) = {null_argument, null_list, null_raw,  raw_name,  raw_injection, raw_unfinished,
                                        raw_bytes,     variable_name, bad_mode, bad_limit, bad_fd,        bad_stdin};
    char deep[200];
    stdbox_report report;

    for (size_t i = 0; i < sizeof builders / sizeof builders[0]; i++) {
        stdbox_error error = error_of(builders[i]);
        if (error != STDBOX_BAD_ARGUMENT)
            printf("# builder %zu: %s\n", i, stdbox_error_text(error));
        CHECK(error == STDBOX_BAD_ARGUMENT);
    }
    memset(deep, '[', 100);
    memset(deep + 100, ']', 99);
    deep[199] = 0;
    stdbox_job *job = job_of(ARGV("true"));
    stdbox_job_raw(job, "mounts", deep);
    CHECK(run(job, &report) == STDBOX_BAD_ARGUMENT);
    stdbox_report_free(&report);
    stdbox_job_arg(NULL, "x");
    stdbox_job_free(NULL);
    CHECK(run(NULL, &report) == STDBOX_OUT_OF_MEMORY);
    stdbox_report_free(&report);
}

/* ---- Runs ---- */

static void a_job_runs_and_is_reported(void)
{
    stdbox_job *job = job_of(SHELL("printf 'a\\000b\\377'; echo oops >&2; cat >&2; pwd >&2; echo \"$GREETING\" >&2; exit 3"));
    stdbox_report report;

    stdbox_job_id(job, "seven");
    stdbox_job_stdin_bytes(job, "in\n", 3);
    stdbox_job_env_set(job, "GREETING", "h\xc3\xa9llo");
    stdbox_job_raw(job, "seccomp", "\"strict\"");
    stdbox_error error = run(job, &report);
    STARTS(error, &report);
    CHECK(report.outcome == STDBOX_EXITED && report.exit_code == 3 && report.signal == 0 && report.limit == STDBOX_NO_LIMIT);
    CHECK(report.wait_status == 0 && report.errnum == 0 && report.error.code == NULL);
    CHECK(same(report.id.data, "seven"));
    CHECK(report.out.size == 4 && memcmp(report.out.data, "a\0b\xff", 4) == 0 && report.out.written == 4 && !report.out.truncated);
    CHECK(same(report.err.data, "oops\nin\n/\nh\xc3\xa9llo\n"));
    CHECK(report.usage.wall_ns > 0 && report.usage.max_rss_bytes > 0 && report.usage.scratch_bytes >= 0);
    CHECK(report.results == NULL && report.result_count == 0 && report.json_size == strlen(report.json));
    stdbox_report_free(&report);
    CHECK(report.outcome == STDBOX_NO_OUTCOME && report.json == NULL);
}

static void signals_and_limits_are_reported(void)
{
    stdbox_report report;
    stdbox_job *job = job_of(SHELL("kill -SEGV $$"));

    stdbox_error error = run(job, &report);
    STARTS(error, &report);
    CHECK(report.outcome == STDBOX_SIGNALED && report.signal == SIGSEGV && report.exit_code == -1);
    stdbox_report_free(&report);

    job = job_of(ARGV("sleep", "1000"));
    stdbox_job_limit(job, STDBOX_WALL_TIME_MS, 100);
    error = run(job, &report);
    STARTS(error, &report);
    CHECK(report.outcome == STDBOX_LIMIT_EXCEEDED && report.limit == STDBOX_LIMIT_WALL_TIME && report.signal == SIGKILL);
    stdbox_report_free(&report);

    job = job_of(ARGV("yes"));
    stdbox_job_limit(job, STDBOX_OUTPUT_BYTES, 100000);
    stdbox_job_capture(job, STDBOX_STDOUT, 10);
    error = run(job, &report);
    STARTS(error, &report);
    CHECK(report.limit == STDBOX_LIMIT_OUTPUT && report.out.size == 10 && report.out.written > 100000 && report.out.truncated);
    stdbox_report_free(&report);
}

static void arguments_arrive_as_they_are(void)
{
    const char *const arguments[] = {"printf", "%s\\n", "", " ", "\"", "\\", "\n\t\x01\x7f", "\xff", "\xed\xa0\x80", "\xc3\xa9\xf0\x9f\x98\x80", "'$x`", NULL};
    char expected[200];
    size_t size = 0;
    stdbox_report report;

    for (int i = 2; arguments[i] != NULL; i++)
        size += (size_t)sprintf(expected + size, "%s\n", arguments[i]);
    stdbox_error error = run(job_of(arguments), &report);
    STARTS(error, &report);
    CHECK(report.out.size == size && memcmp(report.out.data, expected, size) == 0);
    stdbox_report_free(&report);
}

static void results_come_back(void)
{
    char out[100], path[140];
    stdbox_job *job = stdbox_job_new();
    stdbox_report report;
    struct stat status;

    snprintf(out, sizeof out, "%s/out", folder);
    stdbox_job_args(job, SHELL("printf 12345 > 'b c'; printf 1 > \"$(printf 'a\\377')\"; ln -s x l"));
    stdbox_job_cwd(job, "/tmp");
    stdbox_job_results(job, out, NULL);
    stdbox_error error = run(job, &report);
    STARTS(error, &report);
    CHECK(report.result_count == 2);
    if (report.result_count == 2) {
        CHECK(same(report.results[0].path, "a\xff") && report.results[0].bytes == 1);
        CHECK(same(report.results[1].path, "b c") && report.results[1].bytes == 5);
    }
    snprintf(path, sizeof path, "%s/b c", out);
    CHECK(stat(path, &status) == 0 && status.st_size == 5);
    unlink(path);
    snprintf(path, sizeof path, "%s/a\xff", out);
    unlink(path);
    rmdir(out);
    stdbox_report_free(&report);
}

static void an_invalid_job_names_the_field(void)
{
    stdbox_report report;
    stdbox_job *job = job_of(ARGV("true"));

    stdbox_job_raw(job, "limit", "{\"wall_time_ms\":1}");
    CHECK(run(job, &report) == STDBOX_OK);
    CHECK(report.outcome == STDBOX_INVALID_JOB && WEXITSTATUS(report.wait_status) == 2);
    CHECK(same(report.error.code, "unknown-field") && same(report.error.stage, "validate") && same(report.error.at, "/limit"));
    CHECK(report.error.message != NULL && report.out.data == NULL);
    stdbox_report_free(&report);

    job = job_of(ARGV("true"));
    stdbox_job_directory(job, "/no such directory", STDBOX_HIDDEN);
    CHECK(run(job, &report) == STDBOX_OK);
    CHECK(same(report.error.code, "no-such-directory") && same(report.error.at, "/directories/1/path"));
    stdbox_report_free(&report);

    /* A descriptor that is not open. */
    job = job_of(ARGV("true"));
    stdbox_job_output_fd(job, STDBOX_STDOUT, 1000);
    CHECK(run(job, &report) == STDBOX_OK);
    CHECK(same(report.error.code, "bad-descriptor") && same(report.error.at, "/stdout"));
    stdbox_report_free(&report);

    job = job_of(ARGV("no-such-command"));
    CHECK(run(job, &report) == STDBOX_OK);
    CHECK(report.outcome == STDBOX_SETUP_FAILED && same(report.error.code, "command-not-found") && report.error.errnum == ENOENT &&
          same(report.error.errno_name, "ENOENT") && same(report.error.stage, "exec") && same(report.error.at, "/argv/0"));
    CHECK(report.error.path != NULL && report.error.hint != NULL);
    stdbox_report_free(&report);
}

static void large_jobs_are_passed_whole(void)
{
    size_t size = 15u << 20;
    char *data = malloc(size + 1);
    stdbox_report report;
    stdbox_job *job = job_of(ARGV("wc", "-c"));

    memset(data, 'x', size);
    stdbox_job_stdin_bytes(job, data, size);
    stdbox_error error = run(job, &report);
    STARTS(error, &report);
    CHECK(report.out.data != NULL && strtoul(report.out.data, NULL, 10) == size);
    stdbox_report_free(&report);

    data[0] = '\xff';
    job = job_of(ARGV("wc", "-c"));
    stdbox_job_stdin_bytes(job, data, size);
    CHECK(run(job, &report) == STDBOX_OK);
    CHECK(report.outcome == STDBOX_INVALID_JOB && same(report.error.code, "too-large"));
    stdbox_report_free(&report);
    free(data);
}

/* ---- Descriptors ---- */

static unsigned char pattern(size_t i)
{
    return (unsigned char)(i * 2654435761u >> 13);
}

enum { STREAMED = 100 << 20 };

static void *feed(void *argument)
{
    int fd = *(int *)argument;
    static unsigned char block[1 << 16];

    for (size_t done = 0; done < STREAMED;) {
        for (size_t i = 0; i < sizeof block; i++)
            block[i] = pattern(done + i);
        for (size_t part = 0; part < sizeof block;) {
            ssize_t n = write(fd, block + part, sizeof block - part);
            if (n < 0)
                return NULL;
            part += (size_t)n;
        }
        done += sizeof block;
    }
    close(fd);
    return NULL;
}

static void a_hundred_mebibytes_stream_through(void)
{
    int in[2], out[2], before = open_descriptors();
    stdbox_job *job = job_of(ARGV("cat"));
    stdbox_options options = with_binary();
    stdbox_process process;
    stdbox_report report;
    pthread_t feeder;
    static unsigned char block[1 << 16];
    size_t received = 0;
    bool right = true;
    ssize_t n;

    CHECK(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    stdbox_job_stdin_fd(job, in[0]);
    stdbox_job_output_fd(job, STDBOX_STDOUT, out[1]);
    CHECK(stdbox_start(&options, job, &process, NULL) == STDBOX_OK);
    close(in[0]);
    close(out[1]);
    pthread_create(&feeder, NULL, feed, &in[1]);
    while ((n = read(out[0], block, sizeof block)) > 0)
        for (ssize_t i = 0; i < n; i++)
            right &= block[i] == pattern(received++);
    pthread_join(feeder, NULL);
    close(out[0]);
    stdbox_error error = stdbox_wait(&process, &report);
    STARTS(error, &report);
    CHECK(right && received == STREAMED);
    CHECK(report.exit_code == 0 && report.out.data == NULL && report.err.data != NULL);
    stdbox_report_free(&report);
    stdbox_job_free(job);
    CHECK(open_descriptors() == before);
}

static void the_target_has_only_what_was_named(void)
{
    int before = open_descriptors(), pipes[2];
    char path[100], expected[60], text[8] = "";
    stdbox_report report;

    snprintf(path, sizeof path, "%s/secret", folder);
    int secret = open(path, O_CREAT | O_RDWR, 0600), high = fcntl(secret, F_DUPFD, 200);
    stdbox_error error = run(job_of(SHELL("for fd in /proc/self/fd/*; do test -e $fd && echo ${fd##*/}; done")), &report);
    STARTS(error, &report);
    CHECK(same(report.out.data, "0\n1\n2\n"));
    stdbox_report_free(&report);

    CHECK(pipe2(pipes, O_CLOEXEC) == 0);
    int kept = fcntl(pipes[1], F_DUPFD_CLOEXEC, 9);
    char script[120];
    snprintf(script, sizeof script, "for fd in /proc/self/fd/*; do test -e $fd && echo ${fd##*/}; done; echo kept > /proc/self/fd/%d", kept);
    stdbox_job *job = job_of(SHELL(script));
    stdbox_job_keep_fd(job, kept);
    error = run(job, &report);
    STARTS(error, &report);
    snprintf(expected, sizeof expected, "0\n1\n2\n%d\n", kept);
    CHECK(same(report.out.data, expected));
    CHECK(read(pipes[0], text, sizeof text) == 5 && memcmp(text, "kept\n", 5) == 0);
    CHECK((fcntl(kept, F_GETFD) & FD_CLOEXEC) != 0);
    stdbox_report_free(&report);

    /* stdbox itself has nothing either. */
    char *name = unique_sleep(), link[300], target[300];
    stdbox_options options = with_binary();
    stdbox_canceller canceller;
    stdbox_process process;
    CHECK(stdbox_canceller_open(&canceller) == STDBOX_OK);
    options.cancel = &canceller;
    job = job_of(ARGV("sleep", name));
    CHECK(stdbox_start(&options, job, &process, NULL) == STDBOX_OK && becomes(name, true));
    for (int fd = 3; fd < 300; fd++) {
        snprintf(link, sizeof link, "/proc/%d/fd/%d", process.pid, fd);
        ssize_t size = readlink(link, target, sizeof target - 1);
        target[size < 0 ? 0 : size] = 0;
        CHECK(!same(target, path));
    }
    stdbox_cancel(&canceller);
    CHECK(stdbox_wait(&process, &report) == STDBOX_CANCELLED);
    stdbox_report_free(&report);
    stdbox_job_free(job);
    stdbox_canceller_close(&canceller);

    close(kept);
    close(pipes[0]);
    close(pipes[1]);
    close(high);
    close(secret);
    unlink(path);
    CHECK(open_descriptors() == before);
}

static void standard_streams_may_be_closed(void)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        stdbox_report report;
        for (int fd = 0; fd < 3; fd++)
            close(fd);
        stdbox_error error = run(job_of(SHELL("cat; echo closed")), &report);
        bool good = error == STDBOX_OK && report.exit_code == 0 && same(report.out.data, "closed\n");
        stdbox_report_free(&report);
        /* What is closed must not be the job or the report by accident. */
        stdbox_job *job = job_of(SHELL("cat"));
        stdbox_job_raw(job, "stdin", "\"inherit\"");
        good &= run(job, &report) == STDBOX_OK && same(report.error.code, "bad-descriptor") && same(report.error.at, "/stdin");
        stdbox_report_free(&report);
        job = job_of(SHELL("cat"));
        stdbox_job_raw(job, "stdout", "\"inherit\"");
        good &= run(job, &report) == STDBOX_OK && same(report.error.code, "bad-descriptor") && same(report.error.at, "/stdout");
        stdbox_report_free(&report);
        _exit(good ? 0 : 1 + (int)error);
    }
    waitpid(child, &status, 0);
    CHECK(status == 0);
}

static bool event(int fd, char *line, size_t size)
{
    size_t length = 0;

    while (length < size - 1 && read(fd, line + length, 1) == 1)
        if (line[length++] == '\n')
            break;
    line[length] = 0;
    return length > 0 && line[length - 1] == '\n';
}

static void events_come_through_descriptors_that_are_passed(void)
{
    int events[2], control[2], before = open_descriptors();
    stdbox_options options = with_binary();
    stdbox_job *job = job_of(SHELL("exit 9"));
    stdbox_process process;
    stdbox_report report;
    char sync[80], line[1000];

    CHECK(pipe2(events, O_CLOEXEC) == 0 && pipe2(control, O_CLOEXEC) == 0);
    snprintf(sync, sizeof sync, "{\"events_fd\":%d,\"control_fd\":%d}", events[1], control[0]);
    stdbox_job_raw(job, "sync", sync);
    stdbox_job_pass_fd(job, events[1]);
    stdbox_job_pass_fd(job, control[0]);
    CHECK(stdbox_start(&options, job, &process, NULL) == STDBOX_OK);
    close(events[1]);
    close(control[0]);
    CHECK(event(events[0], line, sizeof line) && strstr(line, "\"ready\"") != NULL && write(control[1], "continue\n", 9) == 9);
    CHECK(event(events[0], line, sizeof line) && strstr(line, "\"exited\"") != NULL && write(control[1], "continue\n", 9) == 9);
    stdbox_error error = stdbox_wait(&process, &report);
    STARTS(error, &report);
    CHECK(report.exit_code == 9);
    close(events[0]);
    close(control[1]);
    stdbox_report_free(&report);
    stdbox_job_free(job);
    CHECK(open_descriptors() == before);
}

static void failures_leave_no_descriptor(void)
{
    int before = open_descriptors();
    stdbox_options options = {"/no/such/stdbox", 0, NULL};
    stdbox_report report;
    stdbox_process process;
    int errnum;

    for (int i = 0; i < 10; i++) {
        stdbox_job *job = job_of(ARGV("true"));
        CHECK(stdbox_start(&options, job, &process, &errnum) == STDBOX_NOT_STARTED && errnum == ENOENT);
        CHECK(stdbox_run(&options, job, &report) == STDBOX_NOT_STARTED && report.errnum == ENOENT);
        stdbox_job_arg(job, NULL);
        CHECK(stdbox_run(&options, job, &report) == STDBOX_BAD_ARGUMENT);
        stdbox_job_free(job);
    }
    CHECK(open_descriptors() == before);
}

/* ---- The binary ---- */

static void a_binary_that_cannot_be_executed_is_an_error(void)
{
    stdbox_options options = {NULL, 0, NULL};
    stdbox_job *job = job_of(ARGV("true"));
    stdbox_report report;
    char *path = strdup(getenv("PATH")), entry[100];

    setenv("PATH", folder, 1);
    CHECK(stdbox_run(&options, job, &report) == STDBOX_NOT_STARTED && report.errnum == ENOENT);

    /* Found in PATH, behind an entry that has a folder of that name. */
    snprintf(entry, sizeof entry, "%s/stdbox", folder);
    mkdir(entry, 0700);
    char *both = malloc(strlen(path) + 2 * strlen(folder) + 20);
    sprintf(both, "%s:%s/bin", folder, folder);
    setenv("PATH", both, 1);
    char bin[60], link[80];
    snprintf(bin, sizeof bin, "%s/bin", folder);
    snprintf(link, sizeof link, "%s/bin/stdbox", folder);
    mkdir(bin, 0700);
    char *real = realpath(binary, NULL);
    CHECK(symlink(real, link) == 0);
    free(real);
    stdbox_job_env_set(job, "PATH", path);
    stdbox_error error = stdbox_run(NULL, job, &report);
    STARTS(error, &report);
    CHECK(report.outcome == STDBOX_EXITED && report.exit_code == 0);
    stdbox_report_free(&report);
    setenv("PATH", path, 1);
    free(both);
    free(path);
    unlink(link);
    rmdir(bin);
    rmdir(entry);

    options.program = "/etc/passwd";
    CHECK(stdbox_run(&options, job, &report) == STDBOX_NOT_STARTED && report.errnum == EACCES);
    stdbox_job_free(job);
}

static void a_stdbox_that_is_killed_is_no_report(void)
{
    char *name = unique_sleep();
    stdbox_options options = with_binary();
    stdbox_job *job = job_of(ARGV("sleep", name));
    stdbox_process process;
    stdbox_report report;

    CHECK(stdbox_start(&options, job, &process, NULL) == STDBOX_OK && becomes(name, true));
    kill(process.pid, SIGKILL);
    CHECK(stdbox_wait(&process, &report) == STDBOX_NO_REPORT);
    CHECK(WIFSIGNALED(report.wait_status) && WTERMSIG(report.wait_status) == SIGKILL);
    CHECK(becomes(name, false));
    stdbox_report_free(&report);
    stdbox_job_free(job);
}

static void what_is_no_report_is_an_error(void)
{
    static const struct {
        const char *script;
        stdbox_error error;
    } cases[] = {
        {"exit 3", STDBOX_NO_REPORT},
        {"printf '{\"version\":1,' >/proc/self/fd/$4; kill -9 $$", STDBOX_NO_REPORT},
        {"printf '{\"version\":1,' >/proc/self/fd/$4", STDBOX_BAD_REPORT},
        {"printf '{}\\n' >/proc/self/fd/$4", STDBOX_BAD_REPORT},
        {"cat /proc/self/fd/$2 >/proc/self/fd/$4", STDBOX_BAD_REPORT},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        stdbox_options options = {fake(cases[i].script), 0, NULL};
        stdbox_job *job = job_of(ARGV("true"));
        stdbox_report report;
        stdbox_error error = stdbox_run(&options, job, &report);
        if (error != cases[i].error)
            printf("# %s: %s\n", cases[i].script, stdbox_error_text(error));
        CHECK(error == cases[i].error && report.outcome == STDBOX_NO_OUTCOME && report.json == NULL);
        stdbox_report_free(&report);
        stdbox_job_free(job);
    }
}

/* ---- Ending ---- */

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void a_timeout_ends_the_job(void)
{
    char *name = unique_sleep();
    stdbox_options options = with_binary();
    stdbox_job *job = job_of(ARGV("sleep", name));
    stdbox_report report;
    double begun = seconds();

    options.timeout_ms = 300;
    CHECK(stdbox_run(&options, job, &report) == STDBOX_TIMED_OUT);
    CHECK(report.outcome == STDBOX_JOB_CANCELLED && report.out.data != NULL && seconds() - begun >= 0.3);
    CHECK(!is_running(name));
    stdbox_report_free(&report);
    stdbox_job_free(job);

    /* One that ends before it is not touched. */
    options.timeout_ms = UINT64_MAX;
    job = job_of(ARGV("true"));
    CHECK(stdbox_run(&options, job, &report) == STDBOX_OK && report.exit_code == 0);
    stdbox_report_free(&report);
    stdbox_job_free(job);
}

static void a_stdbox_that_does_not_stop_is_killed(void)
{
    stdbox_options options = {fake("trap '' TERM; sleep 1000.7 & wait; wait"), 200, NULL};
    stdbox_job *job = job_of(ARGV("true"));
    stdbox_process process;
    stdbox_report report;

    CHECK(stdbox_start(&options, job, &process, NULL) == STDBOX_OK);
    process.patience_ns = 300000000;
    CHECK(stdbox_wait(&process, &report) == STDBOX_TIMED_OUT);
    CHECK(report.outcome == STDBOX_NO_OUTCOME && WTERMSIG(report.wait_status) == SIGKILL);
    stdbox_report_free(&report);
    stdbox_job_free(job);
    /* The real one would have taken its job with it. */
    DIR *list = opendir("/proc");
    struct dirent *entry;
    while ((entry = readdir(list)) != NULL) {
        char path[300], line[100] = "";
        snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        if (read(fd, line, sizeof line - 1) > 6 && same(line, "sleep") && same(line + 6, "1000.7"))
            kill(atoi(entry->d_name), SIGKILL);
        close(fd);
    }
    closedir(list);
}

static stdbox_canceller shared_canceller;

static void *cancel_later(void *unused)
{
    usleep(200000);
    stdbox_cancel(&shared_canceller);
    return unused;
}

static void cancel_now(int number)
{
    (void)number;
    stdbox_cancel(&shared_canceller);
}

static void a_job_is_cancelled(void)
{
    stdbox_options options = with_binary();
    stdbox_job *job = job_of(SHELL("trap 'echo bye; exit 5' TERM; echo hello; while :; do sleep 0.01; done"));
    stdbox_report report;
    pthread_t thread;

    options.cancel = &shared_canceller;
    stdbox_job_limit(job, STDBOX_GRACE_MS, 5000);

    /* By a thread. */
    CHECK(stdbox_canceller_open(&shared_canceller) == STDBOX_OK);
    pthread_create(&thread, NULL, cancel_later, NULL);
    CHECK(stdbox_run(&options, job, &report) == STDBOX_CANCELLED);
    CHECK(report.outcome == STDBOX_JOB_CANCELLED && same(report.out.data, "hello\nbye\n"));
    stdbox_report_free(&report);
    pthread_join(thread, NULL);

    /* Already, before it has begun: one cancelled handle stays so. */
    CHECK(stdbox_run(&options, job, &report) == STDBOX_CANCELLED);
    stdbox_report_free(&report);
    stdbox_canceller_close(&shared_canceller);

    /* By a signal handler. */
    CHECK(stdbox_canceller_open(&shared_canceller) == STDBOX_OK);
    struct sigaction action = {.sa_handler = cancel_now}, old;
    sigaction(SIGALRM, &action, &old);
    struct itimerval soon = {{0, 0}, {0, 200000}};
    setitimer(ITIMER_REAL, &soon, NULL);
    CHECK(stdbox_run(&options, job, &report) == STDBOX_CANCELLED);
    CHECK(report.outcome == STDBOX_JOB_CANCELLED);
    sigaction(SIGALRM, &old, NULL);
    stdbox_report_free(&report);
    stdbox_canceller_close(&shared_canceller);
    stdbox_job_free(job);
}

static int ticks;

static void tick(int number)
{
    (void)number;
    ticks++;
}

static void signals_of_the_caller_do_no_harm(void)
{
    struct sigaction action = {.sa_handler = tick}, old, ignored = {.sa_handler = SIG_IGN}, old_term, old_child;
    struct itimerval often = {{0, 2000}, {0, 2000}}, never = {{0, 0}, {0, 0}};
    sigset_t blocked, before, after;
    stdbox_report report;

    /* Interrupted all the time. */
    sigaction(SIGALRM, &action, &old);
    setitimer(ITIMER_REAL, &often, NULL);
    stdbox_error error = run(job_of(SHELL("sleep 0.2; echo done")), &report);
    STARTS(error, &report);
    CHECK(same(report.out.data, "done\n") && ticks > 5);
    stdbox_report_free(&report);
    stdbox_options options = with_binary();
    options.timeout_ms = 200;
    stdbox_job *job = job_of(ARGV("sleep", "5"));
    CHECK(stdbox_run(&options, job, &report) == STDBOX_TIMED_OUT);
    stdbox_job_free(job);
    stdbox_report_free(&report);
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &old, NULL);

    /* SIGTERM blocked and ignored here still ends stdbox, and the mask stays as it was. */
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGUSR1);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    sigaction(SIGTERM, &ignored, &old_term);
    job = job_of(SHELL("trap 'echo bye; exit' TERM; while :; do sleep 0.01; done"));
    stdbox_job_limit(job, STDBOX_GRACE_MS, 5000);
    CHECK(stdbox_run(&options, job, &report) == STDBOX_TIMED_OUT && same(report.out.data, "bye\n"));
    pthread_sigmask(SIG_SETMASK, &before, &after);
    CHECK(sigismember(&after, SIGTERM) && sigismember(&after, SIGUSR1) && !sigismember(&after, SIGINT));
    sigaction(SIGTERM, &old_term, NULL);
    stdbox_report_free(&report);
    stdbox_job_free(job);

    /* The kernel waits for children: their status is lost, the report is not. */
    sigaction(SIGCHLD, &ignored, &old_child);
    error = run(job_of(SHELL("exit 4")), &report);
    STARTS(error, &report);
    CHECK(report.exit_code == 4 && report.wait_status == -1);
    sigaction(SIGCHLD, &old_child, NULL);
    stdbox_report_free(&report);
}

static void the_job_dies_with_its_caller(void)
{
    char *name = unique_sleep();
    pid_t child = fork();

    if (child == 0) {
        stdbox_report report;
        run(job_of(ARGV("sleep", name)), &report);
        _exit(0);
    }
    CHECK(becomes(name, true));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    CHECK(becomes(name, false));
}

static void *run_several(void *argument)
{
    long number = (long)argument, wrong = 0;

    for (int i = 0; i < 4; i++) {
        char text[40];
        stdbox_report report;
        snprintf(text, sizeof text, "%ld.%d", number, i);
        stdbox_error error = run(job_of(ARGV("printf", "%s", text)), &report);
        wrong += error != STDBOX_OK || !same(report.out.data, text);
        stdbox_report_free(&report);
    }
    return (void *)wrong;
}

static void threads_do_not_disturb_each_other(void)
{
    pthread_t threads[8];
    int before = open_descriptors();

    for (long i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, run_several, (void *)i);
    for (int i = 0; i < 8; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        CHECK(wrong == NULL);
    }
    CHECK(open_descriptors() == before);
}

/* ---- Reading reports ---- */

#define USAGE \
    "\"usage\":{\"wall_ns\":1,\"cpu_user_ns\":2,\"cpu_system_ns\":3,\"max_rss_bytes\":4,\"minor_faults\":5,\"major_faults\":6," \
    "\"voluntary_switches\":7,\"involuntary_switches\":8,\"block_reads\":9,\"block_writes\":10,\"memory_peak_bytes\":null," \
    "\"processes_peak\":9223372036854775807,\"throttled_ns\":null,\"io_read_bytes\":0,\"io_write_bytes\":null,\"scratch_bytes\":11}"

/* Every kind of value; what a test replaces in it stands only once. */
static const char sample[] =
    "{\"version\":1,\"id\":\"a\\u0000b\",\"outcome\":\"limit-exceeded\",\"exit_code\":null,\"signal\":9,\"limit\":\"memory\",\"error\":"
    "{\"code\":\"c\",\"stage\":\"s\",\"operation\":null,\"path\":{\"base64\":\"L/8=\"},\"errno\":38,\"errno_name\":\"ENOSYS\","
    "\"message\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\uDE00\",\"hint\":null,\"at\":\"/x\"}," USAGE
    ",\"timing\":{\"parse_ns\":[1.5e-3,-0,true,{\"deep\":[]}]},\"stdout\":{\"base64\":\"/wD+\",\"bytes\":99,\"truncated\":true},"
    "\"stderr\":{\"text\":\"\",\"bytes\":0,\"truncated\":false},"
    "\"results\":{\"files\":[{\"path\":\"f\",\"bytes\":1},{\"path\":{\"base64\":\"gA==\"},\"bytes\":2}],\"skipped\":[{\"path\":\"g\",\"reason\":\"refused\"}]},"
    "\"changes\":null,\"warnings\":[{\"code\":\"w\",\"path\":null,\"message\":\"m\"}],\"degraded\":[]}\n";

static stdbox_error read_exactly(const char *json, size_t size, stdbox_report *report)
{
    /* No byte behind it, so that reading one is seen. */
    char *copy = malloc(size == 0 ? 1 : size);

    memcpy(copy, json, size);
    stdbox_error error = stdbox_report_read(copy, size, report);
    free(copy);
    return error;
}

static void a_report_is_read_whole(void)
{
    stdbox_report report;

    CHECK(read_exactly(sample, sizeof sample - 1, &report) == STDBOX_OK);
    CHECK(report.id.size == 3 && memcmp(report.id.data, "a\0b", 4) == 0);
    CHECK(report.outcome == STDBOX_LIMIT_EXCEEDED && report.limit == STDBOX_LIMIT_MEMORY && report.signal == 9 && report.exit_code == -1);
    CHECK(same(report.error.path, "/\xff") && report.error.errnum == 38 && report.error.operation == NULL && report.error.hint == NULL);
    CHECK(same(report.error.message, "\"\\/\b\f\n\r\t\xc3\xa9\xf0\x9f\x98\x80"));
    CHECK(report.usage.wall_ns == 1 && report.usage.block_writes == 10 && report.usage.memory_peak_bytes == -1 &&
          report.usage.processes_peak == INT64_MAX && report.usage.io_read_bytes == 0 && report.usage.scratch_bytes == 11);
    CHECK(report.out.size == 3 && memcmp(report.out.data, "\xff\0\xfe", 3) == 0 && report.out.written == 99 && report.out.truncated);
    CHECK(report.err.data != NULL && report.err.size == 0);
    CHECK(report.result_count == 2 && same(report.results[1].path, "\x80") && report.results[1].bytes == 2);
    CHECK(report.warning_count == 1 && same(report.warnings[0].message, "m") && report.warnings[0].path == NULL && report.degraded_count == 0);
    CHECK(report.json_size == sizeof sample - 1 && same(report.json, sample));
    stdbox_report_free(&report);
}

static void what_is_wrong_in_a_report_is_refused(void)
{
    static const struct {
        const char *from, *to;
    } changes[] = {
        {"\"version\":1", "\"version\":2"},
        {"\"version\":1,", ""},
        {"\"version\":1,", "\"version\":1,\"version\":1,"},
        {"\"version\":1,", "\"version\":1,,"},
        {"\"version\":1", "\"version\":01"},
        {"\"version\":1", "\"version\":1.0"},
        {"\"version\":1", "version:1"},
        {"limit-exceeded", "limit-surpassed"},
        {"limit-exceeded", "exited"},
        {"\"limit\":\"memory\"", "\"limit\":null"},
        {"\"signal\":9", "\"signal\":65"},
        {"\"signal\":9", "\"signal\":-9"},
        {"\"signal\":9", "\"signal\":\"9\""},
        {"\"errno\":38", "\"errno\":4096"},
        {"9223372036854775807", "9223372036854775808"},
        {"9223372036854775807", "99999999999999999999999"},
        {"\"wall_ns\":1,", ""},
        {"\"wall_ns\":1", "\"wall_ns\":null"},
        {"\"wall_ns\":1", "\"wall_ns\":1e3"},
        {"\"message\":\"", "\"message\":\"\\u0000"},
        {"\"message\":\"", "\"message\":\"\x01"},
        {"\"message\":\"", "\"message\":\"\xff"},
        {"\"message\":\"", "\"message\":\"\xc0\x80"},
        {"\"message\":\"", "\"message\":\"\xed\xa0\x80"},
        {"\"message\":\"", "\"message\":\"\xf4\x90\x80\x80"},
        {"\\uDE00", "\\u0041"},
        {"\\ud83d", ""},
        {"\\uDE00", ""},
        {"\\ud83d", "\\ud83g"},
        {"\\b", "\\x"},
        {"L/8=", "L/8"},
        {"L/8=", "L/9="},
        {"L/8=", "L=8="},
        {"L/8=", "AAA="},
        {"L/8=", "===="},
        {"{\"base64\":\"L/8=\"}", "{\"text\":\"x\"}"},
        {"\"base64\":\"/wD+\",", ""},
        {"\"base64\":\"/wD+\",", "\"base64\":\"/wD+\",\"text\":\"\","},
        {"\"truncated\":true", "\"truncated\":1"},
        {"\"degraded\":[]", "\"degraded\":null"},
        {"\"degraded\":[]", "\"degraded\":[{}]"},
        {"\"degraded\":[]", "\"degraded\":[],"},
        {"-0", "-"},
        {"-0", "00"},
        {"1.5e-3", "1.e3"},
        {"1.5e-3", ".5"},
        {"1.5e-3", "1e"},
        {"true,{", "tru,{"},
        {"\"deep\":[]", "\"deep\":[1,]"},
        {"}\n", "}\n{"},
        {"}\n", "}\n\v"},
        {"}\n", "\n"},
    };
    char text[sizeof sample + 100];
    stdbox_report report;

    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        const char *at = strstr(sample, changes[i].from);
        if (strcmp(changes[i].from, "}\n") == 0)
            at = sample + sizeof sample - 3;
        int size = sprintf(text, "%.*s%s%s", (int)(at - sample), sample, changes[i].to, at + strlen(changes[i].from));
        stdbox_error error = read_exactly(text, (size_t)size, &report);
        if (error != STDBOX_BAD_REPORT)
            printf("# %s instead of %s: %s\n", changes[i].to, changes[i].from, stdbox_error_text(error));
        CHECK(error == STDBOX_BAD_REPORT && report.outcome == STDBOX_NO_OUTCOME && report.text == NULL);
        stdbox_report_free(&report);
    }
    CHECK(stdbox_report_read(NULL, 0, &report) == STDBOX_BAD_ARGUMENT);
    CHECK(read_exactly("", 0, &report) == STDBOX_BAD_REPORT);

    /* Nesting ends before the stack does. */
    size_t size = 1 << 20;
    char *deep = malloc(size);
    memset(deep, '[', size);
    memcpy(deep, "{\"x\":", 5);
    CHECK(read_exactly(deep, size, &report) == STDBOX_BAD_REPORT);
    free(deep);
}

static uint64_t random_state = 88172645463325252u;

static size_t below(size_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (size_t)(random_state >> 11) % bound;
}

/* Looks at every byte that a report gives out, so that the sanitizers do. */
static size_t touch(const stdbox_report *report)
{
    const char *strings[] = {report->error.code,  report->error.stage,      report->error.operation, report->error.path,
                             report->error.errno_name, report->error.message, report->error.hint,      report->error.at};
    size_t sum = report->json_size + strlen(report->json);

    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++)
        sum += strings[i] == NULL ? 0 : strlen(strings[i]);
    for (size_t i = 0; i < report->result_count; i++)
        sum += strlen(report->results[i].path);
    for (size_t i = 0; i < report->warning_count; i++)
        sum += strlen(report->warnings[i].code) + strlen(report->warnings[i].message);
    for (size_t i = 0; report->out.data != NULL && i <= report->out.size; i++)
        sum += (unsigned char)report->out.data[i];
    for (size_t i = 0; report->err.data != NULL && i <= report->err.size; i++)
        sum += (unsigned char)report->err.data[i];
    for (size_t i = 0; report->id.data != NULL && i <= report->id.size; i++)
        sum += (unsigned char)report->id.data[i];
    return sum;
}

enum { MUTATIONS = 300000 };

static void damaged_reports_do_no_harm(void)
{
    static const char *const pieces[] = {"\"", "\\", "\\u", "\\ud800", "{", "}", "[", "]", ",", ":", "null", "\xff", "\xf0\x9f",
                                         "99999999999999999999", "=", "\"base64\":\"", "-", "e9", ".", "\0"};
    size_t length = sizeof sample - 1, accepted = 0, sum = 0;
    char text[3 * sizeof sample];

    for (int i = 0; i < MUTATIONS; i++) {
        stdbox_report report;
        size_t size = length;
        memcpy(text, sample, length);
        for (size_t change = 1 + below(3); change > 0 && size > 1; change--) {
            size_t at = below(size), count = 1 + below(size - at < 20 ? size - at : 20);
            const char *piece = pieces[below(sizeof pieces / sizeof pieces[0])];
            size_t piece_size = piece[0] == 0 ? 1 : strlen(piece);
            switch (below(6)) {
            case 0: text[at] = (char)(text[at] ^ 1 << below(8)); break;
            case 1: text[at] = (char)below(256); break;
            case 2:
                memmove(text + at, text + at + count, size - at - count);
                size -= count;
                break;
            case 3:
                memmove(text + at + count, text + at, size - at);
                size += count;
                break;
            case 4:
                memmove(text + at + piece_size, text + at, size - at);
                memcpy(text + at, piece, piece_size);
                size += piece_size;
                break;
            default: size = at + 1; break;
            }
        }
        stdbox_error error = read_exactly(text, size, &report);
        if (error == STDBOX_OK) {
            accepted++;
            sum += touch(&report);
        } else if (error != STDBOX_BAD_REPORT || report.json != NULL) {
            CHECK(false);
        }
        stdbox_report_free(&report);
    }
    printf("# %d damaged reports, %zu still good\n", MUTATIONS, accepted);
    CHECK(accepted > 0 && accepted < MUTATIONS / 2 && sum > 0);
}

#define TEST(function) {#function, function}

static const struct {
    const char *name;
    void (*function)(void);
} tests[] = {
    TEST(a_job_is_what_was_said),
    TEST(a_job_that_cannot_be_written_is_an_error),
    TEST(a_job_runs_and_is_reported),
    TEST(signals_and_limits_are_reported),
    TEST(arguments_arrive_as_they_are),
    TEST(results_come_back),
    TEST(an_invalid_job_names_the_field),
    TEST(large_jobs_are_passed_whole),
    TEST(a_hundred_mebibytes_stream_through),
    TEST(the_target_has_only_what_was_named),
    TEST(standard_streams_may_be_closed),
    TEST(events_come_through_descriptors_that_are_passed),
    TEST(failures_leave_no_descriptor),
    TEST(a_binary_that_cannot_be_executed_is_an_error),
    TEST(a_stdbox_that_is_killed_is_no_report),
    TEST(what_is_no_report_is_an_error),
    TEST(a_timeout_ends_the_job),
    TEST(a_stdbox_that_does_not_stop_is_killed),
    TEST(a_job_is_cancelled),
    TEST(signals_of_the_caller_do_no_harm),
    TEST(the_job_dies_with_its_caller),
    TEST(threads_do_not_disturb_each_other),
    TEST(a_report_is_read_whole),
    TEST(what_is_wrong_in_a_report_is_refused),
    TEST(damaged_reports_do_no_harm),
};

int main(int argc, char **argv)
{
    int failed = 0, count = (int)(sizeof tests / sizeof tests[0]), run_count = 0;

    binary = getenv("STDBOX_BIN");
    if (binary == NULL || mkdtemp(folder) == NULL) {
        printf("Bail out! STDBOX_BIN must name the binary, and /tmp be writable.\n");
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 0; i < count; i++) {
        if (argc > 1 && strcmp(argv[1], tests[i].name) != 0)
            continue;
        failures = 0;
        tests[i].function();
        run_count++;
        failed += failures > 0;
        printf("%s %d - %s\n", failures > 0 ? "not ok" : "ok", i + 1, tests[i].name);
    }
    printf("1..%d\n", run_count);
    char path[100];
    snprintf(path, sizeof path, "%s/fake", folder);
    unlink(path);
    if (rmdir(folder) != 0) {
        printf("# %s is not empty\n", folder);
        failed++;
    }
    return failed > 0 || run_count == 0;
}
