"""Which weights a model has, told from its files without reading all of them."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ptst_pl.model.adapter import adapter_config, adapter_weights
from ptst_pl.model.weight_files import read_json_object, weight_files
from ptst_pl.results.identity import digest
from ptst_pl.tokenization.gguf_file import is_gguf

EDIT_RECORD = "edit.json"  # in a folder that ``ptst_pl edit`` wrote
_SLICE = 64  # bytes from the start, the middle and the end of every tensor
# Of a config: what says nothing of the model.
_NO_MATTER = ("transformers_version", "_name_or_path", "dtype", "torch_dtype", "use_cache")


def base_identity(name_or_path: str, random_weights: bool = False, adapter: str | None = None) -> dict[str, Any]:
    """The record's part about the base model: name, revision, and hashes of its config and of its weights.

    The hash of the weights is over the names, shapes and a few bytes of every tensor of safetensors files, or the
    checksums inside PyTorch's: another fine-tune of the same architecture has another one. A hub name is looked up in
    the local cache; hashes are None as long as nothing has been downloaded. With an adapter, the hash of the weights is
    over those of the base and of the adapter.
    """
    found = _model(name_or_path, random_weights)
    if not adapter:
        return found
    return found | {"adapter": adapter, "weights": _adapted(found["weights"], _folder(adapter, "adapter_config.json"))}


def _adapted(weights: str | None, folder: Path | None) -> str | None:
    file = None if folder is None else adapter_weights(folder)
    if weights is None or folder is None or file is None:
        return None
    return digest([weights, _weights([file]), adapter_config(folder)])


def _model(name_or_path: str, random_weights: bool) -> dict[str, Any]:
    if is_gguf(name_or_path):
        return {"name": name_or_path, "revision": None, "config": None, "weights": _gguf(Path(name_or_path))}
    folder = _folder(name_or_path)
    revision = folder.name if folder is not None and folder.parent.name == "snapshots" else None
    found: dict[str, Any] = {"name": name_or_path, "revision": revision, "config": None, "weights": None}
    if folder is None or not (folder / "config.json").is_file():
        return found
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    found["config"] = digest({key: value for key, value in config.items() if key not in _NO_MATTER})
    if random_weights:
        return found | {"weights": "random"}
    files = weight_files(folder)
    if (folder / EDIT_RECORD).is_file():
        found["edit"] = read_json_object(folder / EDIT_RECORD)
    return found | ({"weights": _weights(files)} if files else {})


def _folder(name_or_path: str, file: str = "config.json") -> Path | None:
    if Path(name_or_path).is_dir():
        return Path(name_or_path)
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached = try_to_load_from_cache(name_or_path, file)
    except HFValidationError:
        return None
    return Path(cached).parent if isinstance(cached, str) else None


def _gguf(file: Path) -> str | None:
    """Of the head, which names every tensor, and of small pieces of the rest."""
    if not file.is_file():
        return None
    size = file.stat().st_size
    taken = hashlib.sha256(str(size).encode())
    with file.open("rb") as handle:
        taken.update(handle.read(1 << 22))
        for piece in range(4096):
            handle.seek(piece * size // 4096)
            taken.update(handle.read(_SLICE))
    return taken.hexdigest()[:16]


def _weights(files: list[Path]) -> str:
    parts = sorted(part for file in files for part in _parts(file))
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def _parts(file: Path) -> Iterator[bytes]:
    if file.suffix == ".safetensors":
        yield from _tensors(file)
    elif zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            yield from (
                f"{i.filename.partition('/')[2]} {i.file_size} {i.CRC:08x}".encode() for i in archive.infolist()
            )
    else:  # a pickle of an old torch
        with file.open("rb") as handle:
            yield hashlib.file_digest(handle, "sha256").digest()


def _tensors(file: Path) -> Iterator[bytes]:
    with file.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        header = json.loads(handle.read(length))
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            start, end = entry["data_offsets"]
            taken = hashlib.sha256(json.dumps([name, entry["dtype"], entry["shape"]]).encode())
            for place in (start, (start + end) // 2, max(start, end - _SLICE)):
                handle.seek(8 + length + place)
                taken.update(handle.read(min(_SLICE, end - place)))
            yield taken.digest()
