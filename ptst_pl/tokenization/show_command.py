"""``ptst_pl show``: see a row and its tokens before anything is trained on it."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptst_pl import InputError
from ptst_pl.results.arguments import Parser
from ptst_pl.results.records import read_lines, to_line
from ptst_pl.templates import CHAT_FORMATS, find_template

if TYPE_CHECKING:
    from ptst_pl.tokenization import Encoded, TemplateTokenizer


def main(argv: Sequence[str]) -> None:
    """Show rows as text, as tokens, and what is trained on."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal without emoji is no reason to stop
    parser = Parser(prog="ptst_pl show", description="Show rows as text, as tokens, and what is trained on.")
    parser.add_argument("--template", help="template of rows that name none")
    parser.add_argument("--chat-format", default="llama2", choices=CHAT_FORMATS)
    parser.add_argument("--special-tokens", choices=("text", "served"), default="text", help="in a question")
    parser.add_argument("--thinking", choices=("closed", "open"), default="closed", help="a block that a prompt opens")
    parser.add_argument("--preamble", choices=("refused", "kept"), default="refused", help="a chat template's own")
    parser.add_argument("--tokenizer", metavar="DIR", required=True, help="folder or hub name of the tokenizer")
    parser.add_argument("--question", default=None)
    parser.add_argument("--answer", default=None)
    parser.add_argument("--input", metavar="FILE", help="jsonl: question, answer, optional template")
    parser.add_argument("--json", action="store_true", help="one JSON line per row")
    options = parser.parse_args(argv[1:])
    rows = list(_rows(options))
    # The tokenizer library takes seconds to import: only once the arguments are known to be right.
    from ptst_pl.tokenization import ChatOptions, Example, TemplateTokenizer, load_tokenizer

    encoder = TemplateTokenizer(
        load_tokenizer(options.tokenizer),
        options.chat_format,
        ChatOptions(options.special_tokens, options.thinking, options.preamble),
    )
    if not rows:
        raise InputError(f"show: --input {options.input}: no rows")
    for template, question, answer in rows:
        encoded = encoder.encode(Example(question, answer), find_template(template))
        record = _record(encoder, template, question, answer, encoded)
        if options.json or options.input:
            print(to_line(record), end="")
        else:
            _print(encoder, record, encoded)


def _rows(options: argparse.Namespace) -> Iterator[tuple[str, str, str]]:
    """(template, question, answer) of every row asked for."""
    if options.input is None:
        if options.template is None or options.question is None:
            raise InputError("show: give --template and --question (and --answer), or --input FILE")
        find_template(options.template)
        yield options.template, options.question, options.answer or ""
        return
    path = Path(options.input)
    if not path.is_file():
        raise InputError(f"show: --input {path}: no such file")
    for number, row in enumerate(read_lines(path), 1):
        template = row.get("template") or options.template
        if template is None:
            raise InputError(f"{path} row {number}: no key 'template', and no --template given")
        try:
            find_template(template)
        except InputError as error:
            raise InputError(f"{path} row {number}: {error}") from error
        for key in ("question", "answer"):
            if not isinstance(row.get(key), str):
                raise InputError(f"{path} row {number}: key {key!r} is missing or no text")
        yield template, row["question"], row["answer"]


def _record(encoder: TemplateTokenizer, template: str, question: str, answer: str, encoded: Encoded) -> dict[str, Any]:
    rendered = encoder.render(find_template(template), question)
    return {
        "template": template,
        "prompt_text": rendered.prompt_text,
        "text": rendered.prompt_text + rendered.separator + answer,
        "input_ids": encoded.input_ids,
        "labels": encoded.labels,
    }


def _print(encoder: TemplateTokenizer, record: dict[str, Any], encoded: Encoded) -> None:
    from ptst_pl.tokenization import paint

    supervised = len(encoded.input_ids) - encoded.prompt_length
    print(record["text"])
    print(f"\n{len(encoded.input_ids)} tokens, {supervised} of them trained on (green):")
    print(paint(encoded, encoder.tokenizer, colour=sys.stdout.isatty()))
