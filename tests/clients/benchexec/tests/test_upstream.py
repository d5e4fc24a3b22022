"""BenchExec's own tests of its executor, run on stdbox: each ends as with BenchExec's own containers."""

from __future__ import annotations

import os
import unittest
from unittest import mock

from benchexec import test_runexecutor
from stdbox_benchexec import StdboxRunExecutor
from support import SOURCE, Case, command

DIFFERENT = {
    "test_nested_runexec": "it shows the control groups writable, which stdbox refuses together with `sync`",
    "test_triple_nested_runexec": "a mode inside a full-access directory: there a job of stdbox can make no user namespaces",
}
"""Tests that pass with BenchExec's own containers and not with stdbox's, and why."""


def on_stdbox() -> type[unittest.TestCase]:
    """The tests of containers, with our class under the name that they use.

    Made here, so that it is not found and run on its own.
    """

    class OnStdbox(test_runexecutor.TestRunExecutorWithContainer):
        @classmethod
        def setUpClass(cls) -> None:
            super().setUpClass()
            replaced = mock.patch.object(test_runexecutor, "RunExecutor", StdboxRunExecutor)
            replaced.start()
            cls.addClassCleanup(replaced.stop)

        def get_runexec_cmdline(self, *args: str, **kwargs: str) -> list[str]:
            _python, _runexec, *arguments = super().get_runexec_cmdline(*args, **kwargs)
            return command("stdbox", "runexec", *arguments)

    return OnStdbox


class Upstream(Case):
    def outcomes(self, case: type[unittest.TestCase]) -> dict[str, tuple[str, str]]:
        """How each test ends, and what it says."""
        suite = unittest.TestLoader().loadTestsFromTestCase(case)
        outcomes = {test.id(): ("passed", "") for test in suite}
        result = unittest.TestResult()
        with mock.patch.object(test_runexecutor, "runexec", f"{SOURCE}/bin/runexec"):
            suite.run(result)
        for kind, tests in ("skipped", result.skipped), ("failed", result.failures), ("failed", result.errors):
            for test, text in tests:
                outcomes[test.id()] = (kind, text)
        return {name.rpartition(".")[2]: outcome for name, outcome in outcomes.items()}

    def test_each_ends_in_the_same_way(self) -> None:
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.directory)
        expected = self.outcomes(test_runexecutor.TestRunExecutorWithContainer)
        start = mock.Mock(wraps=StdboxRunExecutor._start_execution_in_container)
        with mock.patch.object(
            StdboxRunExecutor, "_start_execution_in_container", lambda *args, **kwargs: start(*args, **kwargs)
        ):
            actual = self.outcomes(on_stdbox())
        self.assertGreater(start.call_count, 30)
        self.assertGreater([kind for kind, _text in actual.values()].count("passed"), 30)
        different = {name for name in expected if actual[name][0] != expected[name][0]}
        # Some pass only where there is a program for overlays; else they are skipped in both ways.
        known = {name for name in DIFFERENT if expected[name][0] == "passed"}
        self.assertEqual(different, known, {name: (expected[name], actual[name]) for name in different ^ known})
