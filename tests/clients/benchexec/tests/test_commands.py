"""BenchExec's programs, as they are and on stdbox: command lines, output, signals."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Any

from support import EXECUTORS, Case, command, processes


class Commands(Case):
    KINDS = tuple(EXECUTORS)

    def run_command(self, kind: str, name: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(kind, name, *arguments), cwd=self.directory, capture_output=True, text=True, timeout=60, **options
        )

    def both(self, name: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Runs the program in both ways; standard output, exit status and what it leaves in its directory must be equal."""
        done = []
        for kind in self.KINDS:
            ran = self.run_command(kind, name, *arguments, **options)
            left = {}
            for path, _directories, names in os.walk(self.directory, topdown=False):
                for file in names:
                    with open(os.path.join(path, file)) as content:
                        left[os.path.relpath(content.name, self.directory)] = content.read()
                    os.remove(content.name)
                if path != self.directory:
                    os.rmdir(path)
            done.append((ran, left))
        (expected, expected_left), (actual, actual_left) = done
        # Times are those of the run.
        lines = [
            [
                line
                for line in ran.stdout.splitlines()
                if not line.startswith(("starttime=", "walltime=", "cputime", "memory", "pressure"))
            ]
            for ran in (expected, actual)
        ]
        self.assertEqual(
            (actual.returncode, lines[1], actual_left), (expected.returncode, lines[0], expected_left), actual.stderr
        )
        keys = [{line.partition("=")[0] for line in ran.stdout.splitlines()} for ran in (expected, actual)]
        if name == "runexec":
            self.assertEqual(*keys)
        actual.left = actual_left  # type: ignore[attr-defined]
        return actual

    # --- containerexec ---

    def test_containerexec(self) -> None:
        ran = self.both(
            "containerexec",
            "--read-only-dir",
            "/",
            "--dir",
            "/tmp",
            "--",
            "sh",
            "-c",
            "cat; id -u; pwd; echo x > file; exit 7",
            input="in\n",
        )
        self.assertEqual((ran.returncode, ran.stdout, ran.left), (7, "in\n1000\n/tmp\n", {"output.files/file": "x\n"}))

    def test_containerexec_options(self) -> None:
        """Each option of the command line; what it does is shown by test_same.py."""
        script = "id -u; id -g; ls /proc/sys/net/ipv4/conf | grep -c .; hostname; stat -f -c %T /tmp; ls -d /home/* 2>&1; touch a b.txt"
        base = ["--read-only-dir", "/", "--dir", "/tmp"]
        for options in (
            ["--root"],
            ["--uid", "5", "--gid", "6"],
            ["--network-access"],
            ["--keep-system-config"],
            ["--hidden-dir", "/home"],
            ["--result-files", "*.txt", "--output-directory", "out"],
            ["--result-files", "/tmp/a", "--result-files", "b.*"],
            ["--quiet"],
        ):
            with self.subTest(options):
                self.both("containerexec", *base, *options, "--", "sh", "-c", script)

    def test_containerexec_with_default_modes(self) -> None:
        """An overlay of the host's whole tree; BenchExec's own needs a program and a device for it on most machines."""
        ran = self.run_command(
            "stdbox", "containerexec", "--", "sh", "-c", "echo new > file; rm -r /usr/share/doc; echo $HOME; touch ~/x"
        )
        self.assertEqual((ran.returncode, ran.stdout), (0, "/home/benchexec\n"), ran.stderr)
        self.assertEqual(os.listdir(self.directory), ["output.files"])
        self.assertEqual(os.listdir(f"{self.directory}/output.files"), ["file"])
        self.assertTrue(os.path.isdir("/usr/share/doc"))

    def test_containerexec_tells_what_is_wrong(self) -> None:
        for arguments, message in (
            (["--read-only-dir", "/", "--", "no-such-command"], "command-not-found"),
            (["--hidden-dir", "/home", "--dir", "/home/nobody", "--", "true"], "cwd-missing"),
            (["--full-access-dir", "/no/such", "--", "true"], "does not exist or is no directory"),
        ):
            with self.subTest(arguments):
                ran = self.both("containerexec", *(["--read-only-dir", "/"] if "/" not in arguments else []), *arguments)
                self.assertNotEqual(ran.returncode, 0)
                self.assertIn(message, ran.stderr)

    def test_namespaces_are_forbidden(self) -> None:
        """In a user namespace that allows no further ones; both say so, stdbox names the setting."""
        for kind in self.KINDS:
            ran = subprocess.run(
                ["unshare", "--user", "--map-root-user", "sh", "-c", 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"', "sh"]
                + command(kind, "containerexec", "--read-only-dir", "/", "--", "true"),
                cwd=self.directory, capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            with self.subTest(kind):
                self.assertEqual(ran.returncode, 1)
                self.assertIn("Cannot execute true", ran.stderr)
                self.assertIn("user.max_user_namespaces", ran.stderr)

    def test_signals_end_the_command(self) -> None:
        """Also where the whole process group gets the signal, as from a terminal. It does not reach the command by itself, as
        it may in BenchExec's own container: what counts is that stop() kills."""
        for kind in self.KINDS:
            for name in "containerexec", "runexec":
                for number in signal.SIGTERM, signal.SIGINT, signal.SIGQUIT:
                    with self.subTest(number, kind=kind, name=name):
                        word = f"stdbox-benchexec-{os.getpid()}-{time.monotonic_ns()}"
                        argv = ["sh", "-c", "echo started; setsid sleep 1000 & sleep 1000; exit 1", word]
                        options = ["--read-only-dir", "/"] + (["--output", "/dev/stdout"] if name == "runexec" else [])
                        with subprocess.Popen(
                            command(kind, name, *options, "--", *argv),
                            cwd=self.directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
                        ) as started:  # fmt: skip
                            while started.stdout.readline() != "started\n":
                                self.assertIsNone(started.poll())
                            # The command is at work, so its process is known.
                            time.sleep(0.1)
                            os.killpg(started.pid, number)
                            out, err = started.communicate(timeout=20)
                        signals = {9} if kind == "stdbox" else {9, int(number)}
                        if name == "runexec":
                            self.assertEqual(started.returncode, 0, err)
                            self.assertIn("terminationreason=killed\n", out)
                            self.assertIn(int(out.partition("exitsignal=")[2].split()[0]), signals)
                        else:
                            self.assertIn(started.returncode, signals, err)
                        deadline = time.monotonic() + 5
                        while processes(word) and time.monotonic() < deadline:
                            time.sleep(0.05)
                        self.assertEqual(processes(word), [])

    def test_unknown_program(self) -> None:
        ran = self.run_command("stdbox", "execute")
        self.assertEqual(ran.returncode, 1)
        self.assertIn("usage: python3 -m stdbox_benchexec containerexec|runexec|benchexec", ran.stderr)

    # --- runexec ---

    def test_runexec(self) -> None:
        ran = self.both(
            "runexec", "--read-only-dir", "/", "--dir", "/tmp", "--input", "-", "--", "sh", "-c", "cat; echo err >&2; echo x > file; kill -6 $$",
            input="in\n",
        )  # fmt: skip
        self.assertIn("exitsignal=6", ran.stdout)
        self.assertEqual(set(ran.left), {"output.log", "output.files/file"})
        self.assertTrue(ran.left["output.log"].endswith("\nin\nerr\n"))

    def test_runexec_without_a_command(self) -> None:
        ran = self.both("runexec", "--read-only-dir", "/", "--", "no-such-command")
        self.assertEqual(ran.stdout, "terminationreason=failed\n")
        self.assertIn("command-not-found", ran.stderr)

    def test_runexec_wall_time(self) -> None:
        ran = self.both("runexec", "--read-only-dir", "/", "--walltimelimit", "1", "--", "sleep", "30")
        self.assertIn("terminationreason=walltime", ran.stdout)
        self.assertIn("exitsignal=9", ran.stdout)
