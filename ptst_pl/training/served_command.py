"""``test`` against an OpenAI-compatible endpoint: the same suites, templates and judges, and no local model.

Chosen by ``--endpoint.model`` on the command line. Of a training config only the keys below are read, so
that the same config serves for the model at hand and for the served one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace
from tqdm import tqdm

from ptst_pl import InputError
from ptst_pl.evaluation.evaluate import last_rates
from ptst_pl.evaluation.served import Asked, ServedModel, answer, requests
from ptst_pl.judges.base import FAILED, summarise
from ptst_pl.judges.suites_of import check_judged, named_suites
from ptst_pl.results.journal import Journal, check_folder, key_of, was_interrupted
from ptst_pl.results.rates_table import rates_table
from ptst_pl.results.records import Generation, ResultsFolder, write_text
from ptst_pl.results.runs import new_version, newest_version, run_home
from ptst_pl.tasks.config_errors import explain
from ptst_pl.templates import ChatFormat, OwnTemplates, find_template
from ptst_pl.training.callbacks.safety_curve import SafetyCurve, versions
from ptst_pl.training.config_files import read_config, split_configs

KEYS = ("name", "runs", "results", "chat_format", "templates", "safety", "endpoint")
JOURNAL = "answers-0-of-1.jsonl"


def main(argv: Sequence[str]) -> None:
    """Ask, judge, store, print. A rerun of the same command goes on where it stopped."""
    parser = _parser()
    try:
        config = _parse(parser, argv[1:])
        make = getattr(parser, "instantiate", None) or parser.instantiate_classes  # renamed in jsonargparse 4.49
        built = make(config)
    except ArgumentError as error:
        raise InputError(explain(str(error), argv, [action.dest for action in parser._actions])) from error
    _run(built, parser.dump(config))


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="ptst_pl test", exit_on_error=False, description=__doc__)
    parser.add_argument("--name", type=str, required=True, help="results go to <runs>/<name>/endpoint/")
    parser.add_argument("--runs", type=str, default="checkpoints")
    parser.add_argument("--results", type=str | None, default=None, help="another folder for the results")
    parser.add_argument("--chat_format", type=ChatFormat | None, default=None, help="for endpoint.kind completions")
    parser.add_argument("--templates", type=OwnTemplates, default={}, help="your own templates")
    parser.add_class_arguments(SafetyCurve, "safety")
    parser.add_class_arguments(ServedModel, "endpoint")
    return parser


def _parse(parser: ArgumentParser, argv: Sequence[str]) -> Namespace:
    files, flags = split_configs(argv)
    merged: dict[str, Any] = {}
    for file in files:
        merged |= {key: value for key, value in read_config(file).items() if key in KEYS}
    # As flags, so that all of them are checked together and later ones win.
    given = [word for key, value in merged.items() for word in _as_flags(key, value)]
    return parser.parse_args([*given, *flags])


def _as_flags(key: str, value: Any) -> list[str]:
    if key in ("safety", "endpoint") and isinstance(value, dict):
        return [word for name, inner in value.items() for word in _as_flags(f"{key}.{name}", inner)]
    return [f"--{key}={value if isinstance(value, str) else json.dumps(value)}"]


def _run(built: Namespace, dumped: str) -> None:
    curve, served = built.safety, built.endpoint
    curve.decoding.check()
    templates = [find_template(name, built.templates) for name in curve.template_names]
    suites = curve.load_suites()
    check_judged(curve.judges, {suite.name: suite.measures for suite in suites})
    asked = requests(served, templates, suites, curve.decoding, built.chat_format)
    meta: dict[str, Any] = {
        "train_template": "",
        "versions": versions(),
        "endpoint": {"base_url": served.url, "model": served.model, "kind": served.kind},
        "templates": {template.name: asdict(template) for template in templates},
        "decoding": asdict(curve.decoding) | {"backend": "endpoint"},
        "confidence": curve.confidence,
        "max_unscored": curve.max_unscored,
        "suites": {suite.name: suite.record() for suite in suites},
        "judges": {judge.name: judge.version for judge in curve.judges},
        "judge_settings": {judge.name: judge.settings() for judge in curve.judges if judge.settings()},
        "judge_accuracy": {judge.name: judge.accuracy.record() for judge in curve.judges if judge.accuracy},
        **named_suites(curve.judges),
    }
    meta["key"] = key_of(meta)
    folder = _folder(built, meta["key"])
    results = ResultsFolder(folder, meta)
    write_text(folder / "config.yaml", dumped)
    journal = Journal(folder / JOURNAL, meta["key"])
    if not results.steps() or journal.usable:
        _evaluate(curve, served, asked, results, journal)
    print(f"\nresults in {folder}\n\n{rates_table(last_rates(results.rates()))}")


def _folder(built: Namespace, key: str) -> Path:
    if built.results:
        check_folder(Path(built.results), key)
        return Path(built.results)
    base = run_home(built.runs, built.name) / "endpoint"
    newest = newest_version(base)
    return newest if was_interrupted(newest, key) else new_version(base)


def _evaluate(
    curve: SafetyCurve, served: ServedModel, asked: list[Asked], results: ResultsFolder, journal: Journal
) -> None:
    with tqdm(total=len(asked), desc=f"Asking {served.model}", unit="answer", leave=False) as bar:
        generations = answer(served, asked, curve.decoding, journal, bar.update)
    verdicts = [
        verdict
        for judge in curve.judges
        for verdict in judge.verdicts([g for g in generations if judge.fits(g.suite, g.measures)])
    ]
    results.add(generations, verdicts, summarise(verdicts, curve.confidence, curve.max_unscored, curve.judges), 0)
    _close(generations, journal)


def _close(generations: list[Generation], journal: Journal) -> None:
    """Keep the journal where requests failed: the same command asks only those again."""
    failed = [generation for generation in generations if generation.finish_reason.startswith(FAILED)]
    if not failed:
        journal.close()
        return
    journal.begin()
    print(
        f"{len(failed)} of {len(generations)} prompts got no answer and are unscored (the first: "
        f"{failed[0].finish_reason}); the same command with the same results folder asks them again"
    )
