"""Tokenization: rows and prompts as ids. It alone decides begin and end tokens, truncation and what is trained on.

In: text of a row or a prompt. Out: ids, labels, batches.
May import: templates and results.
"""

from ptst_pl.tokenization.chat_options import ChatOptions, known_options
from ptst_pl.tokenization.chat_template import SWITCHES, OwnChatTemplate, special_texts
from ptst_pl.tokenization.encoding import EncodingReport, encode_rows
from ptst_pl.tokenization.guarded_tokenizer import steering_texts
from ptst_pl.tokenization.loading import load_tokenizer, save_tokenizer
from ptst_pl.tokenization.painting import paint
from ptst_pl.tokenization.rows import IGNORED, Encoded, Example, Rendered
from ptst_pl.tokenization.template_tokenizer import TemplateTokenizer

__all__ = [
    "IGNORED",
    "SWITCHES",
    "ChatOptions",
    "Encoded",
    "EncodingReport",
    "Example",
    "OwnChatTemplate",
    "Rendered",
    "TemplateTokenizer",
    "encode_rows",
    "known_options",
    "load_tokenizer",
    "paint",
    "save_tokenizer",
    "special_texts",
    "steering_texts",
]
