"""Training on a mixture: like the task alone where it is one, the same after a resume, on two ranks, in any cut."""

import json
from pathlib import Path

import pytest
from training_fixtures import TRAIN_ROWS, World, assert_same, curve, distance, load, question_rows, weights

from ptst_pl.tasks import JsonLines
from ptst_pl.tasks.mixture_order import MixtureOrder
from ptst_pl.tokenization import IGNORED

EVERY_STEP = ("--checkpoint_every_n_steps", "1", "--keep_checkpoints", "-1")
DROPOUT = ("--model.lora.dropout", "0.1")
TWO = ("--trainer.accumulate_grad_batches", "2")
VALIDATION = ("--trainer.limit_val_batches", "1.0")
SHORT = 9  # rows of the second source


def source(world: World, name: str, **keys: object) -> dict[str, object]:
    files = {"train_file": f"{world.folder}/{name}.jsonl", "held_out_file": f"{world.folder}/held_out.jsonl"}
    if name == "short":
        (world.folder / "short.jsonl").write_text("".join(json.dumps(r) + "\n" for r in question_rows(SHORT, 60)))
        files["held_out_file"] = files["train_file"]
    return {"name": name, "task": {"class_path": "JsonLines", "init_args": files}, **keys}


def config(world: World, name: str, *sources: dict[str, object]) -> tuple[str, ...]:
    """A file, as for the base config, of which the flags then are laid over it."""
    arguments = {"template": "text:vanilla", "sources": list(sources), "batch_size": 4}
    path = world.folder / f"{name}.json"
    path.write_text(json.dumps({"data": {"class_path": "Mixture", "init_args": arguments}}))
    return ("--config", str(path))


@pytest.fixture(scope="module")
def both(world: World) -> tuple[str, ...]:
    """One and a half passes over 22 rows, and two over 9 under a template of their own: 33 + 18 rows an epoch."""
    parts = source(world, "train", passes=1.5), source(world, "short", passes=2, template="chat:vanilla")
    return config(world, "both", *parts)


@pytest.fixture(scope="module")
def whole(world: World, both: tuple[str, ...]) -> Path:
    return world.fit("mixed", *both, *DROPOUT, *TWO, *VALIDATION, *EVERY_STEP)


def test_one_source_once_is_the_task_alone_bit_for_bit(world: World):
    one = config(world, "one", source(world, "train", passes=1))
    runs = world.fits({"alone": [*DROPOUT, *VALIDATION], "one": [*one, *DROPOUT, *VALIDATION]})
    assert_same(weights(runs["alone"]), weights(runs["one"]))
    for tag in ("train/loss", "val/loss"):
        assert curve(runs["one"], tag) == curve(runs["alone"], tag)
    assert not curve(runs["one"], "train/loss/train")


def test_the_epoch_is_as_long_as_its_sources_say(whole: Path):
    batches = -(-(33 + 18) // 4)
    assert load(whole / "last.ckpt")["global_step"] == 2 * -(-batches // 2)
    assert TRAIN_ROWS * 1.5 == 33


def tokens_of(world: World, name: str, template: str) -> list[int]:
    """Supervised tokens of every row of a file."""
    file = str(world.folder / f"{name}.jsonl")
    rows = JsonLines(template, file, file, tokenizer=str(world.folder / "model")).rows("train")
    return [sum(label != IGNORED for label in row.labels) for row in rows]


def test_losses_of_the_sources_make_the_loss(world: World, both: tuple[str, ...]):
    """Sum over sources of loss x tokens = loss x tokens; the tokens of every step follow from the order of the rows."""
    tokens = tokens_of(world, "train", "text:vanilla") + tokens_of(world, "short", "chat:vanilla")
    run = world.fit("losses", *both, *TWO, "--data.init_args.batch_size", "2")
    total, parts = dict(curve(run, "train/loss")), [dict(curve(run, f"train/loss/{n}")) for n in ("train", "short")]
    order, step, alone = MixtureOrder([TRAIN_ROWS, SHORT], [33, 18], seed=1), 0, 0
    for epoch in range(2):
        order.set_epoch(epoch)
        rows = list(order)
        for window in (rows[start : start + 4] for start in range(0, len(rows), 4)):
            step += 1
            counts = [sum(tokens[r] for r in window if (r < TRAIN_ROWS) == first) for first in (True, False)]
            assert curve(run, "train/tokens")[step - 1] == (step, sum(counts))
            alone += 0 in counts
            assert [step in part for part in parts] == [count > 0 for count in counts]
            expected = sum(part[step] * n for part, n in zip(parts, counts, strict=True) if n) / sum(counts)
            assert total[step] == pytest.approx(expected, rel=1e-6)
    assert step == len(total)
    assert alone, "a step without a row of one of the sources, for which nothing is drawn"


def test_held_out_losses_of_the_sources_make_the_held_out_loss(world: World, whole: Path):
    total = curve(whole, "val/loss")
    counts = [sum(tokens_of(world, *p)) for p in (("held_out", "text:vanilla"), ("short", "chat:vanilla"))]
    parts = [curve(whole, f"val/loss/{name}") for name in ("train", "short")]
    assert len(total) == 2
    for (step, value), (step_1, first), (step_2, second) in zip(total, *parts, strict=True):
        assert step == step_1 == step_2
        assert value == pytest.approx((counts[0] * first + counts[1] * second) / sum(counts), rel=1e-6)
        assert first != second


def test_losses_of_the_sources_do_not_depend_on_the_cut(world: World, both: tuple[str, ...]):
    cuts = {"4x1": (4, 1), "1x4": (1, 4)}
    options = {n: ["--data.init_args.batch_size", str(b), "--trainer.accumulate_grad_batches", str(a)]
               for n, (b, a) in cuts.items()}  # fmt: skip
    runs = world.fits({f"cut-{name}": [*both, *flags] for name, flags in options.items()})
    left, right = runs.values()
    assert distance(weights(left), weights(right)) < 2e-6
    for name in ("train", "short"):
        found = curve(left, f"train/loss/{name}")
        assert len(found) > 10
        assert curve(right, f"train/loss/{name}") == [(s, pytest.approx(v, rel=1e-5)) for s, v in found]


def test_resuming_anywhere_gives_the_same_run(world: World, both: tuple[str, ...], whole: Path):
    """In the middle of a pass, at an epoch's end, and in the second epoch, which begins in mid-pass."""
    options = [*both, *DROPOUT, *TWO, *VALIDATION, *EVERY_STEP]
    stops = (3, 7, 9)
    runs = world.fits(
        {f"mixed-{k}": [*options, "--ckpt_path", str(whole / f"step-{k:06d}.ckpt")] for k in stops},
    )
    for k, run in zip(stops, runs.values(), strict=True):
        assert_same(weights(run), weights(whole))
        for tag in ("train/loss", "train/loss/train", "train/loss/short", "val/loss/short"):
            assert curve(run, tag) == [point for point in curve(whole, tag) if point[0] > k], (k, tag)


def test_two_ranks_see_the_same_rows(world: World, both: tuple[str, ...]):
    options = (*both, *TWO, *VALIDATION)
    one = world.fit("mixed-one", *options)
    two = world.fit_ranks("mixed-two", *options, "--data.init_args.batch_size", "2")
    assert distance(weights(one), weights(two)) < 1e-5
    for tag in ("train/tokens", "train/loss/train", "train/loss/short", "val/loss/train", "val/loss/short"):
        expected = curve(one, tag)
        assert len(expected) >= 2
        assert curve(two, tag) == [(step, pytest.approx(value, rel=1e-5)) for step, value in expected]


def test_resuming_with_other_passes_is_one_clear_line(world: World, whole: Path):
    other = config(
        world, "other", source(world, "train", passes=1), source(world, "short", passes=2, template="chat:vanilla")
    )
    flags = [*other, *TWO, *DROPOUT, "--ckpt_path", str(whole / "step-000003.ckpt")]
    refused = world.start("fit", "--name", "other-passes", *flags).wait()
    assert refused.status == 2
    assert "33 of 22 + 18 of 9 rows an epoch, now there are 22 of 22 + 18 of 9" in refused.err.splitlines()[-1]
    assert "Traceback" not in refused.err


def test_a_mistake_in_a_source_is_one_line_before_anything_is_made(world: World):
    wrong = config(world, "wrong", source(world, "train", passes=1), source(world, "short", passes=1, weight=0.5))
    refused = world.start("fit", "--name", "wrong", *wrong).wait()
    assert refused.status == 2
    assert "mixture: source 2 (short): give either 'passes' or 'weight'" in refused.err.splitlines()[-1]
    assert "Traceback" not in refused.err
    assert not (world.folder / "runs/wrong").exists()


def test_sources_on_the_command_line_replace_the_configs(world: World, both: tuple[str, ...]):
    """Merged entry by entry, the config's template would silently stay with the second source."""
    parts = [source(world, "train", passes=1), source(world, "short", passes=1)]
    run = world.fit("replaced", *both, "--data.init_args.sources", json.dumps(parts))
    stored = load(run / "last.ckpt")["Mixture"]
    assert stored["templates"] == {"train": "text:vanilla", "short": "text:vanilla"}
    assert stored["template"] == "text:vanilla +short"
