// What a program does with the installed module.
"use strict";

const assert = require("node:assert");
const { JobError, output, run } = require("stdbox");

assert.match(require.resolve("stdbox"), /\/stdbox-packages-/);
assert.strictEqual(require("stdbox/package.json").version, process.argv[2]);

async function main() {
  const report = await run({ argv: ["sh", "-c", "cat; exit 3"], cwd: "/", stdin: { text: "from the module\n" } });
  assert.deepStrictEqual([report.outcome, report.exit_code], ["exited", 3]);
  assert.strictEqual(output(report.stdout).toString(), "from the module\n");
  await assert.rejects(run({ argv: [] }), (error) => error instanceof JobError && error.code === "empty" && error.at === "/argv");
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
