import json
import os
from pathlib import Path
from typing import List

import stdbox

from .support import Case, descriptors, job, run, shell, start


class Descriptors(Case):
    def test_descriptors_that_nobody_named_do_not_reach_the_command(self) -> None:
        read, write = os.pipe()
        try:
            os.set_inheritable(read, True)
            os.set_inheritable(write, True)
            # 3 is the directory that ls reads.
            listed = stdbox.output(run(job("ls", "/proc/self/fd"))["stdout"])
            self.assertEqual(listed, b"0\n1\n2\n3\n")
        finally:
            os.close(read)
            os.close(write)

    def test_stdbox_holds_no_streams_that_the_job_does_not_use(self) -> None:
        read, write = os.pipe()
        own = os.dup(0)
        os.dup2(read, 0)
        try:
            with start(job("sleep", "60")) as running:
                self.assertEqual(os.readlink(f"/proc/{running.pid}/fd/0"), "/dev/null")
        finally:
            os.dup2(own, 0)
            for number in (read, write, own):
                os.close(number)

    def test_descriptors_that_the_job_names_keep_their_numbers(self) -> None:
        read, write = os.pipe()
        high = os.dup2(write, 200, inheritable=False)
        try:
            script = f"for number in {write} {high}; do echo $number > /proc/self/fd/$number; done; echo out; echo err >&2"
            report = run(shell(script, fds=[write, high], stderr={"fd": write}))
            self.assertEqual(os.read(read, 100), f"{write}\n{high}\nerr\n".encode())
            self.assertEqual(stdbox.output(report["stdout"]), b"out\n")
            self.assertFalse(os.get_inheritable(write))
        finally:
            os.close(high)
            os.close(read)
            os.close(write)

    def test_a_number_that_is_not_open_is_never_one_of_the_client_s_own(self) -> None:
        taken = {int(name) for name in descriptors()}
        for number in [n for n in range(3, 40) if n not in taken]:
            for wrong in (job("true", fds=[number]), job("true", stdout={"fd": number}), job("true", stdin={"fd": number})):
                with self.assertRaises(stdbox.JobError) as caught:
                    run(wrong)
                self.assertIn(caught.exception.code, ("bad-descriptor", "contradiction"))
                self.assertIn(caught.exception.at, ("/fds/0", "/stdout/fd", "/stdout", "/stdin/fd", "/stdin"))

    def test_numbers_that_make_no_sense_are_refused_by_stdbox(self) -> None:
        cases: List[object] = [[-1], [2**70], [True], ["3"], 7, None, [None]]
        for fds in cases:
            with self.subTest(fds), self.assertRaises(stdbox.JobError) as caught:
                run(job("true", fds=fds))
            self.assertTrue(str(caught.exception.at).startswith("/fds"), caught.exception)

    def test_the_caller_s_own_measuring_goes_on_beside_the_job(self) -> None:
        events, control = os.pipe(), os.pipe()
        sync = {"events_fd": events[1], "control_fd": control[0], "pause_before_exec": True, "pause_after_exit": True}
        with open(events[0]) as lines, open(control[1], "wb", buffering=0) as answer:
            try:
                running = start(shell("echo left > /tmp/file", sync=sync))
            finally:
                os.close(events[1])
                os.close(control[0])
            with running:
                ready = json.loads(lines.readline())
                self.assertEqual(ready["event"], "ready")
                answer.write(b"continue\n")
                ended = json.loads(lines.readline())
                self.assertEqual((ended["event"], ended["wait_status"]), ("exited", 0))
                self.assertEqual(Path(f"/proc/{ready['init_pid']}/root/tmp/file").read_text(), "left\n")
                answer.write(b"continue\n")
                self.assertEqual(running.wait()["outcome"], "exited")
            self.assertEqual(lines.read(), "")
