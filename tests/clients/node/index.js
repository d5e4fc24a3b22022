/**
 * Runs commands in containers: one job in, one report out.
 *
 *     const { run, output } = require("stdbox"); // or: import { run, output } from "stdbox"
 *
 *     const report = await run({ argv: ["make", "test"], cwd: "/home/me/project" }, { timeoutMs: 600_000 });
 *     console.log(report.outcome, report.exit_code, output(report.stdout).toString());
 *
 * What the command did is in the report and no error, unless `check: true` asks for one. What the functions take and give is
 * described in index.d.ts.
 */
"use strict";

const { spawn } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const { pipeline } = require("node:stream");

const STREAMS = ["stdin", "stdout", "stderr"];
const MOST_MILLISECONDS = 2 ** 31 - 1;
const DEEPEST = 64;

class StdboxError extends Error {
  constructor(message, options) {
    super(message, options);
    this.name = new.target.name;
  }
}

class NotFound extends StdboxError {}

class ProtocolError extends StdboxError {}

class JobError extends StdboxError {
  constructor(report) {
    const { code, stage, at, path, hint, message } = report.error;
    const parts = [at ? `${code} (at ${at}): ${message}` : `${code}: ${message}`];
    if (path !== null) parts[0] += ` [${decode(path)}]`;
    if (hint !== null) parts.push(hint);
    super(parts.join(" "));
    Object.assign(this, { report, code, stage, at, path, hint });
  }
}

class CommandFailed extends StdboxError {
  constructor(report) {
    const { outcome, limit, signal, exit_code: status } = report;
    super(
      limit
        ? `the command was ended for its limit ${limit}`
        : signal
          ? `the command was ended by signal ${signal} (${outcome})`
          : `the command ended with status ${status} (${outcome})`,
    );
    this.report = report;
  }
}

class TimedOut extends StdboxError {
  constructor(report, timeoutMs) {
    super(`the job was cancelled after ${timeoutMs} ms`);
    this.report = report;
    this.timeoutMs = timeoutMs;
  }
}

class Cancelled extends StdboxError {
  constructor(report, reason) {
    super(report ? "the job was cancelled" : "the job was cancelled before it was begun", { cause: reason });
    // What programs look at to tell an abort from a failure.
    this.name = "AbortError";
    this.code = "ABORT_ERR";
    this.report = report;
  }
}

/** Jobs whose stdbox still runs. */
const unfinished = new Set();

process.on("exit", () => {
  for (const running of unfinished) running.cancel();
});

class Running {
  #child;
  #fault;
  #stopped = false;

  constructor(command, job, options) {
    const { fields, stdio, pipes } = streams(job, options);
    const named = descriptors(fields);
    for (const number of named) {
      // One that is not open is stdbox's to report.
      if (stdio[number] === undefined && isOpen(number)) stdio[number] = number;
    }
    const free = (number) => {
      while (stdio[number] !== undefined) number += 1;
      return number;
    };
    const spec = free(3);
    const report = free(spec + 1);
    stdio[spec] = stdio[report] = "pipe";
    // stdbox's own complaints, where the job has no other use for standard error.
    const complains = stdio[2] === undefined && !named.has(2);
    if (complains) stdio[2] = "pipe";
    const text = serialise(fields, "", 0);
    const program = options.stdbox ?? packaged() ?? "stdbox";

    this.stdin = this.stdout = this.stderr = null;
    const words = [command, `--spec-fd=${spec}`, `--report-fd=${report}`];
    let child;
    try {
      child = spawn(program, words, { stdio: Array.from(stdio, (place) => place ?? "ignore") });
    } catch (error) {
      // Node throws some of the system's errors, and tells others by an event.
      if (error.syscall === undefined) throw error;
      this.report = Promise.reject(notStarted(program, error));
      this.report.catch(() => {});
      return;
    }
    this.#child = child;
    this.pid = child.pid;
    // Where stdbox cannot be started there may be no streams at all.
    const ends = child.stdio ?? [];
    // An end that the other side closed is no failure of this program: the report says what happened.
    for (const end of ends) end?.on("error", () => {});
    for (const [number, name] of STREAMS.entries()) {
      if (pipes[number] === "pipe") this[name] = ends[number] ?? null;
    }
    ends[spec]?.end(text);

    unfinished.add(this);
    this.report = Promise.all([
      new Promise((resolve, reject) => {
        child.on("exit", (status, signal) => {
          // Who cancels does not wait for a stream that takes no more.
          if (this.#stopped) for (const [number, pipe] of pipes.entries()) if (typeof pipe === "object") ends[number].destroy();
          resolve(signal ?? status);
        });
        child.on("error", (error) => (this.pid === undefined ? reject(notStarted(program, error)) : undefined));
      }),
      collect(ends[report]),
      collect(complains ? ends[2] : undefined),
      ...pipes.map((pipe, number) => this.#connect(pipe, ends[number], number)),
    ])
      .then(([status, report, complaint]) => {
        if (this.#fault) throw this.#fault;
        // Until stdbox has read the job, a signal just ends it.
        if (this.#stopped && status === "SIGTERM") throw new Cancelled(null, undefined);
        return parse(status, report, complaint);
      })
      .finally(() => unfinished.delete(this));
    // Whoever does not ask for the report is not to be stopped by what is in it.
    this.report.catch(() => {});
  }

  cancel() {
    this.#stop("SIGTERM");
  }

  kill() {
    this.#stop("SIGKILL");
  }

  #stop(signal) {
    this.#stopped = this.#child?.kill(signal) || this.#stopped;
  }

  /** Moves the data of a stream that the caller gave; ends when all of it has arrived. */
  #connect(stream, end, number) {
    if (stream === undefined || stream === "pipe" || end === undefined) return undefined;
    return new Promise((resolve) => {
      const [source, sink] = number === 0 ? [stream, end] : [end, stream];
      pipeline(source, sink, (error) => {
        // A command need not read all of its input.
        const over = this.#child.exitCode !== null || this.#child.signalCode !== null;
        const unread = number === 0 && (["EPIPE", "ECONNRESET"].includes(error?.code) || over);
        if (error && !unread && !this.#stopped) {
          this.#fault ??= error;
          this.cancel();
        }
        resolve();
      });
    });
  }
}

function start(job, options = {}) {
  return new Running("run", job, options);
}

async function run(job, options = {}) {
  const { signal, timeoutMs = Infinity, check: strict = false, ...rest } = options;
  const inRange = timeoutMs === Infinity || (timeoutMs >= 0 && timeoutMs <= MOST_MILLISECONDS);
  if (typeof timeoutMs !== "number" || !inRange) {
    throw new RangeError(`timeoutMs: ${timeoutMs} is not between 0 and ${MOST_MILLISECONDS}`);
  }
  for (const name of STREAMS) {
    if (rest[name] === "pipe") throw new TypeError(`${name}: nobody could use a pipe while run() waits; use start()`);
  }
  if (signal?.aborted) throw new Cancelled(null, signal.reason);
  const running = start(job, rest);
  let late = false;
  const cancel = () => running.cancel();
  const timer =
    timeoutMs === Infinity
      ? undefined
      : setTimeout(() => {
          late = true;
          running.cancel();
        }, timeoutMs);
  signal?.addEventListener("abort", cancel);
  try {
    const report = await running.report.catch((error) => {
      if (error instanceof Cancelled) return null;
      throw error;
    });
    // A job that ended by itself just then has its own outcome.
    if (report === null || report.outcome === "cancelled") {
      if (late) throw new TimedOut(report, timeoutMs);
      if (report === null || signal?.aborted) throw new Cancelled(report, signal?.reason);
    }
    if (strict && !(report.outcome === "exited" && report.exit_code === 0)) throw new CommandFailed(report);
    return report;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", cancel);
  }
}

async function check(job, options = {}) {
  return (await new Running("check", job, { stdbox: options.stdbox }).report).job;
}

function encode(value) {
  if (typeof value === "string") return value;
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  const text = bytes.toString("utf8");
  return Buffer.from(text, "utf8").equals(bytes) ? text : { base64: bytes.toString("base64") };
}

function decode(value) {
  return typeof value === "string" ? Buffer.from(value, "utf8") : Buffer.from(value.base64, "base64");
}

function output(captured) {
  if (captured === null) return Buffer.alloc(0);
  return "text" in captured ? Buffer.from(captured.text, "utf8") : Buffer.from(captured.base64, "base64");
}

/** The binary that is packaged with this module. */
function packaged() {
  const file = path.join(__dirname, "bin", "stdbox");
  return fs.existsSync(file) ? file : undefined;
}

/** The job with the caller's streams in place of its own, what spawn() needs for them, and what else is to be done. */
function streams(job, options) {
  const fields = { ...job };
  const stdio = [];
  const pipes = STREAMS.map((name, number) => {
    const stream = options[name];
    if (stream === undefined) return undefined;
    if (fields[name] !== undefined) throw new TypeError(`${name} is given twice: as an option and as a field of the job`);
    fields[name] = "inherit";
    if (stream === "ignore" || (Number.isInteger(stream) && stream >= 0)) {
      stdio[number] = stream;
      return undefined;
    }
    if (stream !== "pipe" && typeof stream?.[number === 0 ? "read" : "write"] !== "function") {
      throw new TypeError(`${name}: is no descriptor, no stream of the right direction, and neither "pipe" nor "ignore"`);
    }
    stdio[number] = "pipe";
    return stream;
  });
  return { fields, stdio, pipes };
}

/** The descriptors that a job names; what is wrong with them is stdbox's to say. */
function descriptors(job) {
  const named = [...(Array.isArray(job.fds) ? job.fds : []), job.sync?.events_fd, job.sync?.control_fd];
  for (const [number, name] of STREAMS.entries()) {
    named.push(job[name] === "inherit" ? number : job[name]?.fd);
  }
  return new Set(named.filter((number) => Number.isInteger(number) && number >= 0));
}

function isOpen(number) {
  try {
    fs.fstatSync(number);
    return true;
  } catch {
    return false;
  }
}

/**
 * A value as JSON. JSON.stringify would round large numbers, take a Buffer for an object and write half a character as an
 * escape that is none; a sandbox is not to be given another job than was meant.
 */
function serialise(value, at, depth) {
  if (depth > DEEPEST) throw new RangeError(`${at}: is nested more than ${DEEPEST} deep`);
  switch (typeof value) {
    case "string":
      if (/\p{Surrogate}/u.test(value)) throw new TypeError(`${at}: is half of a character; encode() writes bytes as base64`);
      return JSON.stringify(value);
    case "number":
      if (!Number.isFinite(value)) throw new RangeError(`${at}: ${value} is no number of JSON`);
      if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
        throw new RangeError(`${at}: ${value} is not exact; write it as a BigInt`);
      }
      return JSON.stringify(value);
    case "bigint":
      return String(value);
    case "boolean":
      return String(value);
    case "object":
      break;
    default:
      throw new TypeError(`${at}: ${typeof value} is no value of JSON`);
  }
  if (value === null) return "null";
  if (Array.isArray(value)) {
    return `[${Array.from(value, (item, index) => serialise(item, `${at}/${index}`, depth + 1)).join(",")}]`;
  }
  if (ArrayBuffer.isView(value)) throw new TypeError(`${at}: bytes are no value of JSON; encode() makes one`);
  const fields = Object.entries(value).filter(([, inner]) => inner !== undefined);
  return `{${fields.map(([key, inner]) => `${serialise(key, `${at}/${key}`, depth)}:${serialise(inner, `${at}/${key}`, depth + 1)}`).join(",")}}`;
}

/** All the bytes that a stream gives until its end. */
function collect(stream) {
  if (!stream) return Buffer.alloc(0);
  return new Promise((resolve) => {
    const chunks = [];
    stream.on("data", (chunk) => chunks.push(chunk));
    stream.on("close", () => resolve(Buffer.concat(chunks)));
  });
}

function notStarted(program, error) {
  const missing = ["ENOENT", "ENOTDIR", "EACCES", "ENOEXEC"].includes(error.code);
  return new (missing ? NotFound : StdboxError)(`${program} cannot be started: ${error.code}`, { cause: error });
}

/** What stdbox wrote, or the error that it stands for. */
function parse(status, bytes, complaint) {
  // Here and not where they arrive: a report can be too long for a string, and that is this job's error then.
  const text = bytes.toString("utf8");
  let report;
  try {
    report = JSON.parse(text);
  } catch {
    report = null;
  }
  if (typeof report?.outcome !== "string") {
    const how = typeof status === "string" ? `was ended by ${status}` : `ended with status ${status}`;
    throw new ProtocolError(`stdbox ${how} without a report. ${complaint}`.trim());
  }
  if (report.outcome === "invalid-job" || report.outcome === "setup-failed") throw new JobError(report);
  return report;
}

module.exports = {
  CommandFailed,
  JobError,
  NotFound,
  ProtocolError,
  Cancelled,
  Running,
  StdboxError,
  TimedOut,
  check,
  decode,
  encode,
  output,
  run,
  start,
};
