"""One row token by token, the trained ones in colour."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from ptst_pl.tokenization.rows import IGNORED, Encoded

GREEN, GREY, RESET = "\033[32m", "\033[90m", "\033[0m"


def paint(encoded: Encoded, tokenizer: PreTrainedTokenizerBase, colour: bool = True) -> str:
    """The row token by token: trained tokens in green, the others in grey.

    Without colour, trained tokens stand in ``⟦ ⟧`` and the others in plain text between bars.
    """
    parts = []
    for token, label in zip(encoded.input_ids, encoded.labels, strict=True):
        word = str(tokenizer.convert_ids_to_tokens(token)).replace("\x1b", "\\x1b").replace("\n", "\\n")
        trained = label != IGNORED
        if colour:
            parts.append(f"{GREEN if trained else GREY}{word}{RESET}")
        else:
            parts.append(f"⟦{word}⟧" if trained else word)
    return " ".join(parts)
