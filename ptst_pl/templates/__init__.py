"""Templates: the text around a question. Rendering is pure text.

In: a question and a template's name. Out: the text that a model reads.
May import: nothing heavy; `command.py` writes records of `results`.
"""

from ptst_pl.templates.built_in import (
    ALPACA,
    ALPACA_INPUT,
    BUILT_IN_TEMPLATES,
    DOCTOR,
    GPT_TEMPLATES,
    LLAMA,
    LLAMA_BRIEF,
    LLAMA_SHORT,
    MPT,
    PAPER_TEMPLATES,
    TASK_TEMPLATES,
)
from ptst_pl.templates.lookup import OwnTemplates, find_template, template_from_mapping
from ptst_pl.templates.rendering import CHAT_FORMATS, ChatFormat, render, to_messages
from ptst_pl.templates.rows import Placed, place_row
from ptst_pl.templates.template import CONTEXT_PLACE, PLACE, SYSTEM_PLACE, PromptTemplate

__all__ = [
    "ALPACA",
    "ALPACA_INPUT",
    "BUILT_IN_TEMPLATES",
    "CHAT_FORMATS",
    "CONTEXT_PLACE",
    "DOCTOR",
    "GPT_TEMPLATES",
    "LLAMA",
    "LLAMA_BRIEF",
    "LLAMA_SHORT",
    "MPT",
    "PAPER_TEMPLATES",
    "PLACE",
    "SYSTEM_PLACE",
    "TASK_TEMPLATES",
    "ChatFormat",
    "OwnTemplates",
    "Placed",
    "PromptTemplate",
    "find_template",
    "place_row",
    "render",
    "template_from_mapping",
    "to_messages",
]
