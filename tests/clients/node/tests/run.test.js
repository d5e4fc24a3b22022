"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { descriptors, job, shell, stdbox } = require("./support.js");
const client = require("../index.js");
const { check, decode, encode, output, run } = client;

test("a report says what the command did", async () => {
  const report = await run(shell("echo out; echo err >&2; exit 3"), { stdbox });
  assert.deepEqual([report.outcome, report.exit_code], ["exited", 3]);
  assert.equal(output(report.stdout).toString(), "out\n");
  assert.equal(output(report.stderr).toString(), "err\n");
});

test("the module can be imported too", async () => {
  const imported = await import("../index.js");
  for (const name of Object.keys(client)) assert.equal(imported[name], client[name], name);
});

test("what a command does is an error only where asked for", async () => {
  const cases = [
    [shell("exit 3"), "the command ended with status 3 (exited)"],
    [shell("kill -9 $$"), "the command was ended by signal 9 (signaled)"],
    [{ ...job("sleep", "60"), limits: { wall_time_ms: 50 } }, "the command was ended for its limit wall-time"],
  ];
  for (const [failing, message] of cases) {
    const report = await run(failing, { stdbox });
    await assert.rejects(run(failing, { stdbox, check: true }), (error) => {
      assert(error instanceof client.CommandFailed && error instanceof client.StdboxError);
      assert.deepEqual([error.name, error.message, error.report.outcome], ["CommandFailed", message, report.outcome]);
      return true;
    });
  }
  assert.equal((await run(job("true"), { stdbox, check: true })).exit_code, 0);
});

test("output that is no text arrives as it was", async () => {
  const everything = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
  const octal = Array.from(everything, (byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("");
  assert.deepEqual(output((await run(job("printf", octal), { stdbox })).stdout), everything);
  assert.deepEqual(output((await run({ ...job("true"), stdout: "null" }, { stdbox })).stdout), Buffer.alloc(0));
});

test("a job of five mebibytes and a report of as much", async () => {
  const text = "0123456789abcdé\n".repeat(5 * 65536);
  const report = await run({ ...job("cat"), stdin: { text }, stdout: { capture: { max_bytes: 2 ** 24 } } }, { stdbox });
  assert(output(report.stdout).equals(Buffer.from(text)));
});

test("a job larger than stdbox takes is refused by stdbox", async () => {
  const large = { ...job("cat"), stdin: { text: "x".repeat(2 ** 24 + 1) } };
  await assert.rejects(run(large, { stdbox }), { name: "JobError", code: "too-large" });
});

test("a job is left as it was", async () => {
  const mine = Object.freeze({ ...job("cat"), id: "mine" });
  assert.equal((await run(mine, { stdbox, stdin: "ignore" })).id, "mine");
  assert.equal("stdin" in mine, false);
});

test("many calls at once get their own reports and leave no descriptors", async () => {
  const before = descriptors();
  const script = (n) => shell(`echo ${n}; echo ${n} >&2; head -c 300000 /dev/zero`, { id: String(n) });
  const reports = await Promise.all(Array.from({ length: 20 }, (_, n) => run(script(n), { stdbox })));
  for (const [n, report] of reports.entries()) {
    assert.equal(report.id, String(n));
    assert.equal(output(report.stdout).toString().split("\n")[0], String(n));
    assert.equal(output(report.stderr).toString(), `${n}\n`);
  }
  assert.equal(descriptors(), before);
});

test("a valid job comes back with its defaults, a wrong one is refused", async () => {
  const checked = await check(job("true"), { stdbox });
  assert.deepEqual([checked.argv, checked.network, checked.init], [["true"], "none", true]);
  assert.deepEqual(await check(checked, { stdbox }), checked);
  assert.equal((await check({ ...job("cat"), stdin: "inherit", stdout: "inherit" }, { stdbox })).stdin, "inherit");
  await assert.rejects(check({ ...job("true"), network: "some" }, { stdbox }), { code: "unknown-value", at: "/network" });
});

test("bytes that are not UTF-8 reach the command", async () => {
  const raw = Buffer.from([0x63, 0xe9, 0x20, 0xff]);
  for (const bytes of [raw, new Uint8Array(raw), new DataView(new Uint8Array(raw).buffer)]) {
    const argument = encode(bytes);
    assert.equal(typeof argument, "object");
    assert.deepEqual(decode(argument), raw);
    assert.deepEqual(output((await run(job("printf", "%s", argument), { stdbox })).stdout), raw);
  }
});

test("what is UTF-8 stays readable", () => {
  assert.equal(encode("é"), "é");
  assert.equal(encode(Buffer.from("é")), "é");
  // A byte order mark is three bytes like others.
  assert.deepEqual(decode(encode(Buffer.from("\ufeffa"))), Buffer.from("\ufeffa"));
  assert.deepEqual(decode("é"), Buffer.from("é"));
});

test("a value that JSON cannot have, or has inexactly, is named", async () => {
  const loop = [];
  loop.push(loop);
  const cases = [
    [{ ...job("a"), env: { set: { B: Buffer.from("c") } } }, TypeError, "/env/set/B: bytes are no value of JSON; encode() makes one"],
    [job("a", "\udcff"), TypeError, "/argv/1: is half of a character"],
    [{ ...job("a"), directories: { "/\udcff": "hidden" } }, TypeError, "/directories/"],
    [{ ...job("a"), limits: { cpus: NaN } }, RangeError, "/limits/cpus: NaN is no number of JSON"],
    [{ ...job("a"), limits: { memory_bytes: 2 ** 53 } }, RangeError, "/limits/memory_bytes: 9007199254740992 is not exact"],
    [{ ...job("a"), cwd: () => "/" }, TypeError, "/cwd: function is no value of JSON"],
    [job("a", undefined), TypeError, "/argv/1: undefined is no value of JSON"],
    [{ ...job("a"), mounts: loop }, RangeError, "is nested more than 64 deep"],
  ];
  for (const [wrong, kind, text] of cases) {
    await assert.rejects(run(wrong, { stdbox }), (error) => error instanceof kind && error.message.includes(text), text);
  }
});

test("numbers beyond those of JavaScript are written exactly", async () => {
  const rules = (value) => [{ names: ["ptrace"], action: "allow", args: [{ index: 0, op: "eq", value }] }];
  const wide = { ...job("true"), seccomp: { default_action: "allow", rules: rules(2n ** 64n - 1n) } };
  assert.equal((await run(wide, { stdbox })).exit_code, 0);
  const tooWide = { ...wide, seccomp: { default_action: "allow", rules: rules(2n ** 64n) } };
  await assert.rejects(run(tooWide, { stdbox }), { code: "out-of-range", at: "/seccomp/rules/0/args/0/value" });
  // Fields that are undefined are left out.
  assert.equal((await check({ ...job("true"), limits: { file_size_bytes: 1e15, cpus: undefined } }, { stdbox })).limits.file_size_bytes, 1e15);
});
