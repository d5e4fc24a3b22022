"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const { createHash, randomBytes } = require("node:crypto");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { PassThrough, Readable, Writable } = require("node:stream");
const { test } = require("node:test");
const { setTimeout: sleep } = require("node:timers/promises");
const { eventually, job, longSleep, shell, sleepers, stdbox } = require("./support.js");
const { output, run, start } = require("../index.js");

const MANY = 100;

function folder(t) {
  const made = fs.mkdtempSync(path.join(os.tmpdir(), "stdbox node "));
  t.after(() => fs.rmSync(made, { recursive: true }));
  return made;
}

function hashing() {
  const hash = createHash("sha256");
  let bytes = 0;
  const sink = new Writable({
    write(chunk, _, done) {
      hash.update(chunk);
      bytes += chunk.length;
      done();
    },
  });
  return { sink, sum: () => `${bytes} ${hash.digest("hex")}` };
}

test("a hundred mebibytes on every stream at once beside a large job", async () => {
  const block = randomBytes(2 ** 20);
  const sent = createHash("sha256");
  const source = Readable.from(
    (function* () {
      for (let i = 0; i < MANY; i += 1) {
        sent.update(block);
        yield block;
      }
    })(),
  );
  const [out, err] = [hashing(), hashing()];
  const large = { argv: ["sh", "-c", "tee /tmp/copy; cat /tmp/copy >&2"], cwd: "/" };
  large.mounts = [{ type: "file", target: "/tmp/fill", text: "x".repeat(5 * 2 ** 20) }];
  const report = await run(large, { stdbox, stdin: source, stdout: out.sink, stderr: err.sink });
  assert.equal(report.exit_code, 0);
  const wanted = `${MANY * 2 ** 20} ${sent.digest("hex")}`;
  assert.deepEqual([out.sum(), err.sum()], [wanted, wanted]);
});

test("pipes are streams of the running job", async () => {
  const running = start(shell("cat; echo err >&2"), { stdbox, stdin: "pipe", stdout: "pipe", stderr: "pipe" });
  running.stdin.end("through");
  const texts = await Promise.all([running.stdout, running.stderr].map((stream) => stream.toArray()));
  assert.deepEqual(texts.map((chunks) => Buffer.concat(chunks).toString()), ["through", "err\n"]);
  const report = await running.report;
  assert.deepEqual([report.exit_code, report.stdout, report.stderr], [0, null, null]);
});

test("files are used by the command itself", async (t) => {
  const file = path.join(folder(t), "file");
  fs.writeFileSync(file, "head\nrest\n");
  const source = fs.openSync(file, "r");
  const sink = fs.openSync(`${file}.out`, "w+");
  try {
    fs.readSync(source, Buffer.alloc(5));
    await run(shell("cat; echo error >&2"), { stdbox, stdin: source, stdout: sink, stderr: sink });
    assert.equal(fs.readFileSync(`${file}.out`, "utf8"), "rest\nerror\n");
  } finally {
    fs.closeSync(source);
    fs.closeSync(sink);
  }
});

test("file streams end with the job", async (t) => {
  const file = path.join(folder(t), "file");
  fs.writeFileSync(file, "x".repeat(200_000));
  const sink = fs.createWriteStream(`${file}.out`);
  await run(job("cat"), { stdbox, stdin: fs.createReadStream(file), stdout: sink });
  assert(sink.writableFinished);
  assert.equal(fs.readFileSync(`${file}.out`, "utf8"), "x".repeat(200_000));
});

test("a stream stands in one place, and is one", async () => {
  await assert.rejects(run({ ...job("true"), stdin: "null" }, { stdbox, stdin: "ignore" }), /stdin is given twice/);
  await assert.rejects(run(job("true"), { stdbox, stdin: "pipe" }), /use start\(\)/);
  for (const wrong of [-1, "inherit", {}, process.stdin.read.bind(process.stdin), null]) {
    await assert.rejects(run(job("true"), { stdbox, stdout: wrong }), /stdout: is no descriptor, no stream/);
  }
});

test("a command that does not read its input ends neither the program nor the call", async () => {
  const endless = () => new Readable({ read() { this.push(Buffer.alloc(65536)); } });
  assert.equal((await run(job("true"), { stdbox, stdin: endless() })).exit_code, 0);
  assert.equal((await run(shell("exec 0<&-; sleep 0.3; echo done"), { stdbox, stdin: endless() })).exit_code, 0);
  // Of which nothing ever comes.
  const silent = new PassThrough();
  assert.equal((await run(job("true"), { stdbox, stdin: silent })).exit_code, 0);
  assert(silent.destroyed);
  await assert.rejects(run(job("/nonesuch"), { stdbox, stdin: endless() }), { code: "command-not-found" });
  const running = start(job("true"), { stdbox, stdin: "pipe" });
  await running.report;
  running.stdin.write(Buffer.alloc(2 ** 20));
  await sleep(50);
});

test("a stream that fails ends the job", async () => {
  const failing = new Readable({ read() { this.destroy(new Error("the disk is gone")); } });
  const seconds = longSleep();
  await assert.rejects(run(job("sleep", seconds), { stdbox, stdin: failing }), /the disk is gone/);
  assert.deepEqual(sleepers(seconds), []);
  const cut = new Readable({ read() { this.destroy(); } });
  await assert.rejects(run(job("sleep", seconds), { stdbox, stdin: cut }), { code: "ERR_STREAM_PREMATURE_CLOSE" });
  const full = new Writable({ write: (_chunk, _encoding, done) => done(new Error("no space left")) });
  await assert.rejects(run(shell(`echo text; exec sleep ${seconds}`), { stdbox, stdout: full }), /no space left/);
  assert.deepEqual(sleepers(seconds), []);
});

test("whoever cancels does not wait for a stream that takes no more", { timeout: 60_000 }, async () => {
  const stuck = new Writable({ highWaterMark: 1, write() {} });
  const endless = shell("exec cat /dev/zero");
  await assert.rejects(run(endless, { stdbox, stdout: stuck, timeoutMs: 500 }), { name: "TimedOut" });
  assert(stuck.destroyed);
});

test("descriptors that nobody named do not reach the command", async () => {
  const file = fs.openSync("/dev/null", "r");
  try {
    // 3 is the directory that ls reads.
    assert.equal(output((await run(job("ls", "/proc/self/fd"), { stdbox })).stdout).toString(), "0\n1\n2\n3\n");
  } finally {
    fs.closeSync(file);
  }
});

test("descriptors that the job names keep their numbers", async (t) => {
  const file = path.join(folder(t), "file");
  const kept = fs.openSync(file, "a");
  try {
    const script = `echo kept > /proc/self/fd/${kept}; echo out; echo err >&2`;
    const report = await run(shell(script, { fds: [kept], stderr: { fd: kept } }), { stdbox });
    assert.equal(fs.readFileSync(file, "utf8"), "kept\nerr\n");
    assert.equal(output(report.stdout).toString(), "out\n");
  } finally {
    fs.closeSync(kept);
  }
});

test("events and the answers to them go through descriptors of the caller", async (t) => {
  const file = path.join(folder(t), "file");
  fs.writeFileSync(file, "continue\ncontinue\n");
  const [events, control] = [fs.openSync(`${file}.events`, "a"), fs.openSync(file, "r")];
  try {
    const sync = { events_fd: events, control_fd: control, pause_before_exec: true, pause_after_exit: true };
    assert.equal((await run(shell("exit 3", { sync }), { stdbox })).exit_code, 3);
    const lines = fs.readFileSync(`${file}.events`, "utf8").trimEnd().split("\n");
    assert.deepEqual(lines.map((line) => JSON.parse(line).event), ["ready", "exited"]);
  } finally {
    fs.closeSync(events);
    fs.closeSync(control);
  }
});

test("a number that is not open is refused, and never one of the client's own", async () => {
  const free = fs.openSync("/dev/null", "r");
  fs.closeSync(free);
  for (let number = free; number < free + 8; number += 1) {
    for (const fields of [{ fds: [number] }, { stdout: { fd: number } }, { stdin: { fd: number } }]) {
      if (fs.existsSync(`/proc/self/fd/${number}`)) continue;
      await assert.rejects(run({ ...job("true"), ...fields }, { stdbox }), { code: "bad-descriptor" });
    }
  }
  for (const fds of [[-1], [1.5], ["3"], 7, null, [null]]) {
    await assert.rejects(run({ ...job("true"), fds }, { stdbox }), (error) => error.at.startsWith("/fds"));
  }
});

test("inherit is this program's own stream", async () => {
  const program = `
    const { output, run } = require(${JSON.stringify(require.resolve("../index.js"))});
    const stdbox = process.env.STDBOX_BIN;
    (async () => {
      const report = await run({ argv: ["sh", "-c", "cat; echo err >&2"], cwd: "/", stdin: "inherit", stdout: "inherit" }, { stdbox });
      console.log(output(report.stderr).toString());
      await run({ argv: ["echo", "crossed"], cwd: "/", stdout: { fd: 2 } }, { stdbox });
    })();`;
  const child = spawn(process.execPath, ["-e", program], { stdio: "pipe" });
  child.stdin.end("through\n");
  const texts = await Promise.all([child.stdout, child.stderr].map((stream) => stream.toArray()));
  assert.deepEqual(texts.map((chunks) => Buffer.concat(chunks).toString()), ["through\nerr\n\n", "crossed\n"]);
});

test("a program that ends cancels its jobs", async () => {
  const seconds = longSleep();
  const program = `
    const { start } = require(${JSON.stringify(require.resolve("../index.js"))});
    start({ argv: ["sleep", process.argv[1]], cwd: "/" }, { stdbox: process.env.STDBOX_BIN });
    process.stdin.once("data", () => process.exit(0));`;
  const child = spawn(process.execPath, ["-e", program, seconds], { stdio: ["pipe", "inherit", "inherit"] });
  assert(await eventually(() => sleepers(seconds).length >= 2));
  child.stdin.write("x");
  assert(await eventually(() => sleepers(seconds).length === 0));
});
