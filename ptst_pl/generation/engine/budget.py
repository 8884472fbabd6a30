"""How many rows are worked on at once: as many as the memory holds and the device has use for."""

from __future__ import annotations

import torch

from ptst_pl.generation.engine.cache import CacheShape

# On a CPU keys and values may take this much.
CPU_BYTES = 2 * 2**30
# Share of a GPU's free memory for slots and logits; the rest is for the model's own intermediate results.
CUDA_SHARE = 0.6
# More rows make a step longer without making it more efficient.
MOST_SLOTS = {"cpu": 512, "cuda": 256}
# Copies of the logits, in float32, that choosing a token takes: head and cast; sorting, sums and indices.
GREEDY_COPIES, SAMPLED_COPIES = 2, 10


def slot_bytes(shape: CacheShape, length: int, vocabulary: int, sampled: bool) -> int:
    """Bytes that one more slot of ``length`` tokens takes."""
    return shape.token_bytes * length + 4 * vocabulary * (SAMPLED_COPIES if sampled else GREEDY_COPIES)


def free_bytes(device: torch.device, held: int = 0) -> int:
    """Bytes that slots may take; ``held`` are those of an old cache, which would be given up."""
    if device.type != "cuda":
        return CPU_BYTES
    free, _ = torch.cuda.mem_get_info(device)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(CUDA_SHARE * (free + unused + held))


def slots_for(wanted: int | None, requests: int, each: int, free: int, device: torch.device) -> int:
    """Number of slots, at least one.

    Args:
        wanted: what the settings ask for; None: as many as the device has use for.
        requests: how many there are.
        each: bytes of one slot.
        free: bytes there are.
        device: where the model is.
    """
    most = MOST_SLOTS.get(device.type, MOST_SLOTS["cpu"]) if wanted is None else wanted
    return max(1, min(most, requests, free // each))
