"""``ptst_pl agree``: how the judges of a folder agree on the same answers."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from ptst_pl import InputError, did_you_mean
from ptst_pl.judges.sheet import write_csv
from ptst_pl.judges.stored.agreement import Label, Row
from ptst_pl.judges.stored.agreement_tables import WORDS, confusion_table, difference_table, pair_table, reference_table
from ptst_pl.judges.stored.store import Key, find_results, key_of, read_generations, read_verdicts
from ptst_pl.results.folder_argument import FolderParser, print_anything
from ptst_pl.results.records import COUNTED_FIELD, Generation

TITLES = {"asr": "attack success (harmful or not)", "over-refusal": "over-refusal (refused or not)"}


@dataclass(frozen=True)
class Labelled:
    """The answers to the suites of one measure, and each judge's label of those that it has judged."""

    measures: str
    generations: dict[Key, Generation]
    labels: dict[str, dict[Key, Label]]

    def rows(self, first: str, second: str, suite: str | None = None) -> list[Row]:
        """The answers that both have judged; a group is a prompt."""
        one, two = self.labels[first], self.labels[second]
        return [
            (key[:2], one[key], two[key])
            for key in self.generations
            if key in one and key in two and suite in (None, key[0])
        ]

    def differing(self) -> list[Key]:
        """The answers of which two judges say different things; unscored is no word."""
        said = {key: {labels.get(key) for labels in self.labels.values()} for key in self.generations}
        return [key for key, words in said.items() if {True, False} <= words]


def main(argv: Sequence[str]) -> None:
    """Print the tables and, with ``--csv``, write the rows on which the judges differ."""
    print_anything()
    options = _options(argv[1:])
    results = find_results(options.folder)
    generations = [g for g in read_generations(results) if options.step in (None, g.step)]
    if not generations:
        raise InputError(f"agree: --step {options.step}: the folder has step {_list(sorted(results.steps()))}")
    found = {
        judge: {key: v for key, v in verdicts.items() if v.measures in TITLES}
        for judge, verdicts in read_verdicts(results).items()
    }
    judges = _judges(options, [judge for judge, verdicts in found.items() if verdicts])
    blocks, every = [], []
    for measures in TITLES:
        own = {key_of(g): g for g in generations if g.measures == measures}
        field = COUNTED_FIELD[measures]
        labels = {j: {key: getattr(v, field) for key, v in found[j].items() if key in own} for j in judges}
        part = Labelled(measures, own, {judge: own_labels for judge, own_labels in labels.items() if own_labels})
        if len(part.labels) > 1:
            blocks.append(_block(part, options, float(results.stored().get("confidence", 0.95))))
            every.append(part)
    if not blocks:
        raise InputError(f"{results.path}: no suite that two of the judges {_list(judges)} have judged")
    print("\n\n\n".join(blocks))
    if options.csv:
        _write_rows(options.csv, every, judges)


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = FolderParser("agree", "How judges agree on the same answers: confusion, kappa, and where they differ.")
    parser.add_argument("--judges", nargs="+", metavar="NAME", help="which judges (all that the folder has)")
    parser.add_argument(
        "--reference", metavar="NAME", help="measure the others against this judge, such as exact or human"
    )
    parser.add_argument("--step", type=int, help="the answers of this step only (all steps)")
    parser.add_argument("--rows", type=int, default=10, metavar="N", help="differing rows to print (%(default)s)")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write all differing rows")
    return parser.parse_args(argv)


def _judges(options: argparse.Namespace, found: Sequence[str]) -> list[str]:
    wanted = dict.fromkeys([*(options.judges or found), *([options.reference] if options.reference else [])])
    for name in wanted:
        if name not in found:
            raise InputError(
                f"agree: no verdicts of judge {name!r} in the folder{did_you_mean(name, found)} (there are: "
                f"{_list(found)}); add them with 'ptst_pl judge'"
            )
    if len(wanted) < 2:
        raise InputError(f"agree: one judge only ({_list(wanted)}); add another with 'ptst_pl judge'")
    return list(wanted)


def _list(names: object) -> str:
    return ", ".join(map(str, names)) if isinstance(names, (list, tuple, dict)) else str(names)


def _block(part: Labelled, options: argparse.Namespace, confidence: float) -> str:
    """Everything about one measure."""
    pairs = list(combinations(part.labels, 2))
    suites = list(dict.fromkeys(key[0] for key in part.generations))
    steps = sorted({key[3] for key in part.generations})
    title = f"{TITLES[part.measures]}: {len(part.generations)} answers, step {_list(steps)}"
    rows = {("all", *pair): part.rows(*pair) for pair in pairs}
    if len(suites) > 1:
        rows |= {(suite, *pair): part.rows(*pair, suite) for suite in suites for pair in pairs}
    blocks = [title, pair_table({name: own for name, own in rows.items() if own}, part.measures, confidence)]
    blocks += [confusion_table(pair, part.rows(*pair), part.measures) for pair in pairs if part.rows(*pair)]
    if options.reference in part.labels:
        others = {judge: part.rows(judge, options.reference) for judge in part.labels if judge != options.reference}
        blocks.append(reference_table(options.reference, others, confidence))
    differing = part.differing()
    blocks.append(f"judges differ on {len(differing)} of {len(part.generations)} answers")
    if shown := differing[: max(0, options.rows)]:
        blocks[-1] += f"; the first {len(shown)}:\n" if len(shown) < len(differing) else ":\n"
        blocks[-1] += difference_table([part.generations[key] for key in shown], part.labels, part.measures)
    return "\n\n".join(blocks)


def _write_rows(path: Path, parts: Sequence[Labelled], judges: Sequence[str]) -> None:
    head = ["measures", "suite", "prompt_id", "template", "step", *judges, "question", "answer"]
    lines: list[list[str | int]] = []
    for part in parts:
        for key in part.differing():
            says = [WORDS[part.measures][part.labels[j][key]] if key in part.labels.get(j, {}) else "" for j in judges]
            generation = part.generations[key]
            lines.append([part.measures, *key, *says, generation.question, generation.answer])
    write_csv(path, [head, *lines])
    print(f"\ndiffering rows: {path}")
