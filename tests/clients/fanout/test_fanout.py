"""The same jobs through a plain loop, GNU parallel and Dask: results are identical, and nothing is left of a run that is disturbed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
STDBOX = os.environ["STDBOX_BIN"]
PATIENCE_S = 60


def setUpModule() -> None:
    global BASE, ENVIRONMENT
    # In /var/tmp, since jobs see an empty /tmp.
    BASE = Path(tempfile.mkdtemp(prefix="stdbox fan-out ", dir="/var/tmp"))
    unittest.addModuleCleanup(shutil.rmtree, BASE)
    (BASE / "bin").mkdir()
    (BASE / "bin/stdbox").symlink_to(STDBOX)
    ENVIRONMENT = os.environ | {"PATH": f"{BASE}/bin:{os.environ['PATH']}", "TMPDIR": str(BASE), "LC_ALL": "C.UTF-8"}


def jobs(name: str, count: int = 500) -> Path:
    folder = BASE / name
    subprocess.run([sys.executable, HERE / "make-jobs", folder, str(count)], check=True)
    return folder


def command(engine: str, folder: Path) -> list[str]:
    return {
        "parallel": [str(HERE / "with-parallel"), str(folder)],
        "dask": [sys.executable, str(HERE / "with_dask.py"), str(folder)],
    }[engine]


def start(engine: str, folder: Path) -> subprocess.Popen:
    return subprocess.Popen(
        command(engine, folder),
        # By this everything that the run starts is known again.
        env=ENVIRONMENT | {"FAN_OUT": str(folder)},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=BASE,
        start_new_session=True,
    )


def run_in_a_loop(folder: Path) -> None:
    for job in sorted((folder / "jobs").iterdir()):
        with open(job, "rb") as spec, open(folder / "reports" / job.name, "wb") as report:
            subprocess.run([STDBOX], stdin=spec, stdout=report, env=ENVIRONMENT)


def outcome(folder: Path) -> tuple[dict, dict]:
    """Every report but its times and counters, and every result file."""
    reports = {}
    for path in sorted((folder / "reports").iterdir()):
        report = json.loads(path.read_bytes())
        for measured in ("usage", "timing", "rusage"):
            report.pop(measured, None)
        reports[path.name] = report
    results = {
        str(path.relative_to(folder / "results")): path.read_bytes()
        for path in sorted((folder / "results").rglob("*"))
        if path.is_file()
    }
    return reports, results


def processes(word: str) -> list[int]:
    """Processes with this word in their command line or environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        for file in ("cmdline", "environ"):
            try:
                if word.encode() in (entry / file).read_bytes():
                    found.append(int(entry.name))
                    break
            except OSError:
                pass
    return found


def children(pid: int) -> list[int]:
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


class FanOut(unittest.TestCase):
    maxDiff = 2000

    def wait_until(self, condition, what: str):
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if value := condition():
                return value
            time.sleep(0.02)
        self.fail(f"it does not happen: {what}")

    def assert_nothing_is_left(self, folder: Path) -> None:
        self.wait_until(lambda: not processes(f"FAN_OUT={folder}"), f"no process is left: {processes(f'FAN_OUT={folder}')}")

    @classmethod
    def setUpClass(cls) -> None:
        cls.plain = jobs("plain")
        run_in_a_loop(cls.plain)
        cls.expected = outcome(cls.plain)

    def test_the_jobs_are_of_every_kind(self) -> None:
        reports, results = self.expected
        self.assertEqual(len(reports), 500)
        outcomes = [report["outcome"] for report in reports.values()]
        self.assertEqual(
            {name: outcomes.count(name) for name in set(outcomes)},
            {"exited": 473, "limit-exceeded": 10, "signaled": 10, "setup-failed": 5, "invalid-job": 2},
        )
        self.assertEqual(reports["250.json"]["error"]["code"], "syntax")
        self.assertEqual(reports["251.json"]["error"]["at"], "/limit")
        self.assertEqual(reports["003.json"]["exit_code"], 4)
        self.assertEqual(results["007/part.txt"], b"begun\n")
        self.assertEqual(len(results["017/big.txt"]), 50_000)
        self.assertEqual(len(results), 483)
        words = [int(line.split()[0]) for line in results["000/counts.txt"].decode().splitlines()]
        self.assertEqual(reports["000.json"]["stdout"]["text"], f"{sum(words)} {len(words)}\n")

    def assert_same_as_plain(self, folder: Path) -> None:
        reports, results = outcome(folder)
        self.assertEqual(reports, self.expected[0])
        self.assertEqual(results, self.expected[1])

    def test_parallel_gives_the_same(self) -> None:
        folder = jobs("with parallel")
        run = start("parallel", folder)
        _, errors = run.communicate()
        # Those that could not be started or read.
        self.assertEqual(run.returncode, 7, errors.decode())
        self.assert_same_as_plain(folder)

    def test_dask_gives_the_same(self) -> None:
        folder = jobs("with dask")
        run = start("dask", folder)
        _, errors = run.communicate()
        self.assertEqual(run.returncode, 0, errors.decode())
        self.assert_same_as_plain(folder)

    def test_slurm_script_does_its_share(self) -> None:
        folder = jobs("with slurm", 40)
        for task in (0, 3):
            subprocess.run([HERE / "slurm.sh"], env=ENVIRONMENT | {"SLURM_ARRAY_TASK_ID": str(task)}, cwd=folder, check=True)
        reports, _ = outcome(folder)
        self.assertEqual(reports, {name: self.expected[0][name] for name in reports})
        self.assertEqual(list(reports), [f"{number:03}.json" for number in [*range(10), *range(30, 40)]])

    def test_slurm_script_stops_where_stdbox_cannot_work_and_goes_on(self) -> None:
        folder = jobs("slurm again", 10)
        broken = BASE / "broken"
        broken.mkdir()
        (broken / "stdbox").write_text('#!/bin/sh\nn=$(($(cat calls 2>/dev/null || echo 0) + 1))\necho $n > calls\n[ $n -lt 4 ] || kill -KILL $$\nexec "$STDBOX_BIN"\n')
        (broken / "stdbox").chmod(0o755)
        task = ENVIRONMENT | {"SLURM_ARRAY_TASK_ID": "0"}
        stopped = subprocess.run(
            [HERE / "slurm.sh"], env=task | {"PATH": f"{broken}:{ENVIRONMENT['PATH']}"}, cwd=folder, stderr=subprocess.DEVNULL
        )
        self.assertNotEqual(stopped.returncode, 0)
        self.assertEqual(len(list((folder / "reports").glob("*.json"))), 3)
        before = (folder / "reports/000.json").read_bytes()
        subprocess.run([HERE / "slurm.sh"], env=task, cwd=folder, check=True)
        self.assertEqual((folder / "reports/000.json").read_bytes(), before)
        self.assertEqual(outcome(folder)[0], {name: self.expected[0][name] for name in outcome(folder)[0]})
        self.assertEqual(len(list((folder / "reports").iterdir())), 10)

    def test_kubernetes_command_runs_one_job(self) -> None:
        folder = jobs("with kubernetes", 4)
        spec = yaml.safe_load((HERE / "kubernetes.yaml").read_text())["spec"]
        pod = spec["template"]["spec"]
        container = pod["containers"][0]
        self.assertEqual((spec["completionMode"], spec["completions"], pod["restartPolicy"]), ("Indexed", 500, "Never"))
        # An API server refuses Unmasked where the pod has no user namespace of its own.
        self.assertEqual((container["securityContext"]["procMount"], pod["hostUsers"]), ("Unmasked", False))
        self.assertEqual(container["workingDir"], container["volumeMounts"][0]["mountPath"])
        for index, status in ((0, 0), (3, 0)):
            done = subprocess.run(container["command"], env=ENVIRONMENT | {"JOB_COMPLETION_INDEX": str(index)}, cwd=folder)
            self.assertEqual(done.returncode, status)
        (folder / "jobs/001.json").write_text("{")
        done = subprocess.run(container["command"], env=ENVIRONMENT | {"JOB_COMPLETION_INDEX": "1"}, cwd=folder)
        self.assertEqual([done.returncode], spec["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"])
        reports, _ = outcome(folder)
        self.assertEqual(reports["000.json"], self.expected[0]["000.json"])
        self.assertEqual(reports["001.json"]["error"]["code"], "syntax")

    # ---- Disturbed runs

    def slow(self, title: str) -> tuple[Path, list[Path]]:
        """Jobs of which the first two wait until a file appears on the host."""
        folder = BASE / title
        for part in ("jobs", "reports"):
            (folder / part).mkdir(parents=True)
        for number in range(6):
            script = f"echo begun; {'until test -e go; do sleep 0.05; done;' if number < 2 else ''} echo done"
            (folder / f"jobs/{number:03}.json").write_text(
                json.dumps(
                    {
                        "argv": ["sh", "-c", script],
                        "cwd": str(folder),
                        "env": {"set": {"FAN_OUT": str(folder)}},
                        "directories": {"/": "read-only"},
                        "limits": {"wall_time_ms": 120_000},
                    }
                )
            )
        return folder, [folder / f"reports/{number:03}.json" for number in range(6)]

    def begin(self, engine: str, title: str) -> tuple[Path, list[Path], subprocess.Popen]:
        folder, reports = self.slow(title)
        run = start(engine, folder)
        self.addCleanup(run.stderr.close)
        self.wait_until(lambda: len(self.targets(folder)) >= 2, "two jobs run")
        return folder, reports, run

    @staticmethod
    def targets(folder: Path) -> list[int]:
        return [pid for pid in processes(f"FAN_OUT={folder}") if name(pid) == "sh" and name(parent(parent(pid))) == "stdbox"]

    def boxes(self, folder: Path) -> list[int]:
        """The stdboxes that the engine started, of which each has a pid 1 of its own below it."""
        return sorted({parent(parent(pid)) for pid in self.targets(folder)})

    def assert_all_done(self, folder: Path, reports: list[Path]) -> None:
        for report in reports:
            report = json.loads(report.read_bytes())
            self.assertEqual((report["outcome"], report["stdout"]["text"]), ("exited", "begun\ndone\n"))
        self.assert_nothing_is_left(folder)

    def test_a_killed_stdbox_is_run_again(self) -> None:
        for engine in ("parallel", "dask"):
            with self.subTest(engine):
                folder, reports, run = self.begin(engine, f"killed box {engine}")
                box = self.boxes(folder)[0]
                self.assertEqual(name(box), "stdbox")
                os.kill(box, signal.SIGKILL)
                self.wait_until(lambda: box not in self.boxes(folder), "the job of a killed stdbox is gone")
                (folder / "go").touch()
                _, errors = run.communicate(timeout=PATIENCE_S)
                self.assertEqual(run.returncode, 0, errors.decode())
                self.assert_all_done(folder, reports)

    def test_a_killed_worker_is_replaced_and_leaves_nothing(self) -> None:
        folder, reports, run = self.begin("dask", "killed worker")
        box = self.boxes(folder)[0]
        worker = parent(box)
        self.assertNotEqual(worker, run.pid)
        os.kill(worker, signal.SIGKILL)
        self.wait_until(lambda: box not in self.boxes(folder), "the job of a killed worker is gone")
        self.wait_until(lambda: len(self.boxes(folder)) >= 2, "it is run again")
        (folder / "go").touch()
        _, errors = run.communicate(timeout=PATIENCE_S)
        self.assertEqual(run.returncode, 0, errors.decode())
        self.assert_all_done(folder, reports)

    def test_a_run_that_is_ended_leaves_nothing(self) -> None:
        for engine, number in (
            ("parallel", signal.SIGINT),
            ("parallel", signal.SIGTERM),
            ("parallel", signal.SIGKILL),
            ("dask", signal.SIGINT),
            ("dask", signal.SIGTERM),
            ("dask", signal.SIGKILL),
        ):
            with self.subTest(engine=engine, signal=number.name):
                folder, reports, run = self.begin(engine, f"{engine} {number.name}")
                # with-parallel is a shell, which waits for the engine itself.
                engine_pid = children(run.pid)[0] if engine == "parallel" else run.pid
                os.kill(engine_pid, number)
                self.assertNotEqual(run.wait(timeout=PATIENCE_S), 0)
                self.assert_nothing_is_left(folder)
                self.assertFalse([report for report in reports if report.exists() and b"done" in report.read_bytes()])

    def test_parallel_goes_on_where_it_was(self) -> None:
        folder, reports, run = self.begin("parallel", "resumed")
        os.kill(children(run.pid)[0], signal.SIGKILL)
        run.wait(timeout=PATIENCE_S)
        self.assert_nothing_is_left(folder)
        (folder / "go").touch()
        subprocess.run(command("parallel", folder), env=ENVIRONMENT, check=True, stdin=subprocess.DEVNULL)
        self.assert_all_done(folder, reports)
        before = [report.stat().st_mtime_ns for report in reports]
        subprocess.run(command("parallel", folder), env=ENVIRONMENT, check=True, stdin=subprocess.DEVNULL)
        self.assertEqual([report.stat().st_mtime_ns for report in reports], before)


def name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


if __name__ == "__main__":
    unittest.main()
