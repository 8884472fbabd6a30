"""One answer that is wanted, and the seed of its random numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Request:
    """One answer wanted; several samples of a prompt are several requests with different seeds.

    Attributes:
        ids: the prompt.
        seed: of this answer's own random numbers, with a temperature above 0.
        max_new_tokens: longest answer.
        draft: what the answer may well be, such as what it was a few training steps ago. Changes no answer, see
            ``engine.drafts``.
    """

    ids: list[int]
    seed: int
    max_new_tokens: int
    draft: Sequence[int] = field(default_factory=list)


def seed_of(seed: int, prompt: Sequence[int], sample: int) -> int:
    """The seed of one answer: from the run's seed, the prompt's ids and the sample's number, and from nothing else.

    A prompt that stands in two suites, or twice in one, is answered alike.
    """
    text = f"{seed} {sample} {' '.join(map(str, prompt))}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
