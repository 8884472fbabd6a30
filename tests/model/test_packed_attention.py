"""What the kernels for packed rows are given: stand-ins with their signatures must give what sdpa gives, row by row."""

from __future__ import annotations

import sys
import types

import pytest
import torch
from torch.nn import functional

from ptst_pl.model.attention.kernels import in_one_call
from ptst_pl.model.attention.rows import row_attention
from ptst_pl.model.attention.segments import by_segment
from ptst_pl.tokenization.batches import Segment, lay_out

ALONE = [Segment(0, 5), Segment(5, 8)]
# The second and the third segment read the first one's keys too.
PREFIXED = [Segment(0, 5), Segment(5, 3, 0), Segment(8, 9, 0), Segment(17, 4)]


def flash_attn_varlen_func(
    q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, softmax_scale=None, causal=False
):
    """As flash-attn defines it: causality is aligned to the ends of queries and keys."""
    assert causal
    assert max_seqlen_q == cu_seqlens_q.diff().max()
    assert max_seqlen_k == cu_seqlens_k.diff().max()
    return _rows(q, k, v, cu_seqlens_q, cu_seqlens_k, softmax_scale)


def varlen_today(
    query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, return_aux=None, scale=None, window_size=(-1, -1)
):
    assert window_size == (-1, 0)
    return flash_attn_varlen_func(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, scale, causal=True)


def varlen_before(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, is_causal=False):
    """Without a scale, and with as many key heads as query heads."""
    assert query.shape[1] == key.shape[1]
    return flash_attn_varlen_func(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, causal=is_causal)


def _rows(query, key, value, query_ends, key_ends, scale):
    found = []
    for number in range(len(query_ends) - 1):
        own, seen = slice(*query_ends[number : number + 2]), slice(*key_ends[number : number + 2])
        q, k, v = (part.transpose(0, 1)[None] for part in (query[own], key[seen], value[seen]))
        mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).tril(k.shape[2] - q.shape[2])
        part = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale, enable_gqa=True)
        found.append(part[0].transpose(0, 1))
    return torch.cat(found)


@pytest.mark.parametrize("segments", [ALONE, PREFIXED], ids=["alone", "with a prefix"])
@pytest.mark.parametrize("scaling", [None, 0.1])
@pytest.mark.parametrize("kernel", ["flash-attn", "varlen today", "varlen before"])
def test_a_kernel_gives_what_sdpa_gives(monkeypatch, kernel, scaling, segments):
    stand_in = types.ModuleType("flash_attn")
    stand_in.flash_attn_varlen_func = flash_attn_varlen_func
    monkeypatch.setitem(sys.modules, "flash_attn", stand_in)
    varlen = varlen_today if kernel == "varlen today" else varlen_before
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", varlen)
    rows = lay_out(segments)
    draw = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, heads, rows.tokens, 16, generator=draw) for heads in (4, 2, 2))
    found = in_one_call(kernel.split()[0], query, key, value, scaling, rows)
    expected = torch.cat(by_segment(query, key, value, rows, scaling, None, None, 0.0), 2).transpose(1, 2)
    torch.testing.assert_close(found, expected)


def test_on_a_processor_autocast_leaves_attention_in_float32():
    """Queries and keys come rotated in float32, values in bfloat16; PyTorch's own call would round all three."""
    rows = lay_out(PREFIXED)
    query, key, value = (torch.randn(1, 2, rows.tokens, 16) for _ in range(3))
    value = value.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = row_attention(torch.nn.Identity(), query, key, value, None, rows=rows)
    exact, _ = row_attention(torch.nn.Identity(), query, key, value.float(), None, rows=rows)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact)
