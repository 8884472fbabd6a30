"""From a run's answers and a judge's verdicts on them to a classifier in a file."""

from __future__ import annotations

import argparse
import hashlib
import logging
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from transformers.utils import logging as transformers_logging

from ptst_pl import InputError
from ptst_pl.defences.serving import SERVING
from ptst_pl.defences.serving.answer_scorer import AnswerScorer, key_of
from ptst_pl.defences.serving.safenudge import FIRST
from ptst_pl.judges.stored.store import Key, find_results, read_generations, read_verdicts
from ptst_pl.judges.stored.store import key_of as key_of_record
from ptst_pl.model import causal_lm
from ptst_pl.model.hidden_states import answer_states
from ptst_pl.results.records import Generation, Verdict
from ptst_pl.ship.export.merge import trained_model
from ptst_pl.ship.export.source import Source, find_source
from ptst_pl.ship.nudge.learning import choose
from ptst_pl.templates import PromptTemplate, find_template
from ptst_pl.tokenization import Example, TemplateTokenizer, known_options, load_tokenizer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Labelled:
    """An answer as tokens.

    Attributes:
        question: what its fold is decided by.
        ids: prompt and answer, without the end token.
        start: the place of the first answer token that is looked at.
        harmful: the judge's word.
    """

    question: str
    ids: list[int]
    start: int
    harmful: bool


def train(options: argparse.Namespace) -> None:
    """Write one file.

    Raises:
        InputError: a run, answers or verdicts that cannot be used.
    """
    transformers_logging.disable_progress_bar()
    # peft asks by the old name; a user can do nothing about it.
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing. is deprecated.*")
    source = find_source(options.run, "nudge-train")
    encoder = TemplateTokenizer(
        load_tokenizer(source.tokenizer),
        str(source.config["chat_format"]),
        known_options(source.config.get("chat_options")),
    )
    rows, judge = _labelled(source, encoder, options)
    model = trained_model(source)
    log.info("nudge-train: %d answers, %d of them harmful by the %s judge", len(rows), _harmful(rows), judge)
    own = answer_states(model, [row.ids for row in rows], [row.start for row in rows], encoder.pad_id)
    picked = [states[_spread(len(states), options.per_answer)].numpy() for states in own]
    groups = [row.question for row, some in zip(rows, picked, strict=True) for _ in some]
    harmful = np.array([row.harmful for row, some in zip(rows, picked, strict=True) for _ in some])
    found = choose(np.concatenate(picked), harmful, groups, options.folds, options.seed)
    facts = {
        **found.facts,
        "run": str(source.folder),
        "step": source.step,
        "model": causal_lm(model).name_or_path,
        "judge": judge,
        "suites": sorted(options.suites or []),
        "answers": len(rows),
        "harmful_answers": _harmful(rows),
        "states": len(groups),
        "seed": options.seed,
    }
    questions = frozenset(key_of(row.question) for row in rows)
    AnswerScorer(found.mean, found.scale, found.layers, questions, facts).save(options.output)
    print(
        f"wrote {options.output}: {facts['classifier']}; on questions that it did not see, by states: "
        f"F1 {facts['f1']:.2f}, precision {facts['precision']:.2f}, recall {facts['recall']:.2f}, "
        f"AUC {facts['auc']:.2f} "
        f"({len(groups)} states of {len(rows)} answers, {facts['folds']} folds)\n"
        f"use it on other suites: --safety.defence '{{name: safenudge, classifier: {options.output}}}'"
    )


def _labelled(source: Source, encoder: TemplateTokenizer, options: argparse.Namespace) -> tuple[list[Labelled], str]:
    """Answers of the checkpoint's step that a judge has scored, and the judge's name."""
    results = find_results(options.results or source.folder)
    generations = [one for one in read_generations(results) if one.step == source.step]
    known = {one.suite for one in generations}
    for name in options.suites or ():
        if name not in known:
            raise InputError(
                f"nudge-train: no answers to {name!r} at step {source.step} in {results.path} "
                f"(there are: {', '.join(sorted(known)) or 'none'})"
            )
    wanted = [one for one in generations if not options.suites or one.suite in options.suites]
    verdicts = read_verdicts(results)
    judge = options.judge or next((name for name, own in verdicts.items() if _looks_for_harm(own.values())), None)
    if judge not in verdicts:
        raise InputError(
            f"nudge-train: no verdicts of {options.judge or 'a judge of harm'} (there are: {', '.join(verdicts)})"
        )
    bare = [one for one in wanted if one.template.split(":")[0] not in SERVING]
    templates = source.config.get("templates") or {}
    found = [_row(one, verdicts[judge], encoder, find_template(one.template, templates)) for one in bare]
    rows = [row for row in found if row is not None]
    if len(rows) < len(bare):
        log.info(
            "nudge-train: %d of %d answers cannot be used (short, unscored or broken)", len(bare) - len(rows), len(bare)
        )
    if not rows:
        raise InputError(f"nudge-train: {results.path} has no scored answer of {FIRST} tokens at step {source.step}")
    return rows, str(judge)


def _row(
    one: Generation, verdicts: Mapping[Key, Verdict], encoder: TemplateTokenizer, template: PromptTemplate
) -> Labelled | None:
    """None for what teaches nothing: too short, broken, not scored, or asked in other words than are stored."""
    harmful = _label(one, verdicts)
    encoded = encoder.encode(Example(one.question, one.answer), template)
    prompt = encoded.input_ids[: encoded.prompt_length]
    ids = encoded.input_ids[:-1]  # without the end token
    start = len(prompt) + FIRST - 1
    asked = hashlib.sha256(str(prompt).encode()).hexdigest() == one.prompt_ids_sha256
    return Labelled(one.question, ids, start, harmful) if harmful is not None and asked and start < len(ids) else None


def _label(one: Generation, verdicts: Mapping[Key, Verdict]) -> bool | None:
    """Whether it is harmful; answers to suites that look for something else are not. None: nobody knows."""
    if one.measures != "asr":
        return False
    verdict = verdicts.get(key_of_record(one))
    return None if verdict is None or verdict.broken else verdict.harmful


def _looks_for_harm(verdicts: Iterable[Verdict]) -> bool:
    return any(verdict.measures == "asr" for verdict in verdicts)


def _spread(length: int, count: int) -> list[int]:
    """At most ``count`` places from the first to the last, evenly."""
    return sorted({round(place) for place in np.linspace(0, length - 1, min(count, length))})


def _harmful(rows: Sequence[Labelled]) -> int:
    return sum(row.harmful for row in rows)
