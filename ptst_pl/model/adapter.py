"""A LoRA adapter that somebody trained before: merged into the model, which is then trained or measured as a whole."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from peft import PeftConfig, PeftModel
from safetensors import SafetensorError
from transformers import PreTrainedModel

from ptst_pl import InputError
from ptst_pl.model.weight_files import read_json_object

_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
# What can be added to the weights of a layer, and then is gone.
_MERGEABLE = ("LORA", "LOHA", "LOKR", "ADALORA", "OFT", "BOFT", "IA3")


def check_adapter(adapter: str, quantize: str = "none") -> None:
    """Check a local adapter folder before anything is loaded; a hub name is left to peft.

    Args:
        adapter: what ``model.adapter`` says.
        quantize: what ``model.quantize`` says.

    Raises:
        InputError: what was found, and what is missing.
    """
    if quantize != "none":
        raise InputError(
            f"model.adapter with model.quantize {quantize!r}: an adapter is merged into the weights, and merging into "
            "quantised ones rounds it away; set model.quantize to none, or export the merged model first"
        )
    folder = Path(adapter)
    if not folder.exists():
        return
    if not (folder / "adapter_config.json").is_file():
        raise InputError(f"model.adapter {adapter!r} has no adapter_config.json: expected the folder of an adapter")
    if adapter_weights(folder) is None:
        raise InputError(f"model.adapter {adapter!r} has no weights: expected {' or '.join(_WEIGHTS)}")
    kind = str(read_json_object(folder / "adapter_config.json").get("peft_type"))
    if kind not in _MERGEABLE:
        raise InputError(
            f"model.adapter {adapter!r} is of type {kind}, which cannot be merged into the weights; expected one of "
            f"{', '.join(_MERGEABLE)}"
        )


def adapter_weights(folder: Path) -> Path | None:
    """The file with an adapter's weights, if there is one."""
    return next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)


def merge_adapter(model: PreTrainedModel, adapter: str) -> PreTrainedModel:
    """The model with the adapter's update added to its weights, in their own type.

    Args:
        model: the base that the adapter was trained on; changed in place.
        adapter: its folder or hub name.

    Raises:
        InputError: it cannot be loaded, or does not fit the model.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".is_gradient_checkpointing")  # peft asks by the old name
            adapted = PeftModel(model, PeftConfig.from_pretrained(adapter))
            report = adapted.load_adapter(adapter, "default")
            merged = adapted.merge_and_unload(safe_merge=True)
    except (
        OSError,
        ValueError,
        ImportError,
        LookupError,
        RuntimeError,
        TypeError,
        AttributeError,
        SafetensorError,
    ) as error:
        raise _unfit(model, adapter, " ".join(str(error).split()) or type(error).__name__) from error
    # peft makes up what it does not find, and passes over what it does not know.
    for what, names in (("missing in", report.missing_keys), ("left over in", report.unexpected_keys)):
        if names:
            raise _unfit(model, adapter, f"{len(names)} tensors are {what} its file, such as {min(names)}")
    assert isinstance(merged, PreTrainedModel)
    return merged.requires_grad_(True)  # type: ignore[no-any-return]


def _unfit(model: PreTrainedModel, adapter: str, reason: str) -> InputError:
    return InputError(f"model.adapter {adapter!r} does not fit {model.name_or_path!r}: {reason[:300]}")


def adapter_config(folder: Path) -> dict[str, Any]:
    """What of an adapter's config changes the numbers: all but names, and whether it was saved for inference."""
    found = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    words = ("base_model_name_or_path", "revision", "inference_mode", "peft_version", "task_type", "auto_mapping")
    return {
        key: sorted(value) if isinstance(value, list) else value for key, value in found.items() if key not in words
    }
