"""What the generation benchmark counts as a different answer, and as an error."""

from __future__ import annotations

import pytest
import torch
from benchmark_script import QUICK, ways
from transformers import LlamaConfig, LlamaForCausalLM

from ptst_pl.generation.request import Request


@pytest.fixture
def spoilt(bench, monkeypatch):
    """Makes the benchmark compare our way with itself, the answers to two rows changed."""

    def change_to(change):
        right = bench.ways.ours()

        def wrong(model, wanted, stops):
            return [change(ids) if row in (5, 6) else ids for row, ids in enumerate(right(model, wanted, stops))]

        found = [bench.ways.Entry("right", right), bench.ways.Entry("ours", wrong)]
        monkeypatch.setattr(bench.script, "entries", lambda *settings: found)

    return change_to


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda ids: [*ids[:3], 77, *ids[4:]], "from token 3 on, gap 0."),
        (lambda ids: ids[:9], "from token 9 on, gap inf"),
    ],
    ids=["another token", "cut short"],
)
def test_a_wrong_answer_is_a_different_row_and_an_error(bench, spoilt, capsys, change, told):
    spoilt(change)
    with pytest.raises(SystemExit, match="no near ties"):
        bench.main([*QUICK, "--shape", "tiny"])
    printed = capsys.readouterr().out
    assert ways(printed, 12)["ours  "].endswith("10 of 12")
    lines = [line for line in printed.splitlines() if line.endswith("NOT a near tie (above 0.0001)")]
    assert [line.split(" differs ")[0] for line in lines] == ["ours: row 5", "ours: row 6"]
    assert all(told in line for line in lines)


def test_an_answer_that_ends_too_early_where_answers_may_end(bench, spoilt, capsys):
    """What the model goes on with is far above its stop token."""
    spoilt(lambda ids: ids[:-2])
    with pytest.raises(SystemExit, match="no near ties"):
        bench.main([*QUICK, "--lab"])
    assert capsys.readouterr().out.count("NOT a near tie") == 2


def test_in_bf16_a_wrong_token_has_a_large_gap(bench, spoilt, capsys):
    spoilt(lambda ids: [*ids[:3], 77, *ids[4:]])
    bench.main([*QUICK, "--lab", "--dtype", "bfloat16", "--slots"])
    line = capsys.readouterr().out.split("against right")[1].splitlines()[3]
    assert line.startswith("ours  2 of 20")
    assert float(line.split()[4]) > 1


def test_tokens_of_one_logit_are_a_near_tie(bench):
    model = LlamaForCausalLM(LlamaConfig(vocab_size=32, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                                         num_attention_heads=2)).eval()  # fmt: skip
    case = bench.cases.Case("x", model, [Request([1, 2, 3], 0, 2)], [])
    best = bench.ways.ours()(model, case.wanted, [])[0][0]
    other = (best + 1) % 32
    with torch.no_grad():
        model.lm_head.weight[other] = model.lm_head.weight[best] * (1 + 1e-5)
    lines, fine = bench.differences.near_ties(case, "a", {"a": [[best, 5]], "b": [[other, 5]]})
    assert fine
    assert lines[0].startswith("b: row 0 differs from token 0 on")
    assert lines[0].endswith(": a near tie")
