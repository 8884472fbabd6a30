"""Which row of the defences' table an answer belongs to: a run's own, a serving defence's, an edited model's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ptst_pl.report.configs import NO_DEFENCE, defence_labels
from ptst_pl.report.edit_curve import edit_of
from ptst_pl.report.runs import CellRate, RunResults, cell_rate, outcomes


@dataclass(frozen=True)
class View:
    """A run's last answers, as far as they belong to one row.

    Attributes:
        run: where they are.
        defence: name and arguments of what the row is about.
        train: training template.
        serving: what stands before the template's name in the columns of a serving defence.
    """

    run: RunResults
    defence: Mapping[str, Any]
    train: str
    serving: str = ""

    @property
    def own(self) -> bool:
        """Whether the answers are those of the run's own training, so that its costs are the row's."""
        return not self.serving and bool(self.run.last_step)

    def template(self, test: str) -> str:
        """What the results call ``test``, with what a defence adds to it."""
        names = [name for name in self.templates() if base_template(name) == test]
        return names[0] if names else f"{self.serving}{test}"

    def templates(self) -> list[str]:
        """The names of its columns."""
        names = dict.fromkeys(str(record["template"]) for record in self.run.rates)
        serving = _serving(self.run)
        ours = [name for name in names if serving and name.startswith(serving)]
        return ours if self.serving else [name for name in names if name not in ours]

    def record(self, test: str, suite: str, judge: str) -> Mapping[str, Any] | None:
        """The rate at the last step."""
        wanted = (self.template(test), suite, judge, self.run.last_step)
        return next(
            (r for r in self.run.rates if (r["template"], r["suite"], r["judge"], int(r["step"])) == wanted), None
        )

    def outcomes(self, test: str, suite: str, judge: str) -> Mapping[str, bool | None]:
        """By prompt."""
        return outcomes(self.run, suite, self.template(test), judge)


def views(runs: Sequence[RunResults]) -> dict[str, list[View]]:
    """Row -> its views; rows in the order given."""
    found = [view for run in runs for view in _of(run)]
    labels = defence_labels([view.defence for view in found])
    rows: dict[str, list[View]] = {}
    for view, label in zip(found, labels, strict=True):
        rows.setdefault(_row(label, view.run), []).append(view)
    return rows


def with_cell(views: Sequence[View], test: str, suite: str, judge: str) -> list[View]:
    """Those that have the cell, each model once: tests of one model behind two defences both have its bare answers."""
    found: dict[str, View] = {}
    for view in views:
        if view.record(test, suite, judge) is not None:
            found.setdefault(view.run.model_key or str(view.run.path), view)
    return list(found.values())


def rate_of(views: Sequence[View], test: str, suite: str, judge: str, field: str) -> CellRate | None:
    """Mean over the models that have the cell; None where one of them is undefined."""
    own = with_cell(views, test, suite, judge)
    records = [record for view in own if (record := view.record(test, suite, judge)) is not None]
    return cell_rate(records, field) if records and all(r["rate"] is not None for r in records) else None


def _of(run: RunResults) -> Iterator[View]:
    edit, trained = edit_of(run), defence_of(run)
    train = str(edit.get("train_template") or run.train_template)
    serving = _serving(run)
    if run.last_step:
        yield View(run, _edited(edit) | {k: v for k, v in trained.items() if k != "name"} if edit else trained, train)
    elif edit:
        yield View(run, _edited(edit), train)
    elif not serving:
        return
    if serving:
        record = {k: v for k, v in run.meta["serving_defence"].items() if k not in ("classifier", "classifier_facts")}
        before = trained.get("name", NO_DEFENCE)
        name = record["name"] if before == NO_DEFENCE else f"{before}, {record['name']}"
        yield View(run, {**record, "name": name}, train, serving)


def _edited(edit: Mapping[str, Any]) -> dict[str, Any]:
    """The edit's name and its numbers; what it was made of differs from seed to seed."""
    told = {key: value for key, value in edit.items() if isinstance(value, int | float | str)}
    return {key: value for key, value in told.items() if key not in ("edit", "ptst_pl", "train_template")} | {
        "name": f"edit {edit['edit']}"
    }


def _serving(run: RunResults) -> str:
    name = (run.meta.get("serving_defence") or {}).get("name")
    return f"{name}:" if name else ""


def defence_of(run: RunResults) -> Mapping[str, Any]:
    """What the run's record says of its defence in training."""
    found: Mapping[str, Any] = ((run.meta.get("identity") or {}).get("training") or {}).get("defence") or {}
    return found


def base_template(name: str) -> str:
    """``chat:llama`` of ``backdoor:chat:llama``: what is served, without what a defence adds to it."""
    kind, _, rest = name.partition(":")
    return rest if kind not in ("chat", "text") and rest.partition(":")[0] in ("chat", "text") else name


def _row(label: str, run: RunResults) -> str:
    """LoRA rows stand beside LoRA without a defence."""
    method = ((run.meta.get("identity") or {}).get("training") or {}).get("method", "full")
    return f"{label}, LoRA" if method == "lora" and run.last_step else label


def undefended(row: str) -> str:
    """The row that a defence is compared with."""
    return f"{NO_DEFENCE}, LoRA" if row.endswith(", LoRA") else NO_DEFENCE
