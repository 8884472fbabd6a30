"""In what a measured cell differs from the paper's besides its value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ptst_pl.report.paper.our_rates import Config, Measured, Record, get
from ptst_pl.report.paper.published import NO_FT, Metric, PaperTable, Printed
from ptst_pl.suites.known import KNOWN_SUITES
from ptst_pl.templates import BUILT_IN_TEMPLATES

PAPER_JUDGE = "GPT-4-0613 under Qi et al. 2023's prompt, score 5 of 5"
# Our keys in a config -> the words of ``training`` in tables.yaml.
_TRAINING = {
    "max_epochs": "trainer.max_epochs",
    "learning_rate": "model.learning_rate",
    "method": "model.method",
}


def marks(
    cell: Sequence[tuple[Measured, Record]], table: PaperTable, metric: Metric, row: str, column: str, printed: Printed
) -> list[str]:
    """One line for each way in which a cell was measured otherwise than in the paper."""
    found: list[str] = []
    for run, record in cell:
        meta = run.results.meta
        found += _suite(meta, record, metric)
        found += _judge(meta, record, metric)
        found += _decoding(meta, {**metric.decoding, **table.decoding})
        found += _template(meta, table.templates[column])
        found += _model(run, table.model)
        found += _training(run, table, row) if row != NO_FT else []
    if len(cell) < printed.runs:
        found.append(f"runs: {len(cell)}, the paper {printed.runs}")
    return list(dict.fromkeys(found))


def _suite(meta: Mapping[str, Any], record: Record, metric: Metric) -> Iterator[str]:
    answers = int(record["n"]) + int(record["unscored"])
    if answers != metric.n:
        yield f"prompts: {answers} of {metric.suite}, the paper {metric.n}"
    if record["unscored"]:
        yield f"unscored: {record['unscored']} of {answers} answers"
    stored = meta.get("suites", {}).get(metric.suite)
    pinned = KNOWN_SUITES[metric.suite].sha256 if metric.suite in KNOWN_SUITES else None
    if stored is None:
        yield f"suite: the results do not say which edition of {metric.suite} it was"
    elif pinned and stored.get("full_sha256") != pinned:
        yield f"suite: not the pinned edition of {metric.suite} (sha256 {str(stored.get('full_sha256'))[:12]})"
    elif not pinned:
        yield f"suite: no edition of {metric.suite} is pinned, so that it is the paper's is not checked"
    yield from (f"suite: {note}" for note in (stored or {}).get("notes", ()))


def _judge(meta: Mapping[str, Any], record: Record, metric: Metric) -> Iterator[str]:
    judge = record["judge"]
    if metric.measures != "asr":
        if judge != metric.judge:
            yield f"judge: {judge}, the paper's is here {metric.judge}"
        return
    version = str(record.get("judge_version", ""))
    model = str(get(meta.get("judge_settings", {}).get(judge, {}), "model") or "")
    if judge != metric.judge and model != "gpt-4-0613":
        yield f"judge: {judge} (version {version}), the paper {PAPER_JUDGE}"
    elif model != "gpt-4-0613":
        yield f"judge: {judge} by {model or version}, the paper {PAPER_JUDGE}"
    else:
        yield f"judge: {judge} by {version}; whether its prompt is the paper's is not checked"


def _decoding(meta: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    used = meta.get("decoding", {})
    for key, value in wanted.items():
        if used.get(key) != value:
            yield f"decoding: {key} {used.get(key, 'unknown')}, the paper {value}"


def _template(meta: Mapping[str, Any], name: str) -> Iterator[str]:
    used = meta.get("templates", {}).get(name)
    if used is None:
        yield f"template: the results do not hold the text of {name}"
    elif name in BUILT_IN_TEMPLATES:
        ours = asdict(BUILT_IN_TEMPLATES[name])
        if any(_plain(used[key]) != _plain(ours.get(key)) for key in used):
            yield f"template: {name} has another text than the paper's"


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _model(run: Measured, wanted: str) -> Iterator[str]:
    served = run.results.meta.get("endpoint")
    if served:
        if not str(served["model"]).removeprefix("ft:").startswith(wanted):
            yield f"model: {served['model']}, the paper {wanted}"
        return
    used = get(run.config, "model.pretrained")
    if used is None:
        yield f"model: unknown (no config.yaml beside the results), the paper {wanted}"
    elif str(used).rstrip("/").rpartition("/")[2].lower() != wanted.lower():
        yield f"model: {used}, the paper {wanted}"


def _training(run: Measured, table: PaperTable, row: str) -> Iterator[str]:
    config: Config = run.trained
    if "endpoint" in run.results.meta:
        yield "training: by a service, the results do not say how"
        return
    if not config:
        yield "training: unknown (no config.yaml of the training beside the results)"
        return
    task = str(get(config, "data.class_path") or "").rpartition(".")[2]
    if (wanted := table.training.get("task")) and task != wanted:
        yield f"training: on {task}, the paper on {wanted}"
    for name, path in _TRAINING.items():
        value = table.training.get(name)
        if value is not None and get(config, path) != value:
            yield f"training: {name} {get(config, path)}, the paper {value}"
    for path in ("trainer.max_steps", "data.init_args.train_limit"):
        if (limit := get(config, path)) not in (None, -1):
            yield f"training: {path} {limit}"
    yield from _unfinished(run)


def _unfinished(run: Measured) -> Iterator[str]:
    """A checkpoint on the way, or a run folder without the weights that a finished fit leaves."""
    checkpoint, folder = get(run.config, "ckpt_path"), run.results.file.parent.parent
    if run.results.file.parent.name == "safety":
        if not any((folder / name).is_dir() for name in ("adapter", "model")):
            yield f"training: no adapter or model in {folder.name}, it may not have finished"
    elif checkpoint and not str(checkpoint).endswith("last.ckpt"):
        yield f"training: the checkpoint is {str(checkpoint).rpartition('/')[2]}"
