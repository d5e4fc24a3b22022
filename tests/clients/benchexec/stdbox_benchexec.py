"""BenchExec's executors, with every container made by stdbox.

    python3 -m stdbox_benchexec containerexec|runexec|benchexec ARGUMENTS…

runs BenchExec's own command, unchanged but for who makes the container; so do the two classes for those who use BenchExec as
a library. stdbox is found through STDBOX_BIN, else in PATH; Python must be 3.11 or newer. What ContainerExecutor is told
becomes a job:

    args, cwd                  argv, cwd; an argument that is not UTF-8 travels in base64
    env                        the environment that stdbox itself is started with, and "inherit": true
    stdin, stdout, stderr      the three streams that stdbox itself is started with, and "inherit"
    root_dir                   root, full access, with the host's /dev; results cannot be taken from there (nor does BenchExec)
    dir_modes                  directories, the same four words
    container_system_config    system_config, lxcfs, host name and home directory `benchexec`
    uid, gid, network_access   user, network
    container_tmpfs            scratch: a tmpfs, else a directory below BenchExec's own temporary one
    memlimit, memory_nodes     scratch: size and NUMA nodes of that tmpfs (the limit itself is a matter of the control group)
    output_dir, patterns       results, from where the files are moved
    parent_setup_fn            called while the command stands just before exec, when its process and the container's first one
                               have entered their control groups
    child_setup_fn             called in the process that becomes stdbox: resource limits, niceness, affinity and umask reach the
                               command by inheritance, and hold for stdbox on the way. A process group, signal handlers and the
                               parent-death signal do not, since the command gets a session of its own, with default signal
                               handling, anyway
    parent_cleanup_fn          called when the command has ended and the container still stands
    exit status, rusage        of the event `exited`; the process id is that of the command, outside the container

What differs from ContainerExecutor's own containers, each because stdbox does so on purpose:

    /                    an overlay needs no FUSE where other file systems are mounted below, so the default modes work everywhere
    HOME                 /tmp where /home/benchexec cannot be made; BenchExec leaves HOME pointing to nothing
    user names           /etc/passwd names the user `benchexec` whatever --uid is, and `root` for 0; else only 1000 has that name
    system calls         stdbox's default filter, which denies more than BenchExec's four (bpf, perf_event_open, io_uring …)
    capabilities         no setuid program gains anything, not even mapped ids (no_new_privs)
    /sys/fs/cgroup       read-only; BenchExec mounts a writable one where there is cgroup v2. So cgroup_access is refused
    /dev, /proc          as root, device files of the host are closed and global settings read-only
    /dev/shm             sized by the machine where there is no tmpfs for the rest (container_tmpfs=False), not by memlimit
    missing directory    a mode for one is left out with a warning; BenchExec makes some of them
    root_dir             a full-access tree gets no /sys; other mounts of the host are not part of it
    result files         planted links lead nowhere, and a file is delivered even where the job took its permissions away; a
                         system file such as /etc/passwd is a result if the job has changed it; characters of cwd mean
                         themselves; [:alpha:] means what it does in a shell
    limits on files      what stdbox itself lays out in the layers counts as well, some fifty files below an overlay of /
    core dumps           an unlimited size is passed on as the largest number there is
    cleanup              nothing of a container is left to look at with RunExecutor(cleanup_temp_dir=False)
    errors               StdboxError, a BenchExecException that says what failed, where BenchExec says "check log for details"
    tool-info modules    not affected: benchexec loads them in a container of its own that no executor makes
"""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import logging
import os
import re
import resource
import shutil
import subprocess
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, NoReturn

from benchexec import BenchExecException, container, containerexecutor, runexecutor, util

Stream = IO[Any] | int | None

_DEFAULTS = ("/tmp", "/run")
"""Directories that stdbox hides unless a mode says otherwise, and BenchExec only if a mode says so."""

_LARGEST = 2**63 - 1
"""The largest number of bytes that a job can name."""


class StdboxError(BenchExecException):
    """A container that could not be made, or a command that could not be started in it.

    `error` is the report's object of that name: `code` for programs, `at` for the field of the job, `hint` for people.
    """

    def __init__(self, error: Mapping[str, Any]) -> None:
        self.error = error
        hint = f" ({error['hint'].rstrip('.')})" if error.get("hint") else ""
        super().__init__(f"{error['code']}: {error['message'].rstrip('.')}{hint}")


class StdboxExecutor(containerexecutor.ContainerExecutor):
    """ContainerExecutor, but stdbox makes the containers."""

    def _start_execution_in_container(
        self,
        args: Sequence[str],
        stdin: Stream,
        stdout: Stream,
        stderr: Stream,
        env: dict[str, str],
        root_dir: str | None,
        cwd: str | None,
        temp_dir: str,  # None only with a root_dir, where it has no use
        memlimit: int | None,
        memory_nodes: Sequence[int] | None,
        cgroups: Any,
        output_dir: str,  # None only without patterns
        result_files_patterns: Sequence[str],
        parent_setup_fn: Callable[[], Any],
        child_setup_fn: Callable[[], Any],
        parent_cleanup_fn: Callable[..., Any],
    ) -> tuple[int, Any, Callable[[], tuple[int, resource.struct_rusage, Any]]]:
        if self._cgroups.version == 2:
            raise BenchExecException("cgroup_access is not possible: stdbox shows control groups read-only")
        if root_dir is not None and result_files_patterns:
            raise BenchExecException("result_files_patterns is not possible together with root_dir")
        job: dict[str, Any] = {
            "argv": [_text(arg) for arg in args],
            "stdin": "inherit",
            "stdout": "inherit",
            "stderr": "inherit",
            "network": "host" if self._allow_network else "none",
            "dev": "host",
            "limits": {"core_bytes": _core_bytes()},
        }
        if root_dir is None:
            job |= self._tree(cwd, temp_dir, memlimit, memory_nodes)
        else:
            job |= self._other_root(root_dir, cwd)
        if result_files_patterns:
            # BenchExec makes the output directory only for the files in it, stdbox before it starts the command.
            results_dir = os.path.join(temp_dir, "results")
            job["results"] = {
                "directory": _text(results_dir),
                "patterns": [_text(_pattern(pattern)) for pattern in result_files_patterns],
            }
        stopped = self.PROCESS_KILLED
        run = _Run(job, env, stdin, stdout, stderr, child_setup_fn)
        with contextlib.ExitStack() as on_failure:
            on_failure.enter_context(run)
            ready = run.event("ready")
            logging.debug("stdbox: %s stands before exec with PID %d, init has PID %d.", args[0], ready["pid"], ready["init_pid"])
            if root_dir is None and not self._container_tmpfs:
                # Where limits on the number and size of files look, see _get_result_files_base().
                os.symlink(ready["scratch"], self._get_result_files_base(temp_dir))
            # The first process is in the group of the limits, since LXCFS shows those, but in none that is measured.
            cgroups.create_fresh_child_cgroup(cgroups.subsystems.keys(), prefix="init_").add_task(ready["init_pid"])
            tool_cgroups = cgroups.create_fresh_child_cgroup_for_delegation()
            tool_cgroups.add_task(ready["pid"])
            parent_setup = parent_setup_fn()
            run.proceed()
            on_failure.pop_all()

        def wait_for_command() -> tuple[int, resource.struct_rusage, Any]:
            with run:
                if self.PROCESS_KILLED and not stopped:
                    # stop() came before the caller could know the process.
                    util.kill_process(ready["pid"])
                exited = run.event("exited")
                status = util.ProcessExitCode.from_raw(exited["wait_status"])
                base_path = f"/proc/{ready['init_pid']}/root"
                parent_cleanup = parent_cleanup_fn(parent_setup, status, base_path, tool_cgroups)
                run.proceed()
                report = run.report()
                if result_files_patterns:
                    _move_results(report["results"], results_dir, output_dir)
            return status.raw, _rusage(exited["rusage"]), parent_cleanup

        return ready["pid"], tool_cgroups, wait_for_command

    def _tree(self, cwd: str | None, temp_dir: str, memlimit: int | None, memory_nodes: Sequence[int] | None) -> dict[str, Any]:
        """The part of a job that says what the command sees of the host, and who it is."""
        modes = {path.decode(): mode for path, mode in self._dir_modes.items()}
        for path in _DEFAULTS:
            modes.setdefault(path, modes["/"])
        for path in [path for path in modes if not os.path.isdir(path)]:
            # The home directory is made by stdbox, the others are BenchExec's own defaults.
            if path not in (container.CONTAINER_HOME, *_DEFAULTS):
                logging.warning("Leaving out the mode of %s because it is no directory.", path)
            del modes[path]
        if self._container_tmpfs:
            scratch: dict[str, Any] = {
                "size_bytes": memlimit or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
                "numa_nodes": list(memory_nodes or ()),
            }
        else:
            scratch = {"directory": _text(temp_dir)}
        # Neither the layers behind overlays and hidden directories nor the files that are moved from there are for the command.
        modes[os.path.realpath(temp_dir)] = container.DIR_HIDDEN
        return {
            "cwd": _text(os.path.abspath(cwd or os.curdir)),
            "directories": [{"path": _text(path), "mode": mode} for path, mode in modes.items()],
            "scratch": scratch,
            "system_config": self._container_system_config,
            "lxcfs": "auto" if self._container_system_config else "off",
            "user": self._user(),
            **self._hostname(),
        }

    def _other_root(self, root_dir: str, cwd: str | None) -> dict[str, Any]:
        """The part of a job that replaces the host's tree by another one, all of it writable."""
        root_dir = os.path.abspath(root_dir)
        for path in ("proc", "dev"):
            os.makedirs(os.path.join(root_dir, path), exist_ok=True)
        paths = ["/", *(path for path in _DEFAULTS if os.path.isdir(root_dir + path))]
        return {
            "cwd": _text(os.path.abspath(cwd or "/")),
            "root": _text(root_dir),
            "directories": dict.fromkeys(paths, container.DIR_FULL_ACCESS),
            "sys": "none",
            "system_config": False,
            "lxcfs": "auto" if self._container_system_config else "off",
            "user": {"uid": self._uid, "gid": self._gid},
            **self._hostname(),
        }

    def _user(self) -> dict[str, Any]:
        user: dict[str, Any] = {"uid": self._uid, "gid": self._gid}
        if self._container_system_config:
            user["home"] = container.CONTAINER_HOME
            if self._uid != 0:
                user["name"] = "benchexec"
        return user

    def _hostname(self) -> dict[str, str]:
        return {"hostname": container.CONTAINER_HOSTNAME} if self._container_system_config else {}


class StdboxRunExecutor(runexecutor.RunExecutor, StdboxExecutor):
    """RunExecutor, but stdbox makes the containers.

    RunExecutor leaves containers to the next class, which is StdboxExecutor here: no method of it has to be replaced.
    """


class _Run:
    """One stdbox at work: the job goes in and the report comes out through files in memory, events and answers through pipes."""

    def __init__(
        self,
        job: dict[str, Any],
        env: Mapping[str, str],
        stdin: Stream,
        stdout: Stream,
        stderr: Stream,
        child_setup_fn: Callable[[], Any],
    ) -> None:
        with contextlib.ExitStack() as inside, contextlib.ExitStack() as outside:
            spec = inside.enter_context(os.fdopen(os.memfd_create("job"), "wb"))
            self._report = outside.enter_context(os.fdopen(os.memfd_create("report"), "rb"))
            events, events_inside = os.pipe()
            self._events = outside.enter_context(os.fdopen(events, "rb"))
            inside.callback(os.close, events_inside)
            control_inside, control = os.pipe()
            self._control = outside.enter_context(os.fdopen(control, "wb", buffering=0))
            inside.callback(os.close, control_inside)
            job["sync"] = {
                "events_fd": events_inside,
                "control_fd": control_inside,
                "pause_before_exec": True,
                "pause_after_exit": True,
            }
            spec.write(json.dumps(job).encode())
            spec.flush()
            spec.seek(0)
            try:
                self._process = subprocess.Popen(
                    [_binary(), "--spec-fd", str(spec.fileno()), "--report-fd", str(self._report.fileno())],
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    env=env,
                    pass_fds=(spec.fileno(), self._report.fileno(), events_inside, control_inside),
                    # Without one, starting stdbox does not copy this process.
                    preexec_fn=None if child_setup_fn is util.dummy_fn else child_setup_fn,
                    # Ctrl-C is for the caller, who calls stop(), and not for stdbox, which would end the job on its own.
                    process_group=0,
                )
            except subprocess.SubprocessError as error:
                raise BenchExecException(f"child_setup_fn failed: {error}") from error
            self._files = outside.pop_all()

    def __enter__(self) -> _Run:
        return self

    def __exit__(self, *_exception: object) -> None:
        """Whatever is still there ends: stdbox, and with it the container."""
        with self._files:
            if self._process.poll() is None:
                self._process.terminate()
                self._control.close()
                self._process.wait()

    def event(self, name: str) -> dict[str, Any]:
        """Waits for the next event, which must be this one; if stdbox ends instead, the report says why."""
        line = self._events.readline()
        if not line:
            self._fail(self.report())
        event: dict[str, Any] = json.loads(line)
        if event["event"] != name:
            raise BenchExecException(f"stdbox sent the event {event['event']} instead of {name}")
        return event

    def proceed(self) -> None:
        """Ends a pause. That stdbox is gone shows in what comes next."""
        with contextlib.suppress(BrokenPipeError):
            self._control.write(b"continue\n")

    def report(self) -> dict[str, Any]:
        status = self._process.wait()
        self._report.seek(0)
        text = self._report.read()
        if not text:
            raise BenchExecException(f"stdbox ended with status {status} and without a report")
        report: dict[str, Any] = json.loads(text)
        for notice in report["degraded"] + report["warnings"]:
            logging.warning("stdbox: %s", notice["message"])
        if report["error"] is not None:
            self._fail(report)
        return report

    @staticmethod
    def _fail(report: Mapping[str, Any]) -> NoReturn:
        raise StdboxError(
            report["error"]
            or {"code": report["outcome"], "message": "stdbox was told to stop before the command ran", "hint": None}
        )


def _binary() -> str:
    # Looked up here, since the environment that stdbox is started with is the command's.
    name = os.environ.get("STDBOX_BIN", "stdbox")
    path = shutil.which(name)
    if path is None:
        raise FileNotFoundError(errno.ENOENT, "no such program (STDBOX_BIN can name the file of stdbox)", name)
    return os.path.abspath(path)


def _text(value: str) -> str | dict[str, str]:
    """A string of a job; Python keeps bytes that are not UTF-8 as surrogates, which JSON must not have."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return {"base64": base64.b64encode(os.fsencode(value)).decode()}
    return value


def _path(value: str | Mapping[str, str]) -> str:
    """A path of a report, the other way round."""
    return value if isinstance(value, str) else os.fsdecode(base64.b64decode(value["base64"]))


def _pattern(pattern: str) -> str:
    """A pattern of Python's glob in the words of a shell.

    There a backslash quotes, [^a] is anything but a, and a last ** leaves out names with a dot.
    """
    quoted = os.path.normpath(pattern).replace("\\", "\\\\").replace("[^", "[\\^")
    return re.sub(r"(^|/)\*\*(/\*\*)*$", r"\1.", quoted)


def _core_bytes() -> int:
    # Without a word stdbox allows no core dumps; BenchExec leaves that to ulimit.
    soft, _hard = resource.getrlimit(resource.RLIMIT_CORE)
    return _LARGEST if soft == resource.RLIM_INFINITY else soft


def _rusage(rusage: Mapping[str, int]) -> resource.struct_rusage:
    """In the order of getrusage(2); what Linux does not maintain is 0 there too."""
    return resource.struct_rusage((
        rusage["user_ns"] / 1e9,
        rusage["system_ns"] / 1e9,
        rusage["max_rss_bytes"] // 1024,
        *(0, 0, 0),
        rusage["minor_faults"],
        rusage["major_faults"],
        0,
        rusage["block_reads"],
        rusage["block_writes"],
        *(0, 0, 0),
        rusage["voluntary_switches"],
        rusage["involuntary_switches"],
    ))  # fmt: skip


def _move_results(results: Mapping[str, Any], results_dir: str, output_dir: str) -> None:
    """The result files go where the caller wants them, with the messages that BenchExec writes about it."""
    for number, file in enumerate(results["files"]):
        source, target = (os.path.join(directory, _path(file["path"])) for directory in (results_dir, output_dir))
        if number < containerexecutor._MAX_RESULT_FILE_LOG_COUNT:
            logging.debug("Transferring output file %s to %s", source, target)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        try:
            shutil.move(source, target)
        except OSError as error:
            logging.warning("Could not retrieve output file '%s': %s", target, error)
    logging.debug("%s output files matched the patterns and were transferred.", len(results["files"]))
    for file in results["skipped"]:
        if file["reason"] != "not-a-file":
            logging.warning("Could not retrieve output file '%s': %s", _path(file["path"]), file["reason"])


def _with(function: types.FunctionType, **names: type) -> Callable[[list[str]], Any]:
    """The function, with other classes under the names that it knows.

    A main() makes an instance of a class of its own module. Replacing the class there would break it, since its methods call
    super() by the same name.
    """
    return types.FunctionType(function.__code__, {**function.__globals__, **names}, None, function.__defaults__)


def _benchexec(argv: list[str]) -> None:
    # Here, since it takes longer to load than a container to make.
    from benchexec import benchexec

    class StdboxBenchExec(benchexec.BenchExec):
        def load_executor(self) -> types.ModuleType:
            executor = super().load_executor()
            executor.RunExecutor = StdboxRunExecutor
            return executor

    benchexec.main(StdboxBenchExec(), argv)


_COMMANDS: Mapping[str, Callable[[list[str]], Any]] = {
    "containerexec": _with(containerexecutor.main, ContainerExecutor=StdboxExecutor),
    "runexec": _with(runexecutor.main, RunExecutor=StdboxRunExecutor),
    "benchexec": _benchexec,
}


def main() -> Any:
    if len(sys.argv) < 2 or sys.argv[1] not in _COMMANDS:
        sys.exit(f"usage: python3 -m stdbox_benchexec {'|'.join(_COMMANDS)} ARGUMENTS…")
    # The name is what the commands call themselves in messages.
    sys.argv[:2] = [sys.argv[1]]
    return _COMMANDS[sys.argv[0]](sys.argv)


if __name__ == "__main__":
    sys.exit(main())
