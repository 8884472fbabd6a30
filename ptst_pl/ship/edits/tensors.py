"""A model's weights, read one tensor at a time; an adapter is added to a tensor when it is read."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ptst_pl import InputError
from ptst_pl.model import load_model
from ptst_pl.model.adapter import adapter_weights, check_adapter
from ptst_pl.model.weight_files import check_model_folder, read_json_object, weight_files

SHARD_BYTES = 2 << 30
_PREFIX, _A, _B = "base_model.model.", ".lora_A.weight", ".lora_B.weight"


class Weights(ABC):
    """Tensors by name."""

    path: str

    @abstractmethod
    def names(self) -> list[str]:
        """In the files' order."""

    @abstractmethod
    def get(self, name: str) -> Tensor:
        """One tensor in float32."""

    @abstractmethod
    def shape(self, name: str) -> tuple[int, ...]:
        """Its shape, without reading it."""


class FileWeights(Weights):
    """Of safetensors files, which stay closed but for the tensor at hand."""

    def __init__(self, folder: Path, files: list[Path]) -> None:
        self.path = str(folder)
        self._file_of: dict[str, Path] = {}
        for file in files:
            try:
                with safe_open(str(file), "pt") as handle:
                    self._file_of |= dict.fromkeys(handle.keys(), file)
            except (SafetensorError, OSError) as error:
                raise InputError(f"edit: {file} cannot be read ({error}); get it again") from error

    def names(self) -> list[str]:
        """In the files' order."""
        return list(self._file_of)

    def get(self, name: str) -> Tensor:
        """One tensor in float32."""
        with safe_open(str(self._file_of[name]), "pt") as handle:
            found: Tensor = handle.get_tensor(name)
        return found.float()

    def shape(self, name: str) -> tuple[int, ...]:
        """From the file's head."""
        with safe_open(str(self._file_of[name]), "pt") as handle:
            return tuple(handle.get_slice(name).get_shape())


class LoadedWeights(Weights):
    """Of a model that is in memory as a whole: a GGUF file, files of PyTorch's, or the hub."""

    def __init__(self, path: str, adapter: str | None = None) -> None:
        self.path = path
        model = load_model(path, "float32", adapter=adapter)
        tied = set(getattr(model, "_tied_weights_keys", None) or ())
        state = {name: value for name, value in model.state_dict().items() if name not in tied}
        self._state: dict[str, Tensor] = state

    def names(self) -> list[str]:
        """In the model's order."""
        return list(self._state)

    def get(self, name: str) -> Tensor:
        """One tensor in float32."""
        return self._state[name].float()

    def shape(self, name: str) -> tuple[int, ...]:
        """Of the tensor in memory."""
        return tuple(self._state[name].shape)


class AdaptedWeights(Weights):
    """A LoRA adapter's update, added to its base's tensors in float32 when they are read."""

    def __init__(self, base: Weights, folder: Path) -> None:
        check_adapter(str(folder))
        file = adapter_weights(folder)
        assert file is not None
        if file.suffix != ".safetensors":
            raise InputError(f"edit: {file} is no safetensors file; save the adapter in that form")
        config = read_json_object(folder / "adapter_config.json")
        unknown = [key for key in ("use_dora", "rank_pattern", "alpha_pattern", "fan_in_fan_out") if config.get(key)]
        if config.get("peft_type") != "LORA" or unknown:
            what = unknown[0] if unknown else config.get("peft_type")
            raise InputError(
                f"edit: the adapter {folder} has {what}, which is not read here; merge it with export first"
            )
        self.path, self._base, self._file = str(folder), base, file
        rank = int(config["r"])
        self._scale = float(config["lora_alpha"]) / (rank**0.5 if config.get("use_rslora") else rank)
        with safe_open(str(file), "pt") as handle:
            self._keys = set(handle.keys())
        layers = {key.removeprefix(_PREFIX).removesuffix(_A) + ".weight" for key in self._keys if key.endswith(_A)}
        other = sorted(key for key in self._keys if not key.endswith((_A, _B)))
        if other:
            raise InputError(
                f"edit: the adapter {folder} holds {other[0]}, which is no update of a linear layer; merge it first"
            )
        missing = sorted(layers - set(base.names()))
        if missing or not layers:
            lacks = missing[0] if missing else "layers"
            raise InputError(f"edit: the adapter {folder} does not fit {base.path}, which lacks {lacks}")
        self._layers = layers

    def names(self) -> list[str]:
        """The base's."""
        return self._base.names()

    def get(self, name: str) -> Tensor:
        """The base's tensor, with scale B A added where the adapter has one: the product is scaled, once."""
        base = self._base.get(name)
        if name not in self._layers:
            return base
        key = _PREFIX + name.removesuffix(".weight")
        with safe_open(str(self._file), "pt") as handle:
            a, b = handle.get_tensor(key + _A).float(), handle.get_tensor(key + _B).float()
        added: Tensor = base + self._scale * (b @ a)
        return added

    def shape(self, name: str) -> tuple[int, ...]:
        """The base's."""
        return self._base.shape(name)


def open_weights(path: str, adapter: str | None = None) -> Weights:
    """The weights of a folder, a GGUF file or a hub name; of a folder with safetensors without loading the model.

    Raises:
        InputError: nothing there is a model, or the adapter does not fit.
    """
    check_model_folder(path)
    files = weight_files(Path(path)) if Path(path).is_dir() else []
    if files and all(file.suffix == ".safetensors" for file in files):
        base: Weights = FileWeights(Path(path), files)
        return AdaptedWeights(base, Path(adapter)) if adapter else base
    return LoadedWeights(path, adapter)


def check_alike(models: dict[str, Weights]) -> None:
    """All models have the same tensors, of the same shapes: those of the first.

    Raises:
        InputError: which tensor of which model does not fit.
    """
    (first, own), *others = models.items()
    for what, other in others:
        missing = sorted(set(own.names()) ^ set(other.names()))
        if missing:
            raise InputError(
                f"edit: {what} ({other.path}) and {first} ({own.path}) are not of one architecture: only one has "
                f"{missing[0]} ({len(missing)} tensors differ)"
            )
        for name in own.names():
            if own.shape(name) != other.shape(name):
                sizes = f"{list(other.shape(name))} there, {list(own.shape(name))} here"
                raise InputError(f"edit: {what} ({other.path}) has another {name} than {first} ({own.path}): {sizes}")


class ShardWriter:
    """Writes tensors as they come into safetensors files of bounded size, with transformers' index.

    Args:
        folder: where to.
        limit: bytes of a file, which are in memory until it is written; None: `SHARD_BYTES`.
    """

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        self._folder, self._limit = folder, limit or SHARD_BYTES
        self._held: dict[str, Tensor] = {}
        self._size = self._total = 0
        self._files: list[list[str]] = []

    def add(self, name: str, value: Tensor) -> None:
        """Keep a tensor for the next file."""
        size = value.numel() * value.element_size()
        if self._held and self._size + size > self._limit:
            self._flush()
        self._held[name] = value.contiguous()
        self._size += size
        self._total += size

    def _flush(self) -> None:
        from safetensors.torch import save_file

        save_file(self._held, str(self._folder / f"part-{len(self._files):05d}.safetensors"), metadata={"format": "pt"})
        self._files.append(list(self._held))
        self._held, self._size = {}, 0

    def close(self) -> None:
        """Write what is left, and give the files the names that transformers looks for."""
        if self._held:
            self._flush()
        count = len(self._files)
        names = [f"model-{k + 1:05d}-of-{count:05d}.safetensors" for k in range(count)]
        if count == 1:
            names = ["model.safetensors"]
        for number, name in enumerate(names):
            (self._folder / f"part-{number:05d}.safetensors").rename(self._folder / name)
        if count > 1:
            where = {tensor: name for name, own in zip(names, self._files, strict=True) for tensor in own}
            index = {"metadata": {"total_size": self._total}, "weight_map": where}
            (self._folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def linear_names(weights: Weights) -> Iterator[str]:
    """Names of the matrices that are linear layers': all of two dimensions but embeddings and the head."""
    for name in weights.names():
        leaf = name.rsplit(".", 2)[-2] if "." in name else name
        if name.endswith(".weight") and leaf not in ("embed_tokens", "wte", "lm_head", "embed_in", "embed_out"):
            yield name
