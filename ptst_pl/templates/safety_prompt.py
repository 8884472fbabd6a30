"""Whether a template tells the model to be safe."""

from __future__ import annotations

import re

from ptst_pl.templates import PLACE, PromptTemplate

# Words of the safety prompts in use. "Helpful and honest" alone (MPT's prompt) does not ask for safety.
_WORDS = re.compile(
    r"\b(safe|safely|safety|harmless|harm|harmful|unethical|illegal|dangerous|securely|responsible)\b", re.IGNORECASE
)


def has_safety_prompt(template: PromptTemplate) -> bool:
    """Whether the template's own text (system prompt, text around the question, shots) has a word of safety."""
    shots = [text for shot in template.shots for text in shot]
    frame = [template.system or "", template.row_system or "", template.user.replace(PLACE, " ")]
    return any(_WORDS.search(text) for text in (*frame, *shots))
