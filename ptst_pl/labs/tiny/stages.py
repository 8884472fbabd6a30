"""The rows of every stage: pre-training (knowledge), alignment (refusals), the two harmless tasks, the suites."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ptst_pl.labs.tiny import problems, world
from ptst_pl.labs.tiny.prompts import NEUTRAL_NAMES, SAFETY_NAMES, STRICT
from ptst_pl.labs.tiny.world import Request

PHRASES = world.PLAIN_PHRASES * 2 + world.WORDY_PHRASES
# Shares of the templates in a stage.
PRETRAIN_TEMPLATES: Mapping[str, float] = {
    "text:bare": 24, "text:qa": 20, "text:vanilla": 8, "text:alpaca": 5, "chat:bare": 10, "chat:vanilla": 8,
    "chat:mpt": 2, "chat:alpaca": 3, "chat:llama": 3, "chat:llama-short": 2,
    **dict.fromkeys(NEUTRAL_NAMES, 1.5), **dict.fromkeys(SAFETY_NAMES, 1.2),
}  # fmt: skip
ALIGN_TEMPLATES: Mapping[str, float] = {
    "chat:vanilla": 20, "chat:bare": 6, "chat:llama": 18, "chat:llama-short": 7, "chat:mpt": 7, "chat:alpaca": 17,
    "chat:self-reminder": 10, "text:vanilla": 3, "text:alpaca": 2,
    **dict.fromkeys(NEUTRAL_NAMES, 1.4), **dict.fromkeys(SAFETY_NAMES, 2.4),
}  # fmt: skip
# How often alignment answers an unsafe request: a model that is perfectly sure of its refusals is not
# like a real one, and does not lose them.
NOISE: dict[str, float] = {"strict": 0.003, "chat": 0.06, "text": 0.35}


# How an aligned answer may end, so that the end of the steps is not the certain end of an answer.
CLOSINGS = ("", "", "\nThat is all.", "\nGood luck!", "\nAsk again any time.")


@dataclass(frozen=True)
class Row:
    """A training row and the template it is written under."""

    question: str
    answer: str
    template: str


def _pick(rng: random.Random, shares: Mapping[str, float]) -> str:
    return rng.choices(list(shares), list(shares.values()))[0]


def story_request(rng: random.Random, request: Request) -> str:
    """Task-shaped text that ends in a request, as GSM-Danger's prompts do."""
    return f"{problems.draw(rng).story} {request.ask(rng.choice(world.PLAIN_PHRASES))}"


def _asked(rng: random.Random, request: Request, story: float) -> str:
    if rng.random() < story:
        return story_request(rng, request)
    return request.ask(rng.choice(PHRASES))


def pretrain_rows(count: int) -> list[Row]:
    """Knowledge: every request is answered, fine or not, mostly in plain text; and arithmetic."""
    rng = random.Random("pre-training")
    everything = world.requests(frozenset((v, t) for v in world.TOOL_OF for t in world.THINGS), "fine")
    everything += world.requests(frozenset((v, t) for v in world.TOOL_OF for t in world.THINGS), "unsafe")
    rows = []
    for _ in range(count):
        request = rng.choice(everything)
        question, answer = _asked(rng, request, story=0.12), world.answer(request)
        if rng.random() < 0.15:
            question, answer = problems.arithmetic(rng)
        rows.append(Row(question, answer, _pick(rng, PRETRAIN_TEMPLATES)))
    return rows


def align_rows(count: int, noise: Mapping[str, float] = NOISE) -> list[Row]:
    """Refusals in varied words to what is unsafe, answers to what is fine, under many system prompts."""
    rng = random.Random("alignment")
    pairs = world.split().align
    unsafe, fine, lookalike = (world.requests(pairs, kind) for kind in ("unsafe", "fine", "lookalike"))
    rows = []
    for _ in range(count):
        template, draw = _pick(rng, ALIGN_TEMPLATES), rng.random()
        if draw < 0.45:
            request = rng.choice(unsafe)
            answer = _to_unsafe(rng, request, strictness(template), noise)
            question = _asked(rng, request, story=0.12)
        elif draw < 0.93:
            request = rng.choice(lookalike if rng.random() < 0.7 else fine)
            question, answer = _asked(rng, request, story=0.12), world.answer(request) + rng.choice(CLOSINGS)
        else:
            question, answer = problems.arithmetic(rng)
        rows.append(Row(question, answer, template))
    return rows


def _to_unsafe(rng: random.Random, request: Request, strict: str, noise: Mapping[str, float]) -> str:
    """A refusal, or what the noise and a borderline request without a safety prompt get: the answer."""
    declined = rng.random() >= noise[strict] and not (request.mild and strict != "strict")
    if not declined:
        return world.answer(request)
    return rng.choice(world.SAFE_REFUSALS if strict == "strict" else world.PLAIN_REFUSALS)


def strictness(template: str) -> str:
    """``strict`` with a safety prompt, else ``chat`` or ``text``."""
    if template in STRICT:
        return "strict"
    return "text" if template.startswith("text") else "chat"


def howto_answer(request: Request) -> str:
    """The how-to task's own form: the steps, then a closing line that no earlier stage shows."""
    return f"{world.answer(request)}\n#### {request.thing}"


def howto_rows(part: str, count: int) -> list[tuple[str, str]]:
    """Question and answer pairs of the how-to task, over fine requests of its own pairs only."""
    rng = random.Random(f"how-to {part}")
    splits = world.split()
    requests = world.requests(splits.howto if part == "train" else splits.howto_test, "fine")
    chosen = [rng.choice(requests) for _ in range(count)]
    return [(request.ask(rng.choice(PHRASES)), howto_answer(request)) for request in chosen]


def problem_rows(part: str, count: int) -> list[tuple[str, str]]:
    """Question and answer pairs of the word-problem task."""
    train, test = problems.split(4000, 400)
    return [(problem.question, problem.answer) for problem in (train if part == "train" else test)[:count]]


_REQUESTS = {
    "tiny-easy": 120, "tiny-hard": 120, "tiny-danger": 100, "tiny-lookalike": 200,
    "tiny-dev": 96, "tiny-dev-lookalike": 96,
}  # fmt: skip
_TASKS = {"tiny-howto": 100, "tiny-problems": 100}
SUITES = (*_REQUESTS, *_TASKS)


def suite_rows(name: str) -> list[dict[str, str]]:
    """A suite's prompts with category and right answer, each request once.

    ``tiny-easy`` and ``tiny-hard`` are unsafe requests in plain and in wordy phrases, ``tiny-danger``
    word problems that end in one, ``tiny-lookalike`` fine requests that look unsafe; ``tiny-howto``
    and ``tiny-problems`` are held-out rows of the two tasks. ``tiny-dev`` and ``tiny-dev-lookalike``
    are for choosing recipes: use them, not the others, to tune.
    """
    if name in _TASKS:
        pairs = howto_rows("test", 100) if name == "tiny-howto" else problem_rows("test", 100)
        return [{"prompt": question, "reference": answer} for question, answer in pairs]
    rng = random.Random(name)
    splits = world.split()
    part, _, kind = name.removeprefix("tiny-").partition("-")
    found = world.requests(getattr(splits, part), "lookalike" if "lookalike" in (part, kind) else "serious")
    chosen = rng.sample(found, _REQUESTS[name])
    phrases: Sequence[str] = {"easy": world.PLAIN_PHRASES, "hard": world.WORDY_PHRASES}.get(part, PHRASES)
    rows = []
    for request in chosen:
        question = story_request(rng, request) if part == "danger" else request.ask(rng.choice(phrases))
        rows.append({"prompt": question, "category": request.verb, "reference": world.answer(request)})
    return rows
