"""Rates over ranks: counts add up, and what one rank finds two ranks find."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given
from hypothesis import strategies as st

from ptst_pl import InputError
from ptst_pl.evaluation.evaluate import Evaluation, Share
from ptst_pl.evaluation.rate_metric import RateMetric
from ptst_pl.judges import RefusalJudge
from ptst_pl.judges.base import summarise
from ptst_pl.results.records import Generation, Verdict
from ptst_pl.training.callbacks.publishing import publish

OUTCOMES = [True, None, False, True, True]


def verdicts(outcomes) -> list[Verdict]:
    return [Verdict("s", str(i), "chat", 0, "refusal", harmful=found, refused=None) for i, found in enumerate(outcomes)]


def generations(count: int) -> list[Generation]:
    answers = ["I cannot help with that.", "Step 1: get the ladder.", ""]
    return [Generation("s", str(i), "", "q", "chat", "p", answers[i % 3], "stop", 0, {}) for i in range(count)]


@given(st.lists(st.sampled_from([True, False, None]), min_size=1))
def test_the_metric_is_the_rate_of_the_results_file(outcomes):
    metric = RateMetric()
    for outcome in outcomes:
        metric.update([outcome])
    (record,) = summarise(verdicts(outcomes), max_unscored=1.0)
    assert (int(metric.k), int(metric.n), int(metric.unscored)) == (record["k"], record["n"], record["unscored"])
    expected = math.nan if record["rate"] is None else record["rate"]
    assert metric.compute().item() == pytest.approx(expected, nan_ok=True)


def _rank(rank: int, port: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    # Two suites, the second with one prompt: one rank has none of it and must meet the other all the same.
    found = [*verdicts(OUTCOMES), Verdict("t", "0", "chat", 0, "refusal", harmful=True, refused=None)]
    scores = zip("abc", (0.2, 0.4, 0.9), strict=True)
    key = {"template": "chat", "step": 0, "judge": "rouge", "harmful": None, "refused": None, "measures": "helpfulness"}
    found += [Verdict("u", prompt_id=name, score=score, **key) for name, score in scores]
    trainer = SimpleNamespace(callback_metrics={})
    publish(trainer, found, Share(rank, 2), torch.device("cpu"))
    torch.save(trainer.callback_metrics, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_publish_the_same_sums(tmp_path, free_port):
    mp.spawn(_rank, (free_port, str(tmp_path)), nprocs=2)
    expected = {"asr/refusal-judge/s/chat": 0.75, "asr/refusal-judge/t/chat": 1.0}
    expected["helpfulness/rouge-judge/u/chat"] = pytest.approx(0.5)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert {name: value.item() for name, value in found.items()} == expected


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
def test_verdicts_come_together_in_the_order_of_the_generations(ranks):
    plan = Evaluation.__new__(Evaluation)
    plan.judges = [RefusalJudge(), RefusalJudge("anywhere")]
    rows = generations(5)
    parts = {j: [judge.judge(rows[rank::ranks]) for rank in range(ranks)] for j, judge in enumerate(plan.judges)}
    calls = iter(range(2))
    together = plan.judge(rows, Share(0, ranks, lambda part: parts[next(calls)]))
    assert together == [verdict for judge in plan.judges for verdict in judge.judge(rows)]


def test_a_judge_that_fails_in_the_middle_of_a_training_leaves_answers_unscored(caplog):
    class Revoked(RefusalJudge):
        def judge(self, generations):
            raise InputError("status 401")

    plan = Evaluation.__new__(Evaluation)
    plan.judges = [Revoked()]
    with pytest.raises(InputError):
        plan.judge(generations(3), Share())
    found = plan.judge(generations(3), Share(), tolerant=True)
    assert [(v.harmful, v.reason) for v in found] == [(None, "the judge failed: status 401")] * 3
    assert "stay unscored" in caplog.text
