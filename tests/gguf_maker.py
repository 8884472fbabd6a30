"""A GGUF file of a small Llama, as llama.cpp's converter would write it; not quantised, so that nothing is rounded."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import load_file

CHAT = (
    "{% for m in messages %}{{ '<s>' + m['role'] + ': ' + m['content'] + '</s>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s>assistant: ' }}{% endif %}"
)


def write_gguf(model: Path, target: Path) -> Path:
    """Turn the folder of a Llama with a byte-level tokenizer into one file."""
    config = json.loads((model / "config.json").read_text())
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    heads, shared = config["num_attention_heads"], config["num_key_value_heads"]
    writer = gguf.GGUFWriter(str(target), "llama")
    writer.add_name("small")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(shared)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])
    vocabulary = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
    special = {token["content"] for token in tokenizer["added_tokens"]}
    vocabulary += [f"[PAD{n}]" for n in range(len(vocabulary), config["vocab_size"])]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(vocabulary)
    writer.add_token_types([3 if token in special else 1 for token in vocabulary])
    writer.add_token_merges([" ".join(merge) for merge in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(vocabulary.index("<s>"))
    writer.add_eos_token_id(vocabulary.index("</s>"))
    writer.add_unk_token_id(0)
    writer.add_chat_template(CHAT)
    for name, tensor in load_file(model / "model.safetensors").items():
        writer.add_tensor(_name(name), _laid_out(name, tensor, heads, shared).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def _name(name: str) -> str:
    whole = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    parts = {
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    }  # fmt: skip
    stem = name.removesuffix(".weight")
    if stem in whole:
        return f"{whole[stem]}.weight"
    _, _, layer, rest = stem.split(".", 3)
    return f"blk.{layer}.{parts[rest]}.weight"


def _laid_out(name: str, tensor: torch.Tensor, heads: int, shared: int) -> torch.Tensor:
    """llama.cpp keeps the two halves of a rotated head side by side."""
    count = heads if "q_proj" in name else shared if "k_proj" in name else None
    if count is None:
        return tensor.contiguous()
    rows = tensor.shape[0]
    turned = tensor.reshape(count, 2, rows // count // 2, *tensor.shape[1:]).swapaxes(1, 2).reshape(tensor.shape)
    return torch.from_numpy(np.ascontiguousarray(turned.numpy()))
