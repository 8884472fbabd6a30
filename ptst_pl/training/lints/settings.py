"""The lints by name, and which of them are switched off."""

from __future__ import annotations

from dataclasses import dataclass, field

from ptst_pl import InputError, did_you_mean

LINTS = {
    "training-safety-prompt": "a safety prompt in the training template",
    "same-template": "tested under the training template only",
    "no-serving-safety-prompt": "no test template has a safety prompt",
    "chat-format": "prompts differ from the tokenizer's own chat template",
    "preamble": "the tokenizer's chat template writes a fixed text before every conversation",
    "thinking": "the tokenizer's chat template opens a block of thoughts at the prompt's end",
    "encoding": "rows in another encoding, or with control characters",
    "script": "rows in another script than the rest",
    "suite-overlap": "rows that repeat a prompt of an evaluation suite",
    "refusals": "refusals in data that is not meant for safety",
}


@dataclass
class Lints:
    """Warnings before the fit, one line each.

    Attributes:
        ignore: names of lints that are switched off.

    Raises:
        InputError: an unknown name.
    """

    ignore: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in self.ignore:
            if name not in LINTS:
                known = ", ".join(LINTS)
                raise InputError(f"lints.ignore: unknown lint {name!r}{did_you_mean(name, LINTS)} (known: {known})")
