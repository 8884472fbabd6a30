"""Run folders: ``<runs>/<name>/version_<k>/``, a new one per run, and the checkpoints in them."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from ptst_pl import InputError
from ptst_pl.results.disk.checkpoint_files import LAST as LAST
from ptst_pl.results.disk.checkpoint_files import newest_first
from ptst_pl.results.disk.intact import damage

log = logging.getLogger(__name__)
_VERSION = re.compile(r"version_(\d+)")


def run_home(runs: str, name: str) -> Path:
    """The folder of all versions of a run.

    Raises:
        InputError: a name that is no name of a folder below ``runs``: it would write somewhere else.
    """
    path = Path(runs) / name
    parts = Path(name).parts
    outside = not parts or Path(name).is_absolute() or any(part in ("..", ".") for part in name.split("/"))
    if outside or "\\" in name or not name.isprintable() or len(name) > 200 or name != name.strip():
        raise InputError(
            f"--name {name[:60]!r}: expected a name for a folder below {runs}, without '..' or a leading '/', "
            "of at most 200 printable characters"
        )
    return path


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
            A damaged checkpoint is then passed over with a warning: from an older one the run comes to the same
            end. Evaluated in its place, an older one would be another model.

    Returns:
        The path; None if ``last`` is asked for and there is none yet.

    Raises:
        InputError: a path that does not exist, or a damaged checkpoint.
    """
    path = Path(given)
    by_name = given == "last" or path.name == LAST
    if given == "last":
        runs = versions(folder)[-1 if resume else 0 :]
        found = next((paths for run in reversed(runs) if (paths := newest_first(run))), [])
    elif path.exists() or path.is_symlink():
        found = newest_first(path.parent) if by_name else [path]
    else:
        raise InputError(f"--ckpt_path {given}: no such file; give a checkpoint or 'last'")
    for path in found:
        reason = damage(path)
        if reason is None:
            return path
        if not (resume and by_name):
            raise InputError(f"--ckpt_path {given}: {path} is damaged ({reason}); give the path of another checkpoint")
        log.warning("passing over %s: it is damaged (%s)", path, reason)
    if given != "last":
        raise InputError(f"--ckpt_path {given}: no whole checkpoint in {path.parent}; give the path of another one")
    return None
