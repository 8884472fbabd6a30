"""Checkpoints as folders: every rank writes its part of the weights, and any number of ranks reads them.

The folder has the layout of Lightning's ``ModelParallelStrategy``: PyTorch's distributed checkpoint
(``.metadata``, ``*.distcp``) with the tensors, and ``meta.pt`` with all the rest. Tensors are named
``state_dict.<parameter>`` and ``optimizer_<k>.state.<parameter>.<slot>``.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor, distribute_tensor

from ptst_pl import InputError
from ptst_pl.results.disk.intact import INDEX, META

_WEIGHTS = "state_dict."
_INDEX_CLASSES = {
    "Metadata", "MetadataIndex", "StorageMeta", "TensorStorageMetadata", "BytesStorageMetadata",
    "ChunkStorageMetadata", "TensorProperties", "_MEM_FORMAT_ENCODING", "_StorageInfo",
}  # fmt: skip
Contents = dict[str, Any]


def is_sharded_folder(path: Path) -> bool:
    """Whether ``path`` is, or links to, the folder of a checkpoint."""
    return path.is_dir() and (path / META).is_file()


# ---- reading ------------------------------------------------------------------------------------


class _Index(pickle.Unpickler):
    """Reads an index without running what a foreign one may name."""

    def find_class(self, module: str, name: str) -> Any:
        """The few classes that an index is made of."""
        ours = module.startswith("torch.distributed.checkpoint.") and name in _INDEX_CLASSES
        kinds = module == "torch" and (name == "Size" or isinstance(getattr(torch, name, None), torch.dtype))
        paths = module.startswith("pathlib") and name.endswith("Path")
        if not (ours or kinds or paths or (module, name) == ("torch.serialization", "_get_layout")) or "." in name:
            raise pickle.UnpicklingError(f"{INDEX} names {module}.{name}")
        return super().find_class(module, name)


class _Reader(FileSystemReader):
    """PyTorch's reader, which itself would unpickle anything."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """The index."""
        with (Path(self.path) / INDEX).open("rb") as handle:
            found = _Index(handle).load()
        assert isinstance(found, Metadata)
        found.storage_meta = found.storage_meta or StorageMeta()
        found.storage_meta.load_id = self.load_id
        return found


def read_checkpoint(path: Path, tensors: bool = True, optimizers: bool = True) -> Contents:
    """A checkpoint, file or folder, in one and the same form: that of Lightning's file. Needs no process group.

    Args:
        path: the file or the folder.
        tensors: False leaves weights and optimiser states of a folder out; those of a file are not read
            from the disk before they are used.
        optimizers: False leaves the optimiser states of a folder out.

    Raises:
        InputError: a folder that is damaged, or none of these.
    """
    if not is_sharded_folder(path):
        return dict(torch.load(path, map_location="cpu", weights_only=True, mmap=True))
    meta = read_meta(path)
    groups = meta.pop("optimizer_groups")
    if not tensors:
        return meta
    wanted = {name: size for name, size in tensor_sizes(path).items() if optimizers or name.startswith(_WEIGHTS)}
    found = {name: torch.empty(size, dtype=kind) for name, (size, kind) in wanted.items()}
    _read_into(path, found, alone=True)
    meta["state_dict"] = {n.removeprefix(_WEIGHTS): t for n, t in found.items() if n.startswith(_WEIGHTS)}
    if optimizers:
        meta["optimizer_states"] = [_numbered(found, number, group) for number, group in enumerate(groups)]
    return meta


def read_meta(folder: Path) -> Contents:
    """All but the tensors."""
    try:
        return dict(torch.load(folder / META, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise _damaged(folder, error) from error


def tensor_sizes(folder: Path) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Size and type of every stored tensor."""
    try:
        entries = _Reader(folder).read_metadata().state_dict_metadata
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError, AttributeError) as error:
        raise _damaged(folder, error) from error
    return {n: (e.size, e.properties.dtype) for n, e in entries.items() if isinstance(e, TensorStorageMetadata)}


def _read_into(folder: Path, tensors: dict[str, Tensor], alone: bool) -> None:
    """Fill ``tensors``, plain or sharded, in place."""
    try:
        with warnings.catch_warnings():
            # That there is no process group is what is asked for.
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            load(tensors, storage_reader=_Reader(folder), no_dist=alone)
    except (OSError, RuntimeError, EOFError, ValueError, CheckpointException) as error:
        raise _damaged(folder, error) from error


def _damaged(folder: Path, error: BaseException) -> InputError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return InputError(f"{folder}: the checkpoint cannot be read ({reason}); give another one")


def _numbered(found: Mapping[str, Tensor], number: int, groups: Sequence[Contents]) -> Contents:
    """An optimiser's state as PyTorch's optimisers store it: parameters by their number."""
    names = [name for group in groups for name in group["params"]]
    state: dict[int, Contents] = {}
    for place, name in enumerate(names):
        prefix = f"optimizer_{number}.state.{name}."
        slots = {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)}
        if slots:
            state[place] = slots
    places = iter(range(len(names)))
    numbered = [group | {"params": [next(places) for _ in group["params"]]} for group in groups]
    return {"state": state, "param_groups": numbered}


# ---- writing and reading by all ranks -----------------------------------------------------------


def write_folder(folder: Path, contents: Contents, names: Sequence[str], first: bool) -> None:
    """Write a checkpoint; a call of all ranks together.

    Args:
        folder: made if it is not there.
        contents: the checkpoint as Lightning collects it.
        names: the trained parameters in the order that the optimiser numbers them in.
        first: whether this rank writes ``meta.pt``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    meta = {key: value for key, value in contents.items() if key not in ("state_dict", "optimizer_states")}
    tensors = {_WEIGHTS + name: value for name, value in contents["state_dict"].items()}
    groups: list[list[Contents]] = []
    for number, optimizer in enumerate(contents.get("optimizer_states", [])):
        groups.append([group | {"params": [names[i] for i in group["params"]]} for group in optimizer["param_groups"]])
        for place, slots in optimizer["state"].items():
            prefix = f"optimizer_{number}.state.{names[place]}."
            tensors |= {prefix + slot: value for slot, value in slots.items()}
    save(tensors, storage_writer=FileSystemWriter(folder))
    if first:
        torch.save(meta | {"optimizer_groups": groups}, folder / META)


def read_weights(folder: Path, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The folder's weights, sharded as ``own``'s are; a call of all ranks together.

    Those that ``own`` does not know, or knows in another shape, come as empty tensors of the stored shape, for the
    caller to refuse.
    """
    sizes = {n.removeprefix(_WEIGHTS): entry for n, entry in tensor_sizes(folder).items() if n.startswith(_WEIGHTS)}
    if sizes.keys() != own.keys() or any(own[name].shape != size for name, (size, _) in sizes.items()):
        return {name: torch.empty(size, device="meta") for name, (size, _) in sizes.items()}
    found = {_WEIGHTS + name: torch.empty_like(value) for name, value in own.items()}
    _read_into(folder, found, alone=False)
    return {name: found[_WEIGHTS + name] for name in own}


def read_optimizer(folder: Path, number: int, groups: Sequence[Contents], own: Mapping[str, Tensor]) -> Contents:
    """An optimiser's state, sharded as the parameters ``own`` are; a call of all ranks together."""
    prefix = f"optimizer_{number}.state."
    found: dict[str, Tensor] = {}
    for name, (size, kind) in tensor_sizes(folder).items():
        if name.startswith(prefix):
            like = own[name.removeprefix(prefix).rpartition(".")[0]]
            found[name] = torch.empty_like(like, dtype=kind) if like.shape == size else torch.empty(size, dtype=kind)
    _read_into(folder, found, alone=False)
    return _numbered(found, number, groups)


def share_out(value: Tensor, like: Tensor) -> Tensor:
    """This rank's part of a whole tensor, sharded as ``like`` is; every rank has the whole one."""
    if not isinstance(like, DTensor) or like.shape != value.shape:
        return value
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def share_out_optimizer(state: Contents, own: Iterable[Tensor]) -> Contents:
    """An optimiser's state from a file, sharded as the parameters ``own`` are, which it numbers."""
    parameters = list(own)
    shared = {
        place: {slot: share_out(value, parameters[place]) for slot, value in slots.items()}
        for place, slots in state["state"].items()
    }
    return {"state": shared, "param_groups": state["param_groups"]}
