"""Who is logged in. Sessions live in this process's memory: a cookie alone says nothing.

Times are arguments in ns. Tokens are kept as hashes, so that a look into the memory of this table
gives no cookie away.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

from protocol.types import SECOND

LONGEST_TIME = 8 * 3600 * SECOND
"""After so long even a busy administrator logs in again."""
SESSIONS_EACH = 16
STREAMS_EACH = 6


@dataclass
class Session:
    """One log-in: it ends when the password changes on which it rests."""

    administrator: str
    password_hash: str
    started: int
    last_used: int
    form_token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    notice: str = ""
    """What the next page says of the change that was just made."""
    streams: int = 0
    ended: bool = False

    def owns(self, form_token: str) -> bool:
        """Tells, in constant time, whether a form was made for this session."""
        return hmac.compare_digest(self.form_token.encode(), form_token.encode())


class Sessions:
    """The sessions that are open."""

    def __init__(self, idle_time: int) -> None:
        self._idle_time = idle_time
        self._by_digest: dict[bytes, Session] = {}

    def open(self, administrator: str, password_hash: str, now: int) -> str:
        """Begins a session and returns its token, which only the browser keeps."""
        self._expire(now)
        own = [key for key, old in self._by_digest.items() if old.administrator == administrator]
        for key in own[: len(own) - SESSIONS_EACH + 1]:
            self._end(key)
        token = secrets.token_urlsafe(32)
        self._by_digest[_digest(token)] = Session(administrator, password_hash, now, now)
        return token

    def find(self, token: str, now: int, used: bool = True) -> Session | None:
        """Returns the session of a token; ``used`` renews its time."""
        session = self._by_digest.get(_digest(token))
        if session is None:
            return None
        if self.is_over(session, now):
            self.close(token)
            return None
        if used:
            session.last_used = now
        return session

    def is_over(self, session: Session, now: int) -> bool:
        """Tells whether a session has ended, by whatever."""
        idle, whole = now - session.last_used, now - session.started
        return session.ended or idle >= self._idle_time or whole >= LONGEST_TIME

    def close(self, token: str) -> None:
        """Ends a session, if there is one."""
        self._end(_digest(token))

    def _end(self, key: bytes) -> None:
        session = self._by_digest.pop(key, None)
        if session is not None:
            session.ended = True

    def _expire(self, now: int) -> None:
        for key in [key for key, old in self._by_digest.items() if self.is_over(old, now)]:
            self._end(key)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
