"""Whole benchmarks through benchexec, as it is and on stdbox: tables, log files and result files."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from xml.etree import ElementTree

from support import EXECUTORS, SOURCE, Case, command

MEASURED = {"walltime", "cputime", "memory", "starttime", "blkio-read", "blkio-write"}
"""Columns of which every run has its own values."""

HERE = os.path.dirname(os.path.abspath(__file__))

Table = dict[str, dict[str, str]]


class Benchmarks(Case):
    def benchmark(self, kind: str, definition: str) -> tuple[Table, dict[str, list[str]]]:
        """Runs a benchmark; returns the columns of each run, and the sorted lines of each file, since a tool may shuffle."""
        output = f"{self.directory}/{kind}"
        # benchexec may leave the process behind in which it loads modules like benchmark.shelltool, with our end of a pipe.
        with tempfile.TemporaryFile("w+") as log:
            ran = subprocess.Popen(
                command(
                    kind, "benchexec", "--read-only-dir", "/", "--hidden-dir", self.directory, "--outputpath", f"{output}/",
                    "--no-compress-results", "--startTime", "2026-01-01 00:00:00", "--numOfThreads", "1", definition,
                ),
                cwd=self.directory, env={**os.environ, "PYTHONPATH": f"{os.environ['PYTHONPATH']}:{HERE}"},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
            try:
                status = ran.wait(120)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(ran.pid, signal.SIGKILL)
                ran.wait()
            log.seek(0)
            messages = log.read()
        self.assertEqual(status, 0, messages)
        # HOME cannot be made below a read-only directory, which stdbox says in its own way: so it was at work.
        self.assertEqual("stdbox: The home directory" in messages, kind == "stdbox")
        table: Table = {}
        files = {}
        for path, _directories, names in os.walk(output):
            for name in names:
                with open(os.path.join(path, name)) as file:
                    relative = os.path.relpath(file.name, output)
                    if name.endswith(".xml"):
                        for run in ElementTree.parse(file).getroot().iter("run"):
                            table[f"{name}: {run.get('name')}"] = {
                                column.get("title", ""): column.get("value", "") for column in run.iter("column")
                            }
                    elif ".results." not in name:
                        files[relative] = sorted(file)
        return table, files

    def both(self, definition: str) -> tuple[Table, dict[str, list[str]]]:
        (expected, expected_files), (actual, actual_files) = (self.benchmark(kind, definition) for kind in EXECUTORS)
        self.assertEqual(actual_files, expected_files)
        self.assertEqual(list(actual), list(expected))
        for run in expected:
            # Where there are no control groups BenchExec measures neither processor time nor memory: then both have none.
            self.assertEqual(actual[run].keys(), expected[run].keys())
            self.assertIn("walltime", actual[run])
            self.assertEqual(
                *({title: value for title, value in runs[run].items() if title not in MEASURED} for runs in (actual, expected))
            )
        return actual, actual_files

    def test_example(self) -> None:
        """BenchExec's own example of a benchmark definition."""
        table, files = self.both(f"{SOURCE}/doc/benchmark-example-true.xml")
        self.assertGreater(len(table), 80)
        self.assertEqual({run["status"] for run in table.values()}, {"true"})
        self.assertTrue(all("true\n" in lines for lines in files.values()))

    def test_scripts(self) -> None:
        """A shell as the tool: ends of all kinds, output, files."""
        table, files = self.both(f"{HERE}/benchmark/scripts.xml")
        runs = {os.path.basename(name): run for name, run in table.items()}
        self.assertEqual(
            {
                name: (run["status"], run.get("returnvalue"), run.get("exitsignal"), run.get("terminationreason"))
                for name, run in runs.items()
            },
            {
                "files.sh": ("done", "0", None, None),
                "fails.sh": ("ERROR (3)", "3", None, None),
                "crashes.sh": ("SEGMENTATION FAULT", None, "11", None),
                "sleeps.sh": ("TIMEOUT", None, "9", "walltime"),
            },
        )
        taken = {name.partition(".files/")[2]: lines for name, lines in files.items() if ".files/" in name}
        self.assertEqual(taken, {"scripts/files.sh/task.out": ["result\n"], "scripts/files.sh/made/file": ["other\n"]})
