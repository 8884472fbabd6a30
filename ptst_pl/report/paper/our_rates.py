"""What runs measured, sorted into the cells of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ptst_pl import InputError, did_you_mean
from ptst_pl.report.paper.published import NO_FT, Metric, PaperTable
from ptst_pl.report.runs import UNTOUCHED, RunResults, load_run
from ptst_pl.results.identity import differences
from ptst_pl.results.runs import newest_version

Record = Mapping[str, Any]
Config = Mapping[str, Any]


@dataclass(frozen=True)
class Measured:
    """The results of one run and the configs they came from.

    Attributes:
        row: the table's row that the user named for it, or None.
        config: of the command that evaluated; empty where it is not beside the results.
        trained: of the command that trained; the same for the curve of a ``fit``.
    """

    results: RunResults
    row: str | None = None
    config: Config = field(default_factory=dict)
    trained: Config = field(default_factory=dict)

    @property
    def identity(self) -> tuple[Any, ...]:
        """What tells two runs of one row apart: training seed, and decoding seed where answers are sampled."""
        decoding = self.results.meta.get("decoding", {})
        sampled = decoding.get("seed") if decoding.get("temperature") else None
        return get(self.trained, "seed_everything"), sampled


def read(argument: str, tables: Sequence[PaperTable]) -> Measured:
    """The run that an argument of the command line names: a folder, or ``ROW=folder``.

    Raises:
        InputError: no results there, no such row, or a served model whose training nothing tells.
    """
    row, equals, rest = argument.partition("=")
    known = dict.fromkeys(short for table in tables for short in table.rows)
    if not equals or "/" in row:
        row, rest = "", argument
    elif row not in known:
        raise InputError(f"{argument}: no row {row!r}{did_you_mean(row, known)} (rows: {', '.join(known)})")
    run = load_run(newest_version(Path(rest)))
    config, trained = _configs(run.file)
    if "endpoint" in run.meta and not row and not _is_untuned(str(run.meta["endpoint"]["model"]), tables):
        raise InputError(
            f"{run.path}: the served model {run.meta['endpoint']['model']!r} does not tell how it was trained; "
            f"write ROW={rest} with one of the rows {', '.join(known)}"
        )
    return Measured(run, row or None, config, trained)


def collect(
    runs: Sequence[Measured], table: PaperTable, metric: Metric, judge: str
) -> dict[tuple[str, str], list[tuple[Measured, Record]]]:
    """The records of each cell (row, column) of the table, one per run; cells that nobody measured are left out.

    The untuned model is taken from step 0, once for each decoding seed: from the run with the most prompts.

    Raises:
        InputError: two results for one cell from one seed, of which one would count twice.
    """
    columns = {table.templates[column]: column for column in table.columns}
    rows = {table.row_name(short): short for short in table.rows}
    found: dict[tuple[str, str], list[tuple[Measured, Record]]] = {}
    for run in runs:
        for record in run.results.rates:
            if (record["suite"], record["judge"]) != (metric.suite, judge) or record["template"] not in columns:
                continue
            row = _row(run, int(record["step"]), rows)
            if row is not None:
                _put(found.setdefault((row, columns[record["template"]]), []), run, record, row == NO_FT)
    return found


def _row(run: Measured, step: int, rows: Mapping[str, str]) -> str | None:
    """The row that a record of this step belongs to."""
    last = step == run.results.last_step
    if run.row and last:
        return run.row
    if step == 0:
        return rows.get(UNTOUCHED)
    return rows.get(run.results.train_template) if last else None


def _put(cell: list[tuple[Measured, Record]], run: Measured, record: Record, untuned: bool) -> None:
    for other, _ in cell:
        if difference := differences({"base": other.results.base}, {"base": run.results.base}):
            raise InputError(
                f"{other.results.path} and {run.results.path} belong into one cell and differ: {difference[0]}; "
                "compare one base model at a time"
            )
    same = [k for k, (other, _) in enumerate(cell) if _same(other, run, untuned)]
    if not same:
        cell.append((run, record))
    elif not untuned:
        raise InputError(
            f"{cell[same[0]][0].results.path} and {run.results.path} both have {record['suite']} under "
            f"{record['template']} from one seed; give one of them"
        )
    elif _size(record) > _size(cell[same[0]][1]):
        cell[same[0]] = run, record


def _same(first: Measured, second: Measured, untuned: bool) -> bool:
    if first.results.file.resolve() == second.results.file.resolve():
        return True
    if untuned:
        return bool(first.identity[1] == second.identity[1])
    key = first.results.model_key
    if key is not None and key == second.results.model_key:
        return True
    return bool(first.identity[0] is not None and first.identity == second.identity)


def _size(record: Record) -> int:
    return int(record["n"]) + int(record["unscored"])


def _is_untuned(model: str, tables: Sequence[PaperTable]) -> bool:
    return any(model == table.model for table in tables)


# ---- configs beside results ---------------------------------------------------------------------


def get(config: Config, path: str) -> Any:
    """The value at a dotted path, None where there is none."""
    found: Any = config
    for key in path.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _configs(file: Path) -> tuple[Config, Config]:
    """The config of the evaluation and that of the training, as far as they are there."""
    beside = [_load(folder / "config.yaml") for folder in (file.parent, file.parent.parent)]
    config = next((found for found in beside if found), {})
    checkpoint = config.get("ckpt_path")
    if file.parent.name == "safety" or not checkpoint:
        return config, config  # the curve of a fit, or the model before any training
    # <run>/test/version_<k>/results.json, unless --results said otherwise; copied folders keep their shape.
    places = [Path(str(checkpoint)).parent, file.parent.parent.parent]
    return config, next((found for place in places if (found := _load(place / "config.yaml"))), {})


def _load(path: Path) -> Config:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}
