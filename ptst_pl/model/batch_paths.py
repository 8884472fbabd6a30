"""How a model takes its training rows: padded, or packed where that gives the loss that the rows have alone."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from ptst_pl import InputError
from ptst_pl.model.attention import attending_with, use_row_attention
from ptst_pl.model.attention.rows import NAME as ROWS
from ptst_pl.model.network import batch_nll, causal_lm, evaluating
from ptst_pl.tokenization import IGNORED, Encoded
from ptst_pl.tokenization.batches import Batch, PackRows, PadRight

Batching = Literal["auto", "padded", "packed", "prefix"]
Path = Literal["padded", "packed", "prefix"]
WHAT: dict[Path, str] = {
    "padded": "rows padded to the longest of the batch",
    "packed": "rows one behind the other, no padding",
    "prefix": "the rows' common prefix computed once, no padding",
}
# Two rows with 20 common tokens, and one that has none of them.
_LENGTHS = ((20, 3, 4), (20, 7, 2), (0, 5, 3))


def choose_path(model: nn.Module, wanted: Batching) -> tuple[Path, str]:
    """How training rows are put into batches, and why; the model is made ready for it.

    ``prefix`` computes the first tokens that a batch's rows have in common once, ``packed`` computes every
    row alone and without padding, ``padded`` fills up to the longest row. All three give one loss and one
    gradient (but for dropout, which packed rows draw once for a common prefix).

    Args:
        model: the loaded model, with its adapters, not yet sharded.
        wanted: ``auto`` takes the fastest that the model supports.

    Raises:
        InputError: ``packed`` or ``prefix`` is asked for, and the model does not support it.
    """
    reason = _obstacle(model)
    if reason and wanted in ("packed", "prefix"):
        raise InputError(f"model.batching is {wanted!r}, but {reason}; use auto or padded")
    if reason:
        return "padded", reason
    use_row_attention(causal_lm(model))
    return (wanted, "asked for") if wanted != "auto" else ("prefix", "the same loss, fewest tokens computed")


def _obstacle(model: nn.Module) -> str:
    """What speaks against packed rows; empty if nothing does."""
    inner = causal_lm(model)
    kind = inner.config.model_type
    vocabulary = int(inner.config.get_text_config().vocab_size)
    with evaluating(model):
        padded = float(batch_nll(model, probe_batch(vocabulary, packed=False)))
        try:
            with attending_with(inner, ROWS):
                packed = float(batch_nll(model, probe_batch(vocabulary, packed=True)))
        except (TypeError, RuntimeError, AttributeError) as error:
            return f"model type {kind!r} cannot attend by rows ({str(error).splitlines()[0]})"
    tolerance = 1e-4 if next(inner.parameters()).dtype == torch.float32 else 3e-2
    if abs(packed - padded) > tolerance * abs(padded):
        return f"model type {kind!r} gives packed rows another loss ({packed:.6g}) than padded ones ({padded:.6g})"
    return ""


def probe_batch(vocabulary: int, packed: bool) -> Batch:
    """Three rows of token numbers made by a fixed rule, two of them with a common beginning."""
    rows = []
    for number, (common, own, answer) in enumerate(_LENGTHS):
        ids = [7 * place % vocabulary for place in range(common)]
        ids += [(11 * place + 5 * number + 3) % vocabulary for place in range(own + answer)]
        rows.append(Encoded(ids, [IGNORED] * (common + own) + ids[common + own :], common + own))
    return (PackRows(0) if packed else PadRight(0))(list(enumerate(rows)))
