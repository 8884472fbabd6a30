"""Rates of the safety curve for the other callbacks of a training, the same on every rank."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from lightning import Trainer
from torchmetrics import MeanMetric

from ptst_pl.evaluation.evaluate import Share
from ptst_pl.evaluation.rate_metric import RateMetric
from ptst_pl.judges.base import label
from ptst_pl.results.records import COUNTED_FIELD, Verdict


def publish(
    trainer: Trainer, verdicts: Sequence[Verdict], share: Share, device: torch.device, max_unscored: float = 1.0
) -> None:
    """Rates into ``trainer.callback_metrics``, the same on every rank, for early stopping and the like.

    Args:
        trainer: whose metrics.
        verdicts: all verdicts; every rank counts its share, and the counts add up.
        share: this rank's part.
        device: where the counts are kept.
        max_unscored: a rate with a larger share of unscored answers is nan, as it is undefined in the results.
    """
    cells: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        # Every cell on every rank, or the ranks would not meet in the collective call below.
        name = f"{label(verdict.measures, verdict.judge)}/{verdict.suite}/{verdict.template}"
        cells.setdefault(name, []).append(verdict)
    own = slice(share.rank, None, share.world_size)
    for name, cell in cells.items():
        outcomes = [getattr(verdict, COUNTED_FIELD[verdict.measures]) for verdict in cell]
        scores = [verdict.score for verdict in cell if verdict.score is not None]
        if cell[0].measures == "helpfulness" and scores and not any(found is not None for found in outcomes):
            # A judge that gives scores and no yes or no: their mean, where enough is scored.
            mean = MeanMetric().to(device)
            mean.update(torch.tensor(scores[own], device=device))
            enough = len(cell) - len(scores) <= max_unscored * len(cell)
            trainer.callback_metrics[name] = mean.compute() if enough else torch.tensor(torch.nan)
        else:
            metric = RateMetric(max_unscored).to(device)
            metric.update(outcomes[own])
            trainer.callback_metrics[name] = metric.compute()
