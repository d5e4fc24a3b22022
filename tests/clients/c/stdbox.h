/* Runs a command in a stdbox container: describe a job, run it, read a typed report.
 *
 *     stdbox_job *job = stdbox_job_new();
 *     stdbox_report report;
 *     stdbox_job_arg(job, "sort");
 *     stdbox_job_directory(job, "/", STDBOX_READ_ONLY);
 *     stdbox_job_limit(job, STDBOX_WALL_TIME_MS, 10000);
 *     stdbox_job_stdin_bytes(job, "b\na\n", 4);
 *     if (stdbox_run(NULL, job, &report) == STDBOX_OK && report.outcome == STDBOX_EXITED)
 *         fwrite(report.out.data, 1, report.out.size, stdout);
 *     else if (report.error.message != NULL)
 *         fprintf(stderr, "%s %s\n", report.error.message, report.error.at);
 *     stdbox_report_free(&report);
 *     stdbox_job_free(job);
 *
 * Needs Linux 5.15, C99 and nothing else; copy stdbox.h and stdbox.c. All functions may be called from several threads at
 * once, each with a job and a report of its own. What the fields of job and report mean stands in schema/job.json and
 * schema/report.json.
 */
#ifndef STDBOX_H
#define STDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What became of a call. Whatever the job did, invalid jobs included, it is STDBOX_OK if there is a report of it. */
typedef enum {
    STDBOX_OK = 0,
    STDBOX_OUT_OF_MEMORY,
    STDBOX_BAD_ARGUMENT, /* the job cannot be written: a null pointer, or a raw value that is not JSON */
    STDBOX_NOT_STARTED,  /* the stdbox binary cannot be executed; `errnum` says why */
    STDBOX_SYSTEM_ERROR, /* a system call of the caller's side failed: `errnum` */
    STDBOX_NO_REPORT,    /* stdbox was killed or could not write its report: `wait_status` */
    STDBOX_BAD_REPORT,   /* what it wrote is no report of version 1 */
    STDBOX_TIMED_OUT,    /* stdbox was told to stop after options.timeout_ms; the report is filled in if one came */
    STDBOX_CANCELLED     /* stdbox was told to stop by options.cancel; likewise */
} stdbox_error;

/* One plain sentence. */
const char *stdbox_error_text(stdbox_error error);

/* ---- The job. A failure while it is built (memory, say) is kept and returned by stdbox_run. ---- */

typedef struct stdbox_job stdbox_job;

typedef enum { STDBOX_HIDDEN, STDBOX_READ_ONLY, STDBOX_OVERLAY, STDBOX_FULL_ACCESS } stdbox_mode;

typedef enum {
    STDBOX_WALL_TIME_MS,
    STDBOX_CPU_TIME_MS,
    STDBOX_MEMORY_BYTES,
    STDBOX_PROCESSES,
    STDBOX_OUTPUT_BYTES,
    STDBOX_OPEN_FILES,
    STDBOX_FILE_SIZE_BYTES,
    STDBOX_STACK_BYTES,
    STDBOX_ADDRESS_SPACE_BYTES,
    STDBOX_CORE_BYTES,
    STDBOX_GRACE_MS
} stdbox_limit;

typedef enum { STDBOX_STDOUT, STDBOX_STDERR } stdbox_stream;

stdbox_job *stdbox_job_new(void); /* NULL if there is no memory; everything below takes that too */
void stdbox_job_free(stdbox_job *job);

/* Strings are copied. Arguments and paths need not be UTF-8. */
void stdbox_job_arg(stdbox_job *job, const char *argument);               /* one more element of argv */
void stdbox_job_args(stdbox_job *job, const char *const *arguments);      /* several, up to a NULL */
void stdbox_job_id(stdbox_job *job, const char *id);
void stdbox_job_cwd(stdbox_job *job, const char *directory);
void stdbox_job_root(stdbox_job *job, const char *directory);
void stdbox_job_directory(stdbox_job *job, const char *path, stdbox_mode mode);
void stdbox_job_limit(stdbox_job *job, stdbox_limit limit, uint64_t value);
void stdbox_job_env_inherit(stdbox_job *job, bool inherit);
void stdbox_job_env_set(stdbox_job *job, const char *name, const char *value); /* the name must be UTF-8 */
void stdbox_job_env_unset(stdbox_job *job, const char *name);
void stdbox_job_network_host(stdbox_job *job);
void stdbox_job_results(stdbox_job *job, const char *directory, const char *const *patterns); /* patterns up to a NULL */

/* Standard streams: nothing and capture unless said otherwise. A descriptor is passed on as it is, close-on-exec or not. */
void stdbox_job_stdin_bytes(stdbox_job *job, const void *data, size_t size);
void stdbox_job_stdin_file(stdbox_job *job, const char *path);
void stdbox_job_stdin_fd(stdbox_job *job, int fd);
void stdbox_job_capture(stdbox_job *job, stdbox_stream stream, uint64_t max_bytes);
void stdbox_job_output_file(stdbox_job *job, stdbox_stream stream, const char *path, bool append);
void stdbox_job_output_fd(stdbox_job *job, stdbox_stream stream, int fd);
void stdbox_job_output_null(stdbox_job *job, stdbox_stream stream);
void stdbox_job_merge_output(stdbox_job *job); /* standard error goes where standard output goes */

void stdbox_job_keep_fd(stdbox_job *job, int fd); /* the target has it under the same number */
void stdbox_job_pass_fd(stdbox_job *job, int fd); /* stdbox itself has it, for a raw field that names it (sync) */

/* Any other field, as JSON: stdbox_job_raw(job, "seccomp", "\"strict\""). */
void stdbox_job_raw(stdbox_job *job, const char *field, const char *json);

/* The job as JSON, to store it or send it elsewhere; NULL if building it failed. To be freed. */
char *stdbox_job_json(const stdbox_job *job, size_t *size);

/* ---- The report ---- */

typedef enum {
    STDBOX_NO_OUTCOME, /* there is no report */
    STDBOX_EXITED,
    STDBOX_SIGNALED,
    STDBOX_LIMIT_EXCEEDED,
    STDBOX_JOB_CANCELLED,
    STDBOX_SETUP_FAILED,
    STDBOX_INVALID_JOB,
    STDBOX_VALID
} stdbox_outcome;

typedef enum {
    STDBOX_NO_LIMIT,
    STDBOX_LIMIT_WALL_TIME,
    STDBOX_LIMIT_CPU_TIME,
    STDBOX_LIMIT_MEMORY,
    STDBOX_LIMIT_PROCESSES,
    STDBOX_LIMIT_OUTPUT
} stdbox_exceeded;

/* A NUL follows the bytes, and is not counted; `data` is NULL where the report says null. */
typedef struct {
    const char *data;
    size_t size;
} stdbox_bytes;

typedef struct {
    const char *data; /* what was kept; NULL if the stream was not captured */
    size_t size;
    int64_t written; /* how much the target wrote */
    bool truncated;
} stdbox_captured;

/* Strings are NULL, and errnum is 0, where the report says null. */
typedef struct {
    const char *code, *stage, *operation, *path;
    int errnum;
    const char *errno_name, *message, *hint, *at;
} stdbox_job_error;

typedef struct {
    const char *code, *path, *message;
} stdbox_notice;

typedef struct {
    const char *path;
    int64_t bytes;
} stdbox_result;

/* -1 where the report says null. */
typedef struct {
    int64_t wall_ns, cpu_user_ns, cpu_system_ns, max_rss_bytes, minor_faults, major_faults, voluntary_switches,
        involuntary_switches, block_reads, block_writes, memory_peak_bytes, processes_peak, throttled_ns, io_read_bytes,
        io_write_bytes, scratch_bytes;
} stdbox_usage;

typedef struct {
    stdbox_outcome outcome;
    stdbox_exceeded limit;
    int exit_code;          /* -1 if the target did not end by itself */
    int signal;             /* 0 if no signal ended it */
    stdbox_job_error error; /* `code` is NULL if nothing went wrong on stdbox's side */
    stdbox_usage usage;
    stdbox_bytes id;
    stdbox_captured out, err;
    stdbox_result *results;
    size_t result_count;
    stdbox_notice *warnings, *degraded;
    size_t warning_count, degraded_count;
    const char *json; /* the report as it was written, for whatever is not above */
    size_t json_size;

    int errnum;      /* with STDBOX_NOT_STARTED and STDBOX_SYSTEM_ERROR */
    int wait_status; /* of stdbox itself, see waitpid(2); -1 if something else in this program waited for it */

    char *text; /* holds the strings above */
} stdbox_report;

/* To be called after stdbox_run, stdbox_wait or stdbox_report_read, whatever they returned. */
void stdbox_report_free(stdbox_report *report);

/* Reads one report from memory (one line of a file of reports, say); `report` is overwritten. */
stdbox_error stdbox_report_read(const void *json, size_t size, stdbox_report *report);

/* ---- Running ---- */

/* A handle by which another thread or a signal handler ends jobs; one can end several, and once used it stays so. */
typedef struct {
    int fd;
} stdbox_canceller;

stdbox_error stdbox_canceller_open(stdbox_canceller *canceller);
void stdbox_cancel(const stdbox_canceller *canceller); /* may be called in a signal handler; keeps errno */
void stdbox_canceller_close(stdbox_canceller *canceller);

typedef struct {
    const char *program;            /* the binary; NULL: stdbox, looked up in PATH */
    uint64_t timeout_ms;            /* end the job after this long, whatever state it is in; 0: never. A limit is better: STDBOX_WALL_TIME_MS */
    const stdbox_canceller *cancel; /* or NULL */
} stdbox_options;

/* Runs the job to its end. The calling thread waits; other threads are not disturbed. If it dies, the job is ended too. `options` may be NULL. */
stdbox_error stdbox_run(const stdbox_options *options, const stdbox_job *job, stdbox_report *report);

/* The same in two steps, for a caller that feeds the job's pipes in between. After stdbox_start close your copies of the ends
 * that the job has. stdbox_wait must be called once, by the same thread, after a stdbox_start that returned STDBOX_OK;
 * `options.cancel` must live as long. */
typedef struct {
    int pid, pidfd, report_fd;
    uint64_t deadline_ns, patience_ns;
    int cancel_fd;
} stdbox_process;

stdbox_error stdbox_start(const stdbox_options *options, const stdbox_job *job, stdbox_process *process, int *errnum);
stdbox_error stdbox_wait(stdbox_process *process, stdbox_report *report);

#ifdef __cplusplus
}
#endif
#endif
