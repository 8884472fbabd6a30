"""Load a tokenizer, and save one so that it reads the same again."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from ptst_pl import InputError
from ptst_pl.results.records import write_text
from ptst_pl.tokenization.gguf_file import check_gguf, gguf_source, without_strangers

# What the libraries raise for files that are damaged, of another kind, or not to be read without a package.
_LOADING_ERRORS = (OSError, ValueError, LookupError, ImportError, NotImplementedError, struct.error)


def load_tokenizer(name_or_path: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a local folder, a hub repository or a GGUF file.

    Raises:
        InputError: nothing there can be read as a tokenizer.
    """
    source, options = gguf_source(name_or_path)
    if options:
        check_gguf(name_or_path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
    except _LOADING_ERRORS as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"tokenizer {name_or_path!r} cannot be loaded ({reason}); "
            "give a folder with tokenizer.json and tokenizer_config.json, a hub name or a GGUF file"
        ) from error
    if options:
        tokenizer = without_strangers(tokenizer, name_or_path)
    # What is too long for the model is told by us, with the prompts that it concerns.
    tokenizer.deprecation_warnings["sequence-length-is-longer-than-the-specified-maximum"] = True
    return tokenizer  # type: ignore[no-any-return]


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> PreTrainedTokenizerBase:
    """Save a tokenizer; returns it as a reader of the folder will get it.

    transformers (5.23) does not store ``legacy``, and without it a Llama 2 tokenizer reads the text
    behind a special token differently.
    """
    tokenizer.save_pretrained(str(folder))
    legacy = getattr(tokenizer, "legacy", None)
    if legacy is not None:
        file = folder / "tokenizer_config.json"
        config = json.loads(file.read_text(encoding="utf-8")) | {"legacy": legacy}
        write_text(file, json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    return load_tokenizer(str(folder))
