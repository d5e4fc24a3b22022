import os
import pickle
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import cast
from unittest import mock

import stdbox

from .support import BINARY, PACKAGE, Case, job, python, run


class Errors(Case):
    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def program(self, script: str) -> Path:
        """A program in place of stdbox."""
        path = self.folder / "a program"
        path.write_text(script)
        path.chmod(0o755)
        return path

    def test_an_error_of_stdbox_says_what_where_and_how_to_change_it(self) -> None:
        with self.assertRaises(stdbox.JobError) as caught:
            run(job("true", directories={"/nonesuch": "hidden"}))
        error = caught.exception
        self.assertEqual((error.code, error.stage, error.path), ("no-such-directory", "validate", "/nonesuch"))
        self.assertEqual(error.at, "/directories/~1nonesuch")
        self.assertEqual(error.report["outcome"], "invalid-job")
        self.assertTrue(str(error).startswith("no-such-directory (at /directories/~1nonesuch): "), error)
        self.assertIn("[/nonesuch]", str(error))

    def test_a_command_that_is_not_there_is_an_error_of_the_job(self) -> None:
        with self.assertRaises(stdbox.JobError) as caught:
            run(job("nonesuch"))
        error = caught.exception
        self.assertEqual((error.code, error.stage, error.at), ("command-not-found", "exec", "/argv/0"))
        self.assertIsInstance(error.hint, str)
        self.assertIn(cast(str, error.hint), str(error))

    def test_every_error_can_be_sent_to_another_process(self) -> None:
        errors = []
        for wrong, timeout in ((job("nonesuch"), None), (job("sleep", "9"), 0.1), (job("false"), None)):
            try:
                run(wrong, timeout=timeout, check=True)
            except stdbox.StdboxError as error:
                errors.append(error)
        self.assertEqual([type(one).__name__ for one in errors], ["JobError", "TimedOut", "CommandFailed"])
        for one in errors:
            again = pickle.loads(pickle.dumps(one))
            self.assertEqual((type(again), str(again), vars(again)), (type(one), str(one), vars(one)))

    def test_a_program_that_is_not_there_or_is_none(self) -> None:
        plain = self.folder / "plain"
        plain.write_text("")
        for path in (self.folder / "missing", self.folder, plain, plain / "below"):
            with self.subTest(path), self.assertRaises(stdbox.NotFound) as caught:
                stdbox.run(job("true"), stdbox=path)
            self.assertIn(str(path), str(caught.exception))
        text = self.program("no interpreter")
        with self.assertRaisesRegex(stdbox.NotFound, "Exec format error"):
            stdbox.run(job("true"), stdbox=text)

    def test_without_a_report_there_is_an_error_with_stdbox_s_own_words(self) -> None:
        cases = [
            ("#!/bin/sh\necho complaint >&2; exit 3\n", "stdbox ended with status 3 without a report. complaint"),
            ("#!/bin/sh\nkill -9 $$\n", "stdbox was ended by signal 9 without a report."),
            ("#!/bin/sh\nexit 0\n", "stdbox ended with status 0 without a report."),
        ]
        for garbage in ("{", "[]", "{}", "null", "text"):
            script = f"#!/bin/sh\necho '{garbage}' >/proc/self/fd/${{3#--report-fd=}}\n"
            cases.append((script, "stdbox ended with status 0 without a report."))
        for script, text in cases:
            with self.subTest(script), self.assertRaises(stdbox.ProtocolError) as caught:
                stdbox.run(job("true"), stdbox=self.program(script))
            self.assertEqual(str(caught.exception), text)

    def test_a_stdbox_that_ends_before_it_has_read_a_large_job(self) -> None:
        with self.assertRaises(stdbox.ProtocolError):
            stdbox.run(job("cat", stdin={"text": "x" * 2**23}), stdbox="/bin/true")

    def test_where_no_thread_can_be_started_nothing_is_left(self) -> None:
        with mock.patch("threading.Thread.start", side_effect=RuntimeError("can't start new thread")):
            with self.assertRaisesRegex(RuntimeError, "can't start new thread"):
                run(job("sleep", "60"))


class Binary(Case):
    """Which stdbox is started where none is named."""

    def found(self, package: Path, path: str) -> bytes:
        program = """if True:
            import stdbox
            try:
                print(stdbox.run({"argv": ["echo", "ran"], "cwd": "/"})["stdout"]["text"])
            except stdbox.StdboxError as error:
                print(type(error).__name__, error)
        """
        environment = {"PYTHONPATH": str(package), "PATH": path}
        with mock.patch.dict(os.environ), mock.patch(f"{__package__}.support.PACKAGE", package / "stdbox"):
            os.environ["PATH"] = path
            with python(program, stdout=subprocess.PIPE, cwd=package) as child:
                return child.communicate()[0].strip()

    def test_the_packaged_one_comes_first_then_the_one_in_path(self) -> None:
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        package, path = folder / "with a space", folder / "path"
        shutil.copytree(PACKAGE, package / "stdbox", ignore=shutil.ignore_patterns("bin", "__pycache__"))
        path.mkdir()
        self.assertIn(b"NotFound there is neither", self.found(package, str(path)))
        shutil.copy(BINARY, path / "stdbox")
        search = f"{path}:/usr/bin:/bin"
        self.assertEqual(self.found(package, search), b"ran")
        (package / "stdbox" / "bin").mkdir()
        other = package / "stdbox" / "bin" / "stdbox"
        other.write_text("#!/bin/sh\necho packaged >&2; exit 1\n")
        other.chmod(0o755)
        self.assertIn(b"packaged", self.found(package, search))
