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
from nodes.ike.daemon import START_SECONDS, CharonError, Daemon
from nodes.process import complain

POLL_SECONDS = 0.01
LOOK_SECONDS = 1.0
"""How old what is said of SAs may be."""
RESTART_PAUSE = 0.5
"""Seconds from a start of charon that failed to the next try."""
NEEDED_PLUGINS = frozenset({"eap-identity", "eap-mschapv2"})

Result = TypeVar("Result")


class Supervisor:
    """Starts a charon, starts it again whenever it dies, and tells it what it is there for."""

    def __init__(
        self,
        program: str,
        charon: Daemon,
        configure: Callable[[Conversation], None],
        fell: Callable[[], None],
        seen_anew: Callable[[], None],
    ) -> None:
        """Takes the name to complain by, the charon, and what it is told at each start.

        ``configure`` runs in another thread; ``fell`` hears of a death; ``seen_anew`` is called
        each time that ``seen``, the SAs, has been read.
        """
        self.seen: list[UnicastAssociation] = []
        self.charon = charon
        self.esp = ""
        """Where charon does ESP; empty until it has said so."""
        self.conversation = Conversation(self.charon.socket)
        self._program = program
        self._configure = configure
        self._fell = fell
        self._seen_anew = seen_anew
        self._ready = asyncio.Event()
        # vici answers one question after another, and none may wait for the passwords' threads
        self._executor = ThreadPoolExecutor(1, "vici")
        self._tasks: list[asyncio.Task[None]] = []
        self._lifeline: int | None = None
        """From before charon is told anything: one that has died since knows nothing of it."""

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
            "control": f"ike, ESP in {self.esp}",
            "charon_pid": pid,
            "charon_starts": self.charon.starts,
            "charon_resident_octets": 0 if pid is None else _resident(pid),
        }

    async def close(self) -> None:
        """Ends charon, or takes back what somebody else's was told."""
        for task in self._tasks:
            task.cancel()
        if self._ready.is_set() and not self.charon.is_ours:
            try:
                await self.ask(self.conversation.withdraw)
            except OSError as error:
                complain(self._program, error)
        self._executor.shutdown(wait=False, cancel_futures=True)
        self.charon.close()

    async def _start(self) -> None:
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        self.charon.start()
        while not self.charon.answers():
            if not self.charon.runs() or asyncio.get_running_loop().time() > deadline:
                raise CharonError(self.charon.complaint())
            await asyncio.sleep(POLL_SECONDS)
        self._lifeline = await self.ask(self.charon.lifeline)
        try:
            await self._prepare()
        except BaseException:
            self._cut_lifeline()
            raise
        self._ready.set()

    async def _prepare(self) -> None:
        loaded = await self.ask(self.conversation.plugins)
        if missing := NEEDED_PLUGINS - loaded:
            raise CharonError(f"charon lacks the plugins {', '.join(sorted(missing))}")
        self.esp = "user space" if "kernel-libipsec" in loaded else "kernel"
        if not self.charon.is_ours:
            await self.ask(self.conversation.withdraw)  # what a killed process of ours has left
        await self.ask(self._configure, self.conversation)

    async def _keep(self) -> None:
        while True:
            await self._death()
            self._ready.clear()
            self.seen = []
            again = "it is started again" if self.charon.is_ours else "waiting for the next one"
            complain(self._program, f"charon has ended; {again}")
            self._fell()
            await self._start_again()

    async def _start_again(self) -> None:
        """Returns when charon runs and is configured, however often that has to be tried."""
        while not self._ready.is_set():
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
        if self._lifeline is None:
            return
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._lifeline, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._lifeline)
            self._cut_lifeline()

    def _cut_lifeline(self) -> None:
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None


def _resident(pid: int) -> int:
    """Returns a process's resident memory in octets, 0 when it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
