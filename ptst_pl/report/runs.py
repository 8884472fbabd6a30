"""Read the result files of runs, wherever they were copied from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import stdev
from typing import Any

from ptst_pl import InputError
from ptst_pl.report.configs import Config, config_file, read_config
from ptst_pl.report.schema_check import read_results, read_rows
from ptst_pl.results.identity import model_key
from ptst_pl.results.intervals import mean_interval
from ptst_pl.results.records import COUNTED_FIELD

UNTOUCHED = "(not fine-tuned)"


@dataclass(frozen=True)
class RunResults:
    """The rates of one run, with what they depend on.

    ``variant`` says how its training differs from that of the runs beside it in more than template and seed,
    ``model_variant`` how the model did that it started from; empty where they do not.
    """

    path: Path
    file: Path
    train_template: str
    rates: list[dict[str, Any]]
    meta: dict[str, Any] = field(repr=False)
    variant: str = ""
    model_variant: str = ""

    @property
    def untouched(self) -> str:
        """What step 0 is called: the model before any training, or the served model under test."""
        name = str(self.meta["endpoint"]["model"]) if "endpoint" in self.meta else UNTOUCHED
        return f"{name}, {self.model_variant}" if self.model_variant else name

    @property
    def trained(self) -> str:
        """What the trained model is called: the training template, and the variant where runs differ in more."""
        return f"{self.train_template}, {self.variant}" if self.variant else self.train_template

    @property
    def row(self) -> str:
        """What the last step is called."""
        return self.trained if self.last_step else self.untouched

    @property
    def base(self) -> Mapping[str, Any]:
        """What the record of the run says of its base model; empty where an older version wrote none."""
        found: Mapping[str, Any] = (self.meta.get("identity") or {}).get("base") or {}
        return found

    @property
    def model_key(self) -> str | None:
        """The same for two evaluations of one model; None where the files do not tell."""
        return model_key(self.meta.get("identity"), self.last_step)

    @property
    def last_step(self) -> int:
        """The last evaluated step."""
        return max(int(record["step"]) for record in self.rates)

    @property
    def steps(self) -> list[int]:
        """The evaluated steps."""
        return sorted({int(record["step"]) for record in self.rates})

    @cached_property
    def config(self) -> Config:
        """The config of the command that wrote the results; empty where it was not copied along."""
        return read_config(config_file(self.file))

    @cached_property
    def last_outcomes(self) -> dict[tuple[str, str, str], dict[str, bool | None]]:
        """(suite, template, judge) -> prompt -> what the judge found at the last step."""
        file = self.file.parent / "verdicts.jsonl"
        found: dict[tuple[str, str, str], dict[str, bool | None]] = {}
        for row in read_rows(file, "verdict") if file.exists() else ():
            if row["step"] == self.last_step:
                cell = found.setdefault((row["suite"], row["template"], row["judge"]), {})
                if row["prompt_id"] in cell:
                    raise InputError(two_verdicts(file, row))
                cell[row["prompt_id"]] = row.get(COUNTED_FIELD[row.get("measures", "asr")])
        return found


def two_verdicts(file: Path, row: Mapping[str, Any]) -> str:
    """What to say of a verdict that a judge has given before; several samples of a prompt lead to it, too."""
    return (
        f"{file}: two verdicts of judge {row['judge']} on {row['suite']} {row['prompt_id']} under {row['template']} "
        f"at step {row['step']}; rates and their intervals count one answer to each prompt: keep one of each"
    )


def results_file(path: Path) -> Path | None:
    """The results.json of a run folder (in ``safety/``) or of a results folder, if it has one."""
    return next((f for f in (path / "safety" / "results.json", path / "results.json") if f.is_file()), None)


def load_run(path: Path | str) -> RunResults:
    """The results of a run folder (with ``safety/``) or of a results folder.

    Raises:
        InputError: no rates there, or of a format that this version does not know.
    """
    path = Path(path)
    file = results_file(path)
    if file is None:
        raise InputError(f"{path}: no safety/results.json or results.json; give a run folder of 'fit' or 'test'")
    stored = read_results(file)
    if not stored["rates"]:
        raise InputError(f"{file}: no rate in it; the run stopped before its first evaluation")
    meta = {key: value for key, value in stored.items() if key != "rates"}
    return RunResults(path, file, str(stored.get("train_template", "")), stored["rates"], meta)


@dataclass(frozen=True)
class CellRate:
    """One cell of the train x test matrix: mean over seeds, and an interval over prompts and seeds.

    ``deviation`` is the sample standard deviation over seeds, None for a single one; ``values`` are the seeds' own.
    """

    mean: float
    low: float
    high: float
    deviation: float | None
    seeds: int
    n: int
    values: tuple[float, ...] = ()


Key = tuple[str, str, str, str]  # training template, test template, suite, judge


def matrix(runs: Iterable[RunResults], field: str = "rate") -> dict[Key, CellRate]:
    """Every cell at the runs' last steps, and the untouched model from their step 0.

    Args:
        runs: runs that were evaluated on the same suites under the same settings.
        field: ``rate`` (what the suite measures) or another share of ``n``, such as ``broken``.
    """
    found = cell_records(runs)
    # A cell with a run whose rate is undefined has no mean: it is left out, never averaged over the rest.
    defined = {cell: records for cell, records in found.items() if all(r["rate"] is not None for r in records)}
    return {cell: cell_rate(records, field) for cell, records in defined.items()}


def cell_records(runs: Iterable[RunResults]) -> dict[Key, list[Mapping[str, Any]]]:
    """The records of every cell of the train x test matrix, one per run."""
    found: dict[Key, list[Mapping[str, Any]]] = {}
    for run in runs:
        for record in run.rates:
            step = int(record["step"])
            # Step 0 is the model before any training, whatever it was trained on later: the same in
            # all runs of one model, so one of them is enough.
            for row in [run.untouched] * (step == 0) + [run.trained] * (step == run.last_step and step > 0):
                cell = row, record["template"], record["suite"], record["judge"]
                if row != run.untouched or cell not in found:
                    found.setdefault(cell, []).append(record)
    return found


def undefined(runs: Iterable[RunResults]) -> list[str]:
    """Why rates at the runs' first and last steps are undefined, a line each."""
    return [
        f"undefined: {r['measures']}/{r['judge']}-judge, {r['suite']} under {r['template']}, step {r['step']} of "
        f"{run.path}: "
        f"{r.get('undefined', 'nothing was scored')}"
        for run in runs
        for r in run.rates
        if r["rate"] is None and r.get("mean_score") is None and int(r["step"]) in (0, run.last_step)
    ]


def outcomes(run: RunResults, suite: str, template: str, judge: str) -> Mapping[str, bool | None]:
    """What a judge found at the run's last step, by prompt: from ``verdicts.jsonl`` beside the rates.

    Empty where the rate is undefined: what few rows a judge scored may be a selection.

    Raises:
        InputError: a line of the file is not one of ours.
    """
    wanted = (suite, template, judge, run.last_step)
    rates = [r for r in run.rates if (r["suite"], r["template"], r["judge"], int(r["step"])) == wanted]
    if any(r["rate"] is None for r in rates):
        return {}
    return run.last_outcomes.get(wanted[:3], {})


def cell_rate(records: list[Mapping[str, Any]], field: str) -> CellRate:
    """One cell from the records of its runs, none of them undefined; ``field`` as in ``matrix``."""
    # Broken is a property of the answer, scored or not.
    more = "unscored" if field == "broken" else None
    counts = [(_count(r, field), int(r["n"]) + int(r.get(more, 0) if more else 0)) for r in records]
    mean, low, high = mean_interval(counts, float(records[0]["confidence"]))
    values = tuple(k / n for k, n in counts)
    deviation = stdev(values) if len(values) > 1 else None
    return CellRate(mean, low, high, deviation, len(records), min(n for _, n in counts), values)


def _count(record: Mapping[str, Any], field: str) -> int:
    return int(record[{"rate": "k"}.get(field, field)])
