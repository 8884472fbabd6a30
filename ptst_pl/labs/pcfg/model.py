"""The testbed's model before its first step: a small Llama whose tokens are the world's words."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ptst_pl.labs.pcfg.stages import ENDING
from ptst_pl.labs.pcfg.world import NULL, OPERATORS, WORDS
from ptst_pl.labs.untrained import SPECIAL, UNK, finished_tokenizer, write_untrained

VOCABULARY = (*SPECIAL, ":", "=", "ta", "tb", "ts", NULL, ENDING, *OPERATORS, *WORDS)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word."""
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(VOCABULARY)}, unk_token=UNK))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return finished_tokenizer(words, 64)


def write_base(folder: Path) -> None:
    """A model folder without weights, from which pre-training starts."""
    write_untrained(
        folder,
        build_tokenizer(),
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
    )
