"""A template and a question as text, or as chat messages.

Sources: Lyu et al., arXiv 2402.18540, and the authors' published ``prompt_utils.py``; Appendix E for Mistral.
"""

from __future__ import annotations

from typing import Literal, get_args

from ptst_pl import InputError
from ptst_pl.templates.template import PromptTemplate

ChatFormat = Literal["llama2", "mistral", "tokenizer"]
CHAT_FORMATS: tuple[str, ...] = get_args(ChatFormat)


def to_messages(template: PromptTemplate, question: str) -> list[dict[str, str]]:
    """Chat messages (role, content) for a tokenizer's own chat template or a chat endpoint."""
    messages = [] if template.system is None else [{"role": "system", "content": template.system}]
    for user, answer in template.shots:
        messages += [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]
    return [*messages, {"role": "user", "content": template.fill(question)}]


def render(template: PromptTemplate, question: str, chat_format: str) -> str:
    """The prompt text, without the leading BOS that the tokenizer adds.

    Args:
        template: the template.
        question: the raw question, put in verbatim.
        chat_format: ``llama2`` or ``mistral``; text templates look the same in both.

    Raises:
        InputError: the chat format is not one that this function knows. The ``tokenizer`` format
            needs a tokenizer: see ``ptst_pl.tokenization``.
    """
    if template.kind == "text":
        return template.fill(question)
    if chat_format == "llama2":
        opening = f"<<SYS>>\n{template.system}\n<</SYS>>\n\n"
    elif chat_format == "mistral":
        # Appendix E says "directly prepended" and gives no separator; a blank line is our choice.
        opening = f"{template.system}\n\n"
    else:
        known = ", ".join(CHAT_FORMATS)
        raise InputError(f"chat format {chat_format!r} cannot be rendered as plain text (known: {known})")
    text = "" if template.system is None else opening
    for user, answer in template.shots:
        text += f"{user} [/INST] {answer}</s> <s>[INST] "
    return f"[INST] {text}{template.fill(question)}{template.before_close}[/INST]"
