"""The same commands through BenchExec's own containers and through stdbox's, and what they see is the same."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import tempfile
from typing import Any
from unittest import mock

from stdbox_benchexec import StdboxExecutor
from support import EXECUTORS, READ_ONLY, Case, Ran, execute


class Same(Case):
    def both(self, script: str, *arguments: str, options: dict[str, Any] | None = None, **parameters: Any) -> Ran:
        """Runs a shell script in both kinds of container; all that it wrote and how it ended must be equal."""
        ran = {
            kind: execute(
                executor(**{"dir_modes": dict(READ_ONLY), **(options or {})}),
                ["/bin/sh", "-c", script, "sh", *arguments],
                **parameters,
            )
            for kind, executor in EXECUTORS.items()
        }
        expected, actual = ran["BenchExec"], ran["stdbox"]
        self.assertEqual((actual.status, actual.stdout, actual.stderr), (expected.status, expected.stdout, expected.stderr))
        return actual

    # --- the command ---

    def test_arguments(self) -> None:
        ran = self.both(r'printf "<%s>" "$@"', "two words", "", "-n", "'\"$x`\\", "ä", "\udcff", "new\nline")
        self.assertEqual(ran.stdout, "<two words><><-n><'\"$x`\\><ä>".encode() + b"<\xff><new\nline>")

    def test_environment_is_that_of_the_caller_alone(self) -> None:
        env = {"PATH": "/usr/bin:/bin", "A": "x y", "EMPTY": "", "BYTES": "\udcff", "NAM\udcffE": "ä", "STDBOX_BIN": "x"}
        ran = self.both("env | LC_ALL=C sort | grep -av ^PWD=", env=env, options={"container_system_config": False})
        self.assertIn(b"BYTES=\xff\n", ran.stdout)

    def test_command_is_looked_up_in_its_own_path(self) -> None:
        os.mkdir(f"{self.directory}/bin")
        with open(f"{self.directory}/bin/stdbox-finds-this", "w") as program:
            program.write("#!/bin/sh\necho found\n")
        os.chmod(program.name, 0o755)
        for kind, executor in EXECUTORS.items():
            with self.subTest(kind):
                ran = execute(
                    executor(dir_modes=dict(READ_ONLY)),
                    ["stdbox-finds-this"],
                    env={"PATH": f"/usr/bin:/bin:{self.directory}/bin"},
                )
                self.assertEqual(ran.text, "found\n")

    def test_working_directory(self) -> None:
        self.assertEqual(self.both("pwd", cwd=self.directory).text, self.directory + "\n")
        self.assertEqual(self.both("pwd", cwd="/usr/../usr/bin/").text, "/usr/bin\n")

    def test_working_directory_of_the_caller(self) -> None:
        before = os.getcwd()
        os.chdir(self.directory)
        self.addCleanup(os.chdir, before)
        self.assertEqual(self.both("pwd", cwd=None).text, self.directory + "\n")

    def test_exit_status(self) -> None:
        for script, value, signal in ("exit 0", 0, None), ("exit 255", 255, None), ("kill -15 $$", None, 15):
            with self.subTest(script):
                status = self.both(script).status
                self.assertEqual((status.value, status.signal), (value, signal))

    # --- streams ---

    def test_stdin_is_a_file(self) -> None:
        with open(f"{self.directory}/input", "w+") as file:
            file.write("first\nsecond\n")
            file.flush()
            for stdin in file, file.fileno():
                file.seek(0)
                texts = []
                for executor in EXECUTORS.values():
                    file.seek(0)
                    texts.append(execute(executor(dir_modes=dict(READ_ONLY)), ["cat"], stdin=stdin).text)
                self.assertEqual(texts, ["first\nsecond\n"] * 2)

    def test_stdin_is_empty(self) -> None:
        self.assertEqual(self.both("cat; readlink /proc/self/fd/0", stdin=subprocess.DEVNULL).text, "/dev/null\n")

    def test_stdin_of_the_caller(self) -> None:
        before = os.dup(0)
        self.addCleanup(os.close, before)
        self.addCleanup(os.dup2, before, 0)
        with tempfile.TemporaryFile() as file:
            file.write(b"from the caller\n")
            file.flush()
            os.dup2(file.fileno(), 0)
            for executor in EXECUTORS.values():
                file.seek(0)
                self.assertEqual(execute(executor(dir_modes=dict(READ_ONLY)), ["cat"], stdin=None).text, "from the caller\n")

    def test_stdout_and_stderr_are_apart(self) -> None:
        ran = self.both("echo out; echo err >&2")
        self.assertEqual((ran.stdout, ran.stderr), (b"out\n", b"err\n"))

    def test_large_output(self) -> None:
        self.assertEqual(len(self.both("head -c 20000000 /dev/zero").stdout), 20_000_000)

    def test_no_other_descriptor_is_open(self) -> None:
        with open("/dev/null") as other:
            os.set_inheritable(other.fileno(), True)
            self.assertEqual(self.both("ls /proc/$$/fd").text, "0\n1\n2\n")

    # --- who and where ---

    def test_ids(self) -> None:
        script = "id -u; id -g"
        self.assertEqual(self.both(script).text, "1000\n1000\n")
        self.assertEqual(self.both(script, options={"uid": 0, "gid": 0}).text, "0\n0\n")
        self.assertEqual(self.both(script, options={"uid": 4321, "gid": 7}).text, "4321\n7\n")
        own = self.both(script, options={"container_system_config": False})
        self.assertEqual(own.text, f"{os.getuid()}\n{os.getgid()}\n")

    def test_names(self) -> None:
        ran = self.both("id -un; id -gn; hostname; cat /etc/hostname; getent hosts localhost | wc -l; echo ~root")
        self.assertEqual(ran.text, "benchexec\nbenchexec\nbenchexec\nbenchexec\n1\n/root\n")

    def test_names_of_the_host(self) -> None:
        ran = self.both("hostname; cat /etc/passwd /etc/hosts; echo $HOME", options={"container_system_config": False})
        self.assertTrue(ran.text.startswith(socket.gethostname() + "\n"))

    def test_home_is_private_and_writable(self) -> None:
        modes = {**READ_ONLY, "/home": "hidden"}
        ran = self.both('echo "$HOME"; touch "$HOME/x"; ls -A "$HOME" /home', options={"dir_modes": modes})
        self.assertEqual(ran.text, "/home/benchexec\n/home:\nbenchexec\n\n/home/benchexec:\nx\n")

    def test_processes_of_the_host_cannot_be_seen(self) -> None:
        # The first process is the container's, the second one the command.
        self.assertEqual(self.both("echo $$ /proc/[0-9]*").text, "2 /proc/1 /proc/2\n")

    def test_network(self) -> None:
        script = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | LC_ALL=C sort"
        self.assertEqual(self.both(script).text.split(), ["lo"])
        ran = self.both(script, options={"network_access": True})
        self.assertEqual(ran.text.split(), sorted(name for _index, name in socket.if_nameindex()))

    def test_loopback_is_up(self) -> None:
        program = (
            "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname()); print('up')"
        )
        self.assertEqual(self.both('/usr/bin/python3 -c "$1"', program).text, "up\n")

    # --- directories ---

    def test_modes(self) -> None:
        """What the command sees of a directory in each mode, and what the host sees afterwards."""
        expected = {
            "hidden": ("", ["new"], "old"),
            "read-only": ("old", [], "old"),
            "overlay": ("old", ["new"], "old"),
            "full-access": ("old", ["new"], "changed"),
        }
        for mode, (seen, made, left) in expected.items():
            for kind, executor in EXECUTORS.items():
                with self.subTest(mode, kind=kind):
                    directory = tempfile.mkdtemp(dir=self.directory)
                    with open(f"{directory}/file", "w") as file:
                        file.write("old")
                    script = (
                        'cd "$1" && cat file 2>/dev/null; touch new 2>/dev/null; ls -A | grep new >&2; echo -n changed > file'
                    )
                    ran = execute(executor(dir_modes={**READ_ONLY, directory: mode}), ["/bin/sh", "-c", script, "sh", directory])
                    self.assertEqual(ran.text, seen)
                    self.assertEqual(ran.stderr.decode().split()[: len(made)], made)
                    with open(f"{directory}/file") as file:
                        self.assertEqual(file.read(), left)
                    self.assertEqual(os.path.exists(f"{directory}/new"), mode == "full-access")

    def test_modes_inside_each_other(self) -> None:
        for path in "a/b/c", "a/d":
            os.makedirs(f"{self.directory}/{path}")
        modes = {
            **READ_ONLY,
            f"{self.directory}/a": "full-access",
            f"{self.directory}/a/b": "read-only",
            f"{self.directory}/a/b/c": "full-access",
            f"{self.directory}/a/d": "hidden",
        }
        ran = self.both(
            "for d in . a a/b a/b/c a/d; do touch $d/x 2>/dev/null && echo $d; done",
            cwd=self.directory,
            options={"dir_modes": modes},
        )
        self.assertEqual(ran.text.split(), ["a", "a/b/c", "a/d"])
        self.assertFalse(os.path.exists(f"{self.directory}/a/d/x"))

    def test_tmp_and_run_follow_the_root_where_they_are_not_named(self) -> None:
        with tempfile.NamedTemporaryFile(dir="/tmp") as file:
            ran = self.both(
                'cat "$1"; touch /tmp/x 2>/dev/null || echo refused', file.name, options={"dir_modes": {"/": "read-only"}}
            )
        self.assertEqual(ran.text, "refused\n")

    def test_tmp_of_the_host(self) -> None:
        with tempfile.TemporaryDirectory(dir="/tmp") as directory:
            modes = {**READ_ONLY, "/tmp": "full-access"}
            self.both('echo x > "$1/x"', directory, options={"dir_modes": modes})
            self.assertEqual(os.listdir(directory), ["x"])

    def test_temporary_files_are_in_memory(self) -> None:
        self.assertEqual(self.both("stat -f -c %T /tmp").text, "tmpfs\n")

    def test_temporary_files_are_on_disk(self) -> None:
        of_host = subprocess.check_output(["stat", "-f", "-c", "%i", tempfile.gettempdir()], text=True)
        for kind, executor in EXECUTORS.items():
            with self.subTest(kind):
                options = {"container_tmpfs": False, "dir_modes": dict(READ_ONLY)}
                ran = execute(executor(**options), ["stat", "-f", "-c", "%i", "/tmp"])
                self.assertEqual(ran.text, of_host)

    def test_memory_limit_is_the_size_of_the_memory_file_system(self) -> None:
        script = "stat -f -c '%b %S' /tmp /dev/shm; head -c 30000000 /dev/zero > /tmp/fill 2>/dev/null || echo full"
        ran = self.both(script, memlimit=20_000_000)
        blocks = -(-20_000_000 // os.sysconf("SC_PAGE_SIZE"))
        self.assertEqual(ran.text.splitlines()[0], f"{blocks} {os.sysconf('SC_PAGE_SIZE')}")
        self.assertEqual(ran.text.splitlines()[-1], "full")

    def test_memory_file_system_is_as_large_as_the_memory(self) -> None:
        blocks = int(self.both("stat -f -c %b /tmp").text)
        self.assertAlmostEqual(blocks / os.sysconf("SC_PHYS_PAGES"), 1, delta=0.01)

    def test_memory_nodes(self) -> None:
        if not os.path.exists("/proc/self/numa_maps"):
            self.skip_or_fail("numa", "this kernel knows no NUMA nodes")
        self.both("grep -o mpol=bind:[0-9,-]* /proc/mounts | sort -u", memory_nodes=[0])

    def test_shared_memory(self) -> None:
        self.assertEqual(self.both("stat -f -c %T /dev/shm; touch /dev/shm/x; ls /dev/shm").text, "tmpfs\nx\n")

    def test_root_directory(self) -> None:
        """Another tree takes the place of the host's, and the command may write to it."""
        trees = []
        for kind, executor in EXECUTORS.items():
            tree = f"{self.directory}/{kind}"
            trees.append(tree)
            os.makedirs(f"{tree}/bin")
            subprocess.run(["cp", "/bin/busybox", f"{tree}/bin/sh"], check=True)
            with open(f"{tree}/file", "w") as file:
                file.write("content")
            ran = execute(
                executor(), ["/bin/sh", "-c", "pwd; cat file; echo > written; echo $HOME > /dev/null; echo /*"], root_dir=tree
            )
            self.assertEqual((ran.text, ran.stderr), ("/\ncontent/bin /dev /file /proc /written\n", b""))
        self.assertEqual(*(sorted(os.listdir(tree)) for tree in trees))

    # --- what child_setup_fn leaves to the command ---

    def test_settings_of_the_child(self) -> None:
        def setup() -> None:
            os.setpgrp()
            os.nice(3)
            os.umask(0o027)
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
            resource.setrlimit(resource.RLIMIT_NOFILE, (77, 78))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

        ran = self.both("nice; umask; nproc; ulimit -Sn; ulimit -Hn", child_setup=setup)
        self.assertEqual(ran.text.split(), ["3", "0027", "1", "77", "78"])

    def test_core_dumps_are_a_matter_of_the_caller(self) -> None:
        before = resource.getrlimit(resource.RLIMIT_CORE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_CORE, before)
        resource.setrlimit(resource.RLIMIT_CORE, (4096 * 3, before[1]))
        self.assertEqual(self.both("ulimit -S -c").text, "24\n")


class ResultFiles(Case):
    """What patterns take out of a container."""

    SCRIPT = r"""
        mkdir -p d/e .hidden 'we ird[1]' && for name in one.txt two.txt d/three.txt d/e/four.txt d/.dot .dot .hidden/five.txt a b ^ \
            'back\slash' 'we ird[1]/six' 'new
line'; do echo "$name" > "$name"; done
        ln -s /etc/passwd link; mkfifo pipe; mkdir empty; chmod 750 one.txt
    """

    def files(self, executor: Any, patterns: list[str], cwd: str = "/tmp") -> dict[str, tuple[int, bytes]]:
        output = tempfile.mkdtemp(dir=self.directory) + "/out put"
        execute(
            executor(dir_modes=dict(READ_ONLY)), ["/bin/sh", "-c", self.SCRIPT], cwd=cwd, output_dir=output, patterns=patterns
        )
        found = {}
        for directory, _directories, names in os.walk(output):
            for name in names:
                path = os.path.join(directory, name)
                with open(path, "rb") as file:
                    found[os.path.relpath(path, output)] = (os.stat(path).st_mode, file.read())
        return found

    def test_same_files(self) -> None:
        patterns = [
            ["."], ["*"], ["*.txt"], ["d"], ["d/"], ["**"], ["d/**"], ["**/*.txt"], ["/"], ["/tmp/d", "one.txt"], ["x/../one.txt"], ["*/../one.txt"],
            ["[^a]"], ["[!a]"], ["[ab]"], ["?"], ["back\\slash"], ["*\\*"], [".*"], [".hidden/*"], ["nothing"], ["link"],
            ["pipe"], ["empty"], ["one.txt", "one.txt"], ["[", "new*"], ["**/six"], ["d/../d/e/*", "./two.txt"],
        ]  # fmt: skip
        for pattern in patterns:
            with self.subTest(pattern):
                expected, actual = (self.files(executor, pattern) for executor in EXECUTORS.values())
                self.assertEqual(actual, expected)
        self.assertEqual(len(self.files(EXECUTORS["stdbox"], ["."])), 13)

    def test_no_pattern_takes_nothing(self) -> None:
        for executor in EXECUTORS.values():
            self.assertEqual(self.files(executor, []), {})

    def test_bad_patterns(self) -> None:
        for kind, executor in EXECUTORS.items():
            for pattern in "", "../x", "x/../../y":
                with self.subTest(pattern, kind=kind), self.assertRaises(ValueError):
                    self.files(executor, [pattern])

    def test_output_directory_is_made_for_files_only(self) -> None:
        for kind, executor in EXECUTORS.items():
            for script, made in ("true", []), ("touch x", ["x"]):
                with self.subTest(script, kind=kind):
                    output = f"{tempfile.mkdtemp(dir=self.directory)}/a/b"
                    execute(
                        executor(dir_modes=dict(READ_ONLY)), ["sh", "-c", script], cwd="/tmp", output_dir=output, patterns=["."]
                    )
                    self.assertEqual(os.path.isdir(os.path.dirname(output)), bool(made))
                    self.assertEqual(os.listdir(output) if made else [], made)

    def test_output_directory_may_be_relative_and_behind_a_link(self) -> None:
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.directory)
        os.mkdir("real")
        os.symlink("real", "link")
        for kind, executor in EXECUTORS.items():
            execute(executor(dir_modes=dict(READ_ONLY)), ["touch", f"by {kind}"], cwd="/tmp", output_dir="link", patterns=["*"])
        self.assertEqual(sorted(os.listdir("real")), ["by BenchExec", "by stdbox"])

    def test_links_are_not_followed(self) -> None:
        """What the command plants gives it no file that it cannot have; BenchExec moves the file behind a link to a directory."""
        secret = f"{self.directory}/secret"
        os.mkdir(secret)
        for kind, executor in EXECUTORS.items():
            with open(f"{secret}/key", "w") as file:
                file.write("host")
            output = f"{self.directory}/{kind}"
            script = f"ln -s '/../../../../../../../..{secret}' planted; ln -s '{secret}/key' direct"
            execute(
                executor(dir_modes={**READ_ONLY, secret: "hidden"}),
                ["sh", "-c", script],
                cwd="/tmp",
                output_dir=output,
                patterns=["*", "planted/*"],
            )
            self.assertEqual(os.path.exists(f"{secret}/key"), kind == "stdbox")
            self.assertEqual(os.path.exists(output), kind == "BenchExec")

    def test_the_way_of_results_cannot_be_reached(self) -> None:
        """Where /tmp is the host's, the command sees BenchExec's temporary directory empty and cannot replace it."""
        secret = f"{self.directory}/secret"
        os.mkdir(secret)
        with open(f"{secret}/key", "w") as file:
            file.write("host")
        script = """
            for run in /tmp/BenchExec_run_*; do
                ls -A "$run"; mv "$run" /tmp/moved && ln -s "$1" "$run"; mkdir -p "$run" && rm -rf "$run/results"; ln -s "$1" "$run/results"
            done
            mkdir "$HOME/out" && echo job > "$HOME/out/key"
        """
        modes = {**READ_ONLY, "/tmp": "full-access", "/home": "hidden", secret: "hidden"}
        for tmpfs in True, False:
            with self.subTest(tmpfs=tmpfs), tempfile.TemporaryDirectory() as base, mock.patch.object(tempfile, "tempdir", base):
                output = f"{self.directory}/output {tmpfs}"
                ran = execute(
                    StdboxExecutor(dir_modes=dict(modes), container_tmpfs=tmpfs),
                    ["sh", "-c", script.replace("/tmp/", base + "/"), "sh", secret],
                    cwd="/", output_dir=output, patterns=["/home/benchexec/out/key"],
                )  # fmt: skip
                self.assertEqual(ran.text, "")
                with open(f"{output}/home/benchexec/out/key") as result, open(f"{secret}/key") as key:
                    self.assertEqual((result.read(), key.read()), ("job\n", "host"))
                self.assertFalse(os.path.lexists(f"{base}/moved"))
