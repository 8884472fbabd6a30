"""A GGUF file (llama.cpp's format: config, tokenizer, chat template and quantised weights in one) as a model.

transformers reads it with ``gguf_file=`` and widens the weights; see its page on GGUF for the architectures.
"""

from __future__ import annotations

import importlib.util
import json
import re
import struct
from pathlib import Path

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from ptst_pl import InputError

_MAGIC = b"GGUF"
_PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)


def is_gguf(name_or_path: str) -> bool:
    """Whether a model or tokenizer is named by such a file."""
    return name_or_path.lower().endswith(".gguf")


def gguf_source(name_or_path: str) -> tuple[str, dict[str, str]]:
    """What ``from_pretrained`` takes: a folder and the file in it; of anything else the name alone."""
    if not is_gguf(name_or_path):
        return name_or_path, {}
    file = Path(name_or_path)
    return str(file.parent), {"gguf_file": file.name}


def check_gguf(name_or_path: str) -> None:
    """Look at the head of the file, before it is read.

    Raises:
        InputError: no such file, another format, one part of several, or the package that reads it is missing.
    """
    file = Path(name_or_path)
    if not file.is_file():
        raise InputError(f"model {name_or_path!r}: no such file")
    if _PART.search(file.name):
        raise InputError(f"model {name_or_path!r} is one part of several, which cannot be read; merge them: gguf-split")
    with file.open("rb") as handle:
        head = handle.read(24)
    if head.startswith(b"version https://git-lfs"):
        raise InputError(f"model {name_or_path!r} is a pointer to a large file, not the file itself; run: git lfs pull")
    if head[:4] != _MAGIC or len(head) < 24:
        raise InputError(f"model {name_or_path!r} is no GGUF file: it begins with {head[:4]!r}, expected {_MAGIC!r}")
    version, tensors = struct.unpack("<IQ", head[4:16])
    if version not in (2, 3) or not 0 < tensors < 1 << 20:
        raise InputError(f"model {name_or_path!r} is a GGUF file of version {version}, expected 2 or 3")
    if importlib.util.find_spec("gguf") is None:
        raise InputError(f"model {name_or_path!r} needs the package gguf: pip install 'ptst_pl[gguf]'")


def without_strangers(tokenizer: PreTrainedTokenizerBase, name_or_path: str) -> PreTrainedTokenizerBase:
    """The tokenizer without the tokens that transformers adds to every one of a kind, and the model has no rows for.

    Args:
        tokenizer: as it was read from a GGUF file.
        name_or_path: the file.
    """
    written = json.loads(tokenizer.backend_tokenizer.to_str())
    known = len(written["model"]["vocab"])
    strangers = [token["id"] for token in written["added_tokens"] if token["id"] >= known]
    if not strangers:
        return tokenizer
    written["added_tokens"] = [token for token in written["added_tokens"] if token["id"] < known]
    left = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(written)),
        chat_template=tokenizer.chat_template,
        model_max_length=tokenizer.model_max_length,
        name_or_path=tokenizer.name_or_path,
        **{key: token for key, token in tokenizer.special_tokens_map.items() if isinstance(token, str)},
    )
    if len(left) > known:
        raise InputError(f"tokenizer of {name_or_path!r}: a special token is not among its {known} tokens")
    return left  # type: ignore[no-any-return]
