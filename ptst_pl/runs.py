"""Run folders: ``<runs>/<name>/version_<k>/``, a new one per run, and the checkpoints in them."""

from __future__ import annotations

import re
from pathlib import Path

from ptst_pl.errors import InputError

LAST = "last.ckpt"
_VERSION = re.compile(r"version_(\d+)")


def versions(folder: Path) -> list[Path]:
    """The version folders below ``folder``, oldest first."""
    found = [(int(m.group(1)), p) for p in folder.glob("version_*") if (m := _VERSION.fullmatch(p.name))]
    return [path for _, path in sorted(found)]


def new_version(folder: Path) -> Path:
    """Make the next version folder; two processes never get the same one."""
    folder.mkdir(parents=True, exist_ok=True)
    number = max((int(path.name.removeprefix("version_")) for path in versions(folder)), default=-1) + 1
    while True:
        path = folder / f"version_{number}"
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        else:
            return path


def newest_version(path: Path) -> Path:
    """The newest version below ``path``, or ``path`` itself where it has none."""
    found = versions(path)
    return found[-1] if found else path


def find_checkpoint(given: str, folder: Path, resume: bool) -> Path | None:
    """The checkpoint that ``--ckpt_path`` means: ``last`` or a path.

    Args:
        given: what the user wrote.
        folder: where the versions of the run are.
        resume: to go on with the newest run, and no older one, which may have been finished long ago.

    Returns:
        The path; None if ``last`` is asked for and there is none yet.

    Raises:
        InputError: a path that does not exist.
    """
    if given == "last":
        found = [path / LAST for path in versions(folder)[-1 if resume else 0 :]]
        return next((file for file in reversed(found) if file.exists()), None)
    path = Path(given)
    if not path.exists():
        raise InputError(f"--ckpt_path {given}: no such file; give a checkpoint or 'last'")
    return path
