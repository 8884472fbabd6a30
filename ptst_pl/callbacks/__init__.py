"""Lightning callbacks: the safety curve, checkpoints, the exported adapter."""

from ptst_pl.callbacks.checkpoints import AtomicCheckpointIO, Checkpoints, SaveAdapter
from ptst_pl.callbacks.progress import ProgressBar
from ptst_pl.callbacks.safety_curve import SafetyCurve

__all__ = ["AtomicCheckpointIO", "Checkpoints", "ProgressBar", "SafetyCurve", "SaveAdapter"]
