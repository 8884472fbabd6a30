"""Floating-point operations of a training step, read off the model's own layers.

Two operations (multiply, add) per weight and token in the forward pass, two for the gradient of a layer's input, two
for that of its weight, which frozen weights do not need. Attention: four per head dimension and pair of tokens
forward (scores, values), twice that backward; only pairs that attend to each other count (Kaplan et al. 2020, arXiv
2001.08361, table 1; Chowdhery et al. 2022, arXiv 2204.02311, appendix B). The head sees supervised positions only.
Norms, activation functions and the optimiser are left out, and so is what the lowest adapted layer's input could save.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ptst_pl.model import causal_lm
from ptst_pl.planning.hours import FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT

RECOMPUTED = {"off": 0.0, "selective": 0.5, "full": 1.0}  # share of the blocks that run forward twice
PER_PAIR = 4


@dataclass(frozen=True)
class Operations:
    """Operations of one token, one pair and one supervised position.

    Attributes:
        forward: per token, in the layers below the head.
        token: per token in a training step, forward and backward.
        pair_forward: per attended pair.
        pair: per attended pair in a training step.
        head_forward: per position that goes through the head.
        head: per supervised position in a training step.
    """

    forward: int
    token: float
    pair_forward: int
    pair: float
    head_forward: int
    head: int

    def training(self, tokens: float, pairs: float, supervised: float) -> float:
        """Operations of training on so much."""
        return self.token * tokens + self.pair * pairs + self.head * supervised

    def evaluating(self, tokens: float, pairs: float, supervised: float) -> float:
        """Operations of a forward pass alone."""
        return self.forward * tokens + self.pair_forward * pairs + self.head_forward * supervised


def operations_of(model: nn.Module, checkpointing: str = "off") -> Operations:
    """Count a model's operations."""
    inner = causal_lm(model)
    head, embedding = inner.get_output_embeddings(), inner.get_input_embeddings()
    body = [w for module in model.modules() if module not in (head, embedding) for w in _matrices(module)]
    forward = FORWARD * sum(w.numel() for w in body)
    by_weight = WEIGHT_GRADIENT * sum(w.numel() for w in body if w.requires_grad)
    by_input = INPUT_GRADIENT * sum(w.numel() for w in body)
    again = RECOMPUTED[checkpointing]
    size = head.weight.numel()
    config = inner.config.get_text_config()
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    pair = PER_PAIR * width * config.num_attention_heads * config.num_hidden_layers
    of_head = (FORWARD + INPUT_GRADIENT + (WEIGHT_GRADIENT if head.weight.requires_grad else 0)) * size
    return Operations(
        forward=forward,
        token=forward * (1 + again) + by_input + by_weight,
        pair_forward=pair,
        pair=pair * (3 + again),
        head_forward=FORWARD * size,
        head=of_head,
    )


def _matrices(module: nn.Module) -> list[nn.Parameter]:
    """Weights that a token is multiplied with."""
    if isinstance(module, nn.Embedding):
        return []
    return [p for p in module.parameters(recurse=False) if p.dim() == 2]
