"""``trainer.strategy``: one device, DDP, or FSDP2 over all devices of all nodes (``fsdp2``)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.strategies import ModelParallelStrategy, Strategy, StrategyRegistry
from torch import Tensor
from torch.optim import Optimizer

from ptst_pl import InputError
from ptst_pl.defences import KEPT
from ptst_pl.model import trainable
from ptst_pl.model.sharding.files import (
    is_sharded_folder,
    read_meta,
    read_optimizer,
    read_weights,
    share_out,
    share_out_optimizer,
    tensor_sizes,
    write_folder,
)
from ptst_pl.training.finetuner import FineTuner

FSDP2 = "fsdp2"
_NAMES = ("auto", "ddp", FSDP2)
_CLASSES = ("DDPStrategy", "SingleDeviceStrategy", "ModelParallelStrategy", "FSDP2Strategy")


class FSDP2Strategy(ModelParallelStrategy):
    """Parameters, gradients and optimiser states shared out over all processes of all nodes.

    Lightning's ``ModelParallelStrategy`` with sizes that fit any number of nodes, checkpoints that hold the trained
    parameters only and say what does not fit, and reading of any checkpoint by any number of processes.
    """

    def __init__(self, data_parallel_size: int | None = None, process_group_backend: str | None = None) -> None:
        super().__init__("auto", 1, process_group_backend=process_group_backend)
        self._asked = data_parallel_size

    def setup_environment(self) -> None:
        """One mesh dimension over all processes.

        Raises:
            InputError: ``data_parallel_size`` was given and is another number.
        """
        processes = self.num_nodes * self.num_processes
        if self._asked not in (None, processes):
            raise InputError(
                f"trainer.strategy: data_parallel_size is {self._asked}, but there are {processes} processes "
                "(trainer.devices x trainer.num_nodes); give fsdp2, which takes all of them"
            )
        self._data_parallel_size = processes
        super().setup_environment()

    @property
    def tuner(self) -> FineTuner:
        """The module."""
        assert isinstance(self.lightning_module, FineTuner)
        return self.lightning_module

    def _trained(self) -> dict[str, Tensor]:
        """The trained parameters by their names in a checkpoint, in the optimiser's order."""
        return {f"net.{name}": value for name, value in trainable(self.tuner.network).items()}

    def _kept_places(self) -> dict[str, Tensor]:
        """What the defence may keep of every parameter, by its name in a checkpoint: tensors of the right shape."""
        found = trainable(self.tuner.network) if self.tuner.defence.keeps_weights else {}
        return {KEPT + name: value.detach() for name, value in found.items()}

    # ---- checkpoints ------------------------------------------------------------------------

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """The trained parameters, this rank's parts."""
        return self.tuner.state_dict()

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """The optimiser's own state, this rank's parts."""
        return dict(getattr(optimizer, "_optimizer", optimizer).state_dict())

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        """Write a folder, every rank its part."""
        write_folder(Path(self.broadcast(str(filepath))), checkpoint, list(self._trained()), self.is_global_zero)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Weights and optimiser states into place, from a folder or a file; returns the rest.

        Raises:
            InputError: the checkpoint belongs to another method, rank or model.
        """
        path = Path(self.broadcast(str(checkpoint_path)))
        return self._load_folder(path) if is_sharded_folder(path) else self._load_file(path)

    def _load_folder(self, folder: Path) -> dict[str, Any]:
        contents = read_meta(folder)
        groups = contents.pop("optimizer_groups")
        stored = tensor_sizes(folder)
        kept = {n: v for n, v in self._kept_places().items() if f"state_dict.{n}" in stored}
        self.tuner.load_state_dict(read_weights(folder, self.tuner.state_dict() | kept))
        for number, (optimizer, group) in enumerate(zip(self.optimizers, groups, strict=False)):
            optimizer.load_state_dict(read_optimizer(folder, number, group, self._trained()))
        return contents

    def _load_file(self, path: Path) -> dict[str, Any]:
        contents = dict(self.checkpoint_io.load_checkpoint(path, weights_only=True))
        own = self.tuner.state_dict() | self._kept_places()
        given: Mapping[str, Tensor] = contents.pop("state_dict")
        self.tuner.load_state_dict({n: share_out(v, own[n]) if n in own else v for n, v in given.items()})
        for optimizer, state in zip(self.optimizers, contents.pop("optimizer_states", []), strict=False):
            optimizer.load_state_dict(share_out_optimizer(state, self._trained().values()))
        return contents


StrategyRegistry.register(FSDP2, FSDP2Strategy, description="FSDP2 over all devices of all nodes", override=True)


def check_strategy(given: Any, precision: str, quantize: str) -> None:
    """Refuse what does not work here, before anything is loaded.

    Args:
        given: ``trainer.strategy`` as parsed: a name, or ``class_path`` and ``init_args``.
        precision: ``trainer.precision``.
        quantize: ``model.quantize``.

    Raises:
        InputError: with what works instead.
    """
    path = str(getattr(given, "class_path", given))
    kind, module = path.rpartition(".")[2], path.partition(".")[0]
    if path not in _NAMES and (kind not in _CLASSES or module not in ("lightning", "ptst_pl")):
        raise InputError(
            f"trainer.strategy is {path!r}, which is not supported; give one of {', '.join(_NAMES)}, "
            "or the class DDPStrategy or ModelParallelStrategy of lightning.pytorch.strategies"
        )
    arguments = getattr(given, "init_args", None) or {}
    if kind == "ModelParallelStrategy" and arguments.get("tensor_parallel_size") != 1:
        found = arguments.get("tensor_parallel_size")
        raise InputError(
            f"trainer.strategy: tensor_parallel_size is {found!r}, but weights are shared out over the data only; "
            "set it to 1, or give fsdp2"
        )
    if path != FSDP2 and kind not in ("ModelParallelStrategy", "FSDP2Strategy"):
        return
    if precision in ("16-mixed", "16"):
        raise InputError(f"trainer.precision is {precision!r}, which fsdp2 cannot scale losses for; use bf16-mixed")
    if quantize != "none":
        raise InputError(f"model.quantize is {quantize!r}: quantised weights cannot be sharded; use strategy ddp")


def own_strategy(given: Strategy | str) -> Strategy | str:
    """Lightning's ``ModelParallelStrategy`` as ours, which makes the same processes and the same mesh."""
    if isinstance(given, ModelParallelStrategy) and not isinstance(given, FSDP2Strategy):
        size = given._data_parallel_size
        return FSDP2Strategy(None if size == "auto" else int(size), given._process_group_backend)
    return given


def end_with(parent: int, every: float = 1.0) -> None:
    """End this process soon after its parent: a rank whose launcher was killed may else wait for ever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(every)
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
