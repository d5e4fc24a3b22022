import json
import os
import threading
from pathlib import PurePosixPath
from typing import List, cast

import stdbox

from .support import BINARY, Case, job, run, shell


class Run(Case):
    def test_a_report_says_what_the_command_did(self) -> None:
        report = run(shell("echo out; echo err >&2; exit 3"))
        self.assertEqual((report["outcome"], report["exit_code"]), ("exited", 3))
        self.assertEqual(stdbox.output(report["stdout"]), b"out\n")
        self.assertEqual(stdbox.output(report["stderr"]), b"err\n")

    def test_what_a_command_does_is_an_exception_only_where_asked_for(self) -> None:
        cases = [
            (shell("exit 3"), "the command ended with status 3 (exited)"),
            (shell("kill -9 $$"), "the command was ended by signal 9 (signaled)"),
            (job("sleep", "60", limits={"wall_time_ms": 50}), "the command was ended for its limit wall-time"),
        ]
        for failing, text in cases:
            with self.subTest(text):
                report = run(failing)
                with self.assertRaises(stdbox.CommandFailed) as caught:
                    run(failing, check=True)
                self.assertEqual(str(caught.exception), text)
                self.assertEqual(caught.exception.report["outcome"], report["outcome"])
        self.assertEqual(run(job("true"), check=True)["exit_code"], 0)

    def test_output_that_is_no_text_arrives_as_it_was(self) -> None:
        everything = bytes(range(256))
        report = run(job("printf", "".join(f"\\{byte:03o}" for byte in everything)))
        self.assertEqual(stdbox.output(report["stdout"]), everything)
        self.assertEqual(stdbox.output(run(job("true", stdout="null"))["stdout"]), b"")

    def test_a_job_of_five_mebibytes_and_a_report_of_as_much(self) -> None:
        text = "0123456789abcdé\n" * (5 * 65536)
        report = run(job("cat", stdin={"text": text}, stdout={"capture": {"max_bytes": 2**24}}))
        self.assertEqual(stdbox.output(report["stdout"]), text.encode())

    def test_a_job_larger_than_stdbox_takes_is_refused_by_stdbox(self) -> None:
        with self.assertRaises(stdbox.JobError) as caught:
            run(job("cat", stdin={"text": "x" * (2**24 + 1)}))
        self.assertEqual(caught.exception.code, "too-large")

    def test_a_job_is_left_as_it_was(self) -> None:
        mine = shell("cat", env={"set": {"A": "b"}})
        before = json.dumps(mine)
        run(mine, stdin=stdbox.DEVNULL)
        self.assertEqual(json.dumps(mine), before)

    def test_many_threads_at_once(self) -> None:
        seen: List[str] = []

        def work(number: int) -> None:
            report = run(shell(f"echo {number}; echo {number} >&2; head -c 300000 /dev/zero", id=str(number)))
            text = stdbox.output(report["stdout"]).split(b"\n")[0].decode()
            seen.append(f"{report['id']} {text} {stdbox.output(report['stderr']).decode().strip()}")

        threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(seen), sorted(f"{number} {number} {number}" for number in range(12)))


class Check(Case):
    def test_a_valid_job_comes_back_with_its_defaults(self) -> None:
        checked = stdbox.check(job("true"), stdbox=BINARY)
        self.assertEqual((checked["argv"], checked["network"], checked["init"]), (["true"], "none", True))
        self.assertEqual(stdbox.check(checked, stdbox=BINARY), checked)

    def test_a_job_that_needs_its_own_streams_is_valid(self) -> None:
        self.assertEqual(stdbox.check(job("cat", stdin="inherit", stdout="inherit"), stdbox=BINARY)["stdin"], "inherit")

    def test_a_wrong_job_is_refused(self) -> None:
        with self.assertRaises(stdbox.JobError) as caught:
            stdbox.check(job("true", network="some"), stdbox=BINARY)
        self.assertEqual((caught.exception.code, caught.exception.at), ("unknown-value", "/network"))


class Encoding(Case):
    def test_bytes_and_paths_that_are_not_utf_8_reach_the_command(self) -> None:
        raw = b"caf\xe9 \xff"
        for value in (raw, os.fsdecode(raw), PurePosixPath(os.fsdecode(raw))):
            argument = stdbox.encode(cast(bytes, value))
            self.assertIsInstance(argument, dict)
            self.assertEqual(stdbox.decode(argument), raw)
            report = run({"argv": ["printf", "%s", argument], "cwd": "/"})
            self.assertEqual(stdbox.output(report["stdout"]), raw)

    def test_what_is_utf_8_stays_readable(self) -> None:
        for value in ("é", "é".encode(), PurePosixPath("é")):
            self.assertEqual(stdbox.encode(cast(str, value)), "é")
        self.assertEqual(stdbox.decode("é"), "é".encode())

    def test_a_value_that_json_cannot_have_is_named(self) -> None:
        loop: List[object] = []
        loop.append(loop)
        cases = [
            (job("a", env={"set": {"B": b"c"}}), TypeError, "/env/set/B: b'c' is no value of JSON; stdbox.encode() makes one"),
            (job("a", cwd=PurePosixPath("/x")), TypeError, "/cwd: PurePosixPath('/x') is no value"),
            (job("a", "\udcff"), ValueError, "/argv/1: '\\udcff' is not UTF-8; stdbox.encode() writes it as base64"),
            (job("a", directories={"/\udcff": "hidden"}), ValueError, "/directories/'/\\udcff': '/\\udcff' is not UTF-8"),
            (job("a", limits={"cpus": float("nan")}), ValueError, "/limits/cpus: nan is no number of JSON"),
            (job("a", fds={3}), TypeError, "/fds: {3} is no value of JSON"),
            (job("a", mounts=loop), ValueError, "is nested more than 64 deep"),
        ]
        for wrong, kind, text in cases:
            with self.subTest(text):
                with self.assertRaises(kind) as caught:
                    run(wrong)
                self.assertIn(text, str(caught.exception))
