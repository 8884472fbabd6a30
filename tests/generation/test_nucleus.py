"""Top-p without a sort of the vocabulary keeps the tokens that transformers' own keeps, whatever the distribution."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import TopPLogitsWarper

from ptst_pl.generation.engine.nucleus import MARGIN, MOST, NucleusWarper

IDS = torch.empty(0, dtype=torch.long)


def rows(seed: int, spread: float, vocabulary: int = 4 * MOST + 257, count: int = 6) -> torch.Tensor:
    return spread * torch.randn(count, vocabulary, generator=torch.Generator().manual_seed(seed))


@given(
    seed=st.integers(0, 10**6),
    spread=st.sampled_from([0.0, 0.3, 1.0, 3.0, 8.0, 50.0]),
    top_p=st.sampled_from([1e-6, 0.1, 0.5, 0.9, 0.999, 1 - 1e-6]),
    rounded=st.booleans(),
    top_k=st.sampled_from([None, 1, 50]),
)
@settings(max_examples=60)
def test_the_same_tokens_stay(seed, spread, top_p, rounded, top_k):
    """Rounded logits have ties, which only the sort of a whole row decides as before."""
    scores = rows(seed, spread)
    if rounded:
        scores = scores.bfloat16().float()
    if top_k:
        scores = scores.masked_fill(scores < scores.topk(top_k, -1).values[:, -1:], float("-inf"))
    assert torch.equal(NucleusWarper(top_p)(IDS, scores), TopPLogitsWarper(top_p)(IDS, scores))


@pytest.mark.parametrize(("spread", "sorted_rows"), [(3.0, 0), (0.0, 6)], ids=["peaked", "flat"])
def test_only_rows_that_the_largest_do_not_settle_are_sorted(monkeypatch, spread, sorted_rows):
    seen = []
    real = NucleusWarper._by_sorting
    monkeypatch.setattr(NucleusWarper, "_by_sorting", lambda self, ids, s: (seen.append(len(s)), real(self, ids, s))[1])
    NucleusWarper(0.9)(IDS, rows(1, spread))
    assert sum(seen) == sorted_rows


def test_a_cut_near_the_bound_is_left_to_the_sort(monkeypatch):
    """Two tokens share all the mass, and the first has the bound's, give or take the last digits."""
    scores = torch.full((1, 4 * MOST + 1), -1e4)
    scores[0, 5], scores[0, 9] = torch.log(torch.tensor([0.75 + MARGIN / 10, 0.25])).tolist()
    found, settled = NucleusWarper(0.75)._among_the_largest(scores)
    assert not settled.any()
    assert torch.equal(NucleusWarper(0.75)(IDS, scores), TopPLogitsWarper(0.75)(IDS, scores))
    found, settled = NucleusWarper(0.7)._among_the_largest(scores)
    assert settled.all()
    assert found[0].isfinite().nonzero().flatten().tolist() == [5]
