"""``ptst_pl templates``: the prompt templates with their text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from ptst_pl.results.arguments import Parser
from ptst_pl.templates.built_in import BUILT_IN_TEMPLATES
from ptst_pl.templates.rendering import CHAT_FORMATS, render


def main(argv: Sequence[str]) -> None:
    """Print every template's name and text."""
    parser = Parser(prog="ptst_pl templates", description="List the prompt templates with their text.")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--chat-format", default="llama2", choices=CHAT_FORMATS[:2], help="how chat is rendered")
    options = parser.parse_args(argv[1:])
    texts = {name: render(t, "{input}", options.chat_format) for name, t in BUILT_IN_TEMPLATES.items()}
    if options.json:
        listing = {name: asdict(BUILT_IN_TEMPLATES[name]) | {"text": text} for name, text in texts.items()}
        print(json.dumps(listing, indent=1, ensure_ascii=False))
        return
    for name, text in texts.items():
        print(f"{name}\n" + "\n".join(f"    {line}" for line in text.split("\n")) + "\n")
