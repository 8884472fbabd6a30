"""Which parts of a multimodal model an answer to text uses, and which it never reaches."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from transformers import PreTrainedModel


def beside_text(model: PreTrainedModel) -> dict[str, nn.Parameter]:
    """The parameters outside the language model and its head, by name; none in a model of text alone."""
    used = _used(model)
    return {name: parameter for name, parameter in model.named_parameters() if id(parameter) not in used}


def parts_beside_text(model: PreTrainedModel) -> list[str]:
    """Names of the largest modules that text never reaches, such as a vision tower and its projector."""
    return list(_idle(model, "", _used(model)))


def _used(model: PreTrainedModel) -> set[int]:
    head = model.get_output_embeddings()
    parts = [model.get_decoder(), *([] if head is None else [head])]
    return {id(parameter) for part in parts for parameter in part.parameters()}


def _idle(module: nn.Module, name: str, used: set[int]) -> Iterator[str]:
    parameters = {id(parameter) for parameter in module.parameters()}
    if parameters and not parameters & used:
        yield name
    elif parameters - used:
        for child, inner in module.named_children():
            yield from _idle(inner, f"{name}.{child}".lstrip("."), used)
