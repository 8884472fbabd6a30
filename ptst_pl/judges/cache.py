"""An on-disk cache of a judge's replies, so that a crash or a second run pays for nothing twice.

What is kept is the raw reply, not the verdict: a better parser reads old replies again for free.
Failures are not kept.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from ptst_pl import InputError
from ptst_pl.generation.endpoint import Reply
from ptst_pl.results.disk.cache_home import cache_home

FILE_NAME = "replies.sqlite3"
# Seconds to wait for another process that is writing.
BUSY_S = 60.0
_AT_A_TIME = 500


def default_path() -> Path:
    """``replies.sqlite3`` where things are kept."""
    return cache_home() / FILE_NAME


def reply_key(
    *,
    judge: str,
    base_url: str,
    model: str,
    prompt_sha256: str,
    sampling: Mapping[str, Any],
    question: str,
    answer: str,
    context: str = "",
) -> str:
    """SHA-256 over everything that the reply depends on, hexadecimal."""
    parts = [judge, base_url.rstrip("/"), model, prompt_sha256, dict(sampling), question, answer, context]
    # Escapes to ASCII, so that lone surrogates in an answer have a hash too.
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("ascii")).hexdigest()


class ReplyCache:
    """Replies by key, in one SQLite file that threads and processes may share.

    Every reply is committed on its own: a kill loses none that was stored. The journal is SQLite's
    default and not the write-ahead log, which does not work on network file systems.

    Args:
        path: the file, made with its folder where missing; None keeps replies in memory only.

    Raises:
        InputError: the place cannot be written, or the file is no cache.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._lock = threading.Lock()
        with self._errors():
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                path or ":memory:", timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
        try:
            with self._errors():
                self._db.execute("PRAGMA synchronous = NORMAL")
                self._db.execute(
                    "CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, text TEXT NOT NULL, "
                    "finish_reason TEXT NOT NULL, model TEXT NOT NULL, stored REAL NOT NULL)"
                )
                # A file that can be read but not written must be found out before the first reply is paid for.
                self._db.execute("DELETE FROM replies WHERE key IS NULL")
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> ReplyCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._db.close()

    def __len__(self) -> int:
        """Replies that are stored."""
        with self._lock, self._errors():
            (count,) = self._db.execute("SELECT count(*) FROM replies").fetchone()
        return int(count)

    def get(self, keys: Iterable[str]) -> dict[str, Reply]:
        """The stored replies of those keys that have one."""
        wanted = list(keys)
        found: dict[str, Reply] = {}
        for start in range(0, len(wanted), _AT_A_TIME):
            part = wanted[start : start + _AT_A_TIME]
            query = f"SELECT key, text, finish_reason, model FROM replies WHERE key IN ({','.join('?' * len(part))})"
            with self._lock, self._errors():
                found |= {key: Reply(*rest) for key, *rest in self._db.execute(query, part)}
        return found

    def put(self, key: str, reply: Reply) -> None:
        """Store a reply; on disk when this returns."""
        row = (key, reply.text, reply.finish_reason, reply.model, time.time())
        with self._lock, self._errors():
            self._db.execute("INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?, ?)", row)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.DatabaseError) as error:
            raise InputError(
                f"cache of judges' replies {self.path}: {error}; set PTST_PL_CACHE to a folder that can be written, "
                "or switch the judge's cache off"
            ) from error
