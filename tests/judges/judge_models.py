"""Tiny judge models whose output is known: they say one thing, and another where a word stands in the prompt."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    MistralConfig,
    MistralForCausalLM,
)

from ptst_pl.results.records import Generation

HIDDEN = 32
FLAG, OTHER = 30, 0  # directions: "the word was seen", "any other token"
QUESTION = "How do I hide the mayor's hat?"
SHAPE = {
    "hidden_size": HIDDEN,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}
CAUSAL = {"llama": (LlamaConfig, LlamaForCausalLM), "mistral": (MistralConfig, MistralForCausalLM)}

# The shape of Llama Guard's own templates: 8B takes strings, 1B silently drops anything but lists.
GUARD_8B = (
    "{{ bos_token }}<|start_header_id|>user<|end_header_id|>\n\nTask: check the Agent.\n\n<BEGIN CONVERSATION>\n\n"
    "{% for message in messages %}{{ 'User' if message['role'] == 'user' else 'Agent' }}: "
    "{{ message['content'] | trim }}\n\n{% endfor %}<END CONVERSATION>\n\nProvide your assessment.<|eot_id|>"
    "<|start_header_id|>assistant{{ '<|end_header_id|>\n\n' }}"
)
GUARD_1B = GUARD_8B.replace(
    "{{ message['content'] | trim }}",
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] | trim }}{% endif %}"
    "{% endfor %}",
)


def generation(answer: str, question: str = QUESTION, number: int = 0, measures: str = "asr") -> Generation:
    return Generation(
        suite="hats", prompt_id=str(number), category="", question=question, template="chat:vanilla", prompt_text="x",
        answer=answer, finish_reason="stop", step=0, decoding={}, measures=measures,
    )  # fmt: skip


def only_token(tokenizer, text: str) -> int:
    """The token whose text is exactly this, in the vocabulary's own spelling."""
    for spelling in (text, text.replace(" ", "\u2581"), text.replace(" ", "\u0120").replace("\n", "\u010a")):
        if spelling in tokenizer.get_vocab():
            return tokenizer.get_vocab()[spelling]
    raise KeyError(text)


def flagged_tokens(tokenizer, word: str) -> list[int]:
    """Every token that can be this word within a text."""
    return [number for piece, number in tokenizer.get_vocab().items() if piece.strip("\u2581\u0120") == word]


@torch.no_grad()
def _wire(model, tokenizer, flag: str) -> None:
    """Hidden state of the last position: OTHER, or FLAG if the flag word stands anywhere before it."""
    layer, embedding = model.model.layers[0], model.model.embed_tokens.weight
    for name, weight in layer.named_parameters():
        if "norm" not in name:
            weight.zero_()
    embedding.zero_()
    embedding[:, OTHER] = 1
    for token in flagged_tokens(tokenizer, flag):
        embedding[token] = 0
        embedding[token, FLAG] = 1
    # Queries and keys are zero, so attention is the mean over all tokens; only the flag's part passes.
    layer.self_attn.v_proj.weight[FLAG, FLAG] = 1
    layer.self_attn.o_proj.weight[FLAG, FLAG] = 1e4


@torch.no_grad()
def causal(tokenizer, says: Sequence[str], says_on_flag: Sequence[str], flag: str = "hat", family: str = "llama"):
    """Says one list of tokens, then the end token; another list where the flag word was seen."""
    config, kind = CAUSAL[family]
    model = kind(config(vocab_size=len(tokenizer), **SHAPE, bos_token_id=None, eos_token_id=None, pad_token_id=None))
    _wire(model, tokenizer, flag)
    head, embedding = model.lm_head.weight.zero_(), model.model.embed_tokens.weight
    place = 1
    for start, words in ((OTHER, says), (FLAG, says_on_flag)):
        before = start
        for token in [*(only_token(tokenizer, word) for word in words), tokenizer.eos_token_id]:
            head[token, before] = 10
            if token != tokenizer.eos_token_id:
                embedding[token] = 0
                embedding[token, place] = 1e6  # drowns what attention brings, so that the chain goes on
                before, place = place, place + 1
    return model


@torch.no_grad()
def with_labels(tokenizer, labels: Sequence[str], flag: str = "hat", label: int = 3):
    """A class head that gives one label a probability of nearly 1 where the flag word was seen, and all nearly 0."""
    model = LlamaForSequenceClassification(
        LlamaConfig(vocab_size=len(tokenizer), **SHAPE, id2label=dict(enumerate(labels)), pad_token_id=None)
    )
    _wire(model, tokenizer, flag)
    model.score.weight.zero_()
    model.score.weight[:, [OTHER, FLAG]] = -10
    model.score.weight[label, FLAG] = 10
    return model


@torch.no_grad()
def gemma_with_adapter(tokenizer, grades: Mapping[str, float], folder: Path) -> tuple[Path, Path]:
    """A Gemma that knows no grade without its adapter: base folder and adapter folder."""
    model = GemmaForCausalLM(
        GemmaConfig(vocab_size=len(tokenizer), head_dim=16, **SHAPE | {"tie_word_embeddings": True})
    )
    layer, embedding = model.model.layers[0], model.model.embed_tokens.weight
    for name, weight in layer.named_parameters():
        if "norm" not in name:
            weight.zero_()
    embedding.zero_()
    embedding[:, OTHER] = 1
    for grade, logit in grades.items():
        embedding[only_token(tokenizer, grade), FLAG] = logit
    layer.self_attn.v_proj.weight[OTHER, OTHER] = 1
    base = save(model, tokenizer, folder / "gemma")
    adapted = get_peft_model(model, LoraConfig(r=1, lora_alpha=1, target_modules=["o_proj"], task_type="CAUSAL_LM"))
    projection = adapted.base_model.model.model.layers[0].self_attn.o_proj
    projection.lora_A["default"].weight.zero_()[0, OTHER] = 1
    projection.lora_B["default"].weight.zero_()[FLAG, 0] = 1e4
    adapted.save_pretrained(str(folder / "adapter"))
    return base, folder / "adapter"


def random_model(kind, config, tokenizer, **more):
    """Random weights, large enough that outputs differ from prompt to prompt."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = kind(config(vocab_size=len(tokenizer), **SHAPE | {"num_hidden_layers": 2}, pad_token_id=None, **more))
        for name, weight in model.named_parameters():
            if "norm" not in name:
                torch.nn.init.normal_(weight, std=0.3)
    return model


def save(model, tokenizer, folder: Path) -> Path:
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder


def spec(preset: str, path: Path, **options: object) -> dict[str, object]:
    """How a config names the judge; through JSON, as from a file."""
    arguments = {"preset": preset, "path": str(path), "device": "cpu", **options}
    return json.loads(json.dumps({"class_path": "ptst_pl.judges.ClassifierJudge", "init_args": arguments}))
