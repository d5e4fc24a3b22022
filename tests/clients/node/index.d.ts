// What index.js gives. Jobs and reports are described in types.d.ts.

import type { Readable, Writable } from "node:stream";
import type { Base64, Captured, ErrorCode, Error as ReportedError, Job, Path, Report } from "./types";

export * from "./types";

export interface Options {
  /** The stdbox to start. Default: the one that is packaged with this module, else the one in PATH. */
  stdbox?: string | undefined;
  /**
   * The command's standard input, in place of the job's field: a descriptor, which the command gets itself, or a stream,
   * which is read by this program. A stream that the command does not read to its end is destroyed. "ignore" is /dev/null.
   */
  stdin?: number | Readable | "ignore" | undefined;
  /** The same for standard output; a stream is ended with it, or destroyed if the job is cancelled. */
  stdout?: number | Writable | "ignore" | undefined;
  /** The same for standard error. */
  stderr?: number | Writable | "ignore" | undefined;
}

export interface RunOptions extends Options {
  /**
   * Cancels the job; the promise is rejected with Cancelled when nothing is left of it. One that is aborted already starts
   * nothing.
   */
  signal?: AbortSignal | undefined;
  /**
   * Cancels the job after this time; the promise is rejected with TimedOut. What stdbox then needs, for limits.grace_ms and
   * results, comes on top. (limits.wall_time_ms lets stdbox do it, and is a report.)
   */
  timeoutMs?: number | undefined;
  /** Rejects with CommandFailed for any end but exit status 0. */
  check?: boolean | undefined;
}

export interface StartOptions {
  /** As for run(). */
  stdbox?: string | undefined;
  /** As for run(), or "pipe": then it is a stream of Running. */
  stdin?: number | Readable | "ignore" | "pipe" | undefined;
  stdout?: number | Writable | "ignore" | "pipe" | undefined;
  stderr?: number | Writable | "ignore" | "pipe" | undefined;
}

/**
 * Runs a job. Rejects with JobError if it was refused or its container could not be made, NotFound or ProtocolError if
 * there is no working stdbox, and the error of a stream that was given, where that failed; the job is cancelled then.
 *
 * Descriptors that the job names (`fds`, {fd: n}, `sync`) are passed on under their numbers, and no others.
 */
export function run(job: Job, options?: RunOptions): Promise<Report>;

/** Starts a job. */
export function start(job: Job, options?: StartOptions): Running;

/** Checks a job without running it, and gives it with all defaults filled in. Rejects with JobError. */
export function check(job: Job, options?: { stdbox?: string | undefined }): Promise<Job>;

/** A path, argument or value of a variable as a job has it: a string if it is UTF-8, else an object with base64. */
export function encode(value: string | NodeJS.ArrayBufferView): string | Base64;

/** The bytes of a path or argument in a job or report. */
export function decode(value: Path): Buffer;

/** What was kept of a captured stream: the report's `stdout` or `stderr`. */
export function output(captured: Captured | null): Buffer;

/** A job that has been started; it is cancelled when this program ends. */
export class Running {
  private constructor();
  /** stdbox's process id; undefined if it could not be started. */
  readonly pid: number | undefined;
  /** The other end of what was given as "pipe", else null. */
  readonly stdin: Writable | null;
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
  /** Settled when the job has ended, as the promise of run(). Read what is a "pipe": the command waits for it. */
  readonly report: Promise<Report>;
  /**
   * Tells stdbox to end the job, after limits.grace_ms if it has that; then the report's outcome is `cancelled`. Before stdbox
   * has read the job there is no report, and the promise is rejected with Cancelled.
   */
  cancel(): void;
  /** Ends stdbox and the job at once; there is no report then. */
  kill(): void;
}

/** What can go wrong here; what a command does is not among it. */
export class StdboxError extends Error {}

/** There is no stdbox to start. */
export class NotFound extends StdboxError {}

/** stdbox ended without a report; it was killed, say. */
export class ProtocolError extends StdboxError {}

/** The job was refused, or its container could not be made; the command did not run. */
export class JobError extends StdboxError {
  readonly report: Report;
  readonly code: ErrorCode;
  readonly stage: ReportedError["stage"];
  /** JSON pointer to the field that caused it. */
  readonly at: string | null;
  readonly path: Path | null;
  readonly hint: string | null;
}

/** With `check: true`: the command did not end by itself with status 0. */
export class CommandFailed extends StdboxError {
  readonly report: Report;
}

/** The caller's own time was over: the job was cancelled. The report is null if stdbox had not read the job yet. */
export class TimedOut extends StdboxError {
  readonly report: Report | null;
  readonly timeoutMs: number;
}

/** The job was cancelled; `cause` is the reason of the caller's signal. The report is null if nothing had been begun. */
export class Cancelled extends StdboxError {
  readonly name: "AbortError";
  readonly code: "ABORT_ERR";
  readonly report: Report | null;
}
