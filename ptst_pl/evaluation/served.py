"""The safety evaluation of a model that is served somewhere else, behind an OpenAI-compatible endpoint.

Under a chat endpoint a template is sent as messages and the server applies the model's own chat
format; under a completions endpoint it is sent as the rendered text, to which the server adds BOS.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ptst_pl import InputError
from ptst_pl.evaluation.cells import in_plain
from ptst_pl.generation import Decoding
from ptst_pl.generation.endpoint import Endpoint, EndpointSettings, Failure, Outcome, Request
from ptst_pl.judges.base import FAILED
from ptst_pl.results.journal import Journal
from ptst_pl.results.records import Generation
from ptst_pl.suites import Prompt, PromptSuite
from ptst_pl.templates import CHAT_FORMATS, PromptTemplate, render, to_messages

Kind = Literal["chat", "completions"]


@dataclass(frozen=True)
class ServedModel(EndpointSettings):
    """An endpoint as the model under test.

    Attributes:
        kind: ``chat`` sends messages, ``completions`` the rendered text.
        length_key: the server's name for the longest answer; newer OpenAI models want ``max_completion_tokens``.
    """

    kind: Kind = "chat"
    length_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"


@dataclass(frozen=True)
class Asked:
    """One prompt under one template, and the request that asks it."""

    suite: PromptSuite
    template: PromptTemplate
    index: int
    request: Request

    @property
    def cell(self) -> str:
        """Suite and template in words, as in a journal."""
        return f"{self.suite.name} under {self.template.name}"

    @property
    def prompt(self) -> Prompt:
        """The suite's prompt."""
        return self.suite.prompts[self.index]

    @property
    def text(self) -> str:
        """What is sent: rendered text, or the messages as JSON."""
        return self.request.prompt or json.dumps(self.request.messages, ensure_ascii=False)


def requests(
    served: ServedModel,
    templates: Sequence[PromptTemplate],
    suites: Sequence[PromptSuite],
    decoding: Decoding,
    chat_format: str | None,
) -> list[Asked]:
    """Everything that an evaluation asks, in the order of its records.

    Raises:
        InputError: a template that this kind of endpoint cannot take.
    """
    _check_decoding(decoding)
    for suite in suites:
        if suite.conversational:
            raise InputError(f"suite {suite.name} is made of conversations; measure it with the model on this machine")
    for template in templates:
        _check(served, template, chat_format)
    options = sampling(served, decoding)
    return [
        Asked(suite, template, index, _request(served, template, prompt.text, options, chat_format))
        for template in templates
        for suite in suites
        for index, prompt in enumerate(suite.prompts)
    ]


def _check_decoding(decoding: Decoding) -> None:
    decoding.check()
    decoding.check_evaluation()
    if decoding.prefix:
        raise InputError(
            "safety.decoding.prefix is set, and a server does not let us see that it begins the answer with it; "
            "measure with the model on this machine, or take the prefix out"
        )


def _check(served: ServedModel, template: PromptTemplate, chat_format: str | None) -> None:
    if served.kind == "chat" and template.kind == "text":
        raise InputError(
            f"template {template.name!r} is plain text, and a chat endpoint puts its model's chat format around "
            "everything; use endpoint.kind completions, or a chat template"
        )
    if served.kind == "completions" and template.kind == "chat" and chat_format not in CHAT_FORMATS:
        raise InputError(
            f"template {template.name!r}: a completions endpoint takes rendered text; set chat_format to one of "
            f"{', '.join(CHAT_FORMATS)} (found {chat_format!r})"
        )


def _request(
    served: ServedModel, template: PromptTemplate, question: str, options: dict[str, Any], chat_format: str | None
) -> Request:
    if served.kind == "chat":
        return Request(messages=to_messages(template, question), sampling=options)
    return Request(prompt=render(template, question, chat_format or ""), sampling=options)


def sampling(served: ServedModel, decoding: Decoding) -> dict[str, Any]:
    """The decoding settings under the names that servers know."""
    options: dict[str, Any] = {served.length_key: decoding.max_new_tokens, "temperature": decoding.temperature}
    if decoding.temperature > 0:
        options |= {"top_p": decoding.top_p, "seed": decoding.seed}
        options |= {"top_k": decoding.top_k} if decoding.top_k else {}
    return options | ({"stop": decoding.stop} if decoding.stop else {})


def answer(
    served: ServedModel,
    asked: Sequence[Asked],
    decoding: Decoding,
    journal: Journal,
    progress: Callable[[int], object] = lambda done: None,
) -> list[Generation]:
    """One record per prompt, in order. What the journal holds is not asked again.

    A prompt without a reply gets a record whose finish reason begins with ``failed``: every judge leaves
    it unscored. It is not in the journal, so that the next run asks it again.

    Raises:
        InputError: an error that concerns every request.
    """
    outcomes: dict[int, tuple[str, str]] = {}
    for place, one in enumerate(asked):
        if (known := journal.known(one.cell).get(one.index)) is not None:
            outcomes[place] = (str(known[0]), known[1])
    progress(len(outcomes))
    for place, text, reason in _ask(served, asked, [p for p in range(len(asked)) if p not in outcomes]):
        outcomes[place] = text, reason
        if not reason.startswith(FAILED):
            journal.add(asked[place].cell, {asked[place].index: (text, reason)})
        progress(1)
    settings = asdict(decoding) | {
        "backend": "endpoint",
        "endpoint": served.url,
        "model": served.model,
        "kind": served.kind,
    }
    return [_generation(one, *outcomes[place], settings) for place, one in enumerate(asked)]


def _ask(served: ServedModel, asked: Sequence[Asked], places: list[int]) -> Iterator[tuple[int, str, str]]:
    for number, outcome in Endpoint(served).run_all([asked[place].request for place in places]):
        yield places[number], *_told(outcome)


def _told(outcome: Outcome) -> tuple[str, str]:
    if isinstance(outcome, Failure):
        return "", f"{FAILED}: {outcome.reason}"
    return outcome.text.strip(), outcome.finish_reason or "stop"


def _generation(one: Asked, text: str, reason: str, settings: dict[str, Any]) -> Generation:
    own: dict[str, Any] = {}
    if not reason.startswith(FAILED):
        text, reason, own = in_plain(one.suite, text, reason)
    return Generation(
        suite=one.suite.name,
        prompt_id=one.prompt.id,
        category=one.prompt.category,
        question=one.prompt.goal or one.prompt.text,
        template=one.template.name,
        prompt_text=one.text,
        answer=text,
        finish_reason=reason,
        step=0,
        decoding=settings,
        measures=one.suite.measures,
        reference=one.prompt.reference,
        context=one.prompt.context,
        **own,
    )
