"""Which classifier of hidden states is best, over folds that share no question, and that one as plain arrays.

SafeNudge, arXiv 2501.02018: logistic regression and perceptrons of scikit-learn, folds grouped by prompt, chosen by F1.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptst_pl import InputError
from ptst_pl.defences.serving.answer_scorer import Array

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Found:
    """The winner.

    Attributes:
        mean: (H,) see `AnswerScorer`.
        scale: (H,)
        layers: see `AnswerScorer`.
        facts: the winner's name and its figures on questions that it did not see, and every candidate's F1.
    """

    mean: Array
    scale: Array
    layers: list[tuple[Array, Array]]
    facts: Mapping[str, Any]


def choose(states: Array, harmful: Flags, groups: Sequence[str], folds: int = 10, seed: int = 42) -> Found:
    """Try all candidates over grouped folds, take the best by F1, train it on everything.

    Args:
        states: (N, H).
        harmful: (N,) whether the answer that a state is from is harmful.
        groups: N questions; a fold shares none with another.
        folds: at most so many.
        seed: of perceptrons.

    Raises:
        InputError: scikit-learn is missing, or there are too few questions of one kind.
    """
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score
        from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    except ImportError as error:
        raise InputError("nudge-train needs scikit-learn: pip install 'ptst_pl[nudge]'") from error
    each = [len({g for g, is_harmful in zip(groups, harmful, strict=True) if is_harmful == kind}) for kind in (0, 1)]
    splits = min(folds, *each)
    if splits < 2:
        raise InputError(
            f"nudge-train: {each[1]} questions with a harmful answer and {each[0]} with another, expected at least 2 "
            "of each; take a run or a step where the judge finds some"
        )
    split = StratifiedGroupKFold(splits)
    scores: dict[str, NDArray[np.float64]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for name, make in _candidates(seed).items():
            scores[name] = cross_val_predict(make(), states, harmful, groups=groups, cv=split, method="predict_proba")[
                :, 1
            ]
        f1 = {name: float(f1_score(harmful, own >= 0.5, zero_division=0)) for name, own in scores.items()}
        best = max(f1, key=f1.__getitem__)
        winner = _candidates(seed)[best]().fit(states, harmful)
    own = scores[best]
    facts = {
        "classifier": best,
        "folds": splits,
        "f1": f1[best],
        "precision": float(precision_score(harmful, own >= 0.5, zero_division=0)),
        "recall": float(recall_score(harmful, own >= 0.5, zero_division=0)),
        "auc": float(roc_auc_score(harmful, own)),
        "candidates": f1,
    }
    return Found(*_arrays(winner), facts=facts)


def _candidates(seed: int) -> dict[str, Callable[[], Any]]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def regression(c: float) -> Any:
        return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000))

    def perceptron(sizes: tuple[int, ...], alpha: float) -> Any:
        return make_pipeline(StandardScaler(), MLPClassifier(sizes, alpha=alpha, max_iter=200, random_state=seed))

    found: dict[str, Callable[[], Any]] = {}
    for c in (0.001, 0.01, 0.1, 1.0):
        found[f"logistic regression, C {c:g}"] = partial(regression, c)
    for sizes in ((10, 10), (100,)):
        for alpha in (1e-4, 1e-2):
            found[f"perceptron {'x'.join(map(str, sizes))}, alpha {alpha:g}"] = partial(perceptron, sizes, alpha)
    return found


def _arrays(winner: Any) -> tuple[Array, Array, list[tuple[Array, Array]]]:
    scaler, model = winner[0], winner[1]
    if hasattr(model, "coefs_"):
        pairs = list(zip(model.coefs_, model.intercepts_, strict=True))
    else:
        pairs = [(model.coef_.T, model.intercept_)]
    layers = [(np.asarray(weight, np.float32), np.asarray(bias, np.float32)) for weight, bias in pairs]
    return np.asarray(scaler.mean_, np.float32), np.asarray(scaler.scale_, np.float32), layers
