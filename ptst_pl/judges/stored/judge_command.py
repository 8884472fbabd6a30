"""``ptst_pl judge``: the verdicts of more judges on answers that were stored before."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ptst_pl import InputError
from ptst_pl.judges import Judge
from ptst_pl.judges.base import summarise
from ptst_pl.judges.stored.bare_file import read_answers
from ptst_pl.judges.stored.chosen_judges import chosen_judges
from ptst_pl.judges.stored.store import find_results, key_of, read_generations, replace_verdicts
from ptst_pl.results.folder_argument import FolderParser, print_anything
from ptst_pl.results.rates_table import rates_table
from ptst_pl.results.records import COUNTED_FIELD, Generation, ResultsFolder, Verdict, to_lines, write_text


def main(argv: Sequence[str]) -> None:
    """Judge the stored answers of a folder again, and print the new rates."""
    print_anything()
    options = _options(argv[1:])
    judges = chosen_judges(options)
    if options.folder.is_file():
        _judge_file(options.folder, judges, options.measures)
        return
    if options.measures:
        raise InputError("judge: --measures is for a file of answers; a results folder knows what its suites measure")
    results = find_results(options.folder)
    generations = read_generations(results)
    shares = [(judge, _share(judge, generations)) for judge in judges]
    rates = [record for judge, share in shares for record in _judge(results, judge, share)]
    later = sorted(results.steps() - {generation.step for generation in generations})
    if later:
        print(f"not judged: step {', '.join(map(str, later))}, evaluated meanwhile; run the command again")
    print(f"\n{rates_table(rates)}")


def _judge_file(file: Path, judges: Sequence[Judge], measures: str | None) -> None:
    """Judge the answers of a file, write the verdicts beside it and print the rates."""
    generations = read_answers(file, measures or "asr")
    verdicts = [verdict for judge in judges for verdict in _verdicts(judge, _share(judge, generations))]
    target = file.with_name(f"{file.name}.verdicts.jsonl")
    write_text(target, to_lines(verdicts))
    print(f"{len(verdicts)} verdicts on {len(generations)} answers: {target}")
    print(f"\n{rates_table(summarise(verdicts, judges=judges))}")


def _options(argv: Sequence[str]) -> Namespace:
    parser = FolderParser(
        "judge",
        "Judge stored answers again: those of a run or results folder, to which verdicts and rates are added, or of a "
        "file with a question and an answer a row (jsonl, json, csv, parquet).",
    )
    parser.add_argument(
        "--judge",
        action="append",
        required=True,
        metavar="NAME",
        help="a known judge, or a class path; may be repeated",
    )
    parser.add_argument(
        "--measures",
        choices=list(COUNTED_FIELD),
        help="of a file: what its questions measure (default: asr)",
    )
    parser.add_argument("--model", help="model of a judge behind an endpoint")
    parser.add_argument("--base-url", metavar="URL", help="the endpoint")
    parser.add_argument("--prompt", metavar="FILE", help="the rubric judge's prompt")
    parser.add_argument("--path", help="local folder of a classifier judge")
    parser.add_argument(
        "--sheet", metavar="FILE", help="sheet of 'ptst_pl sample', labelled by a person (--judge human)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any other argument of a judge's class"
    )
    return parser.parse_args(argv)


def _share(judge: Judge, generations: Sequence[Generation]) -> list[Generation]:
    share = [generation for generation in generations if generation.measures in judge.measures]
    if not share:
        found = ", ".join(dict.fromkeys(generation.measures for generation in generations))
        raise InputError(f"judge {judge.name}: measures {', '.join(judge.measures)}; the folder's suites: {found}")
    return share


def _judge(results: ResultsFolder, judge: Judge, share: Sequence[Generation]) -> list[dict[str, Any]]:
    verdicts = _verdicts(judge, share)
    rates, replaced = replace_verdicts(results, judge, share, verdicts)
    steps = ", ".join(map(str, sorted({generation.step for generation in share})))
    earlier = f"; they replace {replaced} earlier ones of this judge" if replaced else ""
    blank = sum(int(record["unscored"]) for record in rates)
    unscored = f", {blank} of them unscored" if blank else ""
    print(f"{judge.name} judge, version {judge.version}: {len(verdicts)} verdicts at step {steps}{unscored}{earlier}")
    return rates


def _verdicts(judge: Judge, share: Sequence[Generation]) -> list[Verdict]:
    """The verdicts, one per answer: those of a user's own judge that breaks the protocol would go to other answers."""
    try:
        verdicts = judge.verdicts(share)
    except StopIteration:  # fewer than asked for
        verdicts = []
    if [key_of(g) for g in share] != [key_of(v) for v in verdicts] or any(v.judge != judge.name for v in verdicts):
        raise InputError(f"judge {judge.name}: expected one verdict per answer, in order and under its own name")
    return verdicts
