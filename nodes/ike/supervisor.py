"""Keeps one charon running and configured, and asks it without stopping the event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from nodes.ike.conversation import Conversation, UnicastAssociation
from nodes.ike.daemon import START_SECONDS, Charon, CharonError
from nodes.process import complain

POLL_SECONDS = 0.01
LOOK_SECONDS = 1.0
"""How old what is said of SAs may be."""
RESTART_PAUSE = 0.5
"""Seconds from a start of charon that failed to the next try."""

Result = TypeVar("Result")


class Supervisor:
    """Starts a charon, starts it again whenever it dies, and tells it what it is there for."""

    def __init__(
        self,
        program: str,
        parent: Path,
        configure: Callable[[Conversation], None],
        fell: Callable[[], None],
        seen_anew: Callable[[], None],
    ) -> None:
        """Takes the name to complain by, where charon's folder goes, and what a fresh charon is told.

        ``configure`` runs in another thread; ``fell`` hears of a death; ``seen_anew`` is called
        each time that ``seen``, the SAs, has been read. Raises IkeMissingError.
        """
        self.seen: list[UnicastAssociation] = []
        self.charon = Charon(parent)
        self.conversation = Conversation(self.charon.socket)
        self._program = program
        self._configure = configure
        self._fell = fell
        self._seen_anew = seen_anew
        self._ready = asyncio.Event()
        # vici answers one question after another, and none may wait for the passwords' threads
        self._executor = ThreadPoolExecutor(1, "vici")
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Starts charon and its supervision; raises OSError."""
        await self._start()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._keep()), loop.create_task(self._look())]

    async def wait_until_ready(self) -> None:
        """Returns when charon runs and is configured."""
        await self._ready.wait()

    async def ask(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Runs a method of the conversation in its thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, partial(function, *arguments))

    def process_view(self) -> dict[str, Any]:
        """Returns what the status says of charon."""
        pid = self.charon.pid
        return {
            "control": f"ike, ESP in {self.charon.esp}",
            "charon_pid": pid,
            "charon_starts": self.charon.starts,
            "charon_resident_octets": 0 if pid is None else _resident(pid),
        }

    async def close(self) -> None:
        """Ends charon."""
        for task in self._tasks:
            task.cancel()
        self._executor.shutdown(wait=False, cancel_futures=True)
        self.charon.close()

    async def _start(self) -> None:
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        self.charon.start()
        while not self.charon.answers():
            if not self.charon.runs() or asyncio.get_running_loop().time() > deadline:
                raise CharonError(f"charon does not start: {self.charon.last_words()}")
            await asyncio.sleep(POLL_SECONDS)
        await self.ask(self._configure, self.conversation)
        self._ready.set()

    async def _keep(self) -> None:
        while True:
            await self._death()
            self._ready.clear()
            self.seen = []
            complain(self._program, "charon has ended; it is started again")
            self._fell()
            try:
                await self._start()
            except OSError as error:
                complain(self._program, error)
                self.charon.kill()
                await asyncio.sleep(RESTART_PAUSE)

    async def _look(self) -> None:
        """Reads the SAs again and again: charon takes down those whose peer is silent."""
        while True:
            await self._ready.wait()
            try:
                self.seen = await self.ask(self.conversation.associations)
            except OSError:
                self.seen = []
            if self._ready.is_set():
                self._seen_anew()
            await asyncio.sleep(LOOK_SECONDS)

    async def _death(self) -> None:
        """Returns when charon is no more."""
        pid = self.charon.pid
        if pid is None:
            return
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        descriptor = os.pidfd_open(pid)
        loop.add_reader(descriptor, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)


def _resident(pid: int) -> int:
    """Returns a process's resident memory in octets, 0 when it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
