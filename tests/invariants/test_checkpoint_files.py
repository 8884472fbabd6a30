"""The files of a run's checkpoints: on the disk before they have a name, in any order of deaths, files or folders."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import training_fixtures
from training_fixtures import World, load

from ptst_pl import InputError
from ptst_pl.results.disk import checkpoint_files, durable
from ptst_pl.results.disk.checkpoint_files import adopt, newest_first, place, point_last, prune, sweep
from ptst_pl.results.records import write_text
from ptst_pl.results.runs import find_checkpoint
from ptst_pl.training.callbacks import AtomicCheckpointIO

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")


def checkpoint(run: Path, step: int, folder: bool = False) -> Path:
    """A small whole checkpoint with its name, and ``last.ckpt``."""
    path = run / f"step-{step:06d}.ckpt"
    temporary = path.with_name(f".{path.name}.tmp")
    run.mkdir(parents=True, exist_ok=True)
    if folder:
        state = {"state_dict": {"w": torch.full((8,), float(step))}}
        torch.distributed.checkpoint.save(state, checkpoint_id=temporary, no_dist=True)
        torch.save({"global_step": step}, temporary / "meta.pt")
    else:
        AtomicCheckpointIO().save_checkpoint({"global_step": step}, temporary)
    place(temporary, path)
    return path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is asked of the disk, in order."""
    found: list[tuple[str, str]] = []
    sync, replace = durable.sync, os.replace
    monkeypatch.setattr(durable, "sync", lambda path: (found.append(("sync", path.name)), sync(path)))
    monkeypatch.setattr(checkpoint_files, "sync", durable.sync)
    monkeypatch.setattr(os, "replace", lambda old, new: (found.append(("name", Path(new).name)), replace(old, new)))
    return found


def test_content_comes_before_the_name_and_the_name_before_the_next_thing(tmp_path: Path, calls: list):
    write_text(tmp_path / "results.json", "{}")
    temporary = f".results.json.{os.getpid()}.tmp"
    assert calls == [("sync", temporary), ("name", "results.json"), ("sync", tmp_path.name)]
    calls.clear()
    checkpoint(tmp_path / "run", 3)
    last = calls[calls.index(("name", "step-000003.ckpt")) - 1 :]
    assert last == [
        *(("sync", ".step-000003.ckpt.tmp"), ("name", "step-000003.ckpt"), ("sync", "run")),
        *(("name", "last.ckpt"), ("sync", "run")),
    ]


def test_every_file_of_a_folder_comes_before_its_name(tmp_path: Path, calls: list):
    checkpoint(tmp_path / "run", 3, folder=True)
    before = calls[: calls.index(("name", "step-000003.ckpt"))]
    assert {name for what, name in before if what == "sync"} == {
        *("meta.pt", ".metadata", "__0_0.distcp", ".step-000003.ckpt.tmp"),
    }
    assert before[-1] == ("sync", ".step-000003.ckpt.tmp")


@pytest.mark.parametrize("folder", [False, True], ids=["files", "folders"])
def test_last_is_the_newest_and_old_ones_go(tmp_path: Path, folder: bool):
    run = tmp_path / "home/version_0"
    for step in (2, 4, 6):
        checkpoint(run, step, folder)
        prune(run, 2)
    assert {path.name for path in run.iterdir()} == {"step-000004.ckpt", "step-000006.ckpt", "last.ckpt"}
    assert newest_first(run) == [run / "last.ckpt", run / "step-000004.ckpt"]
    assert (run / "last.ckpt").is_symlink() == folder
    if folder:
        assert os.readlink(run / "last.ckpt") == "step-000006.ckpt"  # relative: the run may be moved
    assert find_checkpoint("last", run.parent, resume=True) == run / "last.ckpt"
    checkpoint(run, 6, folder)  # the same step again, in place
    assert newest_first(run) == [run / "last.ckpt", run / "step-000004.ckpt"]


def test_a_file_takes_the_place_of_a_folder_and_the_other_way_round(tmp_path: Path):
    run = tmp_path / "home/version_0"
    for folder in (True, False, True):
        checkpoint(run, 2, folder)
        assert find_checkpoint("last", run.parent, resume=True) == run / "last.ckpt"
        assert {path.name for path in run.iterdir()} == {"step-000002.ckpt", "last.ckpt"}


def test_going_back_makes_an_older_one_the_last(tmp_path: Path):
    """Killed before its first checkpoint, a run that went back must not find the future that it gave up."""
    run = tmp_path / "home/version_0"
    for step in (2, 4, 6):
        checkpoint(run, step)
    adopt(run / "step-000002.ckpt")
    assert (run / "last.ckpt").samefile(run / "step-000002.ckpt")
    checkpoint(run, 3)
    prune(run, 2)
    assert {path.name for path in run.glob("step-*")} == {"step-000002.ckpt", "step-000003.ckpt"}


@pytest.mark.parametrize("folder", [False, True], ids=["files", "folders"])
def test_damaged_ones_are_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture, folder: bool):
    run = tmp_path / "home/version_0"
    paths = [checkpoint(run, step, folder) for step in (2, 4)]
    files = [path / "__0_0.distcp" if folder else path for path in paths]
    os.truncate(files[1], 100)
    assert find_checkpoint("last", run.parent, resume=True) == paths[0]
    assert [r.message.split(" (")[0] for r in caplog.records if r.name == "ptst_pl.results.runs"] == [
        f"passing over {run / 'last.ckpt'}: it is damaged"
    ]
    with pytest.raises(InputError, match=r"last\.ckpt is damaged"):
        find_checkpoint("last", run.parent, resume=False)
    os.truncate(files[0], 100)
    assert find_checkpoint("last", run.parent, resume=True) is None
    with pytest.raises(InputError, match="no whole checkpoint in"):
        find_checkpoint(str(run / "last.ckpt"), run.parent, resume=True)


def test_without_hard_links_last_is_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    path = checkpoint(tmp_path, 2)
    assert not (tmp_path / "last.ckpt").samefile(path)
    assert load(tmp_path / "last.ckpt") == {"global_step": 2}


def test_sweeping_takes_unfinished_folders_too(tmp_path: Path):
    path = checkpoint(tmp_path, 2, folder=True)
    for left in (".step-000004.ckpt.tmp/__0_0.distcp", ".step-000001.ckpt.7.old.tmp/meta.pt", ".last.ckpt.7.tmp"):
        (tmp_path / left).parent.mkdir(exist_ok=True)
        (tmp_path / left).write_bytes(b"half")
    (tmp_path / ".link.tmp").symlink_to(path.name)
    sweep(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"step-000002.ckpt", "last.ckpt"}
    assert (path / "meta.pt").exists()
    point_last(path)


# ---- no room ----------------------------------------------------------------------------------------


def full_disk(after: int, *arguments: object) -> None:
    """A command's process whose ``after``-th checkpoint meets a full disk, with half of it written."""
    save, calls = torch.save, iter(range(1, 10**9))

    def no_room(checkpoint: object, handle: object, **options: object) -> None:
        ours = isinstance(checkpoint, dict) and "global_step" in checkpoint
        if not ours or next(calls) < after:
            save(checkpoint, handle, **options)
            return
        handle.write(b"half")  # type: ignore[attr-defined]
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            raise RuntimeError("[enforce fail at inline_container.cc] . unexpected pos")  # noqa: B904  (as torch does)

    torch.save = no_room  # type: ignore[assignment]
    training_fixtures.run_child(*arguments)


def assert_stopped_for_want_of_room(status: int, err: str, run: Path) -> None:
    assert status == 2
    assert "Traceback" not in err
    line = err.splitlines()[-1]
    assert "step-000004.ckpt: not written, No space left on device (" in line
    assert "the checkpoint before it stays; make room and go on with --ckpt_path last" in line
    assert load(run / "last.ckpt")["global_step"] == 2
    assert not list(run.rglob(".*.tmp"))


def test_a_full_disk_is_one_line_and_the_old_checkpoint_stays(world: World):
    options = ("--name", "no-room", "--checkpoint_every_n_steps", "2")
    done = world.start("fit", *options, main=functools.partial(full_disk, 2)).wait()
    run = world.newest("no-room")
    assert_stopped_for_want_of_room(done.status, done.err, run)
    world.run("fit", *options, "--ckpt_path", "last")
    assert load(run / "last.ckpt")["global_step"] == 12


def test_with_two_ranks_the_one_that_cannot_write_does_not_leave_the_other_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    """The first rank writes alone; the second waits for it at the checkpoint's end."""
    start: Callable[..., object] = world.start
    main = functools.partial(full_disk, 2)
    monkeypatch.setattr(world, "start", lambda *args, **options: start(*args, **options, main=main))
    ranks = world.start_ranks("fit", "--name", "no-room-2", "--checkpoint_every_n_steps", "2")
    first, second = (rank.wait(60) for rank in ranks)
    assert_stopped_for_want_of_room(first.status, first.err, world.newest("no-room-2"))
    assert second.status == 2
    assert "another rank could not write its part" in second.err.splitlines()[-1]
