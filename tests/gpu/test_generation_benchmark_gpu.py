"""The generation benchmark's tables on a GPU, with a tiny model; at full size: make gpu."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "generation"))
from benchmark_script import printed_by

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
ON_GPU = ("--quick", "--device", "cuda")


def test_tokens_beside_the_limit_of_memory_and_an_evaluation_in_a_fit():
    found = printed_by(*ON_GPU, "--shape", "tiny", "--dtype", "bfloat16", "--fit")
    rows = [line for line in found.split("\n\n")[0].splitlines() if line.endswith("of 12")]
    assert len(rows) == 3
    shares = [float(line.split("%")[0].split()[-1]) for line in rows]
    # A tiny model's weights lie in the GPU's own cache; no way is so fast that this shows.
    assert all(0 < share < 100 for share in shares)
    assert "answers inside a LoRA fit" in found


def test_float32_answers_of_all_ways_are_the_same_or_near_ties():
    """The exit status says so."""
    found = printed_by(*ON_GPU, "--lab")
    assert "NOT a near tie" not in found
    assert len([line for line in found.splitlines() if line.endswith("of 20")]) == 4
