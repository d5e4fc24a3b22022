import gc
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import stdbox

from .support import BINARY, Case, eventually, job, long_sleep, python, run, shell, sleepers, start


class Cancel(Case):
    def test_the_caller_s_time_out_cancels_and_keeps_what_there_is(self) -> None:
        seconds = long_sleep()
        with self.assertRaises(stdbox.TimedOut) as caught:
            run(shell(f"echo begun; exec sleep {seconds}"), timeout=0.5)
        report = caught.exception.report
        self.assertEqual((report["outcome"], stdbox.output(report["stdout"])), ("cancelled", b"begun\n"))
        self.assertEqual(str(caught.exception), "the job was cancelled after 0.5 seconds")
        self.assertEqual(sleepers(seconds), [])

    def test_the_job_s_own_time_limit_is_something_else(self) -> None:
        report = run(job("sleep", "60", limits={"wall_time_ms": 100}), timeout=60)
        self.assertEqual((report["outcome"], report["limit"]), ("limit-exceeded", "wall-time"))

    def test_a_time_out_of_nothing_is_one(self) -> None:
        with self.assertRaises(stdbox.TimedOut):
            run(job("sleep", "60"), timeout=0)

    def test_to_wait_for_a_time_lets_the_job_go_on(self) -> None:
        with start(shell("read line; echo $line"), stdin=stdbox.PIPE) as running:
            with self.assertRaisesRegex(TimeoutError, "still runs after 0.05 seconds"):
                running.wait(0.05)
            self.assertFalse(running.done())
            assert running.stdin
            running.stdin.write(b"late\n")
            running.stdin.flush()
            self.assertEqual(stdbox.output(running.wait()["stdout"]), b"late\n")
            self.assertTrue(running.done())
            # Also after the end, and as often as somebody likes.
            running.cancel()
            running.kill()
            self.assertEqual(running.wait(0)["outcome"], "exited")

    def test_a_job_that_is_cancelled_at_once_has_a_report(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            slow = Path(folder) / "slow"
            # No shell: those clear the mask of signals.
            late = f"import os, sys, time; time.sleep(0.5); os.execv({BINARY!r}, sys.argv)"
            slow.write_text(f"#!{sys.executable}\n{late}\n")
            slow.chmod(0o755)
            with stdbox.start(job("sleep", long_sleep()), stdbox=slow) as running:
                running.cancel()
                self.assertEqual(running.wait()["outcome"], "cancelled")

    def test_another_thread_can_cancel(self) -> None:
        seconds = long_sleep()
        with start(job("sleep", seconds)) as running:
            def cancel() -> None:
                eventually(lambda: sleepers(seconds))
                running.cancel()

            threading.Thread(target=cancel).start()
            self.assertEqual(running.wait()["outcome"], "cancelled")

    def test_the_end_of_the_block_is_the_end_of_the_job(self) -> None:
        seconds = long_sleep()
        with self.assertRaises(ZeroDivisionError):
            with start(job("sleep", seconds)):
                self.assertTrue(eventually(lambda: sleepers(seconds)))
                raise ZeroDivisionError
        self.assertEqual(sleepers(seconds), [])

    def test_a_job_that_nobody_holds_any_more_is_cancelled(self) -> None:
        seconds = long_sleep()
        running = start(job("sleep", seconds))
        self.assertTrue(eventually(lambda: sleepers(seconds)))
        del running
        gc.collect()
        self.assertTrue(eventually(lambda: not sleepers(seconds)))

    def test_a_killed_stdbox_is_an_error_and_leaves_nothing(self) -> None:
        seconds = long_sleep()
        with start(job("sleep", seconds)) as running:
            self.assertTrue(eventually(lambda: sleepers(seconds)))
            running.kill()
            with self.assertRaisesRegex(stdbox.ProtocolError, "was ended by signal 9 without a report"):
                running.wait()
        self.assertTrue(eventually(lambda: not sleepers(seconds)))


class Programs(Case):
    """Programs that end while their job runs."""

    RUNS = """if True:
        import stdbox, sys
        {before}
        try:
            stdbox.run({{"argv": ["sh", "-c", {script!r}, sys.argv[2]], "cwd": "/", {fields}}}, stdbox=sys.argv[1])
        finally:
            children = open("/proc/thread-self/children").read() if {look} else ""
            print("left:", children, flush=True)
    """
    SLEEPS = 'exec sleep "$0"'

    def begin(self, seconds: str, *, script: str = SLEEPS, fields: str = "", before: str = "") -> "subprocess.Popen[bytes]":
        look = os.path.exists("/proc/thread-self/children")
        program = self.RUNS.format(script=script, fields=fields, before=before, look=look)
        child = python(program, seconds, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertTrue(eventually(lambda: len(sleepers(seconds)) >= 2), "the job does not run")
        # Until the shell has become the program that sleeps.
        time.sleep(0.2)
        return child

    def test_ctrl_c_cancels_and_reaps(self) -> None:
        seconds = long_sleep()
        with self.begin(seconds) as child:
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=60)
        self.assertEqual(child.returncode, -signal.SIGINT)
        self.assertIn(b"KeyboardInterrupt", err)
        self.assertEqual(out.strip(), b"left:")
        self.assertEqual(sleepers(seconds), [])

    def test_a_second_ctrl_c_does_not_wait_for_the_time_of_grace(self) -> None:
        seconds = long_sleep()
        stubborn = 'trap "" TERM; sleep "$0"; sleep "$0"; sleep "$0"'
        with self.begin(seconds, script=stubborn, fields='"limits": {"grace_ms": 600000}') as child:
            child.send_signal(signal.SIGINT)
            time.sleep(0.5)
            self.assertNotEqual(sleepers(seconds), [])
            self.assertIsNone(child.poll())
            child.send_signal(signal.SIGINT)
            out, _ = child.communicate(timeout=60)
        self.assertEqual(child.returncode, -signal.SIGINT)
        self.assertEqual(out.strip(), b"left:")
        self.assertTrue(eventually(lambda: not sleepers(seconds)))

    def test_a_program_that_ends_cancels_its_jobs(self) -> None:
        program = """if True:
            import stdbox, sys, time
            running = stdbox.start({"argv": ["sleep", sys.argv[2]], "cwd": "/"}, stdbox=sys.argv[1])
            input()
        """
        seconds = long_sleep()
        with python(program, seconds, stdin=subprocess.PIPE) as child:
            self.assertTrue(eventually(lambda: len(sleepers(seconds)) >= 2))
            child.communicate(b"\n")
        self.assertEqual(child.returncode, 0)
        self.assertTrue(eventually(lambda: not sleepers(seconds)))

    def test_a_fork_of_the_program_does_not_end_the_job(self) -> None:
        program = """if True:
            import os, stdbox, sys, threading
            job = {"argv": ["sh", "-c", "read line; echo $line"], "cwd": "/"}
            running = stdbox.start(job, stdbox=sys.argv[1], stdin=stdbox.PIPE)
            # As if another thread were in the middle of something: in the fork it never leaves it.
            hold, held = threading.Event(), threading.Event()
            def busy():
                with running._process._lock:
                    held.set()
                    hold.wait()
            thread = threading.Thread(target=busy)
            thread.start()
            held.wait()
            fork = os.fork()
            if fork == 0:
                running.cancel()
                os._exit(0)
            os.waitpid(fork, 0)
            hold.set()
            thread.join()
            running.stdin.write(b"alive\\n")
            running.stdin.close()
            print(running.wait()["stdout"]["text"])
        """
        # The warning is about forks of programs with threads, which this is about.
        with python("import warnings; warnings.simplefilter('ignore')\n" + program, stdout=subprocess.PIPE) as child:
            self.assertEqual(child.communicate()[0], b"alive\n\n")

    def test_a_program_that_ignores_its_children(self) -> None:
        program = """if True:
            import signal, stdbox, sys
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            print(stdbox.run({"argv": ["echo", "text"], "cwd": "/"}, stdbox=sys.argv[1])["stdout"]["text"])
            try:
                stdbox.run({"argv": ["true"], "cwd": "/", "network": 1}, stdbox=sys.argv[1])
            except stdbox.JobError as error:
                print(error.code)
        """
        with python(program, stdout=subprocess.PIPE) as child:
            self.assertEqual(child.communicate()[0], b"text\n\nwrong-type\n")
