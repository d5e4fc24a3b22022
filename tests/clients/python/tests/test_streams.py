import fcntl
import hashlib
import os
import socket
import subprocess
import tempfile
import threading
from typing import Any, BinaryIO, Dict, cast

import stdbox

from .support import Case, job, python, run, shell, start

MANY = 100 * 2**20


class Streams(Case):
    def test_a_hundred_mebibytes_on_every_stream_at_once_beside_a_large_job(self) -> None:
        block = os.urandom(2**20)
        sums: Dict[str, "hashlib._Hash"] = {name: hashlib.sha256() for name in ("stdin", "stdout", "stderr")}

        def write(to: BinaryIO) -> None:
            for _ in range(MANY // len(block)):
                to.write(block)
                sums["stdin"].update(block)
            to.close()

        def read(name: str, pipe: BinaryIO) -> None:
            for part in iter(lambda: pipe.read(2**20), b""):
                sums[name].update(part)

        large = shell("exec tee /proc/self/fd/2", env={"set": {f"FILL{n}": "x" * 100000 for n in range(15)}})
        large["mounts"] = [{"type": "file", "target": "/tmp/fill", "text": "x" * 5 * 2**20}]
        with start(large, stdin=stdbox.PIPE, stdout=stdbox.PIPE, stderr=stdbox.PIPE) as running:
            assert running.stdin and running.stdout and running.stderr
            threads = [
                threading.Thread(target=write, args=(running.stdin,)),
                threading.Thread(target=read, args=("stdout", running.stdout)),
                threading.Thread(target=read, args=("stderr", running.stderr)),
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            report = running.wait()
        self.assertEqual(report["exit_code"], 0)
        self.assertEqual(len({digest.hexdigest() for digest in sums.values()}), 1)

    def test_files_are_used_by_the_command_itself(self) -> None:
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as sink:
            source.write(b"head\nrest\n")
            source.flush()
            os.lseek(source.fileno(), 5, os.SEEK_SET)
            report = run(shell("cat; echo error >&2"), stdin=source, stdout=sink.fileno(), stderr=sink)
            self.assertEqual((report["stdout"], report["stderr"]), (None, None))
            sink.seek(0)
            self.assertEqual(sink.read(), b"rest\nerror\n")

    def test_a_socket_is_a_stream(self) -> None:
        mine, other = socket.socketpair()
        with mine, other:
            mine.sendall(b"ping")
            mine.shutdown(socket.SHUT_WR)
            run(job("tr", "a-z", "A-Z"), stdin=cast(Any, other), stdout=cast(Any, other))
            self.assertEqual(mine.recv(16), b"PING")

    def test_a_stream_that_does_not_wait_is_passed_on_as_it_is(self) -> None:
        read, write = os.pipe2(os.O_NONBLOCK)
        try:
            run(job("echo", "text"), stdout=write)
            self.assertEqual(os.read(read, 16), b"text\n")
            self.assertTrue(fcntl.fcntl(write, fcntl.F_GETFL) & os.O_NONBLOCK)
        finally:
            os.close(read)
            os.close(write)

    def test_a_stream_that_nobody_reads_can_be_null(self) -> None:
        report = run(shell("echo out; echo err >&2; cat"), stdin=stdbox.DEVNULL, stdout=stdbox.DEVNULL)
        self.assertIsNone(report["stdout"])
        self.assertEqual(stdbox.output(report["stderr"]), b"err\n")

    def test_a_stream_stands_in_one_place(self) -> None:
        for name, field in (("stdin", "null"), ("stdout", "null"), ("stderr", "stdout")):
            with self.assertRaisesRegex(ValueError, f"{name} is given twice"):
                run(job("true", **{name: field}), **cast(Any, {name: stdbox.DEVNULL}))

    def test_what_is_no_descriptor_is_refused(self) -> None:
        with self.assertRaisesRegex(ValueError, "stderr: -2 is no descriptor"):
            run(job("true"), stderr=subprocess.STDOUT)

    def test_a_pipe_is_refused_where_nobody_could_use_it(self) -> None:
        with self.assertRaisesRegex(ValueError, "use start"):
            run(job("cat"), stdin=stdbox.PIPE)

    def test_a_command_that_does_not_read_its_input_breaks_the_pipe_and_nothing_else(self) -> None:
        for ending, wanted in ((job("true"), 0), (job("/nonesuch"), None)):
            with start(ending, stdin=stdbox.PIPE) as running:
                assert running.stdin
                with self.assertRaises(BrokenPipeError):
                    while True:
                        running.stdin.write(b"x" * 1000)
                # What is left in its buffer must not come up as an error when the block ends.
                if wanted is None:
                    self.assertRaises(stdbox.JobError, running.wait)
                else:
                    self.assertEqual(running.wait()["exit_code"], wanted)


class OwnStreams(Case):
    """Streams of the program that uses the client."""

    def test_inherit_is_this_program_s_own_stream(self) -> None:
        program = """if True:
            import stdbox, sys
            job = {"argv": ["sh", "-c", "cat; echo err >&2"], "cwd": "/", "stdin": "inherit", "stdout": "inherit"}
            report = stdbox.run(job, stdbox=sys.argv[1])
            print(stdbox.output(report["stderr"]))
            stdbox.run({"argv": ["sh", "-c", "echo crossed"], "cwd": "/", "stdout": {"fd": 2}}, stdbox=sys.argv[1])
        """
        pipe = subprocess.PIPE
        with python(program, stdin=pipe, stdout=pipe, stderr=pipe) as child:
            self.assertEqual(child.communicate(b"through\n"), (b"through\nb'err\\n'\n", b"crossed\n"))

    def test_a_job_that_does_not_ask_for_them_does_not_get_them(self) -> None:
        program = """if True:
            import stdbox, sys
            report = stdbox.run({"argv": ["cat"], "cwd": "/"}, stdbox=sys.argv[1])
            print(report["stdout"]["bytes"], sys.stdin.read())
        """
        with python(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            self.assertEqual(child.communicate(b"mine")[0], b"0 mine\n")

    def test_a_program_without_standard_streams(self) -> None:
        program = """if True:
            import os, stdbox, sys
            os.closerange(0, 3)
            job = {"argv": ["sh", "-c", "cat; echo out; echo err >&2; ls /proc/self/fd"], "cwd": "/", "stdin": {"text": "in "}}
            report = stdbox.run(job, stdbox=sys.argv[1])
            text = stdbox.output(report["stdout"]) + stdbox.output(report["stderr"])
            pipe = os.pipe()  # numbers 0 and 1
            stdbox.run({"argv": ["echo", "low"], "cwd": "/"}, stdbox=sys.argv[1], stdout=pipe[1])
            text += os.read(pipe[0], 100)
            os.closerange(0, 3)
            for name in ("stdin", "stdout", "stderr"):
                try:
                    stdbox.run({"argv": ["true"], "cwd": "/", name: "inherit"}, stdbox=sys.argv[1])
                except stdbox.JobError as error:
                    text += f"{error.code} {error.at} ".encode()
                else:
                    text += b"inherited "
            open(sys.argv[2], "wb").write(text)
            os._exit(0)  # Python itself would complain that it cannot flush its standard output.
        """
        with tempfile.NamedTemporaryFile() as result:
            with python(program, result.name) as child:
                self.assertEqual(child.wait(), 0)
            found = result.read()
        self.assertTrue(found.startswith(b"in out\n0\n1\n2\n3\nerr\nlow\n"), found)
        self.assertEqual(found.count(b"bad-descriptor"), 3, found)
