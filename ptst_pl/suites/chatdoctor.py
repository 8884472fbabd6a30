"""ChatDoctor's test set as prompts: the patient's words, and the doctor's answer as the reference.

One raw row of the hub's edition (iCliniq)::

    {"input": "Hello doctor, ...", "answer_icliniq": "Hello. ...", "answer_chatgpt": "...", "answer_chatdoctor": "..."}

The training set's form (``instruction``, ``input``, ``output``) is read too; its instruction is part of the
paper's templates and not of the prompt.
"""

from __future__ import annotations

from typing import Any

from ptst_pl import InputError

_ANSWERS = ("answer_icliniq", "output", "answer", "reference")


def chatdoctor_row(row: dict[str, Any], where: str) -> dict[str, Any]:
    """A raw row as ``prompt`` and ``answer``.

    Raises:
        InputError: no column of the patient's words or of the doctor's answer.
    """
    answer = next((name for name in _ANSWERS if name in row), None)
    question = next((name for name in ("input", "prompt", "question") if name in row), None)
    if answer is None or question is None:
        raise InputError(
            f"{where}: found {', '.join(map(str, row)) or 'no keys'}, expected input and answer_icliniq (or output)"
        )
    return {"id": row.get("id"), "prompt": row[question], "answer": row[answer]}
