"""How thinking models mark their thoughts, in one table, and an answer without them.

A judge scores what the user sees. Where thoughts cannot be told from the answer, or the answer ended within them,
there is nothing to score.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

# Opening and closing marks that no answer holds for another reason: taken for thoughts wherever they stand.
_NAMES = r"think(?:ing)?|seed:think|antthinking"
STRONG = (
    (rf"<(?:{_NAMES})(?:\s[^<>]*)?>", rf"</(?:{_NAMES})\s*>"),
    (r"\[THINK(?:ING)?\]", r"\[/THINK(?:ING)?\]"),
    (r"◁think▷", r"◁/think▷"),
    (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),
    (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),
)
# Words of HTML and of prompts: thoughts only where the answer begins with them.
_WEAK_NAMES = r"thoughts?|reasoning|reflection|scratchpad|inner_monologue|analysis"
WEAK = ((rf"<(?:{_WEAK_NAMES})(?:\s[^<>]*)?>", rf"</(?:{_WEAK_NAMES})\s*>"),)
_OPEN = re.compile("|".join(opened for opened, _ in STRONG), re.IGNORECASE)
_CLOSE = re.compile("|".join(closed for _, closed in STRONG), re.IGNORECASE)
_WEAK_OPEN = re.compile(rf"\s*(?:{WEAK[0][0]})", re.IGNORECASE)
_WEAK_CLOSE = re.compile(WEAK[0][1], re.IGNORECASE)
_PROMPT_OPENS = re.compile(rf"(?:{_OPEN.pattern}|{WEAK[0][0]})\s*\Z", re.IGNORECASE)
# OpenAI's channels: thoughts in "analysis" and "commentary", the answer in "final".
_CHANNEL, _FINAL = "<|channel|>", re.compile(r"<\|channel\|>\s*final[^<]*<\|message\|>")
_CHANNEL_END = re.compile(r"<\|(?:end|return|call|start)\|>.*\Z", re.DOTALL)
_ANY = re.compile(
    "|".join(mark for form in (*STRONG, *WEAK) for mark in form) + r"|<\|(?:channel|message|start|end|return)\|>",
    re.IGNORECASE,
)
# Tokens of a tokenizer that are kept when its other special tokens are dropped from an answer.
MARKS = (
    "<think>", "</think>", "<thinking>", "</thinking>", "[THINK]", "[/THINK]", "<seed:think>", "</seed:think>",
    "◁think▷", "◁/think▷", "<|begin_of_thought|>", "<|end_of_thought|>", "<|START_THINKING|>", "<|END_THINKING|>",
    "<thought>", "</thought>", "<reasoning>", "</reasoning>",
)  # fmt: skip
CHANNEL_MARKS = ("<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|return|>")


def usual_marks(text: str, own: Iterable[Sequence[str]]) -> str:
    """The text with marks of one's own (pairs, opening and closing) written as the usual ones."""
    for opened, closed in own:
        text = text.replace(opened, "<think>").replace(closed, "</think>")
    return text


def without_thoughts(answer: str, prompt: str = "") -> str | None:
    """The answer as the user sees it; None where it ended within its thoughts.

    Args:
        answer: what the model wrote, marks included.
        prompt: what it was given: its end may open a thought.
    """
    if _CHANNEL in answer:
        return _final_channel(answer)
    if ends_open(prompt):
        closing = list(_CLOSE.finditer(answer)) or list(_WEAK_CLOSE.finditer(answer))
        if not closing:
            return None
        answer = answer[closing[0].end() :]
    return _without_blocks(answer)


def ends_open(prompt: str) -> bool:
    """Whether a prompt ends with the opening mark of a block of thoughts."""
    return _PROMPT_OPENS.search(prompt) is not None


def opened_block(text: str) -> tuple[str, str] | None:
    """Opening and closing mark of a block of thoughts, where the text is nothing but the opening one."""
    found = _PROMPT_OPENS.match(text.lstrip())
    if found is None:
        return None
    mark = found[0].strip()
    if "begin_of" in mark or "START" in mark:
        return mark, mark.replace("begin_of", "end_of").replace("START", "END")
    return mark, re.sub(r"\s.*(?=\W\Z)", "", f"{mark[0]}/{mark[1:]}")


def broken_marks(text: str) -> str:
    """The text with a space in every mark, so that it opens and closes no thought where it is quoted."""
    return _ANY.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)


def _final_channel(answer: str) -> str | None:
    found = list(_FINAL.finditer(answer))
    return _CHANNEL_END.sub("", answer[found[-1].end() :]).strip() if found else None


def _without_blocks(answer: str) -> str | None:
    """Every block of thoughts taken out; a closing mark without an opening one ends thoughts that began before."""
    opened, closed = _OPEN.search(answer), _CLOSE.search(answer)
    if closed is not None and (opened is None or closed.start() < opened.start()):
        return _without_blocks(answer[closed.end() :])
    if opened is not None:
        end = _CLOSE.search(answer, opened.end())
        if end is None:
            return None  # whatever stands before an open thought was no answer yet
        return _without_blocks(answer[: opened.start()] + "\n" + answer[end.end() :])
    weak = _WEAK_OPEN.match(answer)
    if weak is None:
        return answer.strip()
    end = _WEAK_CLOSE.search(answer, weak.end())
    return None if end is None else _without_blocks(answer[end.end() :])
