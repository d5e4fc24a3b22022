"""When the callbacks are called and what they can rely on; how a run ends that somebody or something breaks off."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from typing import Any
from unittest import mock

from benchexec import BenchExecException, util
from benchexec.cgroups import Cgroups, _DummyCgroups
from stdbox_benchexec import StdboxError, StdboxExecutor, StdboxRunExecutor, _rusage
from support import EXECUTORS, READ_ONLY, Case, execute, processes


RUSAGE = {
    "user_ns": "ru_utime", "system_ns": "ru_stime", "max_rss_bytes": "ru_maxrss", "minor_faults": "ru_minflt",
    "major_faults": "ru_majflt", "block_reads": "ru_inblock", "block_writes": "ru_oublock",
    "voluntary_switches": "ru_nvcsw", "involuntary_switches": "ru_nivcsw",
}  # fmt: skip
"""Names of the report, and of getrusage(2)."""


def children() -> set[int]:
    """Of this process, those included that have ended and were not waited for."""
    found: set[int] = set()
    for thread in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{thread}/children") as file:
            found.update(map(int, file.read().split()))
    return found


def inside(pid: int) -> int:
    """The number that a process has in its own container."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[-1]) for line in status if line.startswith("NSpid:"))


class RecordedGroups(_DummyCgroups):
    """Control groups that exist only as a list of what was to be done with them."""

    def __init__(self, name: str = "", done: list[tuple[str, Any]] | None = None) -> None:
        super().__init__({})
        self.name = name
        self.done = [] if done is None else done

    def create_fresh_child_cgroup(self, subsystems: Any, prefix: str = "") -> RecordedGroups:
        return RecordedGroups(f"{self.name}/{prefix}", self.done)

    def create_fresh_child_cgroup_for_delegation(self) -> RecordedGroups:
        return RecordedGroups(f"{self.name}/delegated", self.done)

    def add_task(self, pid: int) -> None:
        self.done.append((self.name, inside(pid)))


class Callbacks(Case):
    def test_groups_are_entered_before_the_command_starts(self) -> None:
        """The container's first process enters the group of the limits, the command (the second one) its own."""
        for kind, executor in EXECUTORS.items():
            with self.subTest(kind):
                groups = RecordedGroups()
                ran = execute(
                    executor(dir_modes=dict(READ_ONLY)),
                    ["true"],
                    cgroups=groups,
                    parent_setup=lambda: groups.done.append(("parent_setup_fn", None)),
                    parent_cleanup=lambda _setup, _status, _base, tool: tool.name,
                )
                self.assertEqual(groups.done, [("/init_", 1), ("/delegated", 2), ("parent_setup_fn", None)])
                self.assertEqual(ran.cleanup, "/delegated")

    def test_command_waits_for_parent_setup(self) -> None:
        for kind, executor in EXECUTORS.items():
            with self.subTest(kind):
                marker = f"{self.directory}/{kind}"

                def setup() -> tuple[bool, float]:
                    time.sleep(0.3)
                    return os.path.exists(marker), time.monotonic()

                ran = execute(
                    executor(dir_modes={**READ_ONLY, self.directory: "full-access"}),
                    ["touch", marker],
                    parent_setup=setup,
                    parent_cleanup=lambda setup, *_others: (setup[0], time.monotonic() - setup[1]),
                )
                existed, duration = ran.cleanup
                self.assertFalse(existed)
                self.assertTrue(os.path.exists(marker))
                self.assertLess(duration, 0.3)

    def test_parent_cleanup_sees_the_container(self) -> None:
        """The files of a command that has ended can be read and removed, hidden and temporary ones too."""

        def cleanup(setup: str, status: util.ProcessExitCode, base_path: str, groups: Cgroups) -> tuple[Any, ...]:
            path = f"{base_path}/tmp/dump"
            with open(path) as file:
                content = file.read()
            os.remove(path)
            return setup, status, content, os.path.exists(path), groups.version

        for kind, executor in EXECUTORS.items():
            with self.subTest(kind):
                ran = execute(
                    executor(dir_modes=dict(READ_ONLY)),
                    ["sh", "-c", "echo dumped > /tmp/dump; echo kept > /tmp/kept; exit 9"],
                    parent_setup=lambda: "setup",
                    parent_cleanup=cleanup,
                    output_dir=f"{self.directory}/{kind}",
                    patterns=["/tmp"],
                )
                self.assertEqual(ran.cleanup, ("setup", ran.status, "dumped\n", False, 0))
                self.assertEqual(ran.status.value, 9)
                self.assertEqual(os.listdir(f"{self.directory}/{kind}/tmp"), ["kept"])

    def test_process_id_is_the_commands(self) -> None:
        """The id given to the caller is one that it can signal, and that of no other process of the container."""
        for kind, executor in EXECUTORS.items():
            with self.subTest(kind):
                numbers: list[int] = []

                def signal_it(pid: int, _temp_dir: str) -> None:
                    numbers.append(inside(pid))
                    time.sleep(0.5)
                    os.kill(pid, signal.SIGUSR1)

                ran = execute(
                    executor(dir_modes=dict(READ_ONLY)),
                    ["sh", "-c", "trap 'echo got it; exit 5' USR1; while :; do sleep 0.05; done"],
                    started=signal_it,
                )
                self.assertEqual((ran.status.value, ran.text, numbers), (5, "got it\n", [2]))

    def test_disk_space_can_be_watched(self) -> None:
        """Limits on files look where _get_result_files_base() says, and find the command's files there while it runs."""
        for kind, executor in EXECUTORS.items():
            with self.subTest(kind):
                made = executor(dir_modes=dict(READ_ONLY), container_tmpfs=False)
                seen: list[str] = []

                def look(pid: int, temp_dir: str) -> None:
                    base = made._get_result_files_base(temp_dir)
                    deadline = time.monotonic() + 10
                    while not seen and time.monotonic() < deadline:
                        seen.extend(name for _path, _directories, names in os.walk(base) for name in names if name == "grows")
                    util.kill_process(pid)

                execute(made, ["sh", "-c", "echo > /tmp/grows; sleep 60"], started=look)
                self.assertEqual(seen, ["grows"])

    def test_layers_on_disk_cannot_be_seen_by_the_command(self) -> None:
        for kind, executor in EXECUTORS.items():
            with self.subTest(kind), tempfile.TemporaryDirectory() as base, mock.patch.object(tempfile, "tempdir", base):
                made = executor(dir_modes={**READ_ONLY, "/tmp": "full-access"}, container_tmpfs=False)
                ran = execute(made, ["sh", "-c", "ls -d BenchExec_run_* | wc -l; find BenchExec_run_* -mindepth 1"], cwd=base)
                self.assertEqual(ran.text, "1\n")

    def test_resource_usage(self) -> None:
        program = "import time; b = bytearray(80_000_000)\nwhile time.process_time() < 0.4: pass"
        used = {
            kind: execute(executor(dir_modes=dict(READ_ONLY)), ["/usr/bin/python3", "-c", program]).rusage
            for kind, executor in EXECUTORS.items()
        }
        for kind, rusage in used.items():
            with self.subTest(kind):
                self.assertIsInstance(rusage, resource.struct_rusage)
                self.assertAlmostEqual(rusage.ru_utime + rusage.ru_stime, 0.45, delta=0.15)
                self.assertAlmostEqual(rusage.ru_maxrss, 90_000, delta=15_000)
                self.assertGreater(rusage.ru_minflt, 80_000_000 // resource.getpagesize() // 600)
        self.assertGreater(used["stdbox"].ru_nvcsw + used["stdbox"].ru_nivcsw, 0)

    def test_resource_usage_is_in_the_order_of_the_system(self) -> None:
        """Every figure of the report lands in the field of its name."""
        units = {"user_ns": 1_000_000_000, "system_ns": 1_000_000_000, "max_rss_bytes": 1024}
        figures = {name: (place + 1) * units.get(name, 1) for place, name in enumerate(RUSAGE)}
        rusage = _rusage(figures)
        self.assertEqual([getattr(rusage, field) for field in RUSAGE.values()], list(range(1, len(RUSAGE) + 1)))
        self.assertEqual(sum(rusage), sum(range(1, len(RUSAGE) + 1)))


class Ends(Case):
    """Nothing of a run is left, however it ends."""

    def setUp(self) -> None:
        super().setUp()
        # In the command line of whatever a test starts.
        self.word = f"stdbox-benchexec-{os.getpid()}-{time.monotonic_ns()}"
        self.children = children()
        self.addCleanup(self.assert_nothing_left)

    def assert_nothing_left(self) -> None:
        deadline = time.monotonic() + 5
        while processes(self.word) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(processes(self.word), [])
        # Not even unreaped.
        self.assertEqual(children() - self.children, set())

    def sleep(self) -> list[str]:
        return ["sh", "-c", "setsid sleep 1000 & sleep 1000; exit 1", self.word]

    def test_what_the_command_leaves_running_ends_with_it(self) -> None:
        for kind, executor in EXECUTORS.items():
            with self.subTest(kind):
                script = 'setsid sh -c "sleep 1000; :" "$0" & exit 3'
                ran = execute(executor(dir_modes=dict(READ_ONLY)), ["sh", "-c", script, self.word])
                self.assertEqual(ran.status.value, 3)
                self.assert_nothing_left()

    def test_stop(self) -> None:
        for kind, executor in EXECUTORS.items():
            with self.subTest(kind):
                made = executor(dir_modes=dict(READ_ONLY))
                timer = threading.Timer(0.5, made.stop)
                timer.start()
                begun = time.monotonic()
                ran = execute(made, self.sleep())
                timer.join()
                self.assertEqual(ran.status.signal, 9)
                self.assertLess(time.monotonic() - begun, 5)
                self.assertTrue(made.PROCESS_KILLED)
                self.assert_nothing_left()

    def test_stop_while_the_container_is_made(self) -> None:
        """BenchExec's own executor runs a command to its end if stop() comes before it knows the process."""
        made = StdboxExecutor(dir_modes=dict(READ_ONLY))
        ran = execute(made, self.sleep(), parent_setup=made.stop)
        self.assertEqual(ran.status.signal, 9)

    def test_stopped_executor_can_be_used_again(self) -> None:
        for kind, executor in EXECUTORS.items():
            with self.subTest(kind):
                made = executor(dir_modes=dict(READ_ONLY))
                made.stop()
                self.assertEqual(execute(made, ["echo", "again"]).text, "again\n")

    def test_soft_limit(self) -> None:
        """SIGTERM reaches the command, which may end in its own way."""
        for kind, executor in EXECUTORS.items():
            with self.subTest(kind):
                ran = execute(
                    executor(dir_modes=dict(READ_ONLY)),
                    ["sh", "-c", "trap 'echo bye; exit 4' TERM; while :; do sleep 0.05; done", self.word],
                    started=lambda pid, _temp_dir: (time.sleep(0.5), util.kill_process(pid, signal.SIGTERM)),
                )
                self.assertEqual((ran.status.value, ran.text), (4, "bye\n"))

    def test_callbacks_that_raise(self) -> None:
        """What a callback raises reaches the caller, Ctrl-C without a handler included; the command never starts, or ends."""
        marker = f"{self.directory}/started"
        for error in OSError("mine"), KeyboardInterrupt(), SystemExit(3):
            with self.subTest(error):
                made = StdboxExecutor(dir_modes={**READ_ONLY, self.directory: "full-access"})
                with self.assertRaises(type(error)) as raised:
                    execute(
                        made, ["sh", "-c", f"touch '{marker}'; sleep 1000", self.word], parent_setup=mock.Mock(side_effect=error)
                    )
                self.assertIs(raised.exception, error)
                self.assertFalse(os.path.exists(marker))
                with self.assertRaises(type(error)):
                    execute(made, ["true", self.word], parent_cleanup=mock.Mock(side_effect=error))

    def test_ctrl_c_while_waiting(self) -> None:
        timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with self.assertRaises(KeyboardInterrupt):
            execute(StdboxExecutor(dir_modes=dict(READ_ONLY)), self.sleep())
        timer.join()

    def test_group_that_cannot_be_entered(self) -> None:
        groups = RecordedGroups()
        with (
            mock.patch.object(RecordedGroups, "add_task", side_effect=PermissionError(1, "not allowed")),
            self.assertRaises(PermissionError),
        ):
            execute(StdboxExecutor(dir_modes=dict(READ_ONLY)), self.sleep(), cgroups=groups)

    def test_child_setup_that_raises(self) -> None:
        for kind, executor in EXECUTORS.items():
            with self.subTest(kind), self.assertRaises(BenchExecException):
                execute(executor(dir_modes=dict(READ_ONLY)), self.sleep(), child_setup=mock.Mock(side_effect=OSError("mine")))

    def test_stdbox_is_killed(self) -> None:
        def kill(_pid: int, _temp_dir: str) -> None:
            (stdbox,) = children() - self.children
            os.kill(stdbox, signal.SIGKILL)

        with self.assertRaisesRegex(BenchExecException, "-9 and without a report"):
            execute(StdboxExecutor(dir_modes=dict(READ_ONLY)), self.sleep(), started=kill)

    def test_caller_is_killed(self) -> None:
        """While the command stands before exec; what already runs goes on to its end, as with BenchExec's own container."""
        program = """if True:
            import os, signal, sys, support
            from stdbox_benchexec import StdboxExecutor
            executor = StdboxExecutor(dir_modes=dict(support.READ_ONLY))
            support.execute(executor, sys.argv[1:], parent_setup=lambda: os.kill(os.getpid(), signal.SIGKILL))
        """
        # What it leaves behind is removed with the rest.
        env = {**os.environ, "TMPDIR": self.directory}
        ended = subprocess.run([sys.executable, "-c", program, *self.sleep()], cwd=os.path.dirname(__file__), env=env)
        self.assertEqual(ended.returncode, -9)

    def test_signals_of_the_terminal_are_for_the_caller(self) -> None:
        """Who gets them decides whether the command ends."""
        program = """if True:
            import os, signal, sys, support
            from stdbox_benchexec import StdboxExecutor
            signal.signal(signal.SIGINT, lambda *_: print("caller", flush=True))
            executor = StdboxExecutor(dir_modes=dict(support.READ_ONLY))
            ran = support.execute(executor, sys.argv[1:], started=lambda *_: os.killpg(0, signal.SIGINT))
            print(ran.text, end="")
        """
        argv = [sys.executable, "-c", program, "sh", "-c", "sleep 0.5; echo command", self.word]
        ended = subprocess.run(argv, cwd=os.path.dirname(__file__), capture_output=True, text=True, start_new_session=True)
        self.assertEqual(ended.stdout, "caller\ncommand\n", ended.stderr)

    def test_failure_after_the_exit(self) -> None:
        """A report with an error is never taken for a run, whatever the events were."""
        report = {"outcome": "setup-failed", "degraded": [], "warnings": []}
        report["error"] = {"code": "internal", "message": "A fault.", "hint": None}
        exited = {"event": "exited", "wait_status": 0, "rusage": dict.fromkeys(RUSAGE, 0)}
        with open(f"{self.directory}/stdbox", "w") as fake:
            fake.write(f"""#!{sys.executable}
import json, os, sys
job = json.load(os.fdopen(int(sys.argv[2])))
for event in {{"event": "ready", "pid": os.getpid(), "init_pid": os.getpid()}}, {exited!r}:
    os.write(job["sync"]["events_fd"], json.dumps(event).encode() + b"\\n")
    assert os.read(job["sync"]["control_fd"], 100) == b"continue\\n"
os.write(int(sys.argv[4]), {json.dumps(report).encode()!r})
""")
        os.chmod(fake.name, 0o755)
        with mock.patch.dict(os.environ, STDBOX_BIN=fake.name), self.assertRaisesRegex(StdboxError, "^internal: A fault$"):
            execute(StdboxExecutor(dir_modes=dict(READ_ONLY)), ["true"])

    def test_descriptors_are_closed(self) -> None:
        made = StdboxExecutor(dir_modes=dict(READ_ONLY))
        execute(made, ["true"])
        before = sorted(os.listdir("/proc/self/fd"))
        for _round in range(3):
            execute(made, ["true"])
            with self.assertRaises(StdboxError):
                execute(made, ["/nonsense"])
            with self.assertRaises(OSError):
                execute(made, ["true"], parent_setup=mock.Mock(side_effect=OSError))
        self.assertEqual(sorted(os.listdir("/proc/self/fd")), before)

    def test_many_at_once(self) -> None:
        """Like the workers of benchexec; no run holds what another one waits for."""
        results: list[int | None] = []

        def work() -> None:
            executor = StdboxRunExecutor(dir_modes=dict(READ_ONLY))
            for number in range(4):
                with open("/dev/null", "w") as log:
                    result = executor.execute_run(["sh", "-c", f"exit {number}"], log.name)
                results.append(result["exitcode"].value)

        workers = [threading.Thread(target=work) for _worker in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
        self.assertEqual(sorted(results), [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4)


class Errors(Case):
    """What cannot be done says so in a way that BenchExec's programs expect, and what failed."""

    def error(self, argv: list[str], options: dict[str, Any] | None = None, **parameters: Any) -> StdboxError:
        for executor in EXECUTORS.values():
            with self.assertRaises(BenchExecException) as raised:
                execute(executor(**{"dir_modes": dict(READ_ONLY), **(options or {})}), argv, **parameters)
        self.assertIsInstance(raised.exception, StdboxError)
        return raised.exception

    def test_command_is_missing(self) -> None:
        error = self.error(["/no/such/command"])
        self.assertEqual((error.error["code"], error.error["at"]), ("command-not-found", "/argv/0"))
        self.assertRegex(str(error), r"^command-not-found: .*/no/such/command.* \(.*\)$")

    def test_command_is_no_program(self) -> None:
        self.assertEqual(self.error(["/etc/passwd"]).error["code"], "exec-refused")

    def test_working_directory_is_hidden(self) -> None:
        error = self.error(["true"], {"dir_modes": {**READ_ONLY, "/home": "hidden"}}, cwd="/home/nobody")
        self.assertEqual(error.error["code"], "cwd-missing")

    def test_modes_that_are_wrong(self) -> None:
        for modes in {"/": "none"}, {"/tmp": "hidden"}, {"/": "hidden", "tmp": "hidden"}, {"/": "hidden", "/proc": "hidden"}:
            for kind, executor in EXECUTORS.items():
                with self.subTest(modes, kind=kind), self.assertRaises(ValueError):
                    executor(dir_modes=modes)

    def test_mode_of_a_missing_directory(self) -> None:
        modes = {**READ_ONLY, f"{self.directory}/missing": "read-only"}
        ran = execute(StdboxExecutor(dir_modes=modes), ["echo", "ran"])
        self.assertEqual(ran.text, "ran\n")
        self.assertIn(f"Leaving out the mode of {self.directory}/missing because it is no directory.", ran.logged)

    def test_directory_that_is_a_link(self) -> None:
        os.symlink("/usr", f"{self.directory}/link")
        with self.assertRaises(StdboxError) as raised:
            execute(StdboxExecutor(dir_modes={**READ_ONLY, f"{self.directory}/link": "hidden"}), ["true"])
        self.assertEqual(raised.exception.error["code"], "is-symlink")

    def test_output_directory_cannot_be_made(self) -> None:
        """That is an error only if there are files for it."""
        with open(f"{self.directory}/file", "w"):
            pass
        for kind, executor in EXECUTORS.items():
            with self.subTest(kind):
                to = {"output_dir": f"{self.directory}/file/x", "patterns": ["."], "cwd": "/tmp"}
                execute(executor(dir_modes=dict(READ_ONLY)), ["true"], **to)
                with self.assertRaises(OSError):
                    execute(executor(dir_modes=dict(READ_ONLY)), ["touch", "result"], **to)

    def test_results_of_another_root(self) -> None:
        with self.assertRaisesRegex(BenchExecException, "result_files_patterns.*root_dir"):
            execute(StdboxExecutor(), ["true"], root_dir=self.directory, output_dir=self.directory, patterns=["."])

    def test_cgroup_access(self) -> None:
        made = StdboxExecutor(dir_modes=dict(READ_ONLY))
        made._cgroups = mock.Mock(version=2)
        with self.assertRaisesRegex(BenchExecException, "cgroup_access"):
            execute(made, ["true"])

    def test_no_stdbox(self) -> None:
        for name in "/no/such/stdbox", "no-such-stdbox":
            with mock.patch.dict(os.environ, STDBOX_BIN=name), self.assertRaises(FileNotFoundError) as raised:
                execute(StdboxExecutor(dir_modes=dict(READ_ONLY)), ["true"])
            self.assertEqual(raised.exception.filename, name)

    def test_another_program_instead_of_stdbox(self) -> None:
        with mock.patch.dict(os.environ, STDBOX_BIN="/bin/false"):
            with self.assertRaisesRegex(BenchExecException, "status 1 and without a report"):
                execute(StdboxExecutor(dir_modes=dict(READ_ONLY)), ["true"])

    def test_stdbox_is_found_in_the_path_of_the_caller(self) -> None:
        os.symlink(os.environ["STDBOX_BIN"], f"{self.directory}/stdbox")
        path = f"{os.environ['PATH']}:{self.directory}"
        with mock.patch.dict(os.environ, PATH=path):
            del os.environ["STDBOX_BIN"]
            ran = execute(StdboxExecutor(dir_modes=dict(READ_ONLY)), ["sh", "-c", "echo ran"], env={"PATH": "/usr/bin:/bin"})
        self.assertEqual(ran.text, "ran\n")

    def test_what_stdbox_could_not_give_is_logged(self) -> None:
        ran = execute(StdboxExecutor(dir_modes=dict(READ_ONLY)), ["true"])
        self.assertIn("stdbox: The home directory /home/benchexec cannot be made here, so HOME is /tmp; below a directory with the mode hidden it could be.", ran.logged)


class WithoutContainers(unittest.TestCase):
    def test_container_mode_can_be_switched_off(self) -> None:
        """use_namespaces=False is BenchExec's business alone."""
        with mock.patch.dict(os.environ, STDBOX_BIN="/no/such/stdbox"):
            ran = execute(StdboxExecutor(use_namespaces=False), ["sh", "-c", "echo ran; exit 6"])
        self.assertEqual((ran.text, ran.status.value), ("ran\n", 6))
