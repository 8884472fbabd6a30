"""Parts of a suite: some categories, or a limited number of prompts, the same ones every time."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from ptst_pl import InputError, did_you_mean
from ptst_pl.suites.prompts import Prompt


def in_categories(prompts: Sequence[Prompt], wanted: Sequence[str], name: str) -> list[Prompt]:
    """The prompts of the wanted categories, in the suite's order.

    Raises:
        InputError: no category is wanted, or one that the suite does not have.
    """
    known = list(dict.fromkeys(prompt.category for prompt in prompts if prompt.category))
    if not wanted:
        raise InputError(f"suite {name!r}: categories is empty; leave the key out to take all")
    if not known:
        raise InputError(f"suite {name!r}: categories is given, but its prompts have no category")
    for category in wanted:
        if category not in known:
            hint = did_you_mean(category, known)
            raise InputError(f"suite {name!r}: unknown category {category!r}{hint} (known: {', '.join(known)})")
    return [prompt for prompt in prompts if prompt.category in wanted]


def stratified(prompts: Sequence[Prompt], limit: int) -> list[Prompt]:
    """``limit`` prompts, shared over categories in proportion, the same ones on every machine.

    Within a category the prompts with the smallest hash of their text are taken, so the choice
    depends on nothing else; the file's order is kept.

    Raises:
        InputError: a limit below one.
    """
    if limit < 1:
        raise InputError(f"limit is {limit}, expected at least 1")
    if limit >= len(prompts):
        return list(prompts)
    groups: dict[str, list[int]] = defaultdict(list)
    for index, prompt in enumerate(prompts):
        groups[prompt.category].append(index)
    shares = _shares({name: len(members) for name, members in groups.items()}, limit)
    chosen: list[int] = []
    for name, members in groups.items():
        ranked = sorted(members, key=lambda i: (hashlib.sha256(prompts[i].text.encode("utf-8", "replace")).digest(), i))
        chosen += ranked[: shares[name]]
    return [prompts[index] for index in sorted(chosen)]


def _shares(sizes: dict[str, int], limit: int) -> dict[str, int]:
    """Largest-remainder shares of ``limit``; ties go to the category that comes first."""
    total = sum(sizes.values())
    shares = {name: limit * size // total for name, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda name: -(limit * sizes[name] % total))
    for name in by_remainder[: limit - sum(shares.values())]:
        shares[name] += 1
    return shares
