import asyncio
import time
from typing import Any, Coroutine

import stdbox

from .support import Case, eventually, job, long_sleep, run_async, shell, sleepers


class Async(Case):
    def finish(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run(asyncio.wait_for(work, 120))

    def test_jobs_run_side_by_side_and_the_loop_goes_on(self) -> None:
        async def work() -> None:
            begin = time.monotonic()
            reports = await asyncio.gather(*(run_async(shell(f"sleep 1; echo {n}")) for n in range(8)))
            self.assertEqual([report["stdout"]["bytes"] for report in reports if report["stdout"]], [2] * 8)
            self.assertLess(time.monotonic() - begin, 8)

        self.finish(work())

    def test_errors_are_those_of_run(self) -> None:
        async def work() -> None:
            with self.assertRaises(stdbox.JobError):
                await run_async(job("nonesuch"))
            with self.assertRaises(stdbox.CommandFailed):
                await run_async(job("false"), check=True)
            with self.assertRaises(ValueError):
                await run_async(job("cat"), stdin=stdbox.PIPE)
            with self.assertRaises(stdbox.NotFound):
                await stdbox.run_async(job("true"), stdbox="/nonesuch")
            with self.assertRaises(stdbox.TimedOut) as caught:
                await run_async(shell("echo begun; sleep 60"), timeout=0.5)
            self.assertEqual(stdbox.output(caught.exception.report["stdout"]), b"begun\n")

        self.finish(work())

    def test_to_cancel_the_task_is_to_cancel_the_job(self) -> None:
        async def work() -> None:
            seconds = long_sleep()
            task = asyncio.ensure_future(run_async(job("sleep", seconds)))
            await begun(self, seconds)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            self.assertEqual(sleepers(seconds), [])

        self.finish(work())

    def test_to_cancel_twice_does_not_wait_for_the_time_of_grace(self) -> None:
        async def work() -> None:
            seconds = long_sleep()
            stubborn = f"trap '' TERM; sleep {seconds}; sleep {seconds}; sleep {seconds}"
            task = asyncio.ensure_future(run_async(shell(stubborn, limits={"grace_ms": 600000})))
            await begun(self, seconds)
            task.cancel()
            await asyncio.sleep(0.3)
            self.assertFalse(task.done())
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            self.assertTrue(eventually(lambda: not sleepers(seconds)))

        self.finish(work())

    def test_a_time_limit_of_asyncio_cancels_the_job(self) -> None:
        async def work() -> None:
            seconds = long_sleep()
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(run_async(job("sleep", seconds)), 0.5)
            self.assertEqual(sleepers(seconds), [])

        self.finish(work())


async def begun(case: Case, seconds: str) -> None:
    for _ in range(2000):
        if sleepers(seconds):
            # Until the signal's handler and the program are in place.
            await asyncio.sleep(0.2)
            return
        await asyncio.sleep(0.01)
    case.fail("the job does not run")
