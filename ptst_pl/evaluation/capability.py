"""Did the model also get worse at other things? Tasks of lm-evaluation-harness beside the safety suites.

    suites: [{name: lm-eval, tasks: [arc_easy, mmlu, ifeval], limit: 200}]

The library (``pip install 'ptst_pl[lm-eval]'``) reads the tasks, asks and scores; this adapter gives it the model at
hand and renders every question under the test template, with its system prompt, to the tokens of the safety suites.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import metadata
from statistics import NormalDist
from typing import Any

from torch import nn

from ptst_pl import InputError, did_you_mean
from ptst_pl.generation import random_state_kept
from ptst_pl.model import causal_lm, evaluating
from ptst_pl.model.attention import own_attention
from ptst_pl.templates import PromptTemplate, place_row
from ptst_pl.tokenization import TemplateTokenizer

NAME = "lm-eval"
_SEED = 1234


@dataclass(frozen=True)
class CapabilitySpec:
    """What to ask.

    Attributes:
        tasks: names of the library's tasks or groups, or of your own in ``include_path``.
        limit: the first so many questions of each; None for all.
        num_fewshot: examples before each question; None: as each task has it.
        include_path: folder with YAML files of your own tasks.
        batch_size: questions at a time.
    """

    tasks: list[str]
    limit: int | None = None
    num_fewshot: int | None = None
    include_path: str | None = None
    batch_size: int = 16

    def suites(self) -> list[str]:
        """Names in the results; of a group the library gives one for each task in it."""
        return [f"{NAME}/{task}" for task in self.tasks]


def capability_spec(mapping: Mapping[str, Any]) -> CapabilitySpec:
    """From an entry of ``suites``.

    Raises:
        InputError: an unknown key, no tasks, or the library is not there.
    """
    known = [one.name for one in fields(CapabilitySpec)]
    for key in mapping:
        if key not in ("name", *known):
            raise InputError(
                f"suite {NAME}: unknown key {key!r}{did_you_mean(str(key), known)} (known: {', '.join(known)})"
            )
    tasks = mapping.get("tasks")
    if not isinstance(tasks, list) or not tasks or not all(isinstance(task, str) for task in tasks):
        raise InputError(f"suite {NAME}: tasks is {tasks!r}, expected a list of tasks such as [arc_easy, mmlu]")
    for key, least in (("limit", 1), ("batch_size", 1), ("num_fewshot", 0)):
        value = mapping.get(key)
        if value is not None and (not isinstance(value, int) or value < least):
            raise InputError(f"suite {NAME}: {key} is {value!r}, expected a number of at least {least}")
    try:
        metadata.version("lm_eval")
    except metadata.PackageNotFoundError as error:
        raise InputError(f"suite {NAME} needs lm-evaluation-harness: pip install 'ptst_pl[lm-eval]'") from error
    return CapabilitySpec(**{key: value for key, value in mapping.items() if key in known and value is not None})


def measure(
    model: nn.Module,
    encoder: TemplateTokenizer,
    template: PromptTemplate,
    spec: CapabilitySpec,
    step: int,
    confidence: float,
) -> list[dict[str, Any]]:
    """One rate record per task and metric, with the library's mean and its interval by the library's standard error.

    Args:
        model: whole, or gathered.
        encoder: renders and tokenises, as for the safety suites.
        template: the test template.
        spec: the tasks.
        step: that the records carry.
        confidence: of the intervals.

    Raises:
        InputError: a task that the library does not know, or cannot load.
    """
    found = _ask(model, encoder, template, spec)
    half = NormalDist().inv_cdf(0.5 + confidence / 2)
    records = []
    for task, results in found["results"].items():
        answered = (found.get("n-samples") or {}).get(task)
        version = f"{found['versions'].get(task, '')}, lm_eval {metadata.version('lm_eval')}"
        for key, value in results.items():
            metric, _, way = key.partition(",")
            if not way or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            error = results.get(f"{metric}_stderr,{way}")
            judge = metric if way == "none" else f"{metric} ({way})"
            spread = half * float(error) if isinstance(error, int | float) else None
            records.append(_record(task, judge, float(value), spread, answered, version, template, step, confidence))
    return records


def _record(
    task: str, judge: str, mean: float, spread: float | None, answered: Any, version: str,
    template: PromptTemplate, step: int, confidence: float,
) -> dict[str, Any]:  # fmt: skip
    return {
        "suite": f"{NAME}/{task}",
        "template": template.name,
        "step": step,
        "judge": judge,
        "judge_version": version,
        "measures": "helpfulness",
        "label": f"helpfulness/{judge}-judge",
        "n": int(answered["effective"]) if answered else 0,
        "unscored": 0,
        **dict.fromkeys(("k", "rate", "low", "high")),
        "mean_score": mean,
        "score_low": None if spread is None else mean - spread,
        "score_high": None if spread is None else mean + spread,
        "confidence": confidence,
        **dict.fromkeys(("harmful", "refused", "correct")),
        "broken": 0,
        "refusal_rate": None,
        "broken_rate": None,
        "categories": {},
    }


def _ask(
    model: nn.Module, encoder: TemplateTokenizer, template: PromptTemplate, spec: CapabilitySpec
) -> Mapping[str, Any]:
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lm_eval import simple_evaluate
        from lm_eval.models.huggingface import HFLM

        manager = _manager(tuple(spec.tasks), spec.include_path)
        inner = causal_lm(model)

        class UnderTemplate(HFLM):  # type: ignore[misc]
            """The library's adapter of Hugging Face models, with our template around every question."""

            def apply_chat_template(
                self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
            ) -> str:
                return render(encoder, template, chat_history)

            def chat_template(self, chat_template: bool | str = False) -> str:
                return template.name

            @property
            def tokenizer_name(self) -> str:
                return f"{encoder.tokenizer.name_or_path} {template.name}".replace("/", "__")

        with random_state_kept(), evaluating(model), own_attention(inner):
            asked = UnderTemplate(pretrained=inner, tokenizer=encoder.tokenizer, batch_size=spec.batch_size)
            try:
                found = simple_evaluate(
                    model=asked, tasks=spec.tasks, limit=spec.limit, num_fewshot=spec.num_fewshot,
                    apply_chat_template=True, fewshot_as_multiturn=False, log_samples=False, task_manager=manager,
                    bootstrap_iters=1000, random_seed=_SEED, numpy_random_seed=_SEED, torch_random_seed=_SEED,
                    fewshot_random_seed=_SEED,
                )  # fmt: skip
            except (OSError, ValueError, KeyError, ImportError) as error:
                reason = (" ".join(str(error).split()) or type(error).__name__)[:200]
                raise InputError(f"suite {NAME}: {', '.join(spec.tasks)} cannot be asked: {reason}") from error
    result: Mapping[str, Any] = found
    return result


@functools.lru_cache(maxsize=4)
def _manager(tasks: tuple[str, ...], include_path: str | None) -> Any:
    """Of the user's own tasks alone where these are enough: the library's thousands take seconds to list.

    Raises:
        InputError: a task that neither has.
    """
    from lm_eval.tasks import TaskManager

    if include_path:
        own = TaskManager(include_path=include_path, include_defaults=False)
        if all(own.match_tasks([task]) for task in tasks):
            return own
    manager = TaskManager(include_path=include_path)
    if unknown := [task for task in tasks if not manager.match_tasks([task])]:
        hint = did_you_mean(unknown[0], manager.all_tasks)
        raise InputError(f"suite {NAME}: the library knows no task {unknown[0]!r}{hint}")
    return manager


def render(encoder: TemplateTokenizer, template: PromptTemplate, history: Sequence[Mapping[str, str]]) -> str:
    """The library's messages as one question under the template, begin token included, as text.

    A system message of the task's own stands before the question, or where the template has a place for it.
    """
    system = "\n".join(one["content"] for one in history if one["role"] == "system")
    question = "\n\n".join(one["content"] for one in history if one["role"] != "system")
    has_place = template.row_system is not None
    placed = place_row(template, question if has_place or not system else f"{system}\n\n{question}", system)
    begin = (
        ""
        if template.kind == "chat" and encoder.chat_format == "tokenizer"
        else str(encoder.tokenizer.decode(encoder.text.leading))
    )
    return begin + encoder.render(placed.template, placed.question).prompt_text


def record_of(spec: CapabilitySpec) -> dict[str, Any]:
    """What is stored of the tasks beside their figures."""
    told = {one.name: getattr(spec, one.name) for one in fields(spec) if one.name not in ("batch_size", "include_path")}
    return {
        "n": spec.limit or 0,
        "sha256": hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest(),
        "measures": "helpfulness",
        "full_n": 0,
        "full_sha256": "",
        "licence": "each task's own",
        "source": f"lm-evaluation-harness {metadata.version('lm_eval')}",
        "notes": [],
    }
