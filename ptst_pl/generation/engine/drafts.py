"""Answers that are known to be likely, checked instead of made anew.

A draft is read with its prompt in one pass, and every position's own token is chosen as it would be without a draft,
greedily or by the answer's own random number. Up to the first token that differs the draft is the answer
(speculative decoding, arXiv 2211.17192, with a draft that costs nothing); from there on the answer is made token by
token. Reading many tokens at once takes a fraction of the time of making them one by one, on a GPU most of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Of a draft's tokens the share that must hold: what reading a token costs beside making one.
LEAST_HELD = {"cpu": 0.5, "cuda": 0.1}


@dataclass
class Trust:
    """Whether further drafts are worth reading, by those that were read.

    Attributes:
        least: share of their tokens that must have held.
        read: tokens of drafts that were read.
        held: those among them that were the answer.
    """

    least: float = 0.0
    read: int = 0
    held: int = 0

    @property
    def worthwhile(self) -> bool:
        """The first drafts always are."""
        return self.held >= self.least * self.read

    def note(self, drafts: Sequence[Sequence[int]], tokens: Sequence[Sequence[int]]) -> None:
        """Count drafts, and the tokens that came of them."""
        self.read += sum(map(len, drafts))
        self.held += sum(min(len(draft), len(own) - 1) for draft, own in zip(drafts, tokens, strict=True))


def held(draft: Sequence[int], chosen: Sequence[int]) -> list[int]:
    """The answer's first tokens: ``chosen`` up to the first that differs from the draft, that one with it.

    Args:
        draft: D tokens.
        chosen: D + 1 tokens, each chosen behind the prompt and the draft's tokens before it.
    """
    wrong = next((place for place, token in enumerate(draft) if token != chosen[place]), len(draft))
    return list(chosen[: wrong + 1])
