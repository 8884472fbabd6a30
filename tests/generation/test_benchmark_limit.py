"""The limit that the generation benchmark sets beside tokens/s: what is counted, and its formula."""

from __future__ import annotations

import pytest

from ptst_pl.generation.decoding import Decoding
from ptst_pl.generation.engine import run
from ptst_pl.generation.request import Request


def test_what_decoding_reads_is_counted(bench):
    model = bench.cases.random_model("tiny", "float32", "cpu")
    wanted = [Request([7] * 20 + [number] * (3 + number), 0, 4 + number) for number in range(1, 4)]
    count = bench.limit.Count()
    bench.limit.counted(bench.ways.ours(slots=3), count)(model, wanted, [])
    longest = max(one.max_new_tokens for one in wanted)
    read = sum(
        20 + sum(len(one.ids) - 20 + step for one in wanted if step < one.max_new_tokens) for step in range(1, longest)
    )
    assert (count.steps, count.tokens) == (longest - 1, read)
    with bench.limit.counting() as blocks:
        run(model, wanted, [], Decoding(slots=3), lambda number, answer: None, every=3)
    assert (blocks.steps, blocks.tokens) == (longest - 1, read)


def test_the_limit_is_its_formula(bench):
    model = bench.cases.random_model("tiny", "bfloat16", "cpu")
    block = 4 * 64 * 64 + 3 * 64 * 128 + 2 * 64
    weights = 2 * (32000 * 64 + 2 * block + 64)  # the head, two layers, the last norm; not the embeddings
    token = 2 * 2 * 2 * 64  # keys and values of two layers
    seconds = bench.limit.limit_seconds(model, bench.limit.Count(10, 300), 1e6)
    assert seconds == pytest.approx((10 * weights + 300 * token) / 1e6)
    with pytest.raises(RuntimeError, match="no decode step was counted"):
        bench.limit.limit_seconds(model, bench.limit.Count(), 1e6)
