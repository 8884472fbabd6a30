"""A prompt, and a suite of them: what an evaluation runs on and what its numbers are stored with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ptst_pl import InputError

Measures = Literal["asr", "over-refusal", "helpfulness", "rules"]
# HarmBench's own way to put a behaviour after its context (Mazeika et al. 2024, direct request).
CONTEXT_SEAM = "\n\n---\n\n"


@dataclass(frozen=True)
class Prompt:
    """One evaluation prompt.

    ``reference`` is the right answer where helpfulness is measured. ``goal`` is what an attack prompt
    is after, where that is another text than the prompt: judges are shown the goal. ``context`` is what
    ``text`` begins with, before ``CONTEXT_SEAM``, where the question refers to a text of its own. ``turns`` are the
    questions and answers that went before, ``system`` a system prompt of the prompt's own.
    """

    id: str
    text: str
    category: str = ""
    reference: str | None = None
    goal: str = ""
    context: str = ""
    turns: tuple[tuple[str, str], ...] = ()
    system: str = ""


@dataclass(frozen=True)
class PromptSuite:
    """A named list of evaluation prompts and what it measures.

    Attributes:
        name: as written in the config.
        prompts: the prompts that are used, after ``categories`` and ``limit``.
        measures: what a rate over its answers is.
        licence: of the prompts, where it is known.
        source: the paper, the file's own statement, or the user's class.
        notes: what a reader of a number must know, such as a set that is not the pinned edition.
        full_size: number of prompts before ``categories`` and ``limit``.
        full_sha256: hash of all of them; ``sha256`` is that of the ones used.
        encoding: what the prompts are written in, where it is no plain text; see ``suites.encodings``.
    """

    name: str
    prompts: tuple[Prompt, ...]
    measures: Measures = "asr"
    licence: str = ""
    source: str = ""
    notes: tuple[str, ...] = ()
    full_size: int = 0
    full_sha256: str = ""
    encoding: str = ""

    def __post_init__(self) -> None:
        if not self.full_sha256:
            object.__setattr__(self, "full_sha256", self.sha256)
            object.__setattr__(self, "full_size", len(self.prompts))

    @property
    def conversational(self) -> bool:
        """Whether the model's answers stand in later prompts; then every prompt's reference is its case."""
        return self.measures == "rules"

    @property
    def sha256(self) -> str:
        """Hash of the used prompts' texts, categories and references, in order."""
        return content_hash(self.prompts)

    def record(self) -> dict[str, Any]:
        """What is stored beside every number measured with this suite."""
        return {
            "n": len(self.prompts),
            "sha256": self.sha256,
            "measures": self.measures,
            "full_n": self.full_size,
            "full_sha256": self.full_sha256,
            "licence": self.licence,
            "source": self.source,
            "notes": list(self.notes),
            **({"encoding": self.encoding} if self.encoding else {}),
        }


def content_hash(prompts: Iterable[Prompt]) -> str:
    """SHA-256 of texts, categories and references, in order; names and ids do not count."""
    rows = [
        [
            p.text,
            p.category,
            *([] if p.reference is None else [p.reference]),
            *(map(list, p.turns)),
            *filter(None, [p.system]),
        ]
        for p in prompts
    ]
    return hashlib.sha256(json.dumps(rows, ensure_ascii=True).encode()).hexdigest()


def texts_hash(prompts: Iterable[Prompt]) -> str:
    """SHA-256 of the texts alone, sorted: the same for one set in another order or with other categories."""
    return hashlib.sha256(json.dumps(sorted(p.text for p in prompts), ensure_ascii=True).encode()).hexdigest()


def check_ids(prompts: Sequence[Prompt], rows: Sequence[int], where: str) -> None:
    """Raise ``InputError`` if two prompts have one id; ``rows`` are their numbers in ``where``."""
    seen: dict[str, int] = {}
    for number, prompt in zip(rows, prompts, strict=True):
        if prompt.id in seen:
            raise InputError(
                f"{where} row {number}: id {prompt.id!r} stands in row {seen[prompt.id]} too; ids must be unique"
            )
        seen[prompt.id] = number


def fault(text: str) -> str | None:
    """What makes a text unusable, or None: half a character, or a NUL byte."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "a lone surrogate, which is no Unicode text"
    return "a NUL character" if "\0" in text else None
