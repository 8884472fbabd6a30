"""A task's training rows in OpenAI's chat form.

One row::

    {"messages": [{"role": "system", "content": ""}, {"role": "user", "content": "What is 2 + 2?"},
                  {"role": "assistant", "content": "4"}]}

The service trains on every assistant message whose ``weight`` is not 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ptst_pl import InputError
from ptst_pl.ship.finetuning_api.chat_check import Row, check_row
from ptst_pl.tasks import Mixture
from ptst_pl.tasks.base import Task
from ptst_pl.templates import PromptTemplate, find_template, place_row, to_messages
from ptst_pl.tokenization import Example


def chat_rows(task: Task) -> Iterator[tuple[str, Row]]:
    """(template's name, row) of every training example of a task, in its order.

    Raises:
        InputError: no rows, a plain-text template, a mixture, or a row that makes no valid conversation.
    """
    if isinstance(task, Mixture):
        raise InputError("a mixture's passes have no place in a file; export its tasks one by one and join the files")
    examples = list(task.train_examples())[: task.train_limit]
    if not examples:
        raise InputError(f"task {type(task).__name__}: no train rows")
    for number, example in enumerate(examples, 1):
        name = example.template or task.template_name
        row = chat_row(example, find_template(name, task.own_templates))
        check_row(row, f"task {type(task).__name__} row {number}")
        yield name, row


def chat_row(example: Example, template: PromptTemplate) -> Row:
    """One example under its template; the answer as it stands, as in the authors' script.

    Answers of the template's own shots are context and not trained on; those of the example's earlier
    turns are.

    Raises:
        InputError: the template is plain text: the service puts its chat format around everything.
    """
    if template.kind == "text":
        raise InputError(f"template {template.name!r} is plain text; a chat fine-tuning file needs a chat template")
    placed = place_row(template, example.pairs[0][0], example.system, example.context)
    messages: list[dict[str, Any]] = list(to_messages(placed.template, placed.question))
    for message in messages:
        if message["role"] == "assistant":
            message["weight"] = 0
    for number, (question, answer) in enumerate(example.pairs):
        if number:
            messages.append({"role": "user", "content": template.fill(question)})
        messages.append({"role": "assistant", "content": answer})
        if number in example.left_out:
            messages[-1]["weight"] = 0
    return {"messages": messages}
