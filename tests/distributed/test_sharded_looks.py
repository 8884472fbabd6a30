"""What looks at the model beside generating, with its weights sharded over two ranks: no rank waits for the other."""

import json
from pathlib import Path

import numpy as np
import pytest
from training_fixtures import World, lines

from ptst_pl.defences.serving.answer_scorer import AnswerScorer


def nudger(folder: Path) -> str:
    weight = np.random.default_rng(0).normal(size=(32, 1)) * 0.2
    layers = [(weight.astype(np.float32), np.zeros(1, np.float32))]
    AnswerScorer(np.zeros(32, np.float32), np.ones(32, np.float32), layers).save(folder / "nudge.npz")
    return json.dumps({"name": "safenudge", "classifier": str(folder / "nudge.npz"), "threshold": 0.45})


@pytest.mark.parametrize("what", ["probe", "safenudge", "parden", "rules"])
def test_sharded_and_plain_runs_have_the_same_lines(world: World, what, tmp_path):
    fruit = {"name": "fruit", "path": str(world.folder / "suite.csv")}
    both = json.dumps([fruit, {**fruit, "name": "kind", "measures": "over-refusal"}])
    rules = '[{"name": "rules-basic-must", "limit": 6}]'
    own = (
        *("--trainer.max_epochs", "-1", "--trainer.max_steps", "1", "--model.method", "full"),
        *("--safety.active", "true", "--safety.suites", both, "--safety.decoding.max_new_tokens", "9"),
    )
    more = {
        "probe": ("--safety.probe", "4"),
        "safenudge": ("--safety.defence", nudger(tmp_path)),
        "parden": ("--safety.defence", '{"name": "parden", "max_new_tokens": 8}'),
        "rules": ("--safety.suites", rules, "--safety.templates", '["rules:user"]'),
    }[what]
    sizes = ("--data.init_args.batch_size", "4"), ("--data.init_args.batch_size", "2")
    plain = world.fit(f"plain-{what}", *own, *more, *sizes[0])
    sharded = world.fit_ranks(f"sharded-{what}", *own, *more, *sizes[1], strategy="fsdp2")
    name = {"probe": "probe.jsonl", "rules": "generations.jsonl"}.get(what, "served.jsonl")
    one, two = ([line for line in lines(run / "safety" / name) if line["step"] == 0] for run in (plain, sharded))
    assert len(one) == len(two) > 0
    for left, right in zip(one, two, strict=True):
        assert left.keys() == right.keys()
        for key, value in left.items():
            assert right[key] == (pytest.approx(value, abs=2e-4) if isinstance(value, float) else value), key
