"""A power cut while a checkpoint is written: whatever is left, ``--ckpt_path last`` goes on from the newest whole one.

What a file system may show after a power cut: a name with half a file behind it, an empty file, blocks of
zeros, a rename that never happened, a link to nothing.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from killing import assert_nothing_to_see
from torch.distributed import checkpoint as dcp
from training_fixtures import World, load

from ptst_pl.results.disk import checkpoint_files
from ptst_pl.results.disk.intact import damage
from ptst_pl.training.callbacks import AtomicCheckpointIO

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
OPTIONS = (
    *("--model.lora.dropout", "0.1", "--trainer.limit_val_batches", "1.0", "--checkpoint_every_n_steps", "4"),
    *("--safety.active", "true", "--safety.every_n_steps", "3"),
)
NEWEST, BEFORE = "step-000008.ckpt", "step-000004.ckpt"


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def zero(path: Path) -> None:
    """A block in the middle, as of a file whose length reached the disk before its content."""
    with path.open("r+b") as handle:
        handle.seek(path.stat().st_size // 2 // 4096 * 4096)
        handle.write(bytes(4096))


def unnamed(path: Path) -> None:
    """The rename is lost, the link that was made after it as well: both point to nothing whole."""
    path.rename(path.with_name(f".{path.name}.tmp"))
    path.with_name("last.ckpt").unlink()


def dangling(path: Path) -> None:
    path.with_name("last.ckpt").unlink()
    path.with_name("last.ckpt").symlink_to(path.name)
    path.unlink()


@pytest.fixture(scope="module")
def whole(world: World) -> Path:
    return world.fit("powered", *OPTIONS)


@pytest.fixture(scope="module")
def cut(world: World) -> Path:
    """A run that was stopped at step 8 of 12."""
    return world.fit("cut", *OPTIONS, "--trainer.max_steps", "8")


@pytest.mark.parametrize("left", [truncate, zero, dangling], ids=lambda left: left.__name__)
def test_a_fit_goes_on_from_the_newest_whole_checkpoint(
    world: World, whole: Path, cut: Path, left: Callable[[Path], None]
):
    name = f"cut-{left.__name__}"
    run = world.folder / "runs" / name / "version_0"
    shutil.copytree(cut, run, symlinks=True)
    checkpoint_files.point_last(run / NEWEST)  # copied, the two names would be two files
    left(run / NEWEST)
    done = world.run("fit", "--name", name, *OPTIONS, "--ckpt_path", "last")
    warnings = [line for line in done.err.splitlines() if line.startswith("passing over")]
    assert len(warnings) == 1
    assert "last.ckpt: it is damaged (" in warnings[0]
    assert f"/{BEFORE}" in done.err
    assert world.newest(name) == run
    assert_nothing_to_see(run, whole, "val/loss")


def test_other_commands_do_not_take_another_model_instead(world: World, cut: Path):
    """An older step, evaluated under the name of ``last``, would be a number that looks right."""
    run = world.folder / "runs/evaluated/version_0"
    shutil.copytree(cut, run)
    zero(run / "last.ckpt")
    for given in ("last", str(run / "last.ckpt")):
        refused = world.start("validate", "--name", "evaluated", "--ckpt_path", given).wait()
        assert refused.status == 2
        assert "last.ckpt is damaged (its part" in refused.err.splitlines()[-1]
        assert "Traceback" not in refused.err


# ---- whole or not ---------------------------------------------------------------------------------


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "step-000001.ckpt"
    AtomicCheckpointIO().save_checkpoint({"global_step": 1, "state_dict": {"w": torch.randn(3000)}}, path)
    assert damage(path) is None
    return path


def test_any_prefix_of_a_checkpoint_is_damaged(written: Path):
    data, chance = written.read_bytes(), random.Random(1)
    for length in {0, 1, len(data) - 1, *(chance.randrange(len(data)) for _ in range(200))}:
        written.write_bytes(data[:length])
        assert damage(written), length


def test_any_change_of_the_weights_is_seen(written: Path):
    """``torch.load`` itself reads on, zeros for weights."""
    data, chance = written.read_bytes(), random.Random(2)
    weights = load(written)["state_dict"]["w"].numpy().tobytes()
    start = data.index(weights)
    for _ in range(100):
        place, bit = start + chance.randrange(len(weights)), 1 << chance.randrange(8)
        written.write_bytes(data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :])
        assert damage(written), place
    block = start + 4096
    written.write_bytes(data[:block] + bytes(512) + data[block + 512 :])
    assert load(written)["global_step"] == 1
    assert "checksum" in str(damage(written))


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """A folder as ranks that shard a model write it, here of one rank."""
    folder = tmp_path / "step-000002.ckpt"
    state = {
        "state_dict": {"a": torch.randn(2000), "b": torch.randn(30, 3)},
        "optimizer_0": {"step": torch.tensor(2.0)},
    }
    dcp.save(state, checkpoint_id=folder, no_dist=True)
    torch.save({"global_step": 2}, folder / "meta.pt")
    assert damage(folder) is None
    return folder


@pytest.mark.parametrize("name", ["meta.pt", ".metadata", "__0_0.distcp"])
def test_a_sharded_checkpoint_needs_all_its_files_whole(sharded: Path, name: str):
    file, chance = sharded / name, random.Random(3)
    data = file.read_bytes()
    for length in {0, *(chance.randrange(len(data)) for _ in range(20))}:
        file.write_bytes(data[:length])
        assert damage(sharded), length
    file.unlink()
    assert name in str(damage(sharded))


def test_any_change_of_sharded_weights_is_seen(sharded: Path):
    file, chance = sharded / "__0_0.distcp", random.Random(4)
    data = file.read_bytes()
    for place in (chance.randrange(len(data) - 64) for _ in range(50)):
        changed = data[:place] + bytes(64) + data[place + 64 :]
        file.write_bytes(changed)
        assert damage(sharded) or changed == data, place


def test_nothing_in_a_damaged_index_is_run(sharded: Path):
    """An index is a pickle: reading it must not do what it says."""
    (sharded / ".metadata").write_bytes(b"cos\nsystem\n(S'touch run'\ntR.")
    assert "no index" in str(damage(sharded))
    assert not Path("run").exists()
