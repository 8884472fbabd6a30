"""Load a causal language model, give it LoRA adapters, and reach its backbone and head."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.utils import is_flash_attn_2_available

from ptst_pl.batching import Batch
from ptst_pl.errors import InputError
from ptst_pl.loss import answer_nll

log = logging.getLogger(__name__)
Method = Literal["lora", "full"]
Dtype = Literal["float32", "bfloat16"]


@dataclass
class LoraSettings:
    """LoRA hyper-parameters; the defaults are llama-recipes' of February 2024.

    Attributes:
        r: rank.
        alpha: scale; the update is multiplied by alpha / r.
        dropout: dropout on the adapter's input.
        target_modules: names of the adapted linear layers.
    """

    r: int = 8
    alpha: int = 32
    dropout: float = 0.05
    target_modules: list[str] = field(default_factory=lambda: ["q_proj", "v_proj"])


def pick_attention(requested: str, device: str, dtype: torch.dtype) -> str:
    """The attention implementation to load: flash-attn on a GPU if installed, else PyTorch's own."""
    if requested != "auto":
        return requested
    half = dtype in (torch.float16, torch.bfloat16)
    if device == "cuda" and half and is_flash_attn_2_available():
        return "flash_attention_2"
    if device == "cuda" and half:
        log.info("flash-attn is not installed: using PyTorch's scaled-dot-product attention")
    return "sdpa"


def load_model(name_or_path: str, dtype: str, attention: str = "auto", device: str = "cpu") -> PreTrainedModel:
    """A causal language model from a local folder or the hub.

    A folder with a ``config.json`` but no weights gives a model with random weights, the same ones
    every time: for tests and smoke runs.

    Raises:
        InputError: nothing there can be read as a causal language model.
    """
    kind = getattr(torch, dtype)
    options = {"dtype": kind, "attn_implementation": pick_attention(attention, device, kind)}
    try:
        if _has_no_weights(name_or_path):
            with torch.random.fork_rng():
                torch.manual_seed(0)
                config = AutoConfig.from_pretrained(name_or_path)
                model = AutoModelForCausalLM.from_config(config, **options)
            model.name_or_path = name_or_path
        else:
            model = AutoModelForCausalLM.from_pretrained(name_or_path, **options)
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"model {name_or_path!r} cannot be loaded: {reason}") from error
    _check_head(model)
    return model


def _has_no_weights(name_or_path: str) -> bool:
    folder = Path(name_or_path)
    weights = (".safetensors", ".bin")
    return (folder / "config.json").is_file() and not any(f.suffix in weights for f in folder.iterdir())


@torch.no_grad()
def _check_head(model: PreTrainedModel) -> None:
    """Refuse a model whose logits are not head(backbone): its loss here would be a wrong number."""
    ids = torch.arange(4, device=model.device).remainder(model.config.get_text_config().vocab_size)[None]
    training = model.training
    model.eval()
    expected = model(input_ids=ids, use_cache=False).logits.float()
    logits = model.get_output_embeddings()(_hidden(model, ids, None)).float()
    cap = _softcap(model)
    ours = logits if cap is None else cap * torch.tanh(logits / cap)
    model.train(training)
    if not torch.allclose(ours, expected, rtol=1e-2, atol=1e-2):
        raise InputError(
            f"model type {model.config.model_type!r} changes its logits behind the output head in a way "
            "that is not supported, so its loss would be wrong"
        )


def _softcap(model: PreTrainedModel) -> float | None:
    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    return None if cap is None else float(cap)


def _hidden(model: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
    backbone = model.get_decoder()
    output = backbone(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
    hidden = output.last_hidden_state
    assert isinstance(hidden, Tensor)
    return hidden


def add_lora(model: PreTrainedModel, settings: LoraSettings) -> PeftModel:
    """Freeze the model and add adapters, which stay in float32 on a bfloat16 base (pitfall E2).

    Raises:
        InputError: no layer has one of the target names, or the output head is among them.
    """
    if "lm_head" in settings.target_modules:
        raise InputError("lora.target_modules: lm_head is not supported; adapt the layers below it")
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.target_modules),
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, config)  # type: ignore[return-value]
    except ValueError as error:
        linear = sorted({name.split(".")[-1] for name, m in model.named_modules() if isinstance(m, nn.Linear)})
        raise InputError(
            f"lora.target_modules {settings.target_modules} name no layer of {model.config.model_type!r} "
            f"(its linear layers: {', '.join(linear)})"
        ) from error


def causal_lm(model: nn.Module) -> PreTrainedModel:
    """The Hugging Face model itself, below any adapter."""
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    assert isinstance(inner, PreTrainedModel)
    return inner


def batch_nll(model: nn.Module, batch: Batch) -> Tensor:
    """Summed negative log-likelihood of a batch's supervised tokens; see ``answer_nll``."""
    inner = causal_lm(model)
    hidden = _hidden(inner, batch.input_ids, batch.attention_mask)
    return answer_nll(hidden, batch.positions, batch.targets, inner.get_output_embeddings(), _softcap(inner))


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training changes, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every module is in the mode it was in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def describe(model: nn.Module) -> dict[str, Any]:
    """Counts and types for the log: parameters, trainable ones, attention, dtypes."""
    chosen = trainable(model)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "trainable": sum(p.numel() for p in chosen.values()),
        "attention": causal_lm(model).config._attn_implementation,
        "dtypes": sorted({str(p.dtype).removeprefix("torch.") for p in model.parameters()}),
    }
