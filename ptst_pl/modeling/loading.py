"""Load a causal language model, perhaps quantised, and check that its loss can be computed here."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.utils import is_flash_attn_2_available

from ptst_pl.attention import attending_with
from ptst_pl.errors import InputError
from ptst_pl.modeling.network import final_softcap

log = logging.getLogger(__name__)

Dtype = Literal["float32", "bfloat16"]
Quantize = Literal["none", "int8", "nf4"]


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


def load_model(
    name_or_path: str, dtype: str, attention: str = "auto", device: str = "cpu", quantize: str = "none"
) -> PreTrainedModel:
    """A causal language model from a local folder or the hub.

    A folder with a ``config.json`` but no weights gives a model with random weights, the same ones
    every time: for tests and smoke runs.

    Args:
        name_or_path: the folder or hub name.
        dtype: type of the weights, or of the computation where they are quantised.
        attention: ``auto``, or an implementation that transformers knows.
        device: type of the device that the model is for.
        quantize: ``none``, ``int8`` or ``nf4`` (QLoRA, arXiv 2305.14314).

    Raises:
        InputError: nothing there can be read as a causal language model, or it cannot be quantised here.
    """
    kind = getattr(torch, dtype)
    options = {"dtype": kind, **_quantization(quantize, device, kind)}
    picked = pick_attention(attention, device, kind)
    # PyTorch's own is what transformers takes unasked, except for families that cannot use it (Gemma 2).
    if attention != "auto" or picked != "sdpa":
        options["attn_implementation"] = picked
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


def _quantization(quantize: str, device: str, dtype: torch.dtype) -> dict[str, Any]:
    """Loading options for a quantised base. Not verified: no machine with bitsandbytes was at hand."""
    if quantize == "none":
        return {}
    if device != "cuda" or importlib.util.find_spec("bitsandbytes") is None:
        lacking = "a CUDA device" if device != "cuda" else "the package bitsandbytes (pip install bitsandbytes)"
        raise InputError(f"model.quantize is {quantize!r}, which needs {lacking}; set it to none")
    from transformers import BitsAndBytesConfig

    if quantize == "int8":
        config = BitsAndBytesConfig(load_in_8bit=True)
    else:
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    return {"quantization_config": config, "device_map": {"": torch.cuda.current_device()}}


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
    # flash-attn has no kernel for the processor, where the weights are still.
    with attending_with(model, "eager"):
        expected = model(input_ids=ids, use_cache=False).logits.float()
        logits = model.get_output_embeddings()(model.get_decoder()(input_ids=ids, use_cache=False)[0]).float()
    cap = final_softcap(model)
    ours = logits if cap is None else cap * torch.tanh(logits / cap)
    model.train(training)
    if not torch.allclose(ours, expected, rtol=1e-2, atol=1e-2):
        raise InputError(
            f"model type {model.config.model_type!r} changes its logits behind the output head in a way "
            "that is not supported, so its loss would be wrong"
        )
