"""Lightning callbacks: the safety curve, checkpoints, the saved model."""

from ptst_pl.training.callbacks.checkpoints import AtomicCheckpointIO, Checkpoints, SaveModel
from ptst_pl.training.callbacks.defending import Defending
from ptst_pl.training.callbacks.early_stopping import StopEarly
from ptst_pl.training.callbacks.hyper_parameters import HyperParameters
from ptst_pl.training.callbacks.progress import ProgressBar
from ptst_pl.training.callbacks.safety_curve import SafetyCurve
from ptst_pl.training.callbacks.stop_signals import StopSignals
from ptst_pl.training.callbacks.times import TimeShares

__all__ = [
    "AtomicCheckpointIO",
    "Checkpoints",
    "Defending",
    "HyperParameters",
    "ProgressBar",
    "SafetyCurve",
    "SaveModel",
    "StopEarly",
    "StopSignals",
    "TimeShares",
]
