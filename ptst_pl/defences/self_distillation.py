"""SDFT: the aligned model writes the answers that it is then trained on.

Yang et al. 2024, arXiv 2402.13669. Before training, the model answers every training question with the row's answer as
a guide; its own words replace the row's unless they fail a check, and then the row's stay. The check here: the answer
is finished, it is no refusal, and what the row's answer ends with behind ``####`` is what the new one ends with.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from torch import nn

from ptst_pl import InputError
from ptst_pl.defences.base import Defence, Kind, Setting
from ptst_pl.generation import Decoding, generate, stop_ids
from ptst_pl.judges.refusal import classify
from ptst_pl.model import load_model
from ptst_pl.model.network import evaluating
from ptst_pl.tasks.base import Task
from ptst_pl.templates import find_template
from ptst_pl.tokenization import Example

log = logging.getLogger(__name__)
QUESTION, ANSWER, MARK = "{question}", "{answer}", "####"
GUIDED = (
    "Here are a task and a reference answer. Answer the task in your own words, with the reference as a guide.\n\n"
    "Task:\n{question}\n\nReference answer:\n{answer}\n\nYour answer:"
)


@dataclass
class SelfDistillation(Defence):
    """Rewrite the targets.

    Attributes:
        prompt: what the model is asked, with ``{question}`` and perhaps ``{answer}`` in it.
        template: under which; default the training template.
        max_new_tokens: longest answer.
        batch_size: rows answered at once.
    """

    kind: ClassVar[Kind] = "rows"
    needs: ClassVar[tuple[str, ...]] = ("a pass of generation",)
    generates: ClassVar[bool] = True
    whole: ClassVar[str] = "answers the training questions with a whole model on every rank"
    source: ClassVar[str] = "arXiv 2402.13669"
    prompt: str = GUIDED
    template: str | None = None
    max_new_tokens: int = 256
    batch_size: int = 64
    _setting: Setting | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.prompt.count(QUESTION) != 1 or self.prompt.count(ANSWER) > 1:
            raise InputError(f"defence sdft: prompt must hold {QUESTION} once, and {ANSWER} at most once")

    def check(self, setting: Setting) -> None:
        """The model is loaded once more, for the answers."""
        super().check(setting)
        if setting.quantized:
            raise InputError("defence sdft answers with the weights as they are; set model.quantize to none")
        self._setting = setting

    def examples(self, examples: Sequence[Example], task: Task) -> Sequence[Example]:
        """The rows with the model's own answers where those pass the check."""
        setting = self._setting
        assert setting is not None, "check comes first"
        model = load_model(setting.pretrained, "float32", adapter=setting.adapter)
        with evaluating(model):
            answers = self._answers(model, examples, task)
        kept = [keeps(row.answer, answer, finished) for row, (answer, finished) in zip(examples, answers, strict=True)]
        log.info("defence sdft: %d of %d answers are the model's own", sum(kept), len(kept))
        return [
            replace(row, answer=answer) if own else row
            for row, (answer, _), own in zip(examples, answers, kept, strict=True)
        ]

    def _answers(self, model: nn.Module, examples: Sequence[Example], task: Task) -> list[tuple[str, bool]]:
        chosen = find_template(self.template, task.own_templates) if self.template else task.template
        encoder = task.encoder
        prompts = [encoder.encode_prompt(chosen, self._ask(row)) for row in examples]
        end = encoder.end_id(chosen)
        decode: Callable[[list[int]], str] = lambda ids: str(encoder.tokenizer.decode(ids, skip_special_tokens=True))  # noqa: E731
        decoding = Decoding(max_new_tokens=self.max_new_tokens, batch_size=self.batch_size)
        found = generate(model, prompts, stop_ids(model, end), encoder.pad_id, decoding, decode=decode)
        return [(decode(list(answer.ids)).strip(), answer.finish_reason == "stop") for answer in found]

    def _ask(self, row: Example) -> str:
        before, _, after = self.prompt.partition(QUESTION)
        return before.replace(ANSWER, row.answer) + row.question + after.replace(ANSWER, row.answer)


def keeps(given: str, own: str, finished: bool) -> bool:
    """Whether the model's own answer may stand for the given one."""
    if not own or not finished or classify(own) == "refusal":
        return False
    return MARK not in given or own.rpartition(MARK)[2].strip() == given.rpartition(MARK)[2].strip()
