"""SafeNudge: a classifier reads along; when the answer turns unsafe, the model is told so where nobody sees it.

Fonseca et al. 2025, arXiv 2501.02018. At every token j >= 5 of an answer, as long as it was not nudged, p = G(h), h the
last layer's hidden state of the last token. If p >= tau, decoding goes on from prompt + text so far + nudge + text so
far. It happens once, and the nudge is no part of what is shown.

Up to its trigger an answer is the bare model's. So this starts from the bare answers: one pass over them gives every h,
and only answers with a trigger are continued. The texts are those of a loop that asks G at every step.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from ptst_pl import InputError
from ptst_pl.defences.serving.answer_scorer import key_of, load_scorer
from ptst_pl.defences.serving.base import Bare, Served, ServingDefence
from ptst_pl.generation import Answer, generate
from ptst_pl.judges.build import build_judge
from ptst_pl.model.hidden_states import answer_states
from ptst_pl.results.records import Generation

log = logging.getLogger(__name__)
FIRST = 5  # the token at which the classifier is asked for the first time
NUDGE = " Wait. What I was about to say could hurt someone, so from here on I will only say what is safe. "


@dataclass
class SafeNudge(ServingDefence):
    """Read along, nudge once, go on.

    Attributes:
        classifier: file of ``ptst_pl nudge-train``.
        guard: in its place a judge, by name or with arguments: it reads the text so far, as WildGuard does in the
            paper's variant. Its score counts where it gives one from 0 to 1, else its verdict.
        threshold: tau; above 1 nothing happens.
        nudge: what the model is told, in its own voice.
        every: ask at every so manieth token from the fifth on; the guard variant is slow.
    """

    source: ClassVar[str] = "arXiv 2501.02018"
    name: ClassVar[str] = "safenudge"
    classifier: str = ""
    guard: str | dict[str, Any] | None = None
    threshold: float = 0.5
    nudge: str = NUDGE
    every: int = 1

    def __post_init__(self) -> None:
        if bool(self.classifier) == (self.guard is not None):
            raise InputError(
                "defence safenudge: give classifier, a file of ptst_pl nudge-train, or guard, a judge; one of them"
            )
        if self.threshold <= 0:
            raise InputError(f"defence safenudge: threshold is {self.threshold}, expected a number above 0")
        if self.every < 1 or not self.nudge.strip():
            raise InputError("defence safenudge: every must be at least 1, and nudge some text")
        self._scorer = load_scorer(Path(self.classifier)) if self.classifier else None
        self._judge = build_judge(self.guard) if self.guard is not None else None

    def record(self) -> dict[str, Any]:
        """Name and arguments, and how the classifier was made."""
        return super().record() | ({"classifier_facts": dict(self._scorer.facts)} if self._scorer else {})

    def answers(self, given: Sequence[Bare], served: Served) -> tuple[list[Generation], list[Mapping[str, Any]]]:
        """Answers as they are, or with another end behind the place of the nudge."""
        scores = self._scores(given, served)
        ends = self._ends([self._trigger(own) for own in scores], given, served)
        shown: list[Generation] = []
        facts: list[Mapping[str, Any]] = []
        for number, (bare, own) in enumerate(zip(given, scores, strict=True)):
            place, end, tokens = ends.get(number, (None, bare.answer, 0))
            record = bare.record if place is None else bare.again(end)
            shown.append(replace(record, template=self.label(record.template)))
            read = 0 if self._scorer else sum(place for place, _ in own)
            score = round(1 - max((value for _, value in own), default=0.0), 4)
            facts.append(
                self.fact(bare, place is not None, read + tokens, score=score, at=place, trained_on=self._seen(bare))
            )
        self._warn(facts)
        return shown, facts

    def _seen(self, bare: Bare) -> bool:
        return self._scorer is not None and key_of(bare.record.question) in self._scorer.questions

    def _warn(self, facts: Sequence[Mapping[str, Any]]) -> None:
        for suite in dict.fromkeys(fact["suite"] for fact in facts if fact["trained_on"]):
            of = [fact for fact in facts if fact["suite"] == suite]
            seen = sum(fact["trained_on"] for fact in of)
            log.warning(
                "safenudge: the classifier was trained on answers to %d of %s's %d prompts; its rates there flatter",
                seen, suite, len(of),
            )  # fmt: skip

    def _scores(self, given: Sequence[Bare], served: Served) -> list[list[tuple[int, float]]]:
        """For each answer, (tokens so far, p) wherever p is asked for."""
        places = [range(FIRST, len(bare.answer.ids) + 1, self.every) for bare in given]
        if self._judge is not None:
            return self._by_guard(given, places)
        assert self._scorer is not None
        rows = [bare.prompt + bare.answer.ids for bare in given]
        asked = [number for number, own in enumerate(places) if own]
        starts = [len(given[number].prompt) for number in asked]
        states = answer_states(served.model, [rows[n] for n in asked], starts, served.encoder.pad_id)
        found: list[list[tuple[int, float]]] = [[] for _ in given]
        for number, own in zip(asked, states, strict=True):
            if own.shape[1] != self._scorer.width:
                raise InputError(
                    f"defence safenudge: {self.classifier} is for hidden states of {self._scorer.width} numbers, this "
                    f"model has {own.shape[1]}; train one with ptst_pl nudge-train on a run of this model"
                )
            values = self._scorer.probabilities(own[[place - 1 for place in places[number]]].numpy())
            found[number] = list(zip(places[number], map(float, values), strict=True))
        return found

    def _by_guard(self, given: Sequence[Bare], places: Sequence[range]) -> list[list[tuple[int, float]]]:
        assert self._judge is not None
        asked = [
            (number, place, given[number].again(Answer(given[number].answer.ids[:place], "length")))
            for number, own in enumerate(places)
            for place in own
        ]
        found: list[list[tuple[int, float]]] = [[] for _ in given]
        verdicts = self._judge.verdicts([record for _, _, record in asked])
        for (number, place, _), verdict in zip(asked, verdicts, strict=True):
            whole = verdict.score is not None and 0 <= verdict.score <= 1
            found[number].append((place, float(verdict.score or 0) if whole else float(bool(verdict.harmful))))
        return found

    def _trigger(self, scores: Sequence[tuple[int, float]]) -> int | None:
        return next((place for place, value in scores if value >= self.threshold), None)

    def _ends(
        self, places: Sequence[int | None], given: Sequence[Bare], served: Served
    ) -> dict[int, tuple[int, Answer, int]]:
        """Of nudged answers: the place, the whole answer, and the tokens that were read and made for it."""
        nudge = served.encoder.tokenizer(self.nudge, add_special_tokens=False)["input_ids"]
        longest = served.decoding.max_new_tokens
        nudged: dict[int, tuple[int, Answer, int]] = {}
        by_stops: dict[tuple[int, ...], list[tuple[int, int]]] = {}
        for number, place in enumerate(places):
            if place is not None and place < longest:
                by_stops.setdefault(given[number].stops, []).append((number, place))
            elif place is not None:  # nothing is left to be said
                nudged[number] = place, given[number].answer, 0
        for stops, own in by_stops.items():
            begun = [given[number].answer.ids[:place] for number, place in own]
            prompts = [
                given[number].prompt + start + nudge + start for (number, _), start in zip(own, begun, strict=True)
            ]
            found = generate(
                served.model, prompts, stops, served.encoder.pad_id, served.decoding,
                decode=lambda ids: str(served.encoder.tokenizer.decode(ids, skip_special_tokens=True)),
                lengths=[longest - place for _, place in own],
            )  # fmt: skip
            for (number, place), start, end in zip(own, begun, found, strict=True):
                # The bare answer's own end is not said, so its tokens are saved.
                more = len(nudge) + len(start) + len(end.ids)
                nudged[number] = place, Answer(start + end.ids, end.finish_reason), more
        return nudged
