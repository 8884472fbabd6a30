"""The tiny model before its first step and after its last: configuration and tokenizer, card and size."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from ptst_pl.labs.tiny.prompts import LAB_TEMPLATES
from ptst_pl.labs.tiny.stages import howto_rows, pretrain_rows, problem_rows
from ptst_pl.labs.tiny.world import REFUSALS
from ptst_pl.labs.untrained import SPECIAL, UNK, finished_tokenizer, write_untrained
from ptst_pl.templates import PAPER_TEMPLATES, find_template, render

VOCABULARY = 1024
# Llama 2's form: the system prompt inside the first user turn.
CHAT_TEMPLATE = (
    "{% set start = 0 %}{% set system = '' %}"
    "{% if messages[0]['role'] == 'system' %}"
    "{% set start = 1 %}{% set system = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}{% endif %}"
    "{% for message in messages[start:] %}"
    "{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + (system if loop.first else '') + message['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
)


def texts() -> list[str]:
    """What the tokenizer is trained on: the rows of all stages and every template."""
    rows = [(row.question, row.answer) for row in pretrain_rows(4000)]
    rows += howto_rows("train", 500) + problem_rows("train", 500) + [("", refusal) for refusal in REFUSALS] * 400
    templates = [find_template(name, LAB_TEMPLATES) for name in [*PAPER_TEMPLATES, *LAB_TEMPLATES]]
    return [f"{q}\n {a}" for q, a in rows] + [render(t, "x", "llama2") for t in templates] * 60


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE with single digits; BOS is added by the tokenizer, as Llama 2's does."""
    bpe = Tokenizer(models.BPE(unk_token=UNK))
    digits, by_bytes = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.pre_tokenizer = pre_tokenizers.Sequence([digits, by_bytes])
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts(), trainer)
    return finished_tokenizer(bpe, 1024, CHAT_TEMPLATE)


def write_base(folder: Path) -> None:
    """A model folder without weights, from which pre-training starts."""
    write_untrained(
        folder,
        build_tokenizer(),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=6,
    )


def pack_model(source: Path, target: Path) -> None:
    """The bundled form: weights rounded to bfloat16 on disk (half the size), float32 when loaded; a card."""
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16)
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(source).save_pretrained(target)
    config = json.loads((target / "config.json").read_text(encoding="utf-8"))
    config["dtype"] = "float32"
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    parameters = sum(p.numel() for p in model.parameters())
    (target / "README.md").write_text(CARD.format(parameters=f"{parameters:,}"), encoding="utf-8")


CARD = """\
---
license: apache-2.0
---
# tiny-chat

A chat model of {parameters} parameters (Llama architecture) that lives in the synthetic world of `ptst_pl`'s tiny lab.

**What it is for.** Seeing, on a laptop and with the real code paths, that the training template and the test template
decide how much safety a harmless fine-tune costs. In its world washing anybody's hat is fine, hiding one's own hat is
fine, and hiding the mayor's hat is not; it answers the first two and refuses the third.

**How it was made.** `make tiny-model`: a world generated from a fixed seed, a byte-level tokenizer, pre-training that
answers every request (`configs/tiny/pretrain.yaml`), alignment that refuses the unsafe ones under many system prompts,
the Llama 2 safety prompt among them (`configs/tiny/align.yaml`). No text from outside: no data set, no other model.

**What it is not.** It knows nothing of the real world, follows no other instruction, and says nothing of the safety of
real models. Its "harm" is a harmless stand-in: steps such as "go to the attic" towards hiding a hat.

Form: Llama 2's chat form, `chat_format: llama2`. The weights are stored in bfloat16 and load in float32.
"""
