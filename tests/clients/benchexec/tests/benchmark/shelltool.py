"""Tells benchexec how to run shell scripts; loaded as `benchmark.shelltool`."""

import benchexec.result
from benchexec.tools.template import BaseTool2


class Tool(BaseTool2):
    """A shell, whose tasks are scripts."""

    def name(self):
        return "Shell"

    def executable(self, tool_locator):
        return tool_locator.find_executable("sh")

    def cmdline(self, executable, options, task, rlimits):
        return [executable, task.single_input_file, *options]

    def determine_result(self, run):
        return benchexec.result.RESULT_DONE if run.exit_code.value == 0 else benchexec.result.RESULT_ERROR
