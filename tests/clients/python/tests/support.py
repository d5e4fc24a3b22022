"""What the tests share."""

import os
import subprocess
import sys
import threading
import time
import unittest
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List, Set, cast

import stdbox

BINARY = os.environ["STDBOX_BIN"]
PACKAGE = Path(stdbox.__file__).parent

run = partial(stdbox.run, stdbox=BINARY)
start = partial(stdbox.start, stdbox=BINARY)
run_async = partial(stdbox.run_async, stdbox=BINARY)


def job(*argv: str, **fields: Any) -> stdbox.Job:
    return cast(stdbox.Job, {"argv": list(argv), "cwd": "/", **fields})


def shell(script: str, **fields: Any) -> stdbox.Job:
    return job("sh", "-euc", script, **fields)


_sleeps = 0


def long_sleep() -> str:
    """A number of seconds that nobody else sleeps for: it tells this test's processes from all others."""
    global _sleeps
    _sleeps += 1
    return f"{os.getpid()}.{_sleeps:06}"


def sleepers(seconds: str) -> List[int]:
    """Processes, inside containers or not, with this argument."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if seconds.encode() in words:
                found.append(int(entry.name))
    return found


def eventually(holds: Callable[[], object], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def children() -> Set[int]:
    """The processes that this one has started and not reaped."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(state[1]) == os.getpid():
                found.add(int(entry.name))
    return found


def descriptors() -> Dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            # The one that the list was read with.
            continue
    return found


class Case(unittest.TestCase):
    """A test that leaves nothing in this program: no process, no descriptor, no thread."""

    def setUp(self) -> None:
        before = (children(), descriptors(), threading.active_count())
        self.addCleanup(self._nothing_left, before)

    def _nothing_left(self, before: object) -> None:
        eventually(lambda: (children(), descriptors(), threading.active_count()) == before, 2)
        self.assertEqual((children(), descriptors(), threading.active_count()), before)


def python(program: str, *arguments: str, **options: Any) -> "subprocess.Popen[bytes]":
    """Another program that uses the client."""
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    return subprocess.Popen([sys.executable, "-c", program, BINARY, *arguments], env=environment, **options)
