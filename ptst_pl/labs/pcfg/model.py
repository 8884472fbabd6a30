"""The testbed's model before its first step: a small Llama whose tokens are the world's words."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import GenerationConfig, LlamaConfig, PreTrainedTokenizerFast

from ptst_pl.labs.pcfg.stages import ENDING
from ptst_pl.labs.pcfg.world import NULL, OPERATORS, WORDS

UNK, BOS, EOS, PAD = "<unk>", "<s>", "</s>", "<pad>"
VOCABULARY = (UNK, BOS, EOS, PAD, ":", "=", "ta", "tb", "ts", NULL, ENDING, *OPERATORS, *WORDS)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word; BOS is added by the tokenizer."""
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(VOCABULARY)}, unk_token=UNK))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, VOCABULARY.index(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNK,
        pad_token=PAD,
        model_max_length=64,
        clean_up_tokenization_spaces=False,
    )


def write_base(folder: Path) -> None:
    """A model folder without weights, from which pre-training starts."""
    tokenizer = build_tokenizer()
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = LlamaConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        architectures=["LlamaForCausalLM"],
        **ids,
    )
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    GenerationConfig(do_sample=False, pad_token_id=tokenizer.pad_token_id, **ids).save_pretrained(folder)
