"""Top-p (nucleus) sampling's cut without a sort of the whole vocabulary; arXiv 1904.09751, section 3.1."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import TopPLogitsWarper

# Tokens among which the cut is looked for, and how near it may come to the bound: sums in another order differ by less.
MOST, MARGIN = 512, 1e-5


class NucleusWarper(TopPLogitsWarper):
    """transformers' top-p, which sorts every row; on a processor, to find the largest 512 takes far less.

    A row that they do not settle (a flat distribution, a cut near the bound or between equal logits) is sorted, and so
    is every row on a GPU, which sorts fast and must not be waited for.
    """

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """(B, V) float32 scores, all but the smallest set of tokens with a mass of ``top_p`` at minus infinity."""
        if scores.is_cuda or scores.shape[-1] <= 4 * MOST:
            return self._by_sorting(input_ids, scores)
        found, settled = self._among_the_largest(scores)
        if not bool(settled.all()):
            found[~settled] = self._by_sorting(input_ids, scores[~settled])
        return found

    def _by_sorting(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        found: Tensor = super().__call__(input_ids, scores)
        return found

    def _among_the_largest(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """(B, V) scores cut among the largest of each row, and for which of the B rows that is the cut."""
        largest, places = scores.topk(MOST, -1)
        mass = (largest - scores.logsumexp(-1, keepdim=True)).exp()
        above = mass.cumsum(-1) - mass  # of the tokens before each
        keep = above < self.top_p
        keep[:, 0] = True
        inside = (mass.sum(-1) > self.top_p + MARGIN) & ((above - self.top_p).abs() > MARGIN).all(-1)
        last = keep.sum(-1, keepdim=True) - 1
        pair = largest.gather(-1, torch.cat([last, (last + 1).clamp(max=MOST - 1)], -1))
        cut = largest.masked_fill(~keep, self.filter_value)
        found = torch.full_like(scores, self.filter_value).scatter_(-1, places, cut)
        return found, inside & (pair[:, 0] > pair[:, 1])
