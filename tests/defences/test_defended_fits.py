"""With every defence on: cut up = whole, resumed = uninterrupted, packed = padded, evaluated = not, two ranks = one."""

import pytest
import torch
from defence_cases import CASES, options
from training_fixtures import World, assert_same, curve, distance, weights

SHORT = ("--trainer.max_epochs", "-1", "--trainer.max_steps", "5", "--trainer.gradient_clip_val", "0.5")
TWO = ("--trainer.accumulate_grad_batches", "2", "--data.init_args.batch_size", "2")
STOP = ("--checkpoint_every_n_steps", "3", "--keep_checkpoints", "-1")
DROPOUT = ("--model.lora.dropout", "0.1")
WATCHED = ("--safety.active", "true", "--safety.every_n_steps", "1")


@pytest.mark.parametrize("case", CASES)
def test_a_defended_fit_is_one_and_the_same(world: World, case: str):
    """Dropout is on where bits are compared, off where rows are put into other batches."""
    name, own = case.replace(" ", "-"), (*options(case), *SHORT)
    runs = world.fits(
        {
            f"{name}-drop": [*own, *DROPOUT, *STOP],
            f"{name}-watched": [*own, *DROPOUT, *WATCHED],
            f"{name}-whole": own,
            f"{name}-cut": [*own, *TWO],
        }
    )
    whole = runs[f"{name}-drop"]
    losses = curve(whole, "train/loss")
    assert [step for step, _ in losses] == [1, 2, 3, 4, 5]
    resumed = world.fits(
        {
            f"{name}-resumed": [*own, *DROPOUT, *STOP, "--ckpt_path", str(whole / "step-000003.ckpt")],
            f"{name}-padded": [*own, "--model.batching", "padded"],
        }
    )
    assert_same(weights(runs[f"{name}-watched"]), weights(whole))
    assert_same(weights(resumed[f"{name}-resumed"]), weights(whole))
    assert curve(resumed[f"{name}-resumed"], "train/loss") == losses[3:]
    for other in (runs[f"{name}-cut"], resumed[f"{name}-padded"]):
        assert distance(trained(runs[f"{name}-whole"]), trained(other)) < 2e-4


def trained(run) -> dict[str, torch.Tensor]:
    """Trained parameters that are not all zero."""
    return {name: value for name, value in weights(run).items() if name.startswith("net.") and value.any()}


ONE_OF_A_KIND = ("backdoor", "constrained", "kl steered", "sppft", "ema", "lisa", "panacea", "steering", "preference")


@pytest.mark.parametrize("case", ONE_OF_A_KIND)
def test_two_ranks_train_as_one(world: World, case: str):
    name = case.replace(" ", "-")
    one = world.fit(f"{name}-one", *options(case), *SHORT)
    half = ("--data.init_args.batch_size", "2")
    for strategy in ("ddp", "fsdp2"):
        if strategy == "fsdp2" and case in ("lisa", "preference"):
            continue  # refused, see test_building
        two = world.fit_ranks(f"{name}-{strategy}", *options(case), *SHORT, *half, strategy=strategy)
        from ptst_pl.model.sharding.files import read_checkpoint

        found = {k: v for k, v in read_checkpoint(two / "last.ckpt")["state_dict"].items() if k in trained(one)}
        assert distance(trained(one), found) < 2e-4, strategy
