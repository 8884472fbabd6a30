"""How many processes were started, and by whom; a wrong number is refused before anything is written.

Lightning 2.6.6 looks at the number with some strategies only: two tasks of SLURM or torchrun with
``trainer.devices: 1`` would be two trainings that do not know of each other, in one folder.
"""

from __future__ import annotations

import os
from typing import Any

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.device_parser import _parse_gpu_ids
from lightning.pytorch.accelerators import CPUAccelerator, CUDAAccelerator

from ptst_pl import InputError
from ptst_pl.training import slurm


class SlurmTasks(SLURMEnvironment):
    """SLURM's tasks as ranks; signals are left to ``StopSignals``, which saves between optimiser steps only."""

    def __init__(self) -> None:
        super().__init__(auto_requeue=False)

    @staticmethod
    def _validate_srun_variables() -> None:
        """Do nothing: ``check_processes`` compares the true numbers, so plain ``--ntasks`` is fine."""


def check_processes(trainer: Any) -> None:
    """Compare the processes that were started with those that the config asks for.

    Args:
        trainer: the config's ``trainer`` section, with ``accelerator``, ``devices`` and ``num_nodes``.

    Raises:
        InputError: they differ, or SLURM's tasks were not started by srun.
    """
    started = _started()
    if started is None:
        return
    who, count, remedy = started
    nodes, devices = int(trainer["num_nodes"]), device_count(str(trainer["accelerator"]), trainer["devices"])
    if count != nodes * devices:
        raise InputError(
            f"{who} started {count} process{'es' if count > 1 else ''}, but trainer.devices x trainer.num_nodes is "
            f"{devices} x {nodes}: make them equal, one process per device ({remedy})"
        )
    if count > 1 and slurm.manages_tasks() and "SLURM_PROCID" in os.environ and slurm.step_name() is None:
        raise InputError(f"the job has {count} tasks, but this is the batch script's own process: put srun in front")


def _started() -> tuple[str, int, str] | None:
    """Who started how many processes, and the option to change; None for a command started by hand."""
    if slurm.manages_tasks():
        by_hand = "; in an interactive shell put 'srun --ntasks=1' in front, or ask salloc for one task"
        return "SLURM", int(os.environ["SLURM_NTASKS"]), f"sbatch and srun: --nodes, --ntasks-per-node{by_hand}"
    if "LOCAL_RANK" in os.environ and "WORLD_SIZE" in os.environ:
        return "torchrun", int(os.environ["WORLD_SIZE"]), "torchrun: --nnodes, --nproc-per-node"
    return None


def device_count(accelerator: str, devices: int | str | list[int]) -> int:
    """Devices per node that the config means, as Lightning reads ``auto``, ``-1``, a number or a list."""
    cuda = accelerator in ("cuda", "gpu") or (accelerator == "auto" and CUDAAccelerator.is_available())
    if not cuda:
        if devices == "auto":
            return int(CPUAccelerator.auto_device_count())
        return len(devices) if isinstance(devices, list) else CPUAccelerator.parse_devices(devices)
    if devices == "auto":
        return int(CUDAAccelerator.auto_device_count())
    return len(_parse_gpu_ids(devices, include_cuda=True) or [])
