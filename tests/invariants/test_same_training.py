"""Things that must not change the training: how a batch is cut up, the safety curve, the validation."""

import json

import pytest
import torch
from training_fixtures import TRAIN_ROWS, World, assert_same, curve, distance, lines, weights

from ptst_pl.model import batch_nll, load_model
from ptst_pl.tasks import JsonLines
from ptst_pl.tokenization.batches import PadRight

DROPOUT = ("--model.lora.dropout", "0.1")
FULL = ("--model.method", "full")
# 22 rows: the last window of every epoch is short, and with 1x4 it is a window of 2.
CUTS = {"4x1": (4, 1), "2x2": (2, 2), "1x4": (1, 4)}


def cut(size: int, windows: int) -> tuple[str, ...]:
    return ("--data.init_args.batch_size", str(size), "--trainer.accumulate_grad_batches", str(windows))


@pytest.mark.parametrize(("method", "options"), [("lora", ()), ("full", FULL)])
@pytest.mark.parametrize("clip", [(), ("--trainer.gradient_clip_val", "0.05")], ids=["", "clipped"])
def test_a_batch_may_be_cut_up_in_any_way(world: World, method, options, clip):
    """4x1 = 2x2 = 1x4, although the answers are of unequal length and the last window is short."""
    assert TRAIN_ROWS % 4 == 2
    runs = world.fits({f"{method}-{len(clip)}-{name}": [*options, *clip, *cut(*parts)] for name, parts in CUTS.items()})
    whole, *others = runs.values()
    losses = dict(curve(whole, "train/loss"))
    assert len(losses) == 12
    for other in others:
        assert distance(weights(whole), weights(other)) < 2e-6
        assert dict(curve(other, "train/loss")) == pytest.approx(losses, rel=1e-6)
        assert curve(other, "train/tokens") == curve(whole, "train/tokens")


def test_the_gradient_is_that_of_the_mean_over_the_steps_tokens(world: World):
    """Cut into two unequal halves; computed once more by hand from all rows at once."""
    options = (*FULL, *cut(11, 2), "--trainer.max_steps", "1", "--trainer.gradient_clip_val", "1e9")
    run = world.fit("gradient", *options)
    task = JsonLines(**world.settings()["data"]["init_args"], tokenizer=str(world.folder / "model"))
    batch = PadRight(0)(list(enumerate(task.rows("train"))))
    model = load_model(str(world.folder / "model"), "float32")
    loss = batch_nll(model, batch) / batch.targets.numel()
    loss.backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])
    assert curve(run, "train/grad_norm") == [(1, pytest.approx(norm.item(), rel=1e-5))]
    assert curve(run, "train/loss") == [(1, pytest.approx(loss.item(), rel=1e-5))]


def test_training_does_not_feel_the_safety_curve_or_the_validation(world: World):
    """Bit for bit, with dropout, whose masks come from the random state."""
    two = ("--trainer.accumulate_grad_batches", "2")
    plain = [*DROPOUT, *two]
    validated = [*plain, "--trainer.limit_val_batches", "1.0", "--trainer.num_sanity_val_steps", "1"]
    runs = world.fits(
        {
            "plain": plain,
            "safety": [*plain, "--safety.active", "true", "--safety.every_n_steps", "1"],
            "undrafted": [
                *plain,
                *("--safety.active", "true", "--safety.every_n_steps", "1", "--safety.drafts", "false"),
            ],
            "sampled": [*plain, "--safety.active", "true", "--safety.decoding.temperature", "1.0"],
            "hf": [*plain, "--safety.active", "true", "--safety.decoding.backend", "hf"],
            "continuous": [*plain, "--safety.active", "true", "--safety.decoding.backend", "continuous"],
            "val-1": [*validated, "--trainer.val_check_interval", "1"],
            "val-3": [*validated, "--trainer.val_check_interval", "3"],
            "val-epoch": validated,
        }
    )
    plain_run = runs.pop("plain")
    backends = {"safety": "engine", "sampled": "engine", "hf": "hf", "continuous": "continuous"}
    for name, backend in backends.items():
        assert {r["decoding"]["backend"] for r in lines(runs[name] / "safety/generations.jsonl")} == {backend}
    answers = [lines(runs[name] / "safety/generations.jsonl") for name in ("safety", "undrafted")]
    assert answers[0] == answers[1]
    assert len(curve(plain_run, "train/loss")) == 6
    for run in runs.values():
        assert_same(weights(plain_run), weights(run))
        assert curve(run, "train/loss") == curve(plain_run, "train/loss")
    assert len(curve(runs["val-1"], "val/loss")) == 12


def test_training_in_mixed_precision_does_not_feel_answers_in_bfloat16(world: World):
    """Bit for bit: the float32 weights are rounded for the answers and come back."""
    mixed = [*FULL, "--trainer.precision", "bf16-mixed", "--trainer.max_steps", "4"]
    watched = [*mixed, "--safety.active", "true", "--safety.every_n_steps", "1"]
    runs = world.fits({"mixed": mixed, "mixed-watched": watched})
    assert_same(weights(runs["mixed"]), weights(runs["mixed-watched"]))
    stored = json.loads((runs["mixed-watched"] / "safety/results.json").read_text())
    assert stored["precision"] == "bf16-mixed"


def test_a_different_dropout_mask_would_be_seen(world: World):
    """The comparisons above can fail: another seed gives another run."""
    runs = world.fits({"seed-1": DROPOUT, "seed-2": [*DROPOUT, "--seed_everything", "2"]})
    with pytest.raises(AssertionError, match="differ"):
        assert_same(weights(runs["seed-1"]), weights(runs["seed-2"]))
