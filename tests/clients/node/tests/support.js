// What the tests share.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const { setTimeout: sleep } = require("node:timers/promises");

const stdbox = process.env.STDBOX_BIN;
assert(stdbox, "STDBOX_BIN is not set");

const job = (...argv) => ({ argv, cwd: "/" });
const shell = (script, fields = {}) => ({ argv: ["sh", "-euc", script], cwd: "/", ...fields });

let sleeps = 0;
/** A number of seconds that nobody else sleeps for: it tells this test's processes from all others. */
const longSleep = () => `${process.pid}.${String(++sleeps).padStart(6, "0")}`;

/** Processes, inside containers or not, with this argument. */
function sleepers(seconds) {
  return fs.readdirSync("/proc").filter((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      return fs.readFileSync(`/proc/${name}/cmdline`, "latin1").split("\0").includes(seconds);
    } catch {
      return false;
    }
  });
}

async function eventually(holds, milliseconds = 20_000) {
  const end = Date.now() + milliseconds;
  while (!holds()) {
    if (Date.now() > end) return false;
    await sleep(10);
  }
  return true;
}

const descriptors = () => fs.readdirSync("/proc/self/fd").length;

module.exports = { descriptors, eventually, job, longSleep, shell, sleepers, stdbox };
