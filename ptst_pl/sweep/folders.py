"""A run's folder in a sweep, and what its files say: finished or not, how far, with what settings, why it failed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ptst_pl import InputError
from ptst_pl.results.records import ResultsFolder, write_text
from ptst_pl.results.runs import versions
from ptst_pl.sweep.named_files import Facts, changed
from ptst_pl.training.config_files import read_config

# What a stored config may have otherwise: where the run lies, and from where it went on.
_APART = ("name", "runs", "ckpt_path", "sweep", "config", "results")
START = "--- started "
_ERROR = re.compile(r"(?:\w+\.)*\w*(?:Error|Exception|Interrupt)\b.*")
_LOG_END = 2**16


@dataclass(frozen=True)
class RunFolder:
    """``<runs>/<sweep>/<run>/`` with ``planned.yaml``, ``files.json``, ``run.lock``, ``fit.log``, ``version_<k>/``."""

    path: Path

    @property
    def planned(self) -> Path:
        """The whole config of the run, as the sweep has checked it."""
        return self.path / "planned.yaml"

    @property
    def files(self) -> Path:
        """What was in the files that the config names when the run was made."""
        return self.path / "files.json"

    @property
    def lock(self) -> Path:
        """Held by the process that trains."""
        return self.path / "run.lock"

    @property
    def log(self) -> Path:
        """What the fits printed, one attempt after the other."""
        return self.path / "fit.log"

    @property
    def version(self) -> Path | None:
        """The newest attempt that had to begin anew; None before the first."""
        found = versions(self.path)
        return found[-1] if found else None

    def plan(self, config: dict[str, Any], files: Facts) -> None:
        """Write the config down that the run is made with, whatever becomes of the file it came from.

        Args:
            config: every key of ``fit``.
            files: what is in the files that it names.
        """
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        if not self.planned.exists() or self.planned.read_text(encoding="utf-8") != text:
            write_text(self.planned, text)
        write_text(self.files, json.dumps(files, indent=1, ensure_ascii=False) + "\n")

    def planned_files(self) -> Facts:
        """What ``plan`` has written of files; empty for a run of a version that did not.

        Raises:
            InputError: the file is none of ours.
        """
        if not self.files.exists():
            return {}
        try:
            found: Facts = json.loads(self.files.read_text(encoding="utf-8"))
            for facts in found.values():
                _ = facts["sha256"], facts["bytes"], facts["mtime_ns"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{self.files}: no record of the run's files ({error!r}); delete {self.path}") from error
        return found

    def changed_file(self, files: Facts) -> str | None:
        """The first file, in words, whose content is not the one that the newest version was made with."""
        found = changed(self.planned_files(), files) if self.version else None
        return f"{self.path} was made with other rows or prompts: {found}" if found else None

    def changed(self, config: dict[str, Any]) -> str | None:
        """The first setting that the newest version was made with and that is planned otherwise; None if all agree."""
        files = sorted(self.version.glob("config*.yaml")) if self.version else []
        wanted = dict(_leaves(_compared(config)))
        for file in files:
            stored = dict(_leaves(_compared(read_config(file))))
            for key in [*wanted, *stored]:
                if wanted.get(key) != stored.get(key):
                    return f"{file} has {key} {_word(stored, key)}, now it is {_word(wanted, key)}"
        return None

    def is_finished(self) -> bool:
        """Whether the newest version is whole: the model, which is saved last, and the evaluation of its step."""
        version = self.version
        if version is None or not any((version / name).is_dir() for name in ("adapter", "model")):
            return False
        config = version / "config.yaml"
        if not config.is_file() or not read_config(config).get("safety", {}).get("active", True):
            return config.is_file()
        steps, saved = ResultsFolder(version / "safety").steps(), _saved_step(version)
        # Without checkpoints, which may be removed for their size, the saved model alone has to tell.
        return bool(steps) and saved in (None, max(steps))

    def rates(self) -> list[dict[str, Any]]:
        """The rates of the newest version's last point."""
        records = ResultsFolder(self.version / "safety").rates() if self.version else []
        last = max((int(record["step"]) for record in records), default=0)
        return [record for record in records if int(record["step"]) == last]

    def first_error(self) -> str | None:
        """The line of the last attempt's log that says why it failed; fit for a terminal."""
        if not self.log.exists():
            return None
        with self.log.open("rb") as handle:
            handle.seek(max(0, handle.seek(0, 2) - _LOG_END))
            text = handle.read().decode("utf-8", "replace").rpartition(START)[2]
        lines = [line.strip() for line in re.split(r"[\r\n]+", text)]
        ours = [line for line in lines if line.startswith("ptst_pl: error: ")]
        errors = ours or [line for line in lines if _ERROR.fullmatch(line)]
        return _printable(errors[-1].removeprefix("ptst_pl: error: ")) if errors else None


def _saved_step(version: Path) -> int | None:
    """The step of the newest checkpoint."""
    found = max(version.glob("step-*.ckpt"), key=lambda path: (path.stat().st_mtime_ns, path.name), default=None)
    return int(found.stem.removeprefix("step-")) if found else None


def _compared(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in _APART}


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, value


def _word(leaves: dict[str, Any], key: str) -> str:
    return repr(leaves[key]) if key in leaves else "not set"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:300]
