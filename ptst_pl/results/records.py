"""What an evaluation leaves on disk, and how it is written: whole or not at all.

Layout of a results folder (``safety/`` inside a run)::

    generations.jsonl   one Generation a line
    verdicts.jsonl      one Verdict a line
    served.jsonl        what a defence at serving time did with each answer, where there is one
    results.json        {"format": 1, "schema_version": "1.1", ..., "rates": [one per suite, template, step, judge]}
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ptst_pl import InputError
from ptst_pl.results.disk.durable import NO_ROOM, not_written, os_error_in, put

FORMAT = 1
SERVED = "served.jsonl"  # only where a defence stands between the answers and their readers
# FORMAT and a minor number that grows with every new key: report/schema/*.json say what is in the three files.
SCHEMA_VERSION = f"{FORMAT}.3"
# What settings that came later meant in the files that do not have them; the others were empty.
USUAL: Mapping[str, Any] = {"samples": 1, "special_tokens": "text", "thinking": "closed", "preamble": "refused"}
MAX_LINE_BYTES = 16 * 2**20


def setting(stored: Mapping[str, Any], key: str) -> Any:
    """A stored setting; one that an older file does not have stands for its default, an empty one for None."""
    value = stored.get(key, USUAL.get(key))
    return None if value in ("", [], {}) else value


@dataclass(frozen=True)
class Generation:
    """One answer, with everything needed to judge it again.

    ``finish_reason`` is ``stop`` (an end token), ``stop_text`` (a text of ``decoding.stop``, which ``answer`` ends
    before) or ``length`` (cut off). ``answer`` is the whole turn: with a ``decoding.prefix`` it begins with that,
    which ``answer_tokens`` does not count. ``prompt_text`` is the rendered prompt, without the prefix.
    ``prompt_ids_sha256`` pins the ids that the model really saw, prefix included. ``context`` is the text that
    the question refers to, where it has one; ``question`` begins with it. ``sample`` numbers the answers to one prompt.
    Under an ``encoding``, ``answer`` is what people would read in it, and ``raw_answer`` what the model wrote.
    """

    suite: str
    prompt_id: str
    category: str
    question: str
    template: str
    prompt_text: str
    answer: str
    finish_reason: str
    step: int
    decoding: dict[str, Any]
    measures: str = "asr"
    reference: str | None = None
    answer_tokens: int = 0
    prompt_ids_sha256: str = ""
    context: str = ""
    sample: int = 0
    encoding: str = ""
    raw_answer: str = ""


@dataclass(frozen=True)
class Verdict:
    """What one judge says of one generation.

    ``harmful`` is None where the judge could not score the answer: such answers are counted as
    unscored, never as safe or harmful. ``broken`` answers (empty, repeated) are a class of their
    own: scored, but neither a refusal nor harm. ``correct`` is for suites that measure helpfulness,
    ``measures`` says what the suite measures. ``details`` is what the judge leaves for people to look
    at: its raw reply, the members of a panel, a probability.
    """

    suite: str
    prompt_id: str
    template: str
    step: int
    judge: str
    harmful: bool | None
    refused: bool | None
    score: float | None = None
    reason: str = ""
    broken: bool = False
    correct: bool | None = None
    measures: str = "asr"
    judge_version: str = ""
    category: str = ""
    details: dict[str, Any] = field(default_factory=dict)


# Finish reasons of an answer that came to its own end, and of one that was cut at the length asked for, here and on
# servers. With any other one (a content filter, a tool call, an error) there is no answer to judge.
FINISHED = frozenset({"", "stop", "stop_text", "stop_sequence", "end_turn", "eos", "eos_token", "finished", "complete"})
CUT_AT_LENGTH = frozenset({"length", "max_tokens", "max_output_tokens", "model_length"})

# What a suite measures -> the verdict's field that counts, None in it meaning unscored.
COUNTED_FIELD = {"asr": "harmful", "over-refusal": "refused", "helpfulness": "correct", "rules": "correct"}


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then move it into place.

    A kill or a power cut at any moment leaves either the old file or the new one, never a torn one.

    Raises:
        InputError: no room on the disk; the old file stands.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        put(temporary, path)
    except (OSError, RuntimeError) as error:
        found = os_error_in(error)
        if found is None or found.errno not in NO_ROOM:
            raise
        raise not_written(path, found, "what was there before still is; make room and run the command again") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    write_atomically(path, lambda temporary: _write(temporary, text))


def _write(path: Path, text: str) -> None:
    # Lone surrogates can come out of a tokenizer; they are written as escapes, not as an error.
    path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def to_lines(records: Iterable[Any]) -> str:
    """Dataclass records as JSON lines."""
    return "".join(to_line(asdict(record)) for record in records)


def to_line(record: dict[str, Any]) -> str:
    """One object as one line, also for readers that break lines at U+2028 and its like."""
    line = json.dumps(record, ensure_ascii=False)
    return line.translate({0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}) + "\n"


def bounded_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """A file's lines with their numbers from 1, line ends included.

    Raises:
        InputError: a line longer than ``MAX_LINE_BYTES``: no record of ours, and too much to hold.
    """
    with path.open("rb") as handle:
        for number in itertools.count(1):
            line = handle.readline(MAX_LINE_BYTES + 1)
            if len(line) > MAX_LINE_BYTES:
                most = MAX_LINE_BYTES // 2**20
                raise InputError(f"{path} line {number}: longer than {most} MiB, expected one record of text a line")
            if not line:
                return
            yield number, line


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file.

    Raises:
        InputError: a line is too long, not UTF-8 or no JSON object; names file and line.
    """
    for number, raw in bounded_lines(path):
        if not raw.strip():
            continue
        try:
            value = json.loads(raw.decode("utf-8-sig" if number == 1 else "utf-8"))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} line {number}: no JSON object in UTF-8 ({error})") from error
        if not isinstance(value, dict):
            raise InputError(f"{path} line {number}: found {type(value).__name__}, expected a JSON object")
        yield value


@dataclass
class ResultsFolder:
    """The three files of one evaluation folder. Missing files read as empty."""

    path: Path
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def results_file(self) -> Path:
        """The file that is written last."""
        return self.path / "results.json"

    def rates(self) -> list[dict[str, Any]]:
        """The stored rate records, oldest first.

        Raises:
            InputError: the file is none of ours.
        """
        return list(self.stored()["rates"])

    def stored(self) -> dict[str, Any]:
        """Everything in results.json; no rates where it is missing.

        Raises:
            InputError: the file is none of ours.
        """
        if not self.results_file.exists():
            return {"rates": []}
        try:
            found = json.loads(self.results_file.read_text(encoding="utf-8"))
            return {**found, "rates": list(found["rates"])}
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self.results_file}: no file of rates ({error!r}); delete it to start afresh") from error

    def steps(self) -> set[int]:
        """Steps whose evaluation is complete: rates are written last."""
        return {int(record["step"]) for record in self.rates()}

    def add(
        self,
        generations: Iterable[Generation],
        verdicts: Iterable[Verdict],
        rates: Iterable[dict[str, Any]],
        step: int,
        served: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Store one evaluation; an earlier attempt at the same step is replaced, finished or not.

        ``served`` are lines about what a defence at serving time did, each with its step.
        """
        done = self.steps()
        keep = done - {step}
        if step in done:
            self._keep_rates(keep)
        self._rewrite("generations.jsonl", to_lines(generations), keep)
        self._rewrite("verdicts.jsonl", to_lines(verdicts), keep)
        if served:
            self._rewrite(SERVED, "".join(json.dumps(line) + "\n" for line in served), keep)
        self._keep_rates(keep, rates)

    def forget_after(self, step: int) -> None:
        """Drop everything recorded after ``step``: a future that a resumed run will live again."""
        keep = {done for done in self.steps() if done <= step}
        if self.path.exists():
            # Rates first: a kill on the way must not leave a step that only seems complete. What stands beside them is
            # of the evaluations that stay; the next one brings its own.
            beside = {key: value for key, value in self.stored().items() if key not in ("format", "rates")}
            ResultsFolder(self.path, beside or self.meta)._keep_rates(keep)
            self._rewrite("generations.jsonl", "", keep)
            self._rewrite("verdicts.jsonl", "", keep)
            if (self.path / SERVED).exists():
                self._rewrite(SERVED, "", keep)

    def _rewrite(self, name: str, more: str, keep: set[int]) -> None:
        path = self.path / name
        with contextlib.ExitStack() as stack:
            old = stack.enter_context(path.open(encoding="utf-8", newline="\n")) if path.exists() else ()
            kept = "".join(line for line in old if json.loads(line)["step"] in keep)
        write_text(path, kept + more)

    def _keep_rates(self, keep: set[int], more: Iterable[dict[str, Any]] = ()) -> None:
        old = self.stored()
        kept = [record for record in old["rates"] if int(record["step"]) in keep]
        stored = {"format": FORMAT, "schema_version": SCHEMA_VERSION, **self.meta, "rates": [*kept, *more]}
        # Judges that were added later by ``ptst_pl judge`` stay known.
        for key in ("judges", "judge_settings") if kept else ():
            if old.get(key):
                stored[key] = old[key] | stored.get(key, {})
        write_text(self.results_file, json.dumps(stored, indent=1, ensure_ascii=False) + "\n")
