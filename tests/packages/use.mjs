// The same module, imported.
import assert from "node:assert";
import { output, run } from "stdbox";

const report = await run({ argv: ["echo", "imported"], cwd: "/" });
assert.strictEqual(output(report.stdout).toString(), "imported\n");
