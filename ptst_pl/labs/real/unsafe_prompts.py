"""Unsafe requests from public sets, split so that alignment, the choice of a recipe and the results share none.

HarmBench (standard behaviours), StrongREJECT, JailbreakBench and four in five of AdvBench's requests, all under the MIT
licence, are for alignment, and a sixth of them for development. DirectHarm4 and every fifth request of AdvBench are for
results alone; requests like theirs are left out.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ptst_pl import InputError

# name -> (file below the data folder, column, what a row must have)
ALIGNMENT = {
    "harmbench": ("harmbench/harmbench_behaviors_text_all.csv", "Behavior", ("FunctionalCategory", "standard")),
    "strongreject": ("strongreject/strongreject_dataset.csv", "forbidden_prompt", None),
    "jailbreakbench": ("jailbreakbench/JBB-Behaviors.csv", "Goal", None),
}
DIRECTHARM4 = ("directharm4/directHarm4.csv", "instruction|Goal|prompt", None)
ADVBENCH = ("advbench/harmful_behaviors_goal_target.csv", "goal", None)
ADVBENCH_RESULTS = 5  # one of so many of AdvBench's requests
# Of the shorter request's words (three letters and more), so large a share in common is a resemblance.
LIKE_RESULTS, LIKE_EACH_OTHER = 0.7, 0.8
DEVELOPMENT = 6  # one request in so many


@dataclass(frozen=True)
class Split:
    """Requests to align on and to develop with, and how many of each set were left out."""

    align: list[str]
    develop: list[str]
    left_out: dict[str, tuple[int, int]]


def split(folder: Path) -> Split:
    """Read the sets below a data folder.

    Raises:
        InputError: a file or a column is missing.
    """
    for_results = [*read_column(folder, *DIRECTHARM4), *advbench_results(folder)]
    kept = [_words(text) for text in for_results]
    sets = {name: list(read_column(folder, *place)) for name, place in ALIGNMENT.items()}
    sets["advbench"] = [text for n, text in enumerate(read_column(folder, *ADVBENCH)) if n % ADVBENCH_RESULTS]
    found: list[str] = []
    own: list[frozenset[str]] = []
    left_out = {}
    for name, texts in sets.items():
        before = len(found)
        for text in texts:
            words = _words(text)
            if not _resembles(words, kept, LIKE_RESULTS) and not _resembles(words, own, LIKE_EACH_OTHER):
                own.append(words)
                found.append(text)
        left_out[name] = (len(texts) - (len(found) - before), len(texts))
    develop = [text for text in found if _number(text) % DEVELOPMENT == 0]
    return Split([text for text in found if _number(text) % DEVELOPMENT], develop, left_out)


def advbench_results(folder: Path) -> list[str]:
    """The requests of AdvBench that results are made of.

    Raises:
        InputError: the file or its column is missing.
    """
    return list(read_column(folder, *ADVBENCH))[::ADVBENCH_RESULTS]


def read_column(folder: Path, file: str, columns: str, wanted: tuple[str, str] | None = None) -> Iterator[str]:
    """The texts of a column of a public set.

    Args:
        folder: the data folder.
        file: the set's file in it.
        columns: the column's names in its editions, with ``|`` between them.
        wanted: a column and the value that a row must have there.

    Raises:
        InputError: the file or a column is missing.
    """
    path = folder / file
    if not path.is_file():
        raise InputError(f"real: {path}: no such file; docs/real.md says where each set can be had")
    with path.open(encoding="utf-8", newline="") as handle:
        for number, row in enumerate(csv.DictReader(handle), start=2):
            column = next((name for name in columns.split("|") if name in row), None)
            missing = columns.replace("|", " or ") if column is None else wanted[0] if wanted else None
            if column is None or (wanted and wanted[0] not in row):
                raise InputError(f"real: {path}, line {number}: no column {missing}")
            if row[column] and (wanted is None or row[wanted[0]] == wanted[1]):
                yield row[column]


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z]{3,}", text.lower()))


def _resembles(words: frozenset[str], others: Sequence[frozenset[str]], share: float) -> bool:
    return any(words and other and len(words & other) >= share * min(len(words), len(other)) for other in others)


def _number(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16)
