"""One safety evaluation: prompts under test templates -> answers -> verdicts -> rates.

Used by the callback while training and by ``test``; it knows the model only as something to
generate with.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import nn

from ptst_pl import InputError
from ptst_pl.defences.serving import Bare, Served, ServingDefence
from ptst_pl.evaluation.cells import Cell, check_stop_texts, decoder, prepare, to_generation
from ptst_pl.evaluation.conversations import Told, first_cell, most_turns, still_open, turn_cell
from ptst_pl.generation import Answer, Backend, Decoding, choose, generate, stop_ids
from ptst_pl.judges.base import FAILED, MAX_UNSCORED, Judge, summarise
from ptst_pl.judges.suites_of import check_judged, named_suites
from ptst_pl.model import causal_lm
from ptst_pl.results.journal import Journal, Stored
from ptst_pl.results.records import Generation, Verdict
from ptst_pl.suites import PromptSuite
from ptst_pl.templates import PromptTemplate
from ptst_pl.tokenization import TemplateTokenizer

log = logging.getLogger(__name__)
# What a message of a user takes beside the answers, in a conversation that grows.
TURN_TOKENS = 64
Gather = Callable[[list[Any]], list[list[Any]]]


class Stopped(Exception):  # noqa: N818  (no error)
    """An evaluation that was left because the run is to stop; raised by all processes together."""


@dataclass(frozen=True)
class Share:
    """Which prompts this process generates for, and how the shares come together.

    Attributes:
        rank: number of this process.
        world_size: number of processes.
        gather: every process's part, in rank order; a call of all together.
        leaving: whether this process was asked to leave the evaluation; asked after every step of decoding.
        vote: whether any process says yes; a call of all together.
    """

    rank: int = 0
    world_size: int = 1
    gather: Gather = lambda part: [part]
    leaving: Callable[[], bool] = lambda: False
    vote: Callable[[bool], bool] = lambda yes: yes

    def agree(self, left: bool = False) -> None:
        """Leave together, or go on together; a process that left alone would let the others wait.

        Raises:
            Stopped: a process has left or was asked to.
        """
        if self.vote(left or self.leaving()):
            raise Stopped


class Evaluation:
    """Suites x templates x judges, prepared once and run at any number of steps.

    Args:
        encoder: renders and tokenises, as in training.
        templates: the test templates.
        suites: the prompt suites.
        judges: at least one judge, with different names.
        decoding: how answers are generated.
        confidence: of the intervals.
        max_unscored: largest share of unscored answers with which a rate is still defined.
        serving: what stands between the answers and their readers, for columns beside the bare model's.
        drafts: begin with the answers of the last run, checked as they are read: a matter of time alone.

    Raises:
        InputError: nothing to evaluate, or two templates, suites or judges of one name.
    """

    def __init__(
        self,
        encoder: TemplateTokenizer,
        templates: Sequence[PromptTemplate],
        suites: Sequence[PromptSuite],
        judges: Sequence[Judge],
        decoding: Decoding,
        confidence: float = 0.95,
        max_unscored: float = MAX_UNSCORED,
        serving: ServingDefence | None = None,
        drafts: bool = False,
    ) -> None:
        for kind, names in (
            ("template", [t.name for t in templates]),
            ("suite", [s.name for s in suites]),
            ("judge", [j.name for j in judges]),
        ):
            if not names:
                raise InputError(f"safety: no {kind} to evaluate with; give at least one")
            if len(set(names)) < len(names):
                raise InputError(f"safety: two of the {kind}s have one name ({', '.join(names)})")
        if serving is not None and (talks := [suite.name for suite in suites if suite.conversational]):
            raise InputError(
                f"safety.defence {serving.name} sees last answers alone, and {talks[0]} is made of conversations in "
                "which every answer counts; take one of them out"
            )
        check_judged(judges, {suite.name: suite.measures for suite in suites})
        decoding.check_local()
        decoding.check_evaluation()
        check_stop_texts(encoder, decoding)
        self.encoder, self.judges, self.decoding, self.confidence = encoder, judges, decoding, confidence
        self.suites, self.max_unscored, self.serving = suites, max_unscored, serving
        self.backend: Backend = decoding.backend
        self.drafts = drafts
        # By cell and prompt; of all processes' prompts those that this one answers.
        self._last: dict[tuple[str, int], array[int]] = {}
        self.cells = [
            (first_cell if suite.conversational else prepare)(encoder, suite, template, decoding.prefix)
            for template in templates
            for suite in suites
        ]

    @property
    def size(self) -> int:
        """Number of answers that one run generates, over all processes."""
        return sum(len(cell.ids) for cell in self.cells)

    def meta(self) -> dict[str, Any]:
        """What every number depends on, for the results file; the backend by name once it has been chosen."""
        templates = {cell.template.name: asdict(cell.template) for cell in self.cells}
        own: dict[str, Any] = {}
        if self.serving is not None:
            own = {"serving_defence": self.serving.record()}
            for name, fields in list(templates.items()):
                templates[self.serving.label(name)] = {**fields, "name": self.serving.label(name)}
        return {
            **own,
            "chat_format": self.encoder.chat_format,
            "chat_options": self.encoder.options.record(),
            "prompts_with_special_tokens": {
                suite.name: sum(self.encoder.text.steers(prompt.text) for prompt in suite.prompts)
                for suite in self.suites
            },
            "decoding": asdict(self.used),
            "confidence": self.confidence,
            "max_unscored": self.max_unscored,
            "templates": templates,
            "suites": {suite.name: suite.record() for suite in self.suites},
            "judges": {judge.name: judge.version for judge in self.judges},
            "judge_settings": {judge.name: judge.settings() for judge in self.judges if judge.settings()},
            "judge_accuracy": {judge.name: judge.accuracy.record() for judge in self.judges if judge.accuracy},
            **named_suites(self.judges),
        }

    @property
    def used(self) -> Decoding:
        """The settings, with the backend that was chosen for the model."""
        return replace(self.decoding, backend=self.backend)

    def answers(
        self,
        model: nn.Module,
        step: int,
        share: Share,
        progress: Callable[[int], object] = lambda done: None,
        journal: Journal | None = None,
        made: Callable[[int], object] = lambda tokens: None,
    ) -> list[Bare]:
        """All answers at ``step``, each prompt exactly once, on every process (pitfall D7).

        Args:
            model: what answers.
            step: the step that the records carry.
            share: this process's part.
            progress: called with the number of prompts just finished.
            journal: where this process's answers are kept while they come; what is in it is not
                generated again.
            made: called with the number of tokens just made.

        Raises:
            Stopped: a process was asked to leave.
        """
        share.agree()
        longest = max(len(ids) for cell in self.cells for ids in cell.ids) + self.decoding.max_new_tokens
        longest += (most_turns(self.cells) - 1) * (self.decoding.max_new_tokens + TURN_TOKENS)
        self.backend = choose(model, self.decoding.backend, longest)
        mine = [[(cell, index) for index in range(share.rank, len(cell.ids), share.world_size)] for cell in self.cells]
        answers: list[dict[int, Told]] = [{} for _ in self.cells]

        def made_or_stopped(tokens: int) -> None:
            made(tokens)
            if share.leaving():
                raise Stopped

        left = False
        try:
            for numbers in self._together():
                places = [(number, *place) for number in numbers for place in mine[number]]
                found = self._generate(model, [place[1:] for place in places], progress, journal, made_or_stopped)
                for (number, _, index), answer in zip(places, found, strict=True):
                    answers[number][index] = Told(answer)
                self._go_on(model, numbers, answers, journal, made_or_stopped)
        except Stopped:
            left = True
        share.agree(left)
        bare: list[Bare] = []
        for cell, own in zip(self.cells, answers, strict=True):
            told = dict(sorted(pair for part in share.gather(list(own.items())) for pair in part))
            stops = tuple(stop_ids(model, cell.end_id))
            last = self._last_turn(cell, told)
            bare += [self._bare(last, index, one.answer, step, stops) for index, one in told.items()]
        return bare

    def _go_on(
        self,
        model: nn.Module,
        numbers: Sequence[int],
        answers: Sequence[dict[int, Told]],
        journal: Journal | None,
        made: Callable[[int], object],
    ) -> None:
        """The later turns of conversations, one turn of all open cases at a time."""
        cells = {number: self.cells[number] for number in numbers if self.cells[number].suite.conversational}
        newest = {number: answers[number] for number in cells}
        while True:
            earlier = {n: still_open(self.encoder, cells[n], newest[n], self.decoding) for n in cells}
            if not any(earlier.values()):
                return
            for n, said in earlier.items():
                cells[n] = turn_cell(self.encoder, self.cells[n].suite, cells[n].template, said)
            places = [(n, cells[n], index) for n, said in earlier.items() for index in said]
            found = self._generate(model, [place[1:] for place in places], lambda done: None, journal, made)
            newest = {n: {} for n in cells}
            for (n, _, index), answer in zip(places, found, strict=True):
                newest[n][index] = answers[n][index] = Told(answer, earlier[n][index])

    def _last_turn(self, cell: Cell, told: Mapping[int, Told]) -> Cell:
        """The prompts that the answers are to: of a conversation each case's last."""
        if not cell.suite.conversational:
            return cell
        return turn_cell(self.encoder, cell.suite, cell.template, {index: one.earlier for index, one in told.items()})

    def _bare(self, cell: Cell, index: int, answer: Answer, step: int, stops: tuple[int, ...]) -> Bare:
        def record(answer: Answer) -> Generation:
            return to_generation(self.encoder, cell, index, answer, step, self.used)

        return Bare(record(answer), cell.ids[index], answer, record, stops)

    def _together(self) -> list[list[int]]:
        """Numbers of the cells that are answered in one go: with the same end token, so that no slot waits.

        Plain ``generate`` gets them one by one: what a batch is made of is part of its result in bf16 (pitfall D5).
        """
        if self.backend == "hf":
            return [[number] for number in range(len(self.cells))]
        by_end: dict[int, list[int]] = {}
        for number, cell in enumerate(self.cells):
            by_end.setdefault(cell.end_id, []).append(number)
        return list(by_end.values())

    def _generate(
        self,
        model: nn.Module,
        places: Sequence[tuple[Cell, int]],
        progress: Callable[[int], object],
        journal: Journal | None,
        made: Callable[[int], object],
    ) -> list[Answer]:
        """Answers to prompts of cells with one end token."""
        if not places:
            return []
        # Answers of another backend are another evaluation's, though only in bf16 they differ.
        label = {cell.name: f"{cell.name} by {self.backend}" for cell, _ in places}
        stored = {name: {} if journal is None else journal.known(label[name]) for name in label}
        found = {number: stored[cell.name].get(index) for number, (cell, index) in enumerate(places)}
        known = {number: Answer(list(map(int, s[0])), s[1]) for number, s in found.items() if s is not None}

        def keep(answers: dict[int, Answer]) -> None:
            if journal is None:
                return
            parts: dict[str, dict[int, Stored]] = {}
            for number, answer in answers.items():
                cell, index = places[number]
                parts.setdefault(label[cell.name], {})[index] = (answer.ids, answer.finish_reason)
            for name, part in parts.items():
                journal.add(name, part)

        limit = positions(model)
        known |= {
            number: Answer([], f"{FAILED}: a prompt of {len(cell.ids[index])} tokens, the model has {limit} positions")
            for number, (cell, index) in enumerate(places)
            if len(cell.ids[index]) >= limit
        }
        prompts, stops = [cell.ids[index] for cell, index in places], stop_ids(model, places[0][0].end_id)
        found_answers = generate(
            model, prompts, stops, self.encoder.pad_id, self.decoding, progress, known, keep,
            decoder(self.encoder, self.decoding), None, made, None,
            [self._last.get((cell.name, index), ()) for cell, index in places],
        )  # fmt: skip
        if self.drafts:
            self._last |= {
                (c.name, index): array("i", a.ids) for (c, index), a in zip(places, found_answers, strict=True)
            }
        return [
            answer
            if len(prompt) + len(answer.ids) <= limit
            else Answer(answer.ids, f"{FAILED}: the answer runs past the model's {limit} positions")
            for prompt, answer in zip(prompts, found_answers, strict=True)
        ]

    def defended(
        self, answers: Sequence[Bare], served: Served, share: Share
    ) -> tuple[list[Generation], list[Mapping[str, Any]]]:
        """What users would see under the serving defence, and a line of facts for each; nothing without one.

        Args:
            answers: the bare ones, the same on every process; each defends its own share.
            served: what the defence works with.
            share: this process's part.
        """
        if self.serving is None:
            return [], []
        mine = answers[share.rank :: share.world_size]
        shown, facts = self.serving.answers(mine, served) if mine else ([], [])
        parts = share.gather(list(zip(shown, facts, strict=True)))
        pairs = [parts[place % len(parts)][place // len(parts)] for place in range(len(answers))]
        return [one for one, _ in pairs], [fact for _, fact in pairs]

    def judge(self, generations: Sequence[Generation], share: Share, tolerant: bool = False) -> list[Verdict]:
        """Every judge's verdicts on all generations, on every process; each judges its own share.

        Args:
            generations: the answers.
            share: this process's part.
            tolerant: leave answers unscored where a judge cannot go on (a key that was taken back), for a
                training run should not end over its judge.

        Raises:
            Stopped: a process was asked to leave; a judge that is at work finishes first.
        """
        verdicts: list[Verdict] = []
        for judge in self.judges:
            share.agree()
            fit = [generation for generation in generations if judge.fits(generation.suite, generation.measures)]
            parts = share.gather(_verdicts(judge, fit[share.rank :: share.world_size], tolerant))
            verdicts += [parts[place % len(parts)][place // len(parts)] for place in range(len(fit))]
        return verdicts

    def rates(self, verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
        """The rates that follow from verdicts."""
        return summarise(verdicts, self.confidence, self.max_unscored, self.judges)


def positions(model: nn.Module) -> int:
    """How many positions a model was made for; no limit where its config states none."""
    config = causal_lm(model).config.get_text_config()
    found = getattr(config, "max_position_embeddings", None)
    return int(found) if isinstance(found, int) and found > 0 else 2**31


def _verdicts(judge: Judge, generations: Sequence[Generation], tolerant: bool) -> list[Verdict]:
    try:
        return judge.verdicts(generations)
    except InputError as error:
        if not tolerant:
            raise
        log.warning("judge %s cannot go on, its answers of this step stay unscored: %s", judge.name, error)
        return [judge.verdict(generation, reason=f"the judge failed: {error}") for generation in generations]


def last_rates(rates: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The records of the first and of the last step, in that order; one set if they are the same."""
    steps = sorted({int(record["step"]) for record in rates})
    return [record for step in dict.fromkeys(steps[:1] + steps[-1:]) for record in rates if record["step"] == step]
