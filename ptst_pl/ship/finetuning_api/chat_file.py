"""A chat fine-tuning file as a whole: read with every row checked, and counted."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ptst_pl import InputError
from ptst_pl.ship.finetuning_api.chat_check import Row, check_row

# OpenAI's limits; another server may have others, so they give a note and no error.
FEWEST_ROWS = 10
MOST_BYTES = 512 * 10**6
# Of the GPT-3.5 and GPT-4 models.
ENCODING = "cl100k_base"
# OpenAI's published counting rule for chat messages: 3 a message and its role, 3 for the start of the reply.
_PER_MESSAGE, _PER_ROW = 4, 3
_LOADING_S = 20.0


@dataclass(frozen=True)
class ChatFile:
    """A file's content, read once, so that what is checked and hashed is what is sent."""

    path: Path
    content: bytes
    rows: tuple[Row, ...]

    @property
    def sha256(self) -> str:
        """Hash of the content."""
        return hashlib.sha256(self.content).hexdigest()


def read_chat_file(path: Path) -> ChatFile:
    """Read a file and check every row.

    Raises:
        InputError: no such file, no rows, or a line that is no valid conversation.
    """
    if not path.is_file():
        raise InputError(f"--file {path}: no such file; 'ptst_pl export-chat' writes one")
    content = path.read_bytes()
    rows = []
    for number, line in enumerate(content.splitlines(), 1):
        where = f"{path} line {number}"
        try:
            row = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: no JSON object in UTF-8 ({error})") from error
        if not isinstance(row, dict):
            raise InputError(f"{where}: found {type(row).__name__}, expected a JSON object")
        check_row(row, where)
        rows.append(row)
    if not rows:
        raise InputError(f"--file {path}: holds no row")
    return ChatFile(path, content, tuple(rows))


def notes(file: ChatFile) -> list[str]:
    """What a person should know before paying for a job."""
    found = []
    if len(file.rows) < FEWEST_ROWS:
        found.append(f"OpenAI takes no fewer than {FEWEST_ROWS} rows")
    if len(file.content) > MOST_BYTES:
        found.append(f"OpenAI takes no more than {MOST_BYTES // 10**6} MB")
    if repeated := len(file.rows) - len({json.dumps(row, sort_keys=True) for row in file.rows}):
        found.append(f"{repeated:,} rows are the same as an earlier one")
    return found


def token_estimate(rows: Sequence[Row]) -> str:
    """How many tokens the rows have, in words: by tiktoken, or by the number of characters without it."""
    count, reason = _counter()
    lengths = [_row_tokens(row, count) for row in rows]
    how = f"by tiktoken's {ENCODING}" if not reason else f"a guess, 4 characters a token ({reason})"
    return f"about {sum(lengths):,} tokens a pass, longest row {max(lengths):,} ({how})"


def _row_tokens(row: Row, count: Callable[[str], int]) -> int:
    return _PER_ROW + sum(_PER_MESSAGE + count(message["content"]) for message in row["messages"])


def _counter() -> tuple[Callable[[str], int], str]:
    """A function that counts, and why it only guesses, if it does."""
    found: list[Callable[[str], int]] = []
    reason = [f"tiktoken's {ENCODING} did not load in {_LOADING_S:g} s"]

    def load() -> None:
        try:
            import tiktoken

            encoding = tiktoken.get_encoding(ENCODING)
            found.append(lambda text: len(encoding.encode_ordinary(text)))
        except ImportError:
            reason[:] = ["tiktoken is not installed"]
        except Exception as error:  # whatever its download raises: the estimate is not worth an error
            reason[:] = [f"tiktoken's {ENCODING} cannot be loaded: {type(error).__name__}"]

    # It may download, without a time limit of its own.
    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    thread.join(_LOADING_S)
    return (found[0], "") if found else (lambda text: (len(text) + 3) // 4, reason[0])
