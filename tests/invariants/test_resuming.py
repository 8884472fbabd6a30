"""Stop and resume = uninterrupted, bit for bit: weights, optimiser, and every logged loss."""

from pathlib import Path

import pytest
import torch
from training_fixtures import World, assert_same, curve, load, weights

EVERY_STEP = ("--checkpoint_every_n_steps", "1", "--keep_checkpoints", "-1")
DROPOUT = ("--model.lora.dropout", "0.1")
TWO = ("--trainer.accumulate_grad_batches", "2")  # 6 batches an epoch, so 3 steps
COSINE = ("--model.schedule", "cosine", "--model.warmup_steps", "2")
VALIDATION = ("--trainer.limit_val_batches", "1.0", "--trainer.val_check_interval", "2")

# name: (options, steps of the whole run, steps to resume from)
CASES = {
    "dropout, accumulation, cosine with warm-up": ((*DROPOUT, *TWO, *COSINE), 6, (1, 2, 3, 4)),
    "two workers": ((*TWO, "--data.init_args.workers", "2"), 6, (2,)),
    "validation and safety curve": ((*DROPOUT, *VALIDATION, "--safety.active", "true"), 12, (4, 6, 9)),
    "an epoch cut short": ((*DROPOUT, "--trainer.limit_train_batches", "4"), 8, (3, 4, 5)),
    "rate by epoch": (("--model.schedule", "per-epoch-decay"), 12, (5, 6, 7)),
    "steps, no epochs": (("--trainer.max_epochs", "-1", "--trainer.max_steps", "10"), 10, (6, 8)),
    "full, mixed precision, clipping": (
        ("--model.method", "full", "--trainer.precision", "bf16-mixed", "--trainer.gradient_clip_val", "0.1"),
        12,
        (3, 6),
    ),
}


def optimiser(run: Path) -> dict[str, torch.Tensor]:
    """Everything numeric that AdamW and the schedule remember."""
    checkpoint = load(run / "last.ckpt")
    state = checkpoint["optimizer_states"][0]["state"]
    found = {f"{index}.{key}": value for index, entry in state.items() for key, value in entry.items()}
    return found | {"lr": torch.tensor(checkpoint["lr_schedulers"][0]["_last_lr"])}


@pytest.mark.parametrize("case", CASES)
def test_resuming_from_any_checkpoint_gives_the_same_run(world: World, case: str):
    options, steps, stops = CASES[case]
    name = case.replace(" ", "-").replace(",", "")
    whole = world.fit(name, *EVERY_STEP, *options)
    losses = curve(whole, "train/loss")
    assert [step for step, _ in losses] == list(range(1, steps + 1))
    resumed = world.fits(
        {f"{name}-{k}": [*EVERY_STEP, *options, "--ckpt_path", str(whole / f"step-{k:06d}.ckpt")] for k in stops}
    )
    for k, run in zip(stops, resumed.values(), strict=True):
        assert curve(run, "train/loss") == losses[k:], f"resumed from step {k}"
        assert_same(weights(run), weights(whole))
        assert_same(optimiser(run), optimiser(whole))
        assert curve(run, "val/loss") == [point for point in curve(whole, "val/loss") if point[0] > k]


@pytest.mark.parametrize(
    "end", [("--trainer.max_epochs", "4"), ("--trainer.max_epochs", "-1", "--trainer.max_steps", "11")]
)
def test_a_resumed_run_can_be_resumed_again(world: World, end: tuple[str, ...]):
    """A checkpoint written after a resume counts epochs like any other; step 3 and 6 end an epoch."""
    options, name = (*EVERY_STEP, *DROPOUT, *TWO, *end), f"again-{len(end)}"
    whole = last = world.fit(name, *options)
    losses = curve(whole, "train/loss")
    for k in (3, 4, 6, 8):
        last = world.fit(f"{name}-{k}", *options, "--ckpt_path", str(last / f"step-{k:06d}.ckpt"))
        assert curve(last, "train/loss") == losses[k:], f"resumed from step {k}"
        assert_same(weights(last), weights(whole))


def test_resuming_into_a_new_folder_leaves_the_old_one_alone(world: World):
    old = world.fit("old-folder", *EVERY_STEP)
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    checkpoint = old / "step-000003.ckpt"
    new = world.fit("new-folder", "--ckpt_path", str(checkpoint), "--keep_checkpoints", "1")
    assert {path: path.read_bytes() for path in old.rglob("*") if path.is_file()} == before
    assert load(new / "last.ckpt")["global_step"] == 12


def test_resuming_from_an_older_step_keeps_what_it_writes(world: World):
    """Files with higher numbers are from a future that is given up; they must not count as the newest."""
    options = ("--checkpoint_every_n_steps", "4")
    run = world.fit("older", *options, "--keep_checkpoints", "-1")
    world.run(
        "fit", "--name", "older", *options, "--ckpt_path", str(run / "step-000004.ckpt"), "--trainer.max_steps", "7"
    )
    assert world.newest("older") == run
    assert load(run / "last.ckpt")["global_step"] == 7
    assert (run / "step-000007.ckpt").exists()


def test_resuming_with_another_batch_size_is_one_clear_line(world: World):
    run = world.fit("batch-size", *EVERY_STEP)
    options = ("--ckpt_path", str(run / "step-000003.ckpt"), "--data.init_args.batch_size", "2")
    refused = world.start("fit", "--name", "batch-size-2", *options).wait()
    assert refused.status == 2
    assert "written with 4 rows per batch" in refused.err.splitlines()[-1]
    assert "Traceback" not in refused.err
