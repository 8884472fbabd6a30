"""``ptst_pl sample``: a sheet of answers for a person to label, and its key."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from ptst_pl import InputError
from ptst_pl.judges.base import FAILED
from ptst_pl.judges.human import HumanJudge
from ptst_pl.judges.sheet import LABELS, row_id, write_csv
from ptst_pl.judges.stored.sampling import Sampled, Stratum, sample, strata, uniform_sample
from ptst_pl.judges.stored.store import find_results, read_generations, read_verdicts
from ptst_pl.results.folder_argument import FolderParser, print_anything
from ptst_pl.results.records import Generation

WHERE = ("suite", "prompt_id", "template", "step", "verdicts")
HOW = """in 'harmful' and 'refused' write yes, no, unsure, or nothing; change nothing else; then
  ptst_pl judge {folder} --judge human --sheet {sheet}"""


def main(argv: Sequence[str]) -> None:
    """Write the sheet and, beside it, the key that says what each row is."""
    print_anything()
    options = _options(argv[1:])
    key_file = options.output.with_name(f"{options.output.stem}.key{options.output.suffix}")
    for path in (options.output, key_file):
        if path.exists():
            raise InputError(f"sample: {path} exists and may hold labels; give another --output, or delete it")
    if options.n < 1:
        raise InputError(f"sample: --n {options.n}: expected at least 1")
    results = find_results(options.folder)
    generations = [
        g
        for g in read_generations(results)
        if g.measures in HumanJudge.measures and not g.finish_reason.startswith(FAILED)
    ]
    found = [g for g in generations if options.step in (None, g.step)]
    if not found:
        steps = ", ".join(map(str, sorted({g.step for g in generations}))) or "none"
        raise InputError(f"sample: no answer to a suite of harm or over-refusal there; steps with one: {steps}")
    groups = strata(found, read_verdicts(results))
    chosen = (uniform_sample if options.uniform else sample)(groups, options.n, options.seed)
    # The sheet last: where it is, its key is.
    write_csv(key_file, _key_lines(chosen))
    write_csv(options.output, _sheet_lines(chosen, options.show))
    print(_summary(chosen, groups, options.uniform))
    print(f"sheet: {options.output}   key (not for the labeller): {key_file}")
    print(HOW.format(folder=options.folder, sheet=options.output))


def _options(argv: Sequence[str]) -> Namespace:
    parser = FolderParser(
        "sample", "A sheet of answers for a person to label, stratified by suite, template and verdicts."
    )
    parser.add_argument("--n", type=int, default=50, help="number of answers (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice and the order (%(default)s)")
    parser.add_argument("--step", type=int, help="answers of this step only (all steps)")
    parser.add_argument("--output", type=Path, default=Path("sheet.csv"), metavar="FILE", help="(%(default)s)")
    parser.add_argument("--uniform", action="store_true", help="every answer alike, for rates and agreement over all")
    sight = parser.add_mutually_exclusive_group()
    sight.add_argument(
        "--blind", action="store_true", help="hide template, step and the judges' verdicts (the default)"
    )
    sight.add_argument("--show", action="store_true", help="show them")
    options = parser.parse_args(argv)
    if options.output.suffix.lower() != ".csv":
        raise InputError(f"sample: --output {options.output}: expected a name ending in .csv")
    return options


def _where(one: Sampled) -> list[str | int]:
    g = one.generation
    says = ", ".join(f"{judge} {word}" for judge, word in one.stratum.says)
    return [g.suite, g.prompt_id, g.template, g.step, says]


def _sheet_lines(chosen: Sequence[Sampled], show: bool) -> list[list[str | int | float]]:
    head = ["row", *(WHERE if show else ()), "question", "answer", *LABELS, "note"]
    empty = [""] * (len(LABELS) + 1)
    lines: list[list[str | int | float]] = [[*head]]
    for one in chosen:
        where = _where(one) if show else []
        lines.append([row_id(one.generation), *where, one.generation.question, one.generation.answer, *empty])
    return lines


def _key_lines(chosen: Sequence[Sampled]) -> list[list[str | int | float]]:
    lines: list[list[str | int | float]] = [["row", *WHERE, "stratum", "weight"]]
    lines += [[row_id(one.generation), *_where(one), str(one.stratum), round(one.weight, 6)] for one in chosen]
    return lines


def _summary(chosen: Sequence[Sampled], groups: Mapping[Stratum, Sequence[Generation]], uniform: bool) -> str:
    seen = {one.stratum for one in chosen}
    differing = sum(one.stratum.disagreement for one in chosen)
    text = f"{len(chosen)} of {sum(map(len, groups.values()))} answers, from {len(seen)} of {len(groups)} strata"
    text += f"; on {differing} of them two judges disagree"
    missing = len(groups) - len(seen)
    if missing:
        text += f"; {missing} strata have no row, a larger --n would reach them"
    return (
        text if uniform else f"{text}\ndisagreement and rare verdicts are favoured: for rates, weight rows by the key"
    )
