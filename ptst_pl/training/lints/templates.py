"""Lints of the training and test templates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ptst_pl import InputError
from ptst_pl.templates import PLACE, PromptTemplate
from ptst_pl.templates.safety_prompt import has_safety_prompt
from ptst_pl.tokenization import OwnChatTemplate, TemplateTokenizer

Finding = tuple[str, str]  # a lint's name, and what it says
_QUESTION = "userprobe"
_SHOWN = 60


def lint_training(templates: Sequence[PromptTemplate]) -> Iterator[Finding]:
    """Training templates of data that is not meant for safety."""
    names = _names([template for template in templates if has_safety_prompt(template)])
    if names:
        yield (
            "training-safety-prompt",
            f"trained under {names}, which has a safety prompt: a model learns to answer in spite of it, and it loses "
            "its effect (PTST, arXiv 2402.18540); train under a template without one, and serve with it",
        )


def lint_testing(trained: Sequence[PromptTemplate], tested: Sequence[PromptTemplate]) -> Iterator[Finding]:
    """Test templates beside the training templates."""
    if {template.name for template in tested} <= {template.name for template in trained}:
        yield (
            "same-template",
            f"tested under {_names(tested)} only, as trained: that is where fine-tuning erodes safety most; "
            "name the template that the model will be served under in safety.templates",
        )
    if not any(map(has_safety_prompt, tested)):
        yield (
            "no-serving-safety-prompt",
            f"no test template ({_names(tested)}) has a safety prompt: PTST serves under one; "
            "add such a template, as chat:llama, to safety.templates",
        )


def lint_chat_format(
    encoder: TemplateTokenizer, trained: Sequence[PromptTemplate], tested: Sequence[PromptTemplate]
) -> Iterator[Finding]:
    """Prompts as the run renders them beside the tokenizer's own chat template, where it has one."""
    if not encoder.tokenizer.chat_template:
        return
    plain = _names([template for template in trained if template.kind == "text"])
    if plain:
        yield (
            "chat-format",
            f"trained under {plain}, plain text, though the tokenizer has a chat template: a chat model was not "
            "tuned on plain text; use a chat template unless you compare with it",
        )
    chats = [template for template in (*trained, *tested) if template.kind == "chat"]
    if encoder.chat_format == "tokenizer":
        yield from _own_template(encoder, chats)
    if encoder.chat_format == "tokenizer" or not chats:
        return
    systems = {None if template.system is None else "systemprobe": None for template in chats}
    for system in systems:
        ours, own = _rendered(encoder, PromptTemplate("probe", "chat", PLACE, system))
        if own is not None and ours != own:
            yield (
                "chat-format",
                f"chat_format {encoder.chat_format} gives {ours[:_SHOWN]!r}, the tokenizer's own chat template "
                f"{own[:_SHOWN]!r}, which the model was tuned on; set chat_format: tokenizer unless you mean it",
            )
            return


def _own_template(encoder: TemplateTokenizer, chats: Sequence[PromptTemplate]) -> Iterator[Finding]:
    """What the tokenizer's own chat template adds to the prompts of these templates."""
    preamble = next(filter(None, map(encoder.preamble, chats)), "")
    if preamble:
        yield (
            "preamble",
            f"the tokenizer's chat template writes a text of its own before every conversation, under templates "
            f"without a system prompt too: {preamble[:_SHOWN]!r} (chat_options.preamble: kept)",
        )
    if any(map(encoder.opens_thoughts, chats)):
        way = encoder.options.thinking
        yield (
            "thinking",
            "the tokenizer's chat template opens a block of thoughts at the prompt's end, which is "
            + ("closed at once" if way == "closed" else "left open")
            + f" (chat_options.thinking: {way}; the other way is {'open' if way == 'closed' else 'closed'})",
        )


def _rendered(encoder: TemplateTokenizer, template: PromptTemplate) -> tuple[str, str | None]:
    """A prompt in the run's format and in the tokenizer's own, without BOS; None where that cannot express it."""
    ours = encoder.render(template, _QUESTION).prompt_text.strip()
    try:
        own = OwnChatTemplate(encoder.tokenizer, encoder.options).prompt_text(template, _QUESTION)
    except InputError:
        return ours, None
    return ours, own.removeprefix(str(encoder.tokenizer.bos_token or "")).strip()


def _names(templates: Sequence[PromptTemplate]) -> str:
    return ", ".join(dict.fromkeys(template.name for template in templates))
