"""Runs commands in containers: one job in, one report out.

    import stdbox

    report = stdbox.run({"argv": ["make", "test"], "cwd": "/home/me/project"}, timeout=600)
    print(report["outcome"], report["exit_code"], stdbox.output(report["stdout"]).decode())

A job is a dict of the fields that are described in `stdbox.types` (and by `stdbox schema job`). What the command did is in
the report and no exception, unless `check=True` asks for one; a job that was refused, or whose container could not be made,
is a `JobError`. Large streams do not go through this module: give `stdin`, `stdout` or `stderr` a file, a socket or a
descriptor, or read and write the pipes of `start`.
"""

import base64
import concurrent.futures
import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import weakref
from pathlib import Path
from subprocess import DEVNULL, PIPE
from types import TracebackType
from typing import IO, Any, BinaryIO, Dict, List, Mapping, NamedTuple, Optional, Set, Tuple, Type, Union, cast

from .types import Base64, Captured, Error, Job, Report

__all__ = [
    "DEVNULL",
    "PIPE",
    "CommandFailed",
    "Job",
    "JobError",
    "NotFound",
    "ProtocolError",
    "Report",
    "Running",
    "StdboxError",
    "TimedOut",
    "check",
    "decode",
    "encode",
    "output",
    "run",
    "run_async",
    "start",
]

Stream = Union[None, int, IO[Any]]
"""A descriptor, whatever has a fileno(), DEVNULL, or (with `start`) PIPE."""
Program = Union[None, str, "os.PathLike[str]"]

_STREAMS = ("stdin", "stdout", "stderr")


class StdboxError(Exception):
    """What can go wrong here; what a command does is not among it."""


class NotFound(StdboxError):
    """There is no stdbox to start."""


class ProtocolError(StdboxError):
    """stdbox ended without a report; it was killed, say."""


class JobError(StdboxError):
    """The job was refused, or its container could not be made; the command did not run."""

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self.report = report
        self.error = cast(Error, report["error"])
        self.code = self.error["code"]
        self.stage = self.error["stage"]
        self.at = self.error["at"]
        self.path = self.error["path"]
        self.hint = self.error["hint"]

    def __str__(self) -> str:
        at = f" (at {self.at})" if self.at else ""
        path = "" if self.path is None else f" [{os.fsdecode(decode(self.path))}]"
        hint = f" {self.hint}" if self.hint else ""
        return f"{self.code}{at}: {self.error['message']}{path}{hint}"


class CommandFailed(StdboxError):
    """With check=True: the command did not end by itself with status 0."""

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self.report = report

    def __str__(self) -> str:
        report = self.report
        if report["limit"]:
            return f"the command was ended for its limit {report['limit']}"
        if report["signal"]:
            return f"the command was ended by signal {report['signal']} ({report['outcome']})"
        return f"the command ended with status {report['exit_code']} ({report['outcome']})"


class TimedOut(StdboxError):
    """The caller's own time was over: the job was cancelled, and this is its report."""

    def __init__(self, report: Report, timeout: float) -> None:
        super().__init__(report, timeout)
        self.report = report
        self.timeout = timeout

    def __str__(self) -> str:
        return f"the job was cancelled after {self.timeout} seconds"


class Running:
    """A job that has been started. As a context manager it cancels the job at the end of the block, if it still runs.

    All methods may be called from any thread.
    """

    stdin: Optional[BinaryIO]
    """The other end of the command's standard input, where that is a PIPE; close it to give the command end of file."""
    stdout: Optional[BinaryIO]
    stderr: Optional[BinaryIO]

    def __init__(self, process: "_Process") -> None:
        self._process = process
        self.stdin, self.stdout, self.stderr = process.pipes
        self.pid = process.pid
        # Also where nobody keeps this object, and at the end of the program.
        self._finalizer = weakref.finalize(self, process.signal, signal.SIGTERM)

    def wait(self, timeout: Optional[float] = None) -> Report:
        """The report, when the job has ended.

        Raises TimeoutError if that takes longer than `timeout` seconds, and the job goes on; else what `run` raises. Read
        and write the pipes until their end first: the command waits for them.
        """
        try:
            return _report(self._process.ended.result(timeout))
        except concurrent.futures.TimeoutError:
            raise TimeoutError(f"the job still runs after {timeout} seconds") from None

    def done(self) -> bool:
        """Whether the job has ended."""
        return self._process.ended.done()

    def cancel(self) -> None:
        """Tells stdbox to end the job, after limits.grace_ms if it has that; then the outcome is `cancelled`."""
        self._process.signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends stdbox and the job at once. There is no report: `wait` raises ProtocolError."""
        self._process.signal(signal.SIGKILL)

    def close(self) -> None:
        """Cancels the job if it still runs, waits for its end and closes the pipes."""
        try:
            self.cancel()
            self._process.ended.result()
        except BaseException:
            # The user's second Ctrl-C does not wait for the job's time of grace.
            self.kill()
            self._process.ended.result()
            raise
        finally:
            for pipe in self._process.pipes:
                if pipe is not None:
                    _close(pipe)

    def __enter__(self) -> "Running":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()


def start(
    job: Job,
    *,
    stdbox: Program = None,
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
) -> Running:
    """Starts a job.

    `stdbox` is the program; without it, the one that is packaged with this module, else the one in PATH. A stream that is
    given here takes the place of the job's field. Descriptors that the job names (`fds`, {"fd": n}, `sync`) are passed on
    under their numbers, and no others.
    """
    return Running(_Process("run", job, stdbox, (stdin, stdout, stderr)))


def run(
    job: Job,
    *,
    stdbox: Program = None,
    timeout: Optional[float] = None,
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
    check: bool = False,
) -> Report:
    """Runs a job and returns its report.

    After `timeout` seconds the job is cancelled and TimedOut raised (limits.wall_time_ms lets stdbox do that, and is a
    report); the time that stdbox then needs, for limits.grace_ms and results, comes on top. An exception that comes
    meanwhile, such as KeyboardInterrupt, cancels the job; nothing is left of it when this function is left. Raises
    JobError, NotFound or ProtocolError where there is no result, and with `check` CommandFailed for any but exit status 0.
    """
    _refuse_pipes(stdin, stdout, stderr)
    with start(job, stdbox=stdbox, stdin=stdin, stdout=stdout, stderr=stderr) as running:
        try:
            report = running.wait(timeout)
        except TimeoutError:
            running.cancel()
            report = _in_time(running.wait(), timeout)
    return _checked(report) if check else report


async def run_async(
    job: Job,
    *,
    stdbox: Program = None,
    timeout: Optional[float] = None,
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
    check: bool = False,
) -> Report:
    """As `run`, for asyncio: to cancel the task is to cancel the job, and the task ends when nothing is left of it."""
    # Takes longer to import than all the rest, and most callers have no use for it.
    import asyncio

    _refuse_pipes(stdin, stdout, stderr)
    running = start(job, stdbox=stdbox, stdin=stdin, stdout=stdout, stderr=stderr)
    ended = asyncio.wrap_future(running._process.ended)
    try:
        done, _ = await asyncio.wait([ended], timeout=timeout)
        running.cancel()
        await asyncio.wait([ended])
    except BaseException:
        running.cancel()
        try:
            await asyncio.wait([ended])
        except BaseException:
            running.kill()
            await asyncio.wait([ended])
            raise
        raise
    report = _report(ended.result())
    if not done:
        report = _in_time(report, timeout)
    return _checked(report) if check else report


def check(job: Job, *, stdbox: Program = None) -> Job:
    """Checks a job without running it, and returns it with all defaults filled in. Raises JobError."""
    with Running(_Process("check", job, stdbox, (None, None, None))) as checking:
        return checking.wait()["job"]


def encode(value: "Union[str, bytes, os.PathLike[str], os.PathLike[bytes]]") -> Union[str, Base64]:
    """A path, argument or value of a variable as a job has it: a string if it is UTF-8, else an object with base64."""
    raw = os.fsencode(value)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode("ascii")}


def decode(value: Union[str, Base64]) -> bytes:
    """The bytes of a path or argument in a job or report; os.fsdecode makes a path of them."""
    return value.encode("utf-8") if isinstance(value, str) else base64.b64decode(value["base64"])


def output(captured: Optional[Captured]) -> bytes:
    """What was kept of a captured stream: the report's `stdout` or `stderr`."""
    if captured is None:
        return b""
    return captured["text"].encode("utf-8") if "text" in captured else base64.b64decode(captured["base64"])


class _End(NamedTuple):
    """How stdbox ended, and what it left."""

    status: int
    report: bytes
    complaint: bytes


class _Process:
    """stdbox with one job, and a thread that waits for its end.

    Job and report travel in files without a name: they cannot fill up as pipes do, so nobody has to read and write them at
    the same time, and no other child of this program can keep them open. A thread and not a poll, so that the process is
    reaped whatever becomes of its owner, and that blocking and asyncio callers wait for the same future.
    """

    def __init__(self, command: str, job: Job, program: Program, streams: Tuple[Stream, Stream, Stream]) -> None:
        fields: Dict[str, Any] = dict(job)
        for name, stream in zip(_STREAMS, streams):
            if stream is not None:
                if name in fields:
                    raise ValueError(f"{name} is given twice: as an argument and as a field of the job")
                if isinstance(stream, int) and stream < 0 and stream not in (PIPE, DEVNULL):
                    raise ValueError(f'{name}: {stream} is no descriptor (a job sends stderr to stdout by "stderr": "stdout")')
                fields[name] = "inherit"
        text = _serialise(fields)
        named = _descriptors(fields)
        # Open before the files below are: their numbers are none that the job means.
        passed = {number for number in named if _is_open(number)}
        binary = _find(program)
        with _file() as spec, _file() as report, _file() as complaint:
            spec.write(text)
            spec.seek(0)
            inherited = [None if number in named else DEVNULL for number in range(3)]
            own = [stream if stream is not None else inherited[number] for number, stream in enumerate(streams)]
            if streams[2] is None and 2 not in named:
                own[2] = complaint.fileno()
            arguments = [binary, command, f"--spec-fd={spec.fileno()}", f"--report-fd={report.fileno()}"]
            # A signal that comes before stdbox has read the job waits there until it has.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            try:
                self._child = subprocess.Popen(
                    arguments,
                    stdin=own[0],
                    stdout=own[1],
                    stderr=own[2],
                    pass_fds=[spec.fileno(), report.fileno(), *(number for number in passed if number > 2)],
                )
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ENOEXEC):
                    raise
                raise NotFound(f"{binary} cannot be started: {error.strerror}") from error
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            try:
                self.pid = self._child.pid
                self.pipes: List[Optional[BinaryIO]] = [
                    cast("Optional[BinaryIO]", pipe)
                    for pipe in (self._child.stdin, self._child.stdout, self._child.stderr)
                ]
                # Reentrant: the finalizer of another job may run in the middle of any line.
                self._lock = threading.RLock()
                self._owner = os.getpid()
                self.ended: "concurrent.futures.Future[_End]" = concurrent.futures.Future()
                # From here on nobody can cancel the future itself: what it stands for goes on.
                self.ended.set_running_or_notify_cancel()
                self._files = (_copy(report), _copy(complaint))
                threading.Thread(target=self._watch, name="stdbox", daemon=True).start()
            except BaseException:
                self._child.kill()
                self._child.communicate()
                for file in getattr(self, "_files", ()):
                    file.close()
                raise

    def _watch(self) -> None:
        try:
            # Without reaping: the number must stay this process's while a signal may be sent to it.
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            # Where the program ignores SIGCHLD the kernel has reaped it.
            pass
        with self._lock:
            status = self._child.wait()
        texts = []
        for file in self._files:
            with file:
                file.seek(0)
                texts.append(file.read())
        self.ended.set_result(_End(status, texts[0], texts[1]))

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, if the process has not ended."""
        if os.getpid() != self._owner:
            # A fork of this program: it has a copy of the object, and the job is not its child.
            return
        with self._lock:
            if self._child.returncode is None:
                self._child.send_signal(number)


def _find(program: Program) -> str:
    """The program to start."""
    if program is not None:
        return os.fspath(program)
    packaged = [place / "stdbox" for place in _packaged() if (place / "stdbox").is_file()]
    found = str(packaged[0]) if packaged else shutil.which("stdbox")
    if found is None:
        raise NotFound("there is neither a stdbox that came with this module nor one in PATH; name one with the argument `stdbox`")
    return found


def _packaged() -> List[Path]:
    """Where a program that came with this module lies: in its folder, or where pip puts it."""
    package = Path(__file__).absolute().parent
    site = package.parent
    # pip install --target DIRECTORY has DIRECTORY/stdbox and DIRECTORY/bin.
    places = [package / "bin", site / "bin"]
    if site.name in ("site-packages", "dist-packages") and len(site.parents) > 2:
        # Every other scheme has lib/pythonN.M/site-packages beside bin.
        places.append(site.parents[2] / "bin")
    return places


def _file() -> BinaryIO:
    """A file without a name."""
    if hasattr(os, "memfd_create"):
        file = cast(BinaryIO, open(os.memfd_create("stdbox"), "w+b"))
    else:
        file = cast(BinaryIO, tempfile.TemporaryFile())
    if file.fileno() > 2:
        return file
    # This program runs with closed standard streams, and would pass the file on in place of one.
    with file:
        return _copy(file)


def _copy(file: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, open(fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 3), "r+b"))


def _descriptors(job: Mapping[str, Any]) -> Set[int]:
    """The descriptors that a job names; what is wrong with them is stdbox's to say."""
    sync = job.get("sync")
    kept = job.get("fds")
    named: List[Any] = list(kept) if isinstance(kept, (list, tuple)) else []
    if isinstance(sync, dict):
        named += [sync.get("events_fd"), sync.get("control_fd")]
    for number, name in enumerate(_STREAMS):
        place = job.get(name)
        named.append(number if place == "inherit" else place.get("fd") if isinstance(place, dict) else None)
    return {number for number in named if isinstance(number, int) and number >= 0}


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except (OSError, OverflowError):
        return False
    return True


def _serialise(job: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(job, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
    except (TypeError, ValueError, RecursionError):
        _find_fault(job, "", 0)
        raise


def _find_fault(value: object, at: str, depth: int) -> None:
    """Names the field that cannot be written as JSON."""
    if depth > 64:
        raise ValueError(f"{at}: is nested more than 64 deep")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _find_fault(key, f"{at}/{key!r}", depth)
            _find_fault(inner, f"{at}/{key}", depth + 1)
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            _find_fault(inner, f"{at}/{index}", depth + 1)
    elif isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError(f"{at}: {value!r} is not UTF-8; stdbox.encode() writes it as base64") from None
    elif isinstance(value, (bytes, os.PathLike)):
        raise TypeError(f"{at}: {value!r} is no value of JSON; stdbox.encode() makes one")
    elif isinstance(value, float) and value - value != 0:
        raise ValueError(f"{at}: {value!r} is no number of JSON")
    elif not (value is None or isinstance(value, (bool, int, float))):
        raise TypeError(f"{at}: {value!r} is no value of JSON")


def _report(end: _End) -> Report:
    try:
        report = json.loads(end.report)
        outcome = report["outcome"]
    except (ValueError, TypeError, KeyError):
        how = f"was ended by signal {-end.status}" if end.status < 0 else f"ended with status {end.status}"
        complaint = end.complaint.decode("utf-8", "replace").strip()
        raise ProtocolError(f"stdbox {how} without a report. {complaint}".strip()) from None
    if outcome in ("invalid-job", "setup-failed"):
        raise JobError(report)
    return cast(Report, report)


def _in_time(report: Report, timeout: Optional[float]) -> Report:
    """The report of a job that was cancelled for the caller's time-out, unless it ended by itself just then."""
    if report["outcome"] == "cancelled" and timeout is not None:
        raise TimedOut(report, timeout)
    return report


def _checked(report: Report) -> Report:
    if report["outcome"] != "exited" or report["exit_code"] != 0:
        raise CommandFailed(report)
    return report


def _refuse_pipes(*streams: Stream) -> None:
    if PIPE in streams:
        raise ValueError("nobody could read or write a PIPE while this function waits; use start()")


def _close(pipe: BinaryIO) -> None:
    try:
        pipe.close()
    except BrokenPipeError:
        # What was left in the buffer had no reader any more.
        pass
