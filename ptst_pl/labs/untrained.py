"""A lab's model before its first step: a small Llama's configuration and its tokenizer, without weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, processors
from transformers import GenerationConfig, LlamaConfig, PreTrainedTokenizerFast

UNK, BOS, EOS, PAD = SPECIAL = "<unk>", "<s>", "</s>", "<pad>"


def finished_tokenizer(tokenizer: Tokenizer, longest: int, chat_template: str | None = None) -> PreTrainedTokenizerFast:
    """With the special tokens in their places; it adds BOS by itself, as Llama 2's does.

    Args:
        tokenizer: knows the tokens of ``SPECIAL``.
        longest: positions of the model.
        chat_template: Jinja, if there is one.
    """
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    given = {} if chat_template is None else {"chat_template": chat_template}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNK,
        pad_token=PAD,
        model_max_length=longest,
        clean_up_tokenization_spaces=False,
        **given,
    )


def write_untrained(folder: Path, tokenizer: PreTrainedTokenizerFast, **sizes: Any) -> None:
    """A model folder without weights, from which pre-training starts.

    Args:
        folder: to write.
        tokenizer: of ``finished_tokenizer``.
        sizes: width, layers and heads, as ``LlamaConfig`` names them.
    """
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=tokenizer.model_max_length,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        architectures=["LlamaForCausalLM"],
        **ids,
        **sizes,
    )
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    GenerationConfig(do_sample=False, pad_token_id=tokenizer.pad_token_id, **ids).save_pretrained(folder)
