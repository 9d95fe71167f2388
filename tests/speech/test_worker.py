"""A supervised worker process: calls, errors, deaths, hangs, restarts, and its end with its parent."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.core.errors import ModelMissing
from gateway.core.worker import Worker, WorkerDied, WorkerError

ROOT = Path(__file__).resolve().parents[2]
SERVED = "tests.speech.fakes:served"


@pytest_asyncio.fixture
async def worker() -> AsyncIterator[Worker]:
    made = Worker(SERVED, ("hello",), name="test", backoff_s=0.05)
    await made.start()
    yield made
    await made.close()


def running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


async def alive(pid: int) -> bool:
    """Whether a process still runs; gives it five seconds to go."""
    for _ in range(100):
        if not running(pid):
            return False
        await asyncio.sleep(0.05)
    return True


async def test_a_method_runs_in_another_process_that_keeps_its_state(worker: Worker) -> None:
    assert await worker.call("say", "you") == "hello you 1"
    assert await worker.call("say", "there") == "hello there 2"
    assert await worker.call("pid") == worker.pid != os.getpid()


async def test_calls_made_at_once_are_each_answered_with_their_own_value(worker: Worker) -> None:
    assert await asyncio.gather(*(worker.call("echo", n) for n in range(50))) == list(range(50))
    assert worker.busy == 0


async def test_a_megabyte_goes_over_and_back(worker: Worker) -> None:
    big = os.urandom(3_000_000)
    assert await worker.call("echo", big) == big


async def test_what_the_method_raises_is_raised_here_and_the_worker_goes_on(worker: Worker) -> None:
    with pytest.raises(WorkerError, match="KeyError"):
        await worker.call("fail")
    assert await worker.call("echo", 1) == 1
    assert worker.restarts == 0


async def test_a_death_fails_the_calls_it_held_and_a_new_process_takes_over(worker: Worker) -> None:
    first = worker.pid
    waiting = asyncio.gather(worker.call("die"), worker.call("echo", 1), return_exceptions=True)
    assert [type(outcome) for outcome in await waiting] == [WorkerDied, WorkerDied]
    await asyncio.wait_for(worker.wait_ready(), 20)
    assert await worker.call("say", "again") == "hello again 1"
    assert worker.pid != first
    assert worker.restarts == 1


async def test_a_call_while_there_is_no_process_fails_at_once(worker: Worker) -> None:
    worker.kill()
    with pytest.raises(WorkerDied):
        await worker.call("echo", 1)


async def test_a_hung_call_ends_the_process(worker: Worker) -> None:
    first = worker.pid or 0
    with pytest.raises(WorkerDied, match="hung"):
        await worker.call("sleep", 3600.0, timeout_s=0.2)
    assert not await alive(first)
    await asyncio.wait_for(worker.wait_ready(), 20)
    assert worker.restarts == 1


async def test_a_stopped_process_is_noticed_without_any_call() -> None:
    worker = Worker(SERVED, ("x",), heartbeat_s=0.2, backoff_s=0.05)
    await worker.start()
    try:
        first = worker.pid or 0
        os.kill(first, signal.SIGSTOP)
        assert not await alive(first)
        await asyncio.wait_for(worker.wait_ready(), 20)
        assert worker.restarts == 1
    finally:
        await worker.close()


async def test_what_can_not_be_built_says_why_and_leaves_no_process() -> None:
    worker = Worker("tests.speech.fakes:unbuildable")
    with pytest.raises(ModelMissing, match="not here") as caught:
        await worker.start()
    assert caught.value.do == "fetch it"
    assert not await alive(worker.pid or 0)


async def test_close_ends_the_process_even_in_the_middle_of_a_call() -> None:
    worker = Worker(SERVED, ("x",))
    await worker.start()
    pid = worker.pid or 0
    call = asyncio.create_task(worker.call("sleep", 3600.0))
    await asyncio.sleep(0.1)
    await worker.close()
    with pytest.raises(WorkerDied):
        await call
    assert not await alive(pid)


async def test_the_worker_dies_with_its_parent() -> None:
    program = (
        "import asyncio\n"
        "from gateway.core.worker import Worker\n"
        "async def main():\n"
        f"    worker = Worker({SERVED!r}, ('x',)); await worker.start(); print(worker.pid, flush=True)\n"
        "    await worker.call('sleep', 3600.0)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout
    pid = int(await parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    assert not await alive(pid)


async def test_restarts_that_fail_pause_longer_each_time_and_keep_the_reason() -> None:
    worker = Worker(SERVED, ("x",), backoff_s=0.05)
    await worker.start()
    try:
        worker.factory = "tests.speech.fakes:unbuildable"
        worker.kill()
        began = time.monotonic()
        while worker.error is None and time.monotonic() - began < 20:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        assert isinstance(worker.error, ModelMissing)
        worker.factory = SERVED
        await asyncio.wait_for(worker.wait_ready(), 30)
        assert worker.error is None
        assert worker.restarts >= 2
    finally:
        await worker.close()
