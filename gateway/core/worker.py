"""A supervised worker process: an object that lives in another process and answers calls.

`Worker("package.module:factory", args)` starts `python -m gateway.core.worker` (never a fork: the media engine's thread
runs in this process), where `factory(*args)` builds the object; `await worker.call("method", ...)` runs one method of
it. Calls are answered in order. Messages are length-prefixed pickles over a socket pair, so both sides must trust each
other.

A worker that dies, stops answering its heartbeat, or takes longer over a call than it may, is killed; the calls it held
fail with WorkerDied; it is started again with growing pauses and counted. It ends when this process ends, however that
happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib
import itertools
import logging
import os
import pickle
import queue
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from gateway.core.errors import TrunklineError

log = logging.getLogger(__name__)

HEADER = struct.Struct("!I")
READY, PING = 0, -1
PR_SET_PDEATHSIG = 1


class WorkerDied(TrunklineError):
    """The worker process ended, hung or was not there while a call was waiting."""


class WorkerError(TrunklineError):
    """The method itself raised something other than a TrunklineError; the worker goes on."""


class Worker:
    """One supervised process.

    `factory`: "module:function" importable there; `args`: picklable. `timeout_s`: longest time a call may take once it
    was sent. `start_s`: longest time until it is ready (models load). `env`: variables added to this process's own.
    """

    def __init__(
        self,
        factory: str,
        args: tuple[Any, ...] = (),
        *,
        name: str = "",
        timeout_s: float = 30.0,
        start_s: float = 180.0,
        heartbeat_s: float = 5.0,
        backoff_s: float = 0.2,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.factory, self.args = factory, args
        self.name = name or factory
        self.timeout_s, self.start_s, self.heartbeat_s, self.backoff_s = timeout_s, start_s, heartbeat_s, backoff_s
        self.env = dict(env or {})
        self.restarts = 0
        self.error: TrunklineError | None = None
        """Why the last start failed; None while all is well."""
        self._ready = asyncio.Event()
        self._first = asyncio.Event()
        self._closing = False
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._heard = 0.0
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        return self._ready.is_set()

    @property
    def busy(self) -> int:
        """Calls sent and not answered yet."""
        return len(self._waiting)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start the process and wait until its object is built. Raises what the factory raised, or WorkerDied."""
        self._task = asyncio.create_task(self._supervise(), name=f"worker {self.name}")
        await self._first.wait()
        if not self.ready:
            await self.close()
            raise self.error or WorkerDied(f"the worker {self.name} could not be started")

    async def wait_ready(self) -> None:
        """Return when calls can be made (again)."""
        await self._ready.wait()

    async def call(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        """Run `method(*args)` of the object there. Raises WorkerDied, or what the method raised."""
        writer = self._writer
        if not self.ready or writer is None:
            raise WorkerDied(
                f"the worker {self.name} is not running", do="it is being started again; try once more in a moment"
            )
        number = next(self._ids)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            writer.write(frame((number, method, args)))
            async with asyncio.timeout(self.timeout_s if timeout_s is None else timeout_s):
                return await answer
        except TimeoutError:
            self.kill()
            raise WorkerDied(f"the worker {self.name} hung in {method}", do="it is being started again") from None
        finally:
            self._waiting.pop(number, None)

    def kill(self) -> None:
        """End the process at once; its calls fail with WorkerDied and it is started again."""
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)  # Process.kill would reap it under asyncio's own watcher
        self._ready.clear()

    async def close(self) -> None:
        """End the process for good: politely, then by force after two seconds."""
        self._closing = True
        if self._writer:
            self._writer.close()
        if self._process:
            try:
                async with asyncio.timeout(2.0):
                    await self._process.wait()
            except TimeoutError:
                self.kill()
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._process:
            await self._process.wait()

    async def _supervise(self) -> None:
        pause = self.backoff_s
        while not self._closing:
            born = time.monotonic()
            try:
                await self._live()
            except TrunklineError as problem:
                self.error = problem
            except OSError as problem:  # no memory, no file handles: tried again like any other end
                self.error = WorkerDied(f"the worker {self.name} could not be started", read=problem.strerror)
            finally:
                self._end()
            if self._closing:
                return
            self._first.set()
            self.restarts += 1
            pause = self.backoff_s if time.monotonic() - born > 30 else min(pause * 2, 10.0)
            log.warning(
                "worker ended; it is started again", extra={"fields": {"worker": self.name, "restarts": self.restarts}}
            )
            await asyncio.sleep(pause)

    async def _live(self) -> None:
        """One life of the process, from its start until its end of the socket closes."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway.core.worker", str(theirs.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={**os.environ, **self.env},
            )
        reader, self._writer = await asyncio.open_connection(sock=ours)
        self._writer.write(frame((self.factory, self.args, list(sys.path))))
        pulse = asyncio.create_task(self._pulse(), name=f"pulse of {self.name}")
        self._heard = time.monotonic() + self.start_s
        try:
            while True:
                (size,) = HEADER.unpack(await reader.readexactly(HEADER.size))
                self._answer(*pickle.loads(await reader.readexactly(size)))
        except (asyncio.IncompleteReadError, ConnectionError, BrokenPipeError):
            return
        except (pickle.UnpicklingError, AttributeError, ImportError) as problem:
            raise WorkerDied(f"the worker {self.name} answered what can't be read", read=str(problem)) from None
        finally:
            pulse.cancel()

    def _answer(self, number: int, well: bool, value: Any) -> None:
        self._heard = max(self._heard, time.monotonic()) if not self.ready else time.monotonic()
        if number == READY:
            if not well:
                raise value
            self.error = None
            self._heard = time.monotonic()
            self._ready.set()
            self._first.set()
        elif (answer := self._waiting.get(number)) and not answer.done():
            if well:
                answer.set_result(value)
            else:
                answer.set_exception(value)

    async def _pulse(self) -> None:
        """Kills a process that is stopped or starved for good: its reading thread answers pings even during a call."""
        while self._writer:
            await asyncio.sleep(self.heartbeat_s)
            if time.monotonic() - self._heard > 3 * self.heartbeat_s:
                log.error("worker does not answer; it is killed", extra={"fields": {"worker": self.name}})
                self.kill()
                return
            with contextlib.suppress(ConnectionError):
                self._writer.write(frame((PING, "", ())))

    def _end(self) -> None:
        self._ready.clear()
        if self._writer:
            self._writer.close()
            self._writer = None
        self.kill()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(WorkerDied(f"the worker {self.name} died"))


def frame(message: object) -> bytes:
    """A message as it goes over the socket."""
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return HEADER.pack(len(body)) + body


# --- the worker's side --------------------------------------------------------------------------------------------


def serve(fd: int) -> None:
    """Build the object and answer calls until the other end closes. Runs as the worker's main."""
    for sign in (signal.SIGINT, signal.SIGTERM):  # the parent ends its calls first, then its workers
        signal.signal(sign, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.dup2(2, 1)  # what native libraries print must not reach the parent's standard output
    link = socket.socket(fileno=fd)
    lock = threading.Lock()

    def reply(number: int, well: bool, value: object) -> None:
        with lock:
            link.sendall(frame((number, well, value)))

    stream = link.makefile("rb")
    factory, args, path = receive(stream.read)
    sys.path[:] = path
    jobs: queue.SimpleQueue[tuple[int, str, tuple[Any, ...]]] = queue.SimpleQueue()
    threading.Thread(target=listen, args=(stream.read, jobs, reply), daemon=True).start()
    try:
        module, _, function = factory.partition(":")
        served = getattr(importlib.import_module(module), function)(*args)
    except BaseException as problem:
        reply(READY, False, portable(problem))
        return
    reply(READY, True, None)
    while True:
        number, method, arguments = jobs.get()
        try:
            reply(number, True, getattr(served, method)(*arguments))
        except OSError:
            raise
        except Exception as problem:
            reply(number, False, portable(problem))


def receive(read: Callable[[int], bytes]) -> Any:
    """The next message; EOFError when the other end closed."""
    head = read(HEADER.size)
    if len(head) < HEADER.size:
        raise EOFError
    return pickle.loads(read(HEADER.unpack(head)[0]))


def listen(
    read: Callable[[int], bytes],
    jobs: queue.SimpleQueue[tuple[int, str, tuple[Any, ...]]],
    reply: Callable[[int, bool, object], None],
) -> None:
    """Reads calls beside the thread that runs them, answers pings, and ends the process when the parent is gone."""
    try:
        while True:
            message = receive(read)
            if message[0] == PING:
                reply(PING, True, None)
            else:
                jobs.put(message)
    except (EOFError, OSError, pickle.UnpicklingError):
        os._exit(0)


def portable(problem: BaseException) -> TrunklineError:
    """An exception that unpickles in the parent."""
    if isinstance(problem, TrunklineError):
        return problem
    return WorkerError("a call in a worker process failed", read=f"{type(problem).__name__}: {problem}")


if __name__ == "__main__":
    # Through the import system, so that the errors raised here are the classes that the parent knows.
    importlib.import_module("gateway.core.worker").serve(int(sys.argv[1]))
