"""``stop``: a training ends at the safety evaluation that says so, with a checkpoint, on every rank, and can go on."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from training_fixtures import World, assert_same, curve, load, weights

from ptst_pl import InputError
from ptst_pl.evaluation.evaluate import Share
from ptst_pl.judges.base import summarise
from ptst_pl.results.records import Verdict
from ptst_pl.training.callbacks import StopEarly
from ptst_pl.training.callbacks.publishing import publish

MONITOR = "asr/refusal-judge/fruit/text:vanilla"
# Two epochs of three steps; the random model never refuses, so that the rate is 1 at every step.
OPTIONS = (
    *("--trainer.accumulate_grad_batches", "2", "--model.lora.dropout", "0.1"),
    *("--safety.active", "true", "--safety.every_n_steps", "2"),
)
WATCH = ("--stop.monitor", MONITOR)


def steps(run: Path) -> list[int]:
    return [record["step"] for record in json.loads((run / "safety/results.json").read_text())["rates"]]


@pytest.fixture(scope="module")
def stopped(world: World) -> Path:
    done = world.run("fit", "--name", "stopped", *OPTIONS, *WATCH, "--stop.above", "0.5")
    lines = [line for line in done.err.splitlines() if "training stops" in line]
    assert lines == [f"training stops at step 2: {MONITOR} was 1 at step 2, above 0.5"]
    return world.newest("stopped")


def test_it_stops_at_the_first_evaluation_over_the_bound(stopped: Path):
    """Not at step 0, which is the untouched model; in mid-epoch, and the last checkpoint is there."""
    assert steps(stopped) == [0, 2]
    assert load(stopped / "last.ckpt")["global_step"] == 2
    assert [step for step, _ in curve(stopped, "train/loss")] == [1, 2]
    assert (stopped / "adapter").is_dir()


def test_patience_counts_evaluations_without_a_new_best(world: World):
    run = world.fit("patience", *OPTIONS, *WATCH, "--stop.patience", "2", "--stop.mode", "min")
    assert steps(run) == [0, 2, 4]  # step 0 has the best rate, 2 and 4 none better
    assert load(run / "last.ckpt")["global_step"] == 4


def test_a_bound_that_is_not_reached_changes_nothing(world: World):
    runs = world.fits({"free": OPTIONS, "watched": [*OPTIONS, *WATCH, "--stop.below", "0.5"]})
    assert steps(runs["watched"]) == [0, 2, 4, 6]
    assert_same(weights(runs["watched"]), weights(runs["free"]))


def test_a_stopped_run_stays_stopped(world: World, stopped: Path):
    """Resumed as it is, it trains no step, evaluates nothing again and says why."""
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.suffix in (".ckpt", ".json", ".jsonl")}
    again = world.run("fit", "--name", "stopped", *OPTIONS, *WATCH, "--stop.above", "0.5", "--ckpt_path", "last")
    assert f"training stops at step 2: {MONITOR} was 1 at step 2, above 0.5" in again.err
    assert world.newest("stopped") == stopped
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("flags", [(), (*WATCH, "--stop.patience", "3", "--stop.mode", "max")], ids=["off", "changed"])
def test_with_another_rule_it_goes_on_as_if_it_had_never_stopped(world: World, stopped: Path, flags: tuple[str, ...]):
    """Stopped in mid-epoch, with dropout: bit for bit the run that was not stopped."""
    name = f"goes-on-{len(flags)}"
    whole = world.fit(f"{name}-whole", *OPTIONS, *flags)
    resumed = world.fit(name, *OPTIONS, *flags, "--ckpt_path", str(stopped / "step-000002.ckpt"))
    assert load(resumed / "last.ckpt")["global_step"] == 6
    assert_same(weights(resumed), weights(whole))
    assert curve(resumed, "train/loss") == curve(whole, "train/loss")[2:]


def test_patience_survives_a_resume(world: World):
    """Interrupted after the first evaluation without progress: the second one ends it all the same."""
    options = (*OPTIONS, *WATCH, "--stop.patience", "2", "--stop.mode", "min")
    world.fit("patient", *options, "--trainer.max_steps", "3")
    run = world.fit("patient", *options, "--trainer.max_epochs", "4", "--ckpt_path", "last")
    assert run.name == "version_0"
    assert steps(run) == [0, 2, 3, 4]
    assert load(run / "last.ckpt")["global_step"] == 4


def test_two_ranks_stop_at_the_same_step(world: World):
    ranks = world.start_ranks(
        *("fit", "--name", "stopped-2", *OPTIONS, *WATCH, "--stop.above", "0.5"),
        *("--data.init_args.batch_size", "2"),
    )
    found = [rank.wait().ok() for rank in ranks]
    run = world.newest("stopped-2")
    assert steps(run) == [0, 2]
    assert load(run / "last.ckpt")["global_step"] == 2
    assert [rank.err.count("training stops at step 2") for rank in found] == [1, 0]


MISSPELT = ("--stop.monitor", MONITOR.replace("fruit", "friut"))
MISTAKES = [
    ((*MISSPELT, "--stop.above", "1"), f"did you mean {MONITOR!r}? (known: {MONITOR}"),
    (WATCH, "neither above nor below nor patience"),
    (("--stop.above", "0.5"), "above is given but not monitor"),
    ((*WATCH, "--stop.patience", "2"), "patience and mode go together"),
    ((*WATCH, "--stop.patience", "0", "--stop.mode", "min"), "patience is 0"),
    ((*WATCH, "--stop.above", "0.5", "--safety.every_n_steps", "null"), "nothing is evaluated while training"),
    ((*WATCH, "--stop.above", "0.5", "--safety.active", "false"), "safety.active is false"),
]  # fmt: skip


@pytest.mark.parametrize(("flags", "message"), MISTAKES, ids=[message for _, message in MISTAKES])
def test_a_mistake_is_one_line_before_anything_is_made(world: World, flags: tuple[str, ...], message: str):
    refused = world.start("fit", "--name", "mistaken-stop", *OPTIONS, *flags).wait()
    assert refused.status == 2
    assert message in refused.err.splitlines()[-1]
    assert "Traceback" not in refused.err
    assert not (world.folder / "runs/mistaken-stop").exists()


# ---- the rule alone ---------------------------------------------------------------------------


def reason(*rates: float, **options) -> str | None:
    stop = StopEarly("m", **options)
    stop.history = [(10 * n, rate) for n, rate in enumerate(rates)]
    return stop.reason()


def test_bounds():
    assert reason(0.9, 0.2, 0.2, above=0.2) is None  # step 0 is not looked at, and the bound itself is allowed
    assert reason(0.0, 0.2, 0.3, above=0.2) == "m was 0.3 at step 20, above 0.2"
    assert reason(0.0, 0.5, 0.1, below=0.3) == "m was 0.1 at step 20, below 0.3"
    assert reason(0.0, 0.5, 0.9, above=0.8, below=0.3) == "m was 0.9 at step 20, above 0.8"


def test_patience():
    assert reason(0.1, 0.5, 0.7, 0.6, patience=2, mode="max") is None
    assert (
        reason(0.1, 0.5, 0.7, 0.7, 0.6, patience=2, mode="max") == "m had its best, 0.7, at step 20, 2 evaluations ago"
    )
    assert reason(0.3, 0.1, 0.2, patience=1, mode="min") == "m had its best, 0.1, at step 10, 1 evaluations ago"
    assert reason(0.3, 0.2, 0.1, patience=1, mode="min") is None


def test_an_undefined_rate_is_neither_progress_nor_its_lack(caplog):
    stop = StopEarly("m", above=0.5)
    trainer = SimpleNamespace(callback_metrics={"m": torch.tensor(torch.nan)}, global_step=4, should_stop=False)
    stop.on_train_batch_end(trainer, None, None, None, 0)
    assert (stop.history, trainer.should_stop) == ([], False)
    assert "m is undefined at step 4 and is not compared" in caplog.text


def test_a_rate_with_too_much_unscored_is_published_as_undefined():
    """As in the results file: what few answers a judge scored may be a selection."""
    found = [Verdict("s", str(n), "chat", 2, "refusal", harmful=n == 0 or None, refused=None) for n in range(10)]
    trainer = SimpleNamespace(callback_metrics={})
    for allowed, expected in ((0.1, torch.nan), (0.9, 1.0)):
        publish(trainer, found, Share(), torch.device("cpu"), allowed)
        (rate,) = trainer.callback_metrics.values()
        assert rate.item() == pytest.approx(expected, nan_ok=True)
        (record,) = summarise(found, max_unscored=allowed)
        assert (record["rate"] is None) == bool(rate.isnan())


def test_a_rate_is_noted_once(caplog):
    """The same tensor between two evaluations; another one with the same value is an evaluation of its own."""
    stop = StopEarly("m", patience=3, mode="min")
    trainer = SimpleNamespace(callback_metrics={"m": torch.tensor(0.5)}, global_step=4, should_stop=False)
    for trainer.global_step in (4, 5, 6):
        stop.on_train_batch_end(trainer, None, None, None, 0)
    assert stop.history == [(4, 0.5)]
    trainer.callback_metrics["m"] = torch.tensor(0.5)
    stop.on_train_batch_end(trainer, None, None, None, 0)
    assert stop.history == [(4, 0.5), (6, 0.5)]


def test_rates_of_another_monitor_are_forgotten():
    state = StopEarly("m", above=0.5).state_dict() | {"history": [(2, 0.1)]}
    same, other = StopEarly("m", above=0.9), StopEarly("n", above=0.9)
    same.load_state_dict(state)
    other.load_state_dict(state)
    assert (same.history, other.history) == ([(2, 0.1)], [])
    assert StopEarly().state_dict() == {}


def test_a_monitor_needs_a_rule():
    with pytest.raises(InputError, match="say when to stop"):
        StopEarly("m")
