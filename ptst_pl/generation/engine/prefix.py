"""Which requests are answered together, because their prompts begin alike."""

from __future__ import annotations

from collections.abc import Sequence

from ptst_pl.tokenization.batches.layout import WORTHWHILE, Group, group_rows

# Fewer prompts than this do not fill the slots: what they would save is less than what a thin batch costs.
LEAST = 32
# Tokens that a further group must save: its last answers are made in thin batches, which takes about as long as
# reading so many.
COST = 4096


def shared_prefixes(prompts: Sequence[Sequence[int]]) -> list[Group]:
    """Prompts in groups, one after the other, each with the number of first tokens that all its prompts share.

    Prompts of several templates form several groups, if these are large enough; the others stay together.
    At least the last token of a prompt is never shared. Several answers to one prompt count once: it is
    read once anyway.

    Args:
        prompts: N lists of token ids, none empty.
    """
    places: dict[tuple[int, ...], list[int]] = {}
    for number, prompt in enumerate(prompts):
        places.setdefault(tuple(prompt), []).append(number)
    different = list(places)
    groups = group_rows(different, [len(prompt) - 1 for prompt in different], cost=COST)
    large = [group for group in groups if len(group.rows) >= LEAST and group.shared]
    rest = sorted({number for group in groups for number in group.rows} - {n for group in large for n in group.rows})
    if len(rest) == len(different):
        large = []
    if rest:
        large.append(Group(rest, _common([different[number] for number in rest])))
    return [Group([place for n in group.rows for place in places[different[n]]], group.shared) for group in large]


def _common(prompts: Sequence[Sequence[int]]) -> int:
    """First tokens that all prompts share, if that is worth anything."""
    first, last = min(prompts, key=list), max(prompts, key=list)
    end = min(len(prompt) for prompt in prompts) - 1
    shared = next((place for place in range(end) if first[place] != last[place]), end)
    return shared if shared * (len(prompts) - 1) >= WORTHWHILE else 0
