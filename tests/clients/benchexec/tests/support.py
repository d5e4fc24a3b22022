"""What the tests share: one command through either executor, and what came of it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchexec import util
from benchexec.cgroups import Cgroups
from benchexec.containerexecutor import ContainerExecutor

from stdbox_benchexec import StdboxExecutor

READ_ONLY = {"/": "read-only", "/tmp": "hidden", "/run": "hidden"}
"""BenchExec's own overlay of the whole tree needs FUSE on machines with more than one file system."""

SOURCE = os.environ["BENCHEXEC_SOURCE"]
"""BenchExec's source distribution."""

EXECUTORS: dict[str, type[ContainerExecutor]] = {"BenchExec": ContainerExecutor, "stdbox": StdboxExecutor}


@dataclasses.dataclass
class Ran:
    """A command that ran: its end, what it wrote, and what the callbacks were given."""

    status: util.ProcessExitCode
    rusage: resource.struct_rusage
    stdout: bytes
    stderr: bytes
    cleanup: Any
    logged: list[str]

    @property
    def text(self) -> str:
        return self.stdout.decode()


def execute(
    executor: ContainerExecutor,
    argv: Sequence[str],
    *,
    env: dict[str, str] | None = None,
    stdin: Any = subprocess.DEVNULL,
    cwd: str | None = "/",
    root_dir: str | None = None,
    memlimit: int | None = None,
    memory_nodes: Sequence[int] | None = None,
    output_dir: str | None = None,
    patterns: Sequence[str] = (),
    cgroups: Cgroups | None = None,
    parent_setup: Callable[[], Any] = util.dummy_fn,
    child_setup: Callable[[], Any] = util.dummy_fn,
    parent_cleanup: Callable[..., Any] = util.dummy_fn,
    started: Callable[[int, str], Any] = util.dummy_fn,
) -> Ran:
    """Does what execute_run() of ContainerExecutor and RunExecutor do, with everything that either can ask for."""
    with (
        tempfile.TemporaryDirectory(prefix="BenchExec_run_", ignore_cleanup_errors=True) as temp_dir,
        tempfile.TemporaryFile() as stdout,
        tempfile.TemporaryFile() as stderr,
        logged() as messages,
    ):
        pid, _cgroups, wait = executor._start_execution(
            args=list(argv),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=dict(os.environ if env is None else env),
            cwd=cwd,
            temp_dir=temp_dir,
            root_dir=root_dir,
            memlimit=memlimit,
            memory_nodes=memory_nodes,
            cgroups=cgroups or Cgroups.dummy(),
            output_dir=output_dir,
            result_files_patterns=list(patterns),
            parent_setup_fn=parent_setup,
            child_setup_fn=child_setup,
            parent_cleanup_fn=parent_cleanup,
        )
        with executor.SUB_PROCESS_PIDS_LOCK:
            executor.SUB_PROCESS_PIDS.add(pid)
        try:
            started(pid, temp_dir)
            status, rusage, cleanup = wait()
        finally:
            with executor.SUB_PROCESS_PIDS_LOCK:
                executor.SUB_PROCESS_PIDS.discard(pid)
        stdout.seek(0)
        stderr.seek(0)
        return Ran(util.ProcessExitCode.from_raw(status), rusage, stdout.read(), stderr.read(), cleanup, messages)


@contextlib.contextmanager
def logged() -> Iterator[list[str]]:
    """The messages of warnings and worse, which are not shown."""
    messages: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    root = logging.getLogger()
    handlers = root.handlers[:]
    root.handlers[:] = [Keep(logging.WARNING)]
    try:
        yield messages
    finally:
        root.handlers[:] = handlers


def command(kind: str, name: str, *arguments: str) -> list[str]:
    """The command line of one of BenchExec's programs, as it is or on stdbox."""
    program = [f"{SOURCE}/bin/{name}"] if kind == "BenchExec" else ["-m", "stdbox_benchexec", name]
    return [sys.executable, *program, *arguments]


def processes(word: str) -> list[int]:
    """The processes with this word in their command line."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/cmdline", "rb") as line:
                if word.encode() in line.read():
                    found.append(int(name))
    return found


class Case(unittest.TestCase):
    """A test with a directory of its own that stands outside of /tmp, which containers hide."""

    maxDiff = None

    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="stdbox benchexec ", dir="/var/tmp")
        self.addCleanup(shutil.rmtree, self.directory)

    def skip_or_fail(self, word: str, reason: str) -> None:
        """A machine may lack what the list in MAY_SKIP names, and nothing else."""
        if word in os.environ.get("MAY_SKIP", "").split(","):
            print(f"skipped ({word}): {reason}", file=sys.__stderr__)
            self.skipTest(f"({word}): {reason}")
        self.fail(f"cannot run here ({word}): {reason}")
