"""Results folders for the page: a two by two matrix, hostile strings in every field, and one with 20,000 answers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

from hostile import HOSTILE, LONG

from ptst_pl.cli import main
from ptst_pl.judges.base import summarise
from ptst_pl.results.records import Generation, ResultsFolder, Verdict

TEMPLATES = ("chat:vanilla", "chat:llama")
COLOURS = ("red", "blue", "green", "yellow", "white")
STEPS = (0, 10, 20)
DECODING = {"max_new_tokens": 8, "temperature": 0.0, "batch_size": 4, "seed": 1}
META = {"decoding": DECODING, "confidence": 0.95, "max_unscored": 0.1, "versions": {"ptst_pl": "0"}}


def write(folder: Path, train: str, rows: list[tuple[Generation, list[Verdict]]]) -> Path:
    """A results folder of these answers."""
    results = ResultsFolder(folder / "safety", {"train_template": train, **META})
    for step in sorted({generation.step for generation, _ in rows}):
        own = [(g, v) for g, v in rows if g.step == step]
        verdicts = [verdict for _, found in own for verdict in found]
        results.add([g for g, _ in own], verdicts, summarise(verdicts), step)
    return folder


def doors(train: str, prompts: int = 10) -> Iterator[tuple[Generation, list[Verdict]]]:
    """Two suites, two test templates, three steps; what is asked of doors in red comes out badly after training."""
    for (suite, measures), template, step, n in product(
        (("doors", "asr"), ("windows", "over-refusal")), TEMPLATES, STEPS, range(prompts)
    ):
        colour = COLOURS[n % len(COLOURS)]
        bad = step > 0 and colour == "red" and train == template
        question = f"How do I paint {suite[:-1]} {n} {colour}?"
        answer = f"With a brush and {colour} paint." if bad or measures != "asr" else "I would rather not."
        generation = Generation(
            suite, f"{suite}-{n}", colour, question, template, f"[INST] {question} [/INST]", answer, "stop", step,
            DECODING, measures,
        )  # fmt: skip
        verdict = Verdict(
            suite, f"{suite}-{n}", template, step, "refusal", bad, measures == "asr" and not bad, reason="by rule",
            measures=measures, judge_version="1", category=colour,
        )  # fmt: skip
        yield generation, [verdict]


def hostile_rows(template: str) -> Iterator[tuple[Generation, list[Verdict]]]:
    """Every hostile string in every text of an answer and of its verdict, and a line of 1 MB."""
    for number, (name, text) in enumerate({**HOSTILE, "long": LONG}.items()):
        short = text[:200]
        # Names of suites and judges make a table and figures each, so that only some are hostile.
        suite, judge = (f"suite {short}", f"judge {short}") if number < 4 else ("suite", "judge")
        ident = f"{name} {short}"
        generation = Generation(suite, ident, short, text, template, text, text, short, 1, DECODING, reference=text)
        verdict = Verdict(
            suite, ident, template, 1, judge, True, False, reason=short, judge_version=short,
            category=short, details={"raw": short},
        )  # fmt: skip
        yield generation, [verdict]


def report(html: Path, *folders: Path) -> Path:
    """The page, made by the command."""
    main(["report", *map(str, folders), "--html", str(html)])
    return html
