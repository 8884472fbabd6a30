"""What a device can do, from its maker's public data sheet: matrix products without sparsity, memory, bandwidth."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass

from ptst_pl import InputError, did_you_mean

TERA, GIB = 10**12, 2**30
# Held by the driver, the CUDA context and the libraries' workspaces; no data sheet has it. Assumed.
RESERVED = GIB


@dataclass(frozen=True)
class Device:
    """One accelerator.

    Attributes:
        name: as on the command line.
        bf16: peak of bfloat16 matrix products, in operations per second.
        fp32: the same in float32, without TF32, which PyTorch leaves off.
        memory: bytes.
        bandwidth: of the memory, in bytes per second; 0 where it is not known.
        title: what it is.
    """

    name: str
    bf16: float
    fp32: float
    memory: int
    bandwidth: float
    title: str

    @property
    def usable(self) -> int:
        """Bytes that tensors can have."""
        return self.memory - RESERVED if self.bandwidth else self.memory


def _row(name: str, bf16: float, fp32: float, memory: int, bandwidth: float, title: str) -> Device:
    """TFLOP/s, TFLOP/s, GiB, GB/s."""
    return Device(name, bf16 * TERA, fp32 * TERA, memory * GIB, bandwidth * 10**9, title)


_ROWS = (
    _row("a10", 125, 31.2, 24, 600, "NVIDIA A10"),
    _row("a100-40", 312, 19.5, 40, 1555, "NVIDIA A100 40 GB"),
    _row("a100-80", 312, 19.5, 80, 2039, "NVIDIA A100 SXM 80 GB"),
    _row("a6000", 154.8, 38.7, 48, 768, "NVIDIA RTX A6000"),
    _row("b200", 2250, 75, 180, 7700, "NVIDIA B200 (HGX)"),
    _row("h100", 989, 67, 80, 3350, "NVIDIA H100 SXM"),
    _row("h100-nvl", 835, 60, 94, 3900, "NVIDIA H100 NVL"),
    _row("h100-pcie", 756, 51, 80, 2000, "NVIDIA H100 PCIe"),
    _row("h200", 989, 67, 141, 4800, "NVIDIA H200 SXM"),
    _row("l4", 121, 30.3, 24, 300, "NVIDIA L4"),
    _row("l40s", 362, 91.6, 48, 864, "NVIDIA L40S"),
    _row("mi300x", 1307, 163.4, 192, 5300, "AMD Instinct MI300X"),
    _row("rtx3090", 71, 35.6, 24, 936, "NVIDIA GeForce RTX 3090"),
    _row("rtx4090", 165.2, 82.6, 24, 1008, "NVIDIA GeForce RTX 4090"),
)
DEVICES = {device.name: device for device in _ROWS}


def find_device(name: str) -> Device:
    """A device of the table, or ``cpu`` for this machine.

    Raises:
        InputError: no such device.
    """
    if name == "cpu":
        return this_machine()
    if name not in DEVICES:
        known = ["cpu", *DEVICES]
        raise InputError(f"plan: unknown --device {name!r}{did_you_mean(name, known)} (known: {', '.join(known)})")
    return DEVICES[name]


def this_machine() -> Device:
    """This machine's processor: its memory, and the speed of matrix products, measured in a moment."""
    import torch

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    bf16, fp32 = (_measured_peak(kind) for kind in (torch.bfloat16, torch.float32))
    return Device("cpu", bf16, fp32, memory, 0.0, "this machine's processor, matrix products measured now")


def _measured_peak(kind: object) -> float:
    """Operations per second of the fastest of several matrix products of 512 x 512."""
    import torch

    size, best, end = 512, math.inf, time.perf_counter() + 0.1
    matrix = torch.ones(size, size, dtype=kind)  # type: ignore[call-overload]
    with torch.no_grad():
        while time.perf_counter() < end:
            start = time.perf_counter()
            matrix @ matrix
            best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
