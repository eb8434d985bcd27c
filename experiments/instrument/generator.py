"""The generator: ``python -m experiments.instrument.generator <file>``, in the members' node.

It registers all members with the real servers over TLS and keeps their channels open. Then it
seals and sends as it is told on standard input, one JSON value a line, and answers likewise. It
sends to the servers of its file alone, or through their nodes, and never more than its bounds allow.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec

from experiments.instrument import no_cipher
from experiments.instrument.commands import (
    MOST_FRAMES,
    MOST_SECONDS,
    Answer,
    Command,
    Failed,
    Finish,
    Prepare,
    Ready,
    Send,
)
from experiments.instrument.members import BROADCAST, GeneratorFile, Member, MemberError
from experiments.instrument.pacing import PacingError, batches, send_paced, send_pairs, sender
from nodes.channel import client_context

_DECODER = msgspec.json.Decoder(Command)
_CLOSING_SECONDS = 2.0


class Generator:
    """All members, and the frames that are ready to be sent."""

    def __init__(self, file: GeneratorFile) -> None:
        self._file = file
        self._groups: dict[tuple[str, int], list[Member]] = {}
        self._prepared: list[bytes] = []
        self._member: Member | None = None
        self._destination = ("", 0)

    async def register(self) -> None:
        """Brings all members into their groups; every station speaks once, so servers learn it."""
        context = client_context(Path(self._file.authority))
        for name, server in self._file.servers.items():
            for group in self._file.groups:
                self._groups[name, group.size] = [
                    Member(member, group.vpn_id, server, member.addresses[name])
                    for member in group.members
                ]
        for members in self._groups.values():
            # One after the other: null forwards to the member that registered next.
            for member in members:
                await member.register(context)
        for members in self._groups.values():
            for member in members:
                self._speak(member)

    def _speak(self, member: Member) -> None:
        payload = member.seal(member.frame(BROADCAST, 64))
        member.socket.sendto(payload, (member.server.address, member.server.data_port))

    def answer(self, command: Command) -> Answer:
        """Does what it is told."""
        try:
            if isinstance(command, Prepare):
                return self._prepare(command)
            assert isinstance(command, Send)
            return self._send(command)
        except (MemberError, PacingError) as error:
            return Failed(str(error))

    def _prepare(self, command: Prepare) -> Answer:
        members = self._groups.get((command.server, command.members))
        if members is None:
            return Failed(f"server {command.server}: no group of {command.members} members")
        if not 0 < command.frames <= MOST_FRAMES:
            return Failed(f"{command.frames} frames: expected 1 to {MOST_FRAMES}")
        first, second = members[:2]
        frame = first.frame(
            BROADCAST if command.cast == "broadcast" else second.mac, command.frame_size
        )
        self._prepared = []
        if command.port is None:
            self._prepared = [first.seal(frame) for _ in range(command.frames)]
        else:
            self._prepared = [first.seal(frame)] * command.frames
        self._member = first
        port = first.server.data_port if command.port is None else command.port
        self._destination = (command.address or first.server.address, port)
        return Ready(len(self._prepared), len(self._prepared[0]))

    def _send(self, command: Send) -> Answer:
        frames, self._prepared = self._prepared, []
        if not frames or self._member is None:
            return Failed("nothing is prepared")
        count = command.pairs * command.burst or len(frames)
        if not 0 < count <= MOST_FRAMES or not 0 < count / command.rate <= MOST_SECONDS:
            return Failed(
                f"{count} frames at {command.rate}/s: at most {MOST_FRAMES} and {MOST_SECONDS} s"
            )
        work = batches(frames, command.burst)
        segment = len(frames[0]) if command.burst > 1 else None
        send = sender(self._member.socket, self._destination, segment)
        if command.dry:
            send = bytes.__len__
        rate = command.rate / command.burst
        if command.pairs:
            sent = send_pairs(self._member.socket, send, work, command.pairs, rate)
        else:
            sent = send_paced(send, work, rate)
        if command.dry:
            return msgspec.structs.replace(sent, frames=0)
        return msgspec.structs.replace(
            sent,
            frames=sent.frames * command.burst,
            refused=sent.refused * command.burst,
        )

    async def leave(self) -> None:
        """Takes all members out of their groups."""
        for members in self._groups.values():
            for member in members:
                member.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=_CLOSING_SECONDS)


async def _serve(generator: Generator) -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        try:
            command = _DECODER.decode(line)
        except msgspec.DecodeError as error:
            _say(Failed(str(error)))
            continue
        if isinstance(command, Finish):
            return
        _say(generator.answer(command))


async def _run(path: Path) -> int:
    file = msgspec.json.decode(path.read_bytes(), type=GeneratorFile)
    if file.no_cipher:
        no_cipher.stand_in()
    generator = Generator(file)
    try:
        await generator.register()
    except (MemberError, OSError) as error:
        _say(Failed(str(error)))
        return 1
    _say(Ready())
    try:
        await _serve(generator)
    finally:
        await generator.leave()
    return 0


def _say(answer: Answer) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(asyncio.run(_run(Path(sys.argv[1]))))
