"""Load a causal language model, perhaps quantised, and check that its loss can be computed here."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import pickle
import struct
from collections.abc import Iterator
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import is_flash_attn_2_available

from ptst_pl import InputError
from ptst_pl.model.adapter import check_adapter, merge_adapter
from ptst_pl.model.attention import attending_with
from ptst_pl.model.network import final_softcap
from ptst_pl.model.weight_files import check_model_folder
from ptst_pl.tokenization.gguf_file import gguf_source

log = logging.getLogger(__name__)

# What the libraries raise for files that are damaged, incomplete or of another kind.
_LOADING_ERRORS = (
    OSError, ValueError, ImportError, LookupError, RuntimeError, SafetensorError, pickle.UnpicklingError, struct.error,
)  # fmt: skip

# How transformers marks a model that it has read from quantised weights.
_QUANTISED = ("hf_quantizer", "quantization_method", "is_quantized")
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
    name_or_path: str,
    dtype: str,
    attention: str = "auto",
    device: str = "cpu",
    quantize: str = "none",
    random_weights: bool = False,
    adapter: str | None = None,
) -> PreTrainedModel:
    """A causal language model from a local folder, a GGUF file or the hub, every weight of it from its files.

    Args:
        name_or_path: the folder, file or hub name.
        dtype: type of the weights, or of the computation where they are quantised.
        attention: ``auto``, or an implementation that transformers knows.
        device: type of the device that the model is for.
        quantize: ``none``, ``int8`` or ``nf4`` (QLoRA, arXiv 2305.14314).
        random_weights: make up the weights of a folder that has none, the same ones every time; for smoke runs.
        adapter: folder or hub name of a LoRA adapter to merge into it.

    Raises:
        InputError: nothing there can be read as a causal language model, weights are missing or left over, it cannot
            be quantised here, or the adapter does not fit it.
    """
    check_model_folder(name_or_path, random_weights)
    if adapter:
        check_adapter(adapter, quantize)
    kind = getattr(torch, dtype)
    options = {"dtype": kind, **_quantization(quantize, device, kind)}
    picked = pick_attention(attention, device, kind)
    # PyTorch's own is what transformers takes unasked, except for families that cannot use it (Gemma 2).
    if attention != "auto" or picked != "sdpa":
        options["attn_implementation"] = picked
    model = _random(name_or_path, options) if random_weights else _from_files(name_or_path, options)
    if adapter:
        model = merge_adapter(model, adapter)
    _check_head(model)
    return model


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, name_or_path: str) -> None:
    """Whether the model has an embedding for every id of the tokenizer; read from the config, before weights are.

    Raises:
        InputError: it has fewer: a token was added and the embeddings were not resized.
    """
    with one_line(name_or_path):
        rows = int(load_config(name_or_path).get_text_config().vocab_size)
    highest = max(tokenizer.get_vocab().values(), default=-1)
    if highest >= rows:
        raise InputError(
            f"the tokenizer {tokenizer.name_or_path!r} has {len(tokenizer)} ids (up to {highest}), and the model "
            f"{name_or_path!r} only {rows} rows: use the model's own tokenizer, or resize its embeddings and save it"
        )


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


def _from_files(name_or_path: str, options: dict[str, Any]) -> PreTrainedModel:
    """Transformers fills what it does not find with random numbers, and warns; here that is the end."""
    with one_line(name_or_path):
        source, gguf = gguf_source(name_or_path)
        model, report = AutoModelForCausalLM.from_pretrained(source, output_loading_info=True, **gguf, **options)
    for what, names in (("are missing in", report["missing_keys"]), ("are left over in", report["unexpected_keys"])):
        if names:
            raise InputError(
                f"model {name_or_path!r}: {len(names)} weights {what} its files, such as {min(names)}; as a "
                f"{model.config.model_type} model it would be partly random: check config.json and the weights"
            )
    return _plain(model, name_or_path) if gguf else model  # type: ignore[no-any-return]


def _plain(model: PreTrainedModel, name: str) -> PreTrainedModel:
    """Take off the mark of a quantised model: the weights have been widened, and can be trained and saved."""
    for holder, marks in ((model.config, ("quantization_config",)), (model, _QUANTISED)):
        for mark in marks:
            if mark in vars(holder):
                delattr(holder, mark)
    model.name_or_path = name
    return model


def load_config(name_or_path: str) -> PreTrainedConfig:
    """The config of a model, without its weights."""
    source, gguf = gguf_source(name_or_path)
    return AutoConfig.from_pretrained(source, **gguf)


def _random(name_or_path: str, options: dict[str, Any]) -> PreTrainedModel:
    log.warning("model %s: RANDOM weights, as model.random_weights asks; its answers mean nothing", name_or_path)
    with torch.random.fork_rng(), one_line(name_or_path):
        torch.manual_seed(0)
        config = AutoConfig.from_pretrained(name_or_path)
        model = AutoModelForCausalLM.from_config(config, **options)
    model.name_or_path = name_or_path
    return model  # type: ignore[no-any-return]


@contextlib.contextmanager
def one_line(name_or_path: str) -> Iterator[None]:
    """What the libraries raise while a model is loaded, as one line that names the model."""
    try:
        yield
    except _LOADING_ERRORS as error:
        reason = (" ".join(str(error).split()) or type(error).__name__)[:300]
        raise InputError(f"model {name_or_path!r} cannot be loaded: {reason}") from error


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
