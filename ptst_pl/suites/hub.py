"""Rows from the Hugging Face hub."""

from __future__ import annotations

from typing import Any

from ptst_pl import InputError


def read_hub(repository: str, subset: str | None, split: str) -> list[dict[str, Any]]:
    """All rows of one split of a hub data set.

    Raises:
        InputError: it cannot be had: no network, no access, no such set.
    """
    import datasets  # heavy, and not needed for local files

    try:
        return [dict(row) for row in datasets.load_dataset(repository, subset, split=split)]
    except Exception as error:  # the hub client raises many kinds; all mean "not to be had"
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"data set {repository!r} ({split}) cannot be had from the hub ({reason}); give a local file instead"
        ) from error
