"""A model folder as people bring it: is everything there, and is it what its names say? Asked before it is loaded.

transformers makes up what it does not find, or ends in the middle of a file with a traceback. Either is found here
first: a model that is partly random gives numbers that look right.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ptst_pl import InputError
from ptst_pl.tokenization.gguf_file import check_gguf, is_gguf

# In the order in which transformers looks for them.
_WEIGHTS = (
    "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json",
)  # fmt: skip
_POINTER = b"version https://git-lfs"
_GET = "get the whole folder again, for example: hf download NAME --local-dir FOLDER"


def check_model_folder(name_or_path: str, random_weights: bool = False) -> None:
    """Check a local folder; a hub name is left to transformers.

    Args:
        name_or_path: what ``model.pretrained`` says.
        random_weights: the user asks for random weights, so there must be none.

    Raises:
        InputError: what was found in the folder, what is missing, and how to get it.
    """
    folder = Path(name_or_path)
    if is_gguf(name_or_path):
        if random_weights:
            raise InputError(f"model.random_weights is true, but {name_or_path} holds weights: set it to false")
        check_gguf(name_or_path)
        return
    if folder.is_file():
        raise InputError(f"model {name_or_path!r} is a file, expected a model folder, a .gguf file or a hub name")
    if not folder.is_dir():
        if random_weights:
            raise InputError(f"model.random_weights is true, which needs a local folder; {name_or_path!r} is none")
        return
    found = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)
    if not (folder / "config.json").is_file():
        raise InputError(_without_config(folder))
    read_json_object(folder / "config.json")
    if random_weights and found is not None:
        raise InputError(f"model.random_weights is true, but {found} holds weights: set it to false, or remove them")
    if random_weights:
        return
    if found is None:
        raise InputError(_without_weights(folder))
    for file in _shards(found):
        _check_weights(file)


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a folder's weights; empty where there are none.

    Raises:
        InputError: an index names files that are not there.
    """
    found = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)
    return [] if found is None else _shards(found)


def _without_config(folder: Path) -> str:
    if (folder / "adapter_config.json").is_file():
        base = read_json_object(folder / "adapter_config.json").get("base_model_name_or_path") or "its base"
        return (
            f"model {str(folder)!r} is a LoRA adapter and no model: give {base} as model.pretrained and this folder as "
            "model.adapter"
        )
    return f"model {str(folder)!r} has no config.json ({_listing(folder)}); {_GET}"


def _without_weights(folder: Path) -> str:
    hints = {
        "*.incomplete": "an interrupted download", "*.gguf": "a GGUF file: name the file itself as model.pretrained",
        "consolidated*": "weights in the authors' own format, which transformers does not read",
        "adapter_model.*": "a LoRA adapter, which is no model",
        "*.safetensors": "safetensors files of other names", "*.bin": "bin files of other names",
        "*.pth": "PyTorch files of other names", "*.msgpack": "Flax weights", "*.h5": "TensorFlow weights",
    }  # fmt: skip
    seen = next((f"; found {what}" for pattern, what in hints.items() if any(folder.rglob(pattern))), "")
    return (
        f"model {str(folder)!r} has a config.json and no weights (expected model.safetensors, its index with all "
        f"shards, or pytorch_model.bin{seen}; {_listing(folder)}); {_GET}. Random weights, for a smoke test, only with "
        "model.random_weights: true"
    )


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return f"the folder holds {', '.join(names[:6])}{more}" if names else "the folder is empty"


def read_json_object(file: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        InputError: what is wrong with the file, and where.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 (byte {error.start}); save it as UTF-8") from error
    except json.JSONDecodeError as error:
        pointer = "a large-file pointer; " if file.read_bytes().startswith(_POINTER) else ""
        raise InputError(f"{file}, line {error.lineno}: {pointer}no JSON ({error.msg}); {_GET}") from error
    if not isinstance(found, dict):
        raise InputError(f"{file} holds no JSON object; {_GET}")
    return found


def _shards(found: Path) -> list[Path]:
    """The file itself, or all that an index names."""
    if found.suffix != ".json":
        return [found]
    names = read_json_object(found).get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise InputError(f"{found} names no weight files (key 'weight_map'); {_GET}")
    files = [found.parent / name for name in dict.fromkeys(names.values())]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise InputError(
            f"model {str(found.parent)!r} lacks {len(missing)} of the {len(files)} weight files that {found.name} "
            f"names, such as {missing[0]}; {_GET}"
        )
    return files


def _check_weights(file: Path) -> None:
    with file.open("rb") as handle:
        start = handle.read(len(_POINTER))
    if start == _POINTER:
        raise InputError(f"{file} is a pointer to a large file, not the file itself; run: git lfs pull")
    if file.suffix == ".safetensors":
        reason = _torn_safetensors(file)
        if reason:
            raise InputError(f"{file} {reason}; {_GET}")
    elif start[:4] != b"PK\x03\x04" and start[:1] != b"\x80":  # a zip file, or a pickle of an old torch
        raise InputError(f"{file} is no file of PyTorch's ({file.stat().st_size} bytes); {_GET}")


def _torn_safetensors(file: Path) -> str:
    """What is wrong with its length, read from the header alone; empty if it is whole.

    Source: the format's own description: 8 bytes of header length, the header in JSON, the tensors.
    """
    size = file.stat().st_size
    with file.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        if size < 8 or length > size - 8:
            return f"is cut off: {size} bytes, its header alone would take {length + 8}"
        try:
            header = json.loads(handle.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, TypeError, LookupError, AttributeError):
            return "has no header of a safetensors file"
    expected = 8 + length + max(ends, default=0)
    return "" if size == expected else f"has {size} bytes, expected {expected}: cut off, or written over"
