"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const { once } = require("node:events");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { test } = require("node:test");
const { setTimeout: sleep } = require("node:timers/promises");
const { descriptors, eventually, job, longSleep, shell, sleepers, stdbox } = require("./support.js");
const client = require("../index.js");
const { output, run, start } = client;

test("the caller's time-out cancels and keeps what there is", async () => {
  const seconds = longSleep();
  await assert.rejects(run(shell(`echo begun; exec sleep ${seconds}`), { stdbox, timeoutMs: 500 }), (error) => {
    assert(error instanceof client.TimedOut);
    assert.deepEqual([error.name, error.message, error.timeoutMs], ["TimedOut", "the job was cancelled after 500 ms", 500]);
    assert.deepEqual([error.report.outcome, output(error.report.stdout).toString()], ["cancelled", "begun\n"]);
    return true;
  });
  assert.deepEqual(sleepers(seconds), []);
});

test("a time-out that did not come does not keep the program", { timeout: 60_000 }, async () => {
  const program = `
    const { run } = require(${JSON.stringify(require.resolve("../index.js"))});
    run({ argv: ["true"], cwd: "/" }, { stdbox: process.env.STDBOX_BIN, timeoutMs: 3_600_000 });`;
  const [status] = await once(spawn(process.execPath, ["-e", program], { stdio: "ignore" }), "exit");
  assert.equal(status, 0);
});

test("the job's own time limit is something else", async () => {
  const report = await run({ ...job("sleep", "60"), limits: { wall_time_ms: 100 } }, { stdbox, timeoutMs: 60_000 });
  assert.deepEqual([report.outcome, report.limit], ["limit-exceeded", "wall-time"]);
});

test("a time-out that comes before stdbox has read the job is one", async () => {
  for (const timeoutMs of [0, 1, 2, 3]) {
    await assert.rejects(run(job("sleep", "60"), { stdbox, timeoutMs }), { name: "TimedOut", timeoutMs });
  }
});

test("a time that no timer can have is refused", async () => {
  for (const timeoutMs of [-1, NaN, 2 ** 31, "5"]) {
    await assert.rejects(run(job("true"), { stdbox, timeoutMs }), RangeError);
  }
});

test("a signal that is aborted already starts nothing", async () => {
  const reason = new Error("changed my mind");
  await assert.rejects(run(job("true"), { stdbox: "/nonesuch", signal: AbortSignal.abort(reason) }), (error) => {
    assert(error instanceof client.Cancelled && error instanceof client.StdboxError);
    assert.deepEqual([error.name, error.code, error.report, error.cause], ["AbortError", "ABORT_ERR", null, reason]);
    return true;
  });
});

test("a signal that is aborted at once, or while the job runs, cancels it", async () => {
  for (const wait of [0, 1, 5, 300]) {
    const seconds = longSleep();
    const controller = new AbortController();
    const running = run(job("sleep", seconds), { stdbox, signal: controller.signal });
    if (wait > 0) await sleep(wait);
    controller.abort();
    await assert.rejects(running, { name: "AbortError", code: "ABORT_ERR" }, `after ${wait} ms`);
    assert(await eventually(() => sleepers(seconds).length === 0));
  }
});

test("a signal that is aborted after the end changes nothing and is not held", async () => {
  const controller = new AbortController();
  let listeners = 0;
  for (const [method, count] of [["addEventListener", 1], ["removeEventListener", -1]]) {
    const original = controller.signal[method];
    controller.signal[method] = function (...words) {
      listeners += count;
      return original.apply(this, words);
    };
  }
  assert.equal((await run(job("true"), { stdbox, signal: controller.signal })).exit_code, 0);
  controller.abort();
  assert.equal(listeners, 0);
});

test("a cancelled job has a report, a killed one has none, and neither is left", async () => {
  const before = descriptors();
  const seconds = longSleep();
  const cancelled = start(job("sleep", seconds), { stdbox });
  assert(await eventually(() => sleepers(seconds).length > 0));
  cancelled.cancel();
  assert.equal((await cancelled.report).outcome, "cancelled");
  assert.deepEqual(sleepers(seconds), []);
  cancelled.cancel();
  const killed = start(job("sleep", seconds), { stdbox });
  assert(await eventually(() => sleepers(seconds).length > 0));
  killed.kill();
  await assert.rejects(killed.report, (error) => {
    assert(error instanceof client.ProtocolError);
    assert.equal(error.message, "stdbox was ended by SIGKILL without a report.");
    return true;
  });
  assert(await eventually(() => sleepers(seconds).length === 0));
  assert(await eventually(() => descriptors() === before));
});

test("an error of stdbox says what, where and how to change it", async () => {
  await assert.rejects(run({ ...job("true"), directories: { "/nonesuch": "hidden" } }, { stdbox }), (error) => {
    assert(error instanceof client.JobError);
    const { name, code, at, path: where, report } = error;
    assert.deepEqual([name, code, at, where], ["JobError", "no-such-directory", "/directories/~1nonesuch", "/nonesuch"]);
    assert.equal(report.outcome, "invalid-job");
    assert.match(error.message, /^no-such-directory \(at \/directories\/~1nonesuch\): .* \[\/nonesuch\]/);
    return true;
  });
  await assert.rejects(run(job("nonesuch"), { stdbox }), (error) => {
    assert.deepEqual([error.code, error.stage, error.at], ["command-not-found", "exec", "/argv/0"]);
    assert(error.message.endsWith(error.hint));
    return true;
  });
});

test("a program that is not there or is none", async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "stdbox node "));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  const plain = path.join(folder, "plain");
  fs.writeFileSync(plain, "");
  for (const file of [path.join(folder, "missing"), folder, plain, path.join(plain, "below")]) {
    await assert.rejects(run(job("true"), { stdbox: file }), (error) => error instanceof client.NotFound && error.message.includes(file));
    // Nobody asks for this report.
    start(job("true"), { stdbox: file, stdin: "pipe" });
  }
});

test("without a report there is an error with stdbox's own words", async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "stdbox node "));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  const program = path.join(folder, "a program");
  const cases = [
    ["echo complaint >&2; exit 3", "stdbox ended with status 3 without a report. complaint"],
    ["kill -9 $$", "stdbox was ended by SIGKILL without a report."],
    ["exit 0", "stdbox ended with status 0 without a report."],
  ];
  for (const garbage of ["{", "[]", "{}", "null", "text"]) {
    cases.push([`echo '${garbage}' >&\${3#--report-fd=}`, "stdbox ended with status 0 without a report."]);
  }
  for (const [script, message] of cases) {
    fs.writeFileSync(program, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    await assert.rejects(run(job("true"), { stdbox: program }), { name: "ProtocolError", message }, script);
  }
  // One that ends before it has read a large job.
  const large = { ...job("cat"), stdin: { text: "x".repeat(2 ** 23) } };
  await assert.rejects(run(large, { stdbox: "/bin/true" }), client.ProtocolError);
});

test("the packaged stdbox comes first, then the one in PATH", async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "stdbox node "));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  const [copied, bin] = [path.join(folder, "index.js"), path.join(folder, "path")];
  fs.copyFileSync(require.resolve("../index.js"), copied);
  fs.mkdirSync(bin);
  const copy = require(copied);
  const PATH = process.env.PATH;
  t.after(() => (process.env.PATH = PATH));
  process.env.PATH = bin;
  await assert.rejects(copy.run(job("true")), { name: "NotFound" });
  fs.copyFileSync(stdbox, path.join(bin, "stdbox"));
  process.env.PATH = `${bin}:/usr/bin:/bin`;
  assert.equal((await copy.run(job("true"))).exit_code, 0);
  fs.mkdirSync(path.join(folder, "bin"));
  fs.writeFileSync(path.join(folder, "bin", "stdbox"), "#!/bin/sh\necho packaged >&2; exit 1\n", { mode: 0o755 });
  await assert.rejects(copy.run(job("true")), /packaged/);
});
