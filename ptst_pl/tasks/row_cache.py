"""Encoded rows of large files, kept on disk: the next start neither reads nor encodes them again.

An entry's name is a hash of all that decides on the rows: the files' content, the task and its settings, the
tokenizer, this package's code and the libraries that tokenise. So an entry is never out of date, it is only no
longer asked for; the oldest are deleted when all together grow too large. What was logged while the rows were
read (how many were left out, and why) is kept with them and said again.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import logging
import os
import shutil
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import ptst_pl
from ptst_pl.results.disk.cache_home import cache_home
from ptst_pl.tasks.row_sample import RowSample
from ptst_pl.tokenization import EncodingReport, Example, TemplateTokenizer
from ptst_pl.tokenization.compact_rows import CompactRows

log = logging.getLogger(__name__)
# Smaller files are read and encoded within seconds.
LEAST_BYTES = 16 * 10**6
# Of all entries together.
MOST_BYTES = 20 * 10**9
_LIBRARIES = ("transformers", "tokenizers")
_ABOUT = "about.json"


@dataclass(frozen=True)
class CachedRows:
    """What reading and encoding the rows of one part of a task has given.

    Attributes:
        rows: the rows; from the disk they are mapped, not read.
        report: their counts.
        sample: some of them as text, for the lints.
        fingerprint: their hash.
        told: what was logged meanwhile, each with its level.
    """

    rows: CompactRows
    report: EncodingReport
    sample: RowSample | None
    fingerprint: str
    told: list[tuple[int, str]]

    def say(self) -> None:
        """Log again what was logged when the rows were read."""
        for level, message in self.told:
            log.log(level, "%s", message)


def cache_folder() -> Path | None:
    """Where entries are; None if the user wants none (``PTST_PL_KEEP_ROWS=no``)."""
    return None if os.environ.get("PTST_PL_KEEP_ROWS", "").lower() in ("no", "0", "off") else cache_home() / "rows"


def large(files: Sequence[Path]) -> bool:
    """Whether reading these takes so long that what comes of it is kept."""
    return bool(files) and all(map(Path.is_file, files)) and sum(file.stat().st_size for file in files) >= LEAST_BYTES


def settings_of(
    task: object, root: type, without: Collection[str], attributes: Mapping[str, str]
) -> dict[str, str] | None:
    """What a task was made with, by argument; None for a task whose code or settings are not known here.

    Args:
        task: one of this package's own; others' code may change unseen.
        root: the class that all tasks share.
        without: arguments that do not count.
        attributes: where an argument is kept under another name.
    """
    kinds = [kind for kind in type(task).__mro__ if issubclass(kind, root)]
    if not all(kind.__module__.startswith("ptst_pl.") for kind in kinds):
        return None
    names = {name for kind in kinds for name in inspect.signature(kind.__init__).parameters} - set(without)
    found = {name: attributes.get(name, name) for name in sorted(names)}
    if not all(hasattr(task, attribute) for attribute in found.values()):
        return None
    return {name: repr(getattr(task, attribute)) for name, attribute in found.items()} | {"task": type(task).__name__}


def entry_name(files: Sequence[Path], settings: Mapping[str, str], encoder: TemplateTokenizer) -> str | None:
    """The name of an entry; None for a tokenizer that cannot be hashed.

    Args:
        files: where the rows are read from.
        settings: all else that decides on them.
        encoder: it has the tokenizer.
    """
    backend = getattr(encoder.tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    taken = hashlib.sha256(_code().encode())
    own = (encoder.tokenizer.init_kwargs, encoder.tokenizer.chat_template, encoder.tokenizer.special_tokens_map)
    for part in (_rules(backend), repr(own), repr(sorted(settings.items())), *map(metadata.version, _LIBRARIES)):
        taken.update(hashlib.sha256(part.encode("utf-8", "surrogatepass")).digest())
    for file in files:
        with file.open("rb") as handle:
            taken.update(hashlib.file_digest(handle, "sha256").digest())
    return taken.hexdigest()[:32]


def _rules(backend: Any) -> str:
    """How text becomes ids; cutting and padding are switched on and off by every call."""
    rules = json.loads(backend.to_str())
    return json.dumps({name: value for name, value in rules.items() if name not in ("truncation", "padding")})


def _code() -> str:
    home = Path(inspect.getfile(ptst_pl)).parent
    taken = hashlib.sha256()
    for file in sorted(home.rglob("*.py")):
        taken.update(str(file.relative_to(home)).encode() + b"\0" + file.read_bytes())
    return taken.hexdigest()


def load(name: str) -> CachedRows | None:
    """The entry of that name; None if there is none, or it cannot be read."""
    folder = cache_folder()
    if folder is None or not (folder / name).is_dir():
        return None
    try:
        about = json.loads((folder / name / _ABOUT).read_text(encoding="utf-8"))
        if about["files"] != _contents(folder / name):
            raise ValueError("a file is not as it was written")
        rows = CompactRows.mapped(folder / name)
        with contextlib.suppress(OSError):  # of a folder that others own
            os.utime(folder / name)
        sample = about["sample"] and _sample(about["sample"])
        told = [(int(level), str(message)) for level, message in about["told"]]
        found = CachedRows(rows, EncodingReport(**about["report"]), sample, about["fingerprint"], told)
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("kept rows in %s cannot be used (%s): they are read again", folder / name, error)
        shutil.rmtree(folder / name, ignore_errors=True)
        return None
    log.info("%d encoded rows from an earlier start, %s", len(rows), folder / name)
    return found


def _contents(entry: Path) -> dict[str, str]:
    """The hash of every file of an entry but the one that says what is in it."""
    found = {}
    for file in sorted(entry.glob("*.npy")):
        with file.open("rb") as handle:
            found[file.name] = hashlib.file_digest(handle, "sha256").hexdigest()
    return found


def _sample(stored: dict[str, Any]) -> RowSample:
    examples = [Example(**row) for row in stored["examples"]]
    tidy = [
        replace(row, turns=tuple((asked, said) for asked, said in row.turns), left_out=frozenset(row.left_out))
        for row in examples
    ]
    return RowSample(stored["numbers"], tidy, stored["total"])


def store(name: str, found: CachedRows) -> None:
    """Keep an entry. Where that cannot be done, a line says so, and nothing half-written is left."""
    folder = cache_folder()
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / f"new-{uuid.uuid4().hex}"
        fresh.mkdir()
        try:
            found.rows.save(fresh)
            sample = found.sample and _stored_sample(found.sample)
            about = {
                "report": asdict(found.report),
                "sample": sample,
                "fingerprint": found.fingerprint,
                "told": found.told,
                "files": _contents(fresh),
            }
            (fresh / _ABOUT).write_text(json.dumps(about), encoding="utf-8")
            if not (folder / name).exists():  # else another process has made it meanwhile
                fresh.rename(folder / name)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        log.info("encoded rows are kept in %s for the next start (PTST_PL_KEEP_ROWS=no keeps none)", folder / name)
        _make_room(folder)
    except OSError as error:
        log.warning("encoded rows cannot be kept in %s (%s): the next start encodes them again", folder, error)


def _stored_sample(sample: RowSample) -> dict[str, Any]:
    rows = [{**asdict(row), "left_out": sorted(row.left_out)} for row in sample.examples]
    return {"numbers": list(sample.numbers), "examples": rows, "total": sample.total}


def _make_room(folder: Path) -> None:
    """Delete the entries that were not used for the longest time, as long as all together are too large."""
    entries = sorted((entry for entry in folder.iterdir() if entry.is_dir()), key=lambda entry: -entry.stat().st_mtime)
    total = 0
    for entry in entries:
        total += sum(file.stat().st_size for file in entry.iterdir())
        if total > MOST_BYTES and entry != entries[0]:
            shutil.rmtree(entry, ignore_errors=True)


@contextlib.contextmanager
def listening() -> Iterator[list[tuple[int, str]]]:
    """What the package logs meanwhile, from ``info`` on."""
    told: list[tuple[int, str]] = []
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: told.append((record.levelno, record.getMessage()))  # type: ignore[method-assign]
    logger = logging.getLogger("ptst_pl")
    logger.addHandler(handler)
    try:
        yield told
    finally:
        logger.removeHandler(handler)
