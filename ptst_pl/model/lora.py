"""LoRA adapters: their settings, and which linear layers they adapt in each family of models.

====================== ================== ======================= ==========================
family                 auto               attention               all-linear
====================== ================== ======================= ==========================
Llama, Mistral, Qwen,  q_proj, v_proj     and k_proj, o_proj      and gate_proj, up_proj,
Gemma                                                             down_proj
Phi-3 (fused)          qkv_proj           and o_proj              and gate_up_proj, down_proj
Falcon, GPT-NeoX       query_key_value    and attention's dense   and dense_h_to_4h,
                                                                  dense_4h_to_h
====================== ================== ======================= ==========================

The names are read off the model itself, so families that are not listed work as well where they
use the same names. The output head is never adapted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import PreTrainedModel

from ptst_pl import InputError
from ptst_pl.model.text_part import parts_beside_text

Method = Literal["lora", "full"]
Preset = Literal["auto", "attention", "all-linear"]
PRESETS: tuple[str, ...] = get_args(Preset)
# Layers that make queries and values, alone or fused with the keys.
_QUERY_VALUE = {"q_proj", "v_proj", "qkv_proj", "query_key_value", "Wqkv", "wqkv", "in_proj_qkv", "query", "value"}
_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)


@dataclass
class LoraSettings:
    """LoRA hyper-parameters; the defaults are llama-recipes' of February 2024.

    Attributes:
        r: rank.
        alpha: scale; the update is multiplied by alpha / r.
        dropout: dropout on the adapter's input.
        target_modules: names of the adapted linear layers; or ``auto`` (query and value, whatever the
            family calls them), ``attention`` or ``all-linear``.
    """

    r: int = 8
    alpha: int = 32
    dropout: float = 0.05
    target_modules: list[str] | str = field(default_factory=lambda: ["q_proj", "v_proj"])


def add_lora(model: PreTrainedModel, settings: LoraSettings) -> PeftModel:
    """Freeze the model and add adapters, which stay in float32 on a bfloat16 or quantised base (pitfall E2).

    Layers that text never reaches, such as a vision tower, get none.

    Raises:
        InputError: a target names no layer, or the output head.
    """
    beside = [re.escape(name) for name in parts_beside_text(model)]
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=lora_targets(model, settings.target_modules),
        exclude_modules=rf"({'|'.join(beside)})(\..*)?" if beside else None,
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, config)  # type: ignore[return-value]
    except ValueError as error:  # a target that is no linear layer
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"lora.target_modules {settings.target_modules}: {reason}") from error


def lora_targets(model: PreTrainedModel, wanted: Sequence[str] | str) -> list[str]:
    """Names for PEFT, each of which names at least one layer: a preset's, or those given.

    Args:
        model: the model, without adapters.
        wanted: names of layers, or one of ``auto``, ``attention`` and ``all-linear``.

    Raises:
        InputError: an unknown preset, a name that no layer has, or the output head.
    """
    head = model.get_output_embeddings()
    linear = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    beside = tuple(f"{name}." for name in parts_beside_text(model))
    below = [n for n, module in linear.items() if module is not head and not f"{n}.".startswith(beside)]
    if isinstance(wanted, str):
        return _preset(model, wanted, below)
    heads = [name for name, module in linear.items() if module is head]
    for target in wanted:
        if any(_is_named(name, target) for name in heads):
            raise InputError(
                f"lora.target_modules: {target} is not supported, it is the output head; adapt the layers below it"
            )
    # PEFT itself passes over a name without a layer as long as another one has some.
    known = [name for name, _ in model.named_modules() if not f"{name}.".startswith(beside)]
    missing = [target for target in wanted if not any(_is_named(name, target) for name in known)]
    if missing or not wanted:
        raise _nothing(model, missing, below)
    return list(wanted)


def _preset(model: PreTrainedModel, preset: str, below: Sequence[str]) -> list[str]:
    if preset not in PRESETS:
        raise InputError(
            f"lora.target_modules is {preset!r}, expected one of {', '.join(PRESETS)}, or a list of layers' names"
        )
    chosen = [name for name in below if preset == "all-linear" or _in_attention(name)]
    if preset == "auto":
        chosen = [name for name in chosen if _leaf(name) in _QUERY_VALUE]
    if not chosen:
        raise _nothing(model, preset, below)
    others = {_leaf(name) for name in set(below) - set(chosen)}
    # Falcon and GPT-NeoX call an attention layer ``dense``, and some models another layer too.
    short = {_leaf(n) if _leaf(n) not in others else ".".join(n.split(".")[-2:]) for n in chosen}
    return sorted(short)


def _nothing(model: PreTrainedModel, wanted: object, below: Sequence[str]) -> InputError:
    names = ", ".join(sorted({_leaf(name) for name in below}))
    return InputError(
        f"lora.target_modules {wanted} name no layer of {model.config.model_type!r} (its linear layers: {names})"
    )


def _leaf(name: str) -> str:
    return name.rsplit(".", 1)[-1]


def _in_attention(name: str) -> bool:
    return bool(_ATTENTION.search(name.rsplit(".", 2)[-2] if "." in name else ""))


def _is_named(name: str, target: str) -> bool:
    """As PEFT matches: the whole name, or its last parts."""
    return name == target or name.endswith(f".{target}")
