"""From keys with lists of values to runs: every combination, each with a name that says what it is."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from ptst_pl import InputError

SEED = "seed_everything"
LONGEST_VALUE, LONGEST_NAME = 40, 150
_KEY = re.compile(r"[A-Za-z_]\w*(\.\w+)*", re.ASCII)
# What the sweep itself decides, or what would make no other run.
_OWN = ("name", "runs", "ckpt_path", "sweep", "config", "results", "weights_only")


@dataclass(frozen=True)
class Combination:
    """One run of a sweep: its name, a folder name too, and the values of the swept keys."""

    name: str
    values: dict[str, Any]

    def words(self) -> list[str]:
        """The values as flags of ``fit``."""
        return [
            f"--{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in self.values.items()
        ]


def read_over(words: Sequence[str]) -> dict[str, list[Any]]:
    """The flags ``--over key=[a, b]``.

    Raises:
        InputError: no key, no YAML, or no list.
    """
    found: dict[str, list[Any]] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise InputError(f"sweep: --over {word}: expected key=[value, value], such as seed_everything=[1, 2]")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InputError(f"sweep: --over {word}: the list is no YAML ({error})") from error
        if key in found:
            raise InputError(f"sweep: --over {key} is given twice; give one list")
        found[key.removeprefix("--")] = value
    return found


def check_over(over: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Lists of different values, for keys that may be swept.

    Raises:
        InputError: none at all, no list, an empty one, a value that is there twice, or a key of the sweep's own.
    """
    if not over:
        raise InputError("sweep: nothing to sweep over; give a section 'sweep: {key: [values]}' or --over key=[values]")
    for key, values in over.items():
        if not _KEY.fullmatch(str(key)):
            raise InputError(f"sweep: {key!r} is no key of a config, expected one such as model.learning_rate")
        if key in _OWN:
            raise InputError(f"sweep: {key} cannot be swept over; the sweep names its runs and their folders itself")
        if not isinstance(values, list) or not values:
            raise InputError(f"sweep: {key} is {values!r}, expected a list of values such as [1, 2]")
        for text, count in Counter(map(_text, values)).items():
            if count > 1:
                raise InputError(f"sweep: {key} has the value {text} twice; leave one out")
    return {str(key): list(values) for key, values in over.items()}


def expand(over: Mapping[str, Sequence[Any]]) -> list[Combination]:
    """Every combination, the last key's values fastest.

    Args:
        over: as ``check_over`` returns it.

    Returns:
        As many as the product of the lists' lengths; names differ even where case does not count.
    """
    labels = _labels(list(over))
    slugs = [dict(zip(map(_text, values), _slugs(values), strict=True)) for values in over.values()]
    found = []
    for values in itertools.product(*over.values()):
        parts = [f"{label}={own[_text(v)]}" for label, own, v in zip(labels, slugs, values, strict=True)]
        found.append(Combination(_shortened("_".join(parts)), dict(zip(over, values, strict=True))))
    return found


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _labels(keys: Sequence[str]) -> list[str]:
    """The last part of a key; as many more as it takes to tell the keys apart."""
    for length in range(1, max(key.count(".") for key in keys) + 2):
        found = ["seed" if key == SEED else ".".join(key.split(".")[-length:]) for key in keys]
        if len({label.casefold() for label in found}) == len(keys):
            return found
    return [f"{key}-{_hash(key)}" for key in keys]


def _slugs(values: Sequence[Any]) -> list[str]:
    """Values as parts of a folder name; where two come out alike, with a hash of the value."""
    plain = [_slug(value) for value in values]
    counts = Counter(slug.casefold() for slug in plain)
    found = [
        slug if slug and counts[slug.casefold()] == 1 else f"{slug}-{_hash(_text(value))}".lstrip("-")
        for slug, value in zip(plain, values, strict=True)
    ]
    if len({slug.casefold() for slug in found}) < len(found):
        return [f"{slug}-{_hash(_text(value))}".lstrip("-") for slug, value in zip(plain, values, strict=True)]
    return found


def _slug(value: Any) -> str:
    text = value if isinstance(value, str) else _text(value)
    slug = re.sub(r"[^A-Za-z0-9.+-]+", "-", text).strip("-.")
    return slug if len(slug) <= LONGEST_VALUE else f"{slug[:LONGEST_VALUE]}-{_hash(text)}"


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}-{_hash(name)}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
