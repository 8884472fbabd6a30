"""Lightning callbacks: the safety curve, checkpoints, the saved model."""

from ptst_pl.callbacks.checkpoints import AtomicCheckpointIO, Checkpoints, SaveModel
from ptst_pl.callbacks.early_stopping import StopEarly
from ptst_pl.callbacks.hyper_parameters import HyperParameters
from ptst_pl.callbacks.progress import ProgressBar
from ptst_pl.callbacks.safety_curve import SafetyCurve
from ptst_pl.callbacks.stop_signals import StopSignals
from ptst_pl.callbacks.times import TimeShares

__all__ = [
    "AtomicCheckpointIO",
    "Checkpoints",
    "HyperParameters",
    "ProgressBar",
    "SafetyCurve",
    "SaveModel",
    "StopEarly",
    "StopSignals",
    "TimeShares",
]
