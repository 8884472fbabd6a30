"""A small classifier of hidden states, kept as plain arrays: how likely an answer under way is to become unsafe."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptst_pl import InputError

Array = NDArray[np.float32]
FORMAT = 1


def key_of(question: str) -> str:
    """A question's name in the list of those that a classifier was trained on."""
    return hashlib.sha256(question.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class AnswerScorer:
    """Logistic regression or a perceptron with ReLUs, behind a standardisation.

    Attributes:
        mean: (H,) of the states that it was trained on.
        scale: (H,) their standard deviation.
        layers: weights (inputs, outputs) and biases (outputs,); the last has one output, a logit.
        questions: `key_of` each question whose answers it was trained on.
        facts: how it was made and how well it does on questions that it did not see.
    """

    mean: Array
    scale: Array
    layers: Sequence[tuple[Array, Array]]
    questions: frozenset[str] = frozenset()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """H, of the states that it takes."""
        return len(self.mean)

    def probabilities(self, states: Array) -> Array:
        """(N,) in 0 to 1, of (N, H) states."""
        values = (states - self.mean) / self.scale
        for number, (weight, bias) in enumerate(self.layers):
            values = values @ weight + bias
            if number < len(self.layers) - 1:
                values = np.maximum(values, 0)
        logits = np.clip(values[:, 0].astype(np.float64), -500, 500)
        return (1 / (1 + np.exp(-logits))).astype(np.float32)

    def save(self, file: Path) -> None:
        """Write plain arrays; nothing in the file can run."""
        arrays: dict[str, Any] = {"mean": self.mean, "scale": self.scale}
        for number, (weight, bias) in enumerate(self.layers):
            arrays |= {f"weight{number}": weight, f"bias{number}": bias}
        told = {"format": FORMAT, "layers": len(self.layers), "questions": sorted(self.questions), **self.facts}
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".{file.name}.partial.npz")
        np.savez(partial, told=np.array(json.dumps(told)), **arrays)
        partial.replace(file)


def load_scorer(file: Path) -> AnswerScorer:
    """Read what ``AnswerScorer.save`` wrote.

    Raises:
        InputError: no such file, or another one.
    """
    if not file.is_file():
        raise InputError(f"defence safenudge: {file}: no such file; ptst_pl nudge-train RUN --output {file} makes one")
    try:
        with file.open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
            told = json.loads(str(stored["told"]))
            layers = [(stored[f"weight{n}"], stored[f"bias{n}"]) for n in range(int(told.pop("layers")))]
            mean, scale = stored["mean"], stored["scale"]
    except (ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"defence safenudge: {file} is no file of ptst_pl nudge-train ({error})") from error
    if told.pop("format", None) != FORMAT:
        raise InputError(f"defence safenudge: {file} is of another version; make it again with ptst_pl nudge-train")
    return AnswerScorer(mean, scale, layers, frozenset(told.pop("questions")), told)
