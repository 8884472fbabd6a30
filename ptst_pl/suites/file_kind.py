"""What a file is when it is none of prompts: a failed download, a pointer, a document of another program.

Such files often keep the name that was asked for, and a line of them looks like a prompt.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from ptst_pl import InputError

_HEAD = 4096
_BINARY = {
    b"PK\x03\x04": "a zip file, as .xlsx and .docx are: save the sheet as csv",
    b"%PDF": "a PDF",
    b"\x1f\x8b": "a gzip file: unpack it",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file: save the sheet as csv",
    b"PAR1": "a parquet file: name it .parquet",
    b"SQLite format 3": "a database",
    b"version https://git-lfs": "a pointer to a large file, not the file itself: run git lfs pull",
}
_MARKUP = re.compile(r"\s*<(!doctype|html|head|body|\?xml|rss|svg)\b", re.IGNORECASE)
_ERROR_KEYS = {"error", "errors", "message", "detail", "code", "status"}


def check_kind(path: Path, file: str = "suite file") -> None:
    """Refuse a file that cannot hold prompts or rows, whatever its ending.

    Raises:
        InputError: what it looks like, and what to do.
    """
    with path.open("rb") as handle:
        head = handle.read(_HEAD)
    what = next((words for start, words in _BINARY.items() if head.startswith(start)), "")
    text = head.decode("utf-8", "replace").lstrip("\ufeff")
    if not what and _MARKUP.match(text):
        what = "a web page, perhaps a sign-in or error page in the place of a download: get the file again"
    if not what and _is_error(text):
        what = "a server's error message in the place of a download: get the file again"
    if what:
        raise InputError(f"{file} {path} is {what}")


def _is_error(text: str) -> bool:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and bool(found) and {str(key).lower() for key in found} <= _ERROR_KEYS


def is_json_lines(path: Path) -> bool:
    """Whether the first line that is not blank is a JSON object, whatever the file's ending."""
    with path.open("rb") as handle:
        head = handle.read(2**20).lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head.startswith(b"{"):
        return False
    try:
        return isinstance(json.loads(head.splitlines()[0]), dict)
    except (ValueError, RecursionError):
        return False
