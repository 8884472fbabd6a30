"""Hours from operations: the formulas that ``plan`` and the paper's cost table share.

Generation: every batch of answers is taken to run to its last token, since one long answer keeps a batch alive.
"""

from __future__ import annotations

from math import ceil

# Assumed share of a device's peak; published figures for models of 7B parameters lie between 0.33 and 0.57.
UTILISATION = 0.3
# One decoding step of a model of 32 layers by plain transformers takes 25 to 30 ms on any recent GPU, bound by the
# processor that starts the kernels; other depths in proportion.
SECONDS_PER_TOKEN, LAYERS = 0.03, 32
# Operations per parameter and token (Kaplan et al. 2020, arXiv 2001.08361, section 2.1): 2 forward, 2 for the gradient
# of the inputs, 2 for that of the weights, which frozen weights do not need.
FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT = 2, 2, 2
PER_PARAMETER = {"lora": FORWARD + INPUT_GRADIENT, "full": FORWARD + INPUT_GRADIENT + WEIGHT_GRADIENT}


def computing_hours(operations: float, peak: float, utilisation: float = UTILISATION) -> float:
    """Hours for ``operations`` at a share of ``peak`` operations per second."""
    return operations / (peak * utilisation) / 3600


def decoding_hours(steps: int, seconds_per_token: float = SECONDS_PER_TOKEN) -> float:
    """Hours for so many steps of decoding, one after the other."""
    return steps * seconds_per_token / 3600


def batches_of(answers: int, batch_size: int) -> int:
    """Batches that so many answers make."""
    return ceil(answers / batch_size)


def seconds_per_token(layers: int, operations: float, rate: float, weights: float, bandwidth: float) -> float:
    """Time of one decoding step: the slowest of starting the kernels, computing, and reading the weights.

    Args:
        layers: of the model.
        operations: of one step of a batch.
        rate: operations per second, after the utilisation.
        weights: bytes of the model.
        bandwidth: bytes per second; 0 where it is not known.
    """
    reading = weights / bandwidth if bandwidth else 0.0
    return max(SECONDS_PER_TOKEN * layers / LAYERS, operations / rate, reading)
