// Read by the type checker, never run: what a program in TypeScript may and may not do with the client.

import { Readable, Writable } from "node:stream";
import { Cancelled, CommandFailed, JobError, NotFound, StdboxError, TimedOut, check, decode, encode, output, run, start } from "../index.js";
import type { Job, Report } from "../index.js";

export async function right(argv: string[], controller: AbortController): Promise<string> {
  const job: Job = { argv, cwd: encode(Buffer.from("/")), directories: { "/": "read-only" }, limits: { wall_time_ms: 1000, memory_bytes: 2n ** 40n } };
  const report: Report = await run(job, { timeoutMs: 10, signal: controller.signal, check: true, stdbox: "/bin/stdbox" });
  await run({ argv: ["a", { base64: "AA==" }] }, { stdin: 0, stdout: process.stdout, stderr: "ignore" });
  await run(job, { stdin: Readable.from([]), stdout: new Writable() });
  const running = start(job, { stdin: "pipe" });
  running.stdin?.end("x");
  running.cancel();
  const again: Job = await check((await running.report).job ?? job);
  // The words of an outcome are known, and so are the two forms of captured output.
  if (report.outcome === "limit-exceeded" && report.limit === "wall-time") return "late";
  if (report.stdout !== null && "text" in report.stdout) return report.stdout.text;
  if (report.error?.code === "command-not-found") return report.error.message;
  for (const change of report.changes ?? []) decode(change.path).toString();
  return output(report.stderr).toString() + String(again.argv.length);
}

export function errors(error: unknown): string | null {
  if (error instanceof JobError) return error.code === "syntax" ? error.hint : error.at;
  if (error instanceof Cancelled) return error.report?.outcome ?? error.code;
  if (error instanceof TimedOut) return `${error.timeoutMs}${error.report?.outcome}`;
  if (error instanceof CommandFailed) return error.report.outcome;
  if (error instanceof NotFound) return error.message;
  return error instanceof StdboxError ? error.name : null;
}

export async function wrong(job: Job, report: Report): Promise<void> {
  // @ts-expect-error a job has a command
  await run({});
  // @ts-expect-error an option that does not exist
  await run(job, { timeout: 5 });
  // @ts-expect-error nobody could use the pipe
  await run(job, { stdin: "pipe" });
  // @ts-expect-error of the wrong direction
  await run(job, { stdout: new Readable() });
  // @ts-expect-error not a word of outcome
  if (report.outcome === "failed") return;
  // @ts-expect-error there may be none
  report.error.code;
  // @ts-expect-error bytes have to be encoded
  await run({ argv: [Buffer.from("a")] });
}
