"""Training rows that repeat a prompt of an evaluation suite, or nearly.

Two texts are compared by the Jaccard similarity of their shingles, runs of three words (Broder 1997, "On the
resemblance and containment of documents"). At 0.7 a prompt of twenty words is found with one word in its middle
changed; among real sets (GSM8K's test prompts in its training rows; six suites in Alpaca, OpenOrca and ChatDoctor)
the highest similarity is 0.59. In a prompt of fewer than twenty words one other word can ask for another thing: it
must stand in the row as it is, and fill half of it. One of fewer than three words must be the row.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from ptst_pl.suites import PromptSuite
from ptst_pl.tasks.row_sample import RowSample
from ptst_pl.tokenization import Example
from ptst_pl.training.lints.templates import Finding
from ptst_pl.training.lints.text import share

_WORD = re.compile(r"\w+")
_SHINGLE = 3
_SHORT = 20 - _SHINGLE + 1  # shingles of a prompt of twenty words
SIMILAR = 0.7
Shingle = tuple[str, ...]


def shingles(text: str) -> frozenset[Shingle]:
    """A text's runs of three words in lower case; a shorter text as one piece."""
    words = _WORD.findall(text.lower())
    if len(words) < _SHINGLE:
        return frozenset([tuple(words)]) if words else frozenset()
    return frozenset(tuple(words[i : i + _SHINGLE]) for i in range(len(words) - _SHINGLE + 1))


class PromptIndex:
    """The shingles of a suite's prompts, and which prompts they stand in."""

    def __init__(self, suite: PromptSuite) -> None:
        self.suite = suite
        found = [(shingles(text), prompt.id) for prompt in suite.prompts for text in {prompt.text, prompt.goal} if text]
        self.sizes = [len(own) for own, _ in found]
        self.ids = [name for _, name in found]
        self.places: dict[Shingle, list[int]] = defaultdict(list)
        for place, (own, _) in enumerate(found):
            for shingle in own:
                self.places[shingle].append(place)

    def prompt_like(self, own: frozenset[Shingle]) -> str | None:
        """Id of a prompt as similar as ``SIMILAR``, or None."""
        common = Counter(place for shingle in own for place in self.places.get(shingle, ()))
        alike = (place for place, count in common.items() if _alike(len(own), self.sizes[place], count))
        return next((self.ids[place] for place in alike), None)


def _alike(row: int, prompt: int, common: int) -> bool:
    """From the numbers of shingles of a row and a prompt, and of those in both."""
    if prompt < _SHORT:
        return common == prompt and row <= 2 * prompt
    return common >= SIMILAR * (row + prompt - common)


def lint_overlap(rows: RowSample, suites: Sequence[PromptSuite]) -> Iterator[Finding]:
    """One finding per suite."""
    indices = [PromptIndex(suite) for suite in suites]
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for number, example in zip(rows.numbers, rows.examples, strict=True):
        asked = [shingles(text) for text in _asked(example)]
        for index in indices:
            prompt = next((name for own in asked if (name := index.prompt_like(own)) is not None), None)
            if prompt is not None:
                found[index.suite.name].append((number, prompt))
    for suite, pairs in found.items():
        number, prompt = pairs[0]
        yield (
            "suite-overlap",
            f"{share(len(pairs), rows)} repeat a prompt of suite {suite}, word for word or nearly (such as row "
            f"{number} prompt {prompt}): its rates would measure what was memorised; drop these rows",
        )


def _asked(example: Example) -> list[str]:
    questions = [question for question, _ in example.pairs]
    return questions + ([f"{example.question} {example.context}"] if example.context else [])
