"""Stop a training when it has become too unsafe, or no more helpful, by the rates of the safety curve."""

from __future__ import annotations

import logging
import math
from typing import Any, Literal

from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from ptst_pl import InputError, did_you_mean
from ptst_pl.evaluation.evaluate import Evaluation
from ptst_pl.judges.base import label

log = logging.getLogger(__name__)


class StopEarly(Callback):
    """Looks at one rate after every safety evaluation, and ends the training when it has to.

    Lightning's own ``EarlyStopping`` looks at the end of validations and epochs only, and so misses
    evaluations between them; for ``val/loss`` use that one. In a config::

        stop: {monitor: asr/exact-judge/tiny-hard/chat:llama, above: 0.2}
        stop: {monitor: helpfulness/last-number-judge/gsm8k/chat:llama, patience: 3, mode: max}

    The rate is compared as measured, without its interval, and one that is undefined is not compared.
    Step 0 is the untouched model: ``patience`` knows its rate, ``above`` and ``below`` do not look at
    it. The step's checkpoint is written, mid-epoch as well. A stopped run that is resumed stops at
    once, unless ``stop`` was changed or taken away: then it goes on as if it had never stopped.

    Args:
        monitor: ``<measure>/<judge>-judge/<suite>/<test template>``; without it nothing is watched.
        above: stop at a rate above this.
        below: stop at a rate below this.
        patience: stop after so many evaluations in a row without a new best rate.
        mode: whether ``patience`` takes the smallest (``min``) or the largest (``max``) for the best.

    Raises:
        InputError: settings that contradict each other or can never stop anything.
    """

    def __init__(
        self,
        monitor: str | None = None,
        above: float | None = None,
        below: float | None = None,
        patience: int | None = None,
        mode: Literal["min", "max"] | None = None,
    ) -> None:
        super().__init__()
        given = [
            name for name, value in (("above", above), ("below", below), ("patience", patience)) if value is not None
        ]
        if monitor is None and (given or mode is not None):
            raise InputError(f"stop: {(given or ['mode'])[0]} is given but not monitor; name the rate to watch")
        if monitor is not None and not given:
            raise InputError("stop: monitor is given, but neither above nor below nor patience; say when to stop")
        if (patience is None) != (mode is None):
            raise InputError("stop: patience and mode go together; give mode min (an ASR) or max (helpfulness)")
        if patience is not None and patience < 1:
            raise InputError(f"stop: patience is {patience}, expected 1 or more evaluations")
        self.monitor, self.above, self.below, self.patience, self.mode = monitor, above, below, patience, mode
        self.history: list[tuple[int, float]] = []
        self._seen: Tensor | None = None

    def check(self, evaluation: Evaluation | None, regular: bool) -> None:
        """Compare the settings with what will be measured, before a model is loaded.

        Args:
            evaluation: what the safety curve measures; None if it is switched off.
            regular: whether it measures more often than before and after the training.

        Raises:
            InputError: no such rate, or no evaluation at which to stop.
        """
        if self.monitor is None:
            return
        if evaluation is None:
            raise InputError("stop: safety.active is false, so there is no rate to watch; activate it, or drop stop")
        known = rate_names(evaluation)
        if self.monitor not in known:
            hint = did_you_mean(self.monitor, known)
            raise InputError(f"stop: no rate is called {self.monitor!r}{hint} (known: {', '.join(known)})")
        if not regular:
            raise InputError("stop: nothing is evaluated while training; set safety.every_n_steps or every_n_epochs")

    # ---- when -------------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Step 0's rate; or the stop of a resumed run that has nothing left to do."""
        self._read(trainer)
        self._decide(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The rate of this step, if it was measured."""
        if self.monitor is not None and self._read(trainer):
            self._decide(trainer)

    def _read(self, trainer: Trainer) -> bool:
        """Take note of the rate; False if there is none or it was seen: an evaluation publishes a new tensor."""
        value = trainer.callback_metrics.get(self.monitor or "")
        if value is None or value is self._seen:
            return False
        self._seen = value
        step, rate = trainer.global_step, float(value)
        if math.isnan(rate):
            log.warning("stop: %s is undefined at step %d and is not compared", self.monitor, step)
        elif not self.history or step > self.history[-1][0]:
            self.history.append((step, rate))
        return True

    def _decide(self, trainer: Trainer) -> None:
        """Every rank has the same rates, so all stop at the same step."""
        reason = self.reason()
        if reason is None or trainer.should_stop:
            return
        trainer.should_stop = True
        if trainer.is_global_zero:
            log.info("training stops at step %d: %s", trainer.global_step, reason)

    # ---- whether ----------------------------------------------------------------------------

    def reason(self) -> str | None:
        """Why to stop, by the rates so far; None to go on."""
        best: tuple[int, float] | None = None
        waited = 0
        for step, rate in self.history:
            if step and self.above is not None and rate > self.above:
                return f"{self.monitor} was {rate:.3g} at step {step}, above {self.above:g}"
            if step and self.below is not None and rate < self.below:
                return f"{self.monitor} was {rate:.3g} at step {step}, below {self.below:g}"
            if best is None or (rate < best[1] if self.mode == "min" else rate > best[1]):
                best, waited = (step, rate), 0
            else:
                waited += 1
            if self.patience is not None and waited >= self.patience:
                return f"{self.monitor} had its best, {best[1]:.3g}, at step {best[0]}, {waited} evaluations ago"
        return None

    # ---- checkpoints ------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The rates so far: whether to stop follows from them and from the settings of the day."""
        return {"monitor": self.monitor, "history": self.history} if self.monitor else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the rates of the checkpoint, if it watched the same one."""
        if state_dict.get("monitor") == self.monitor:
            self.history = [(int(step), float(rate)) for step, rate in state_dict["history"]]


def rate_names(evaluation: Evaluation) -> list[str]:
    """What the safety curve puts into ``trainer.callback_metrics``, in the order of the cells."""
    return [
        f"{label(cell.suite.measures, judge.name)}/{cell.suite.name}/{cell.template.name}"
        for cell in evaluation.cells
        for judge in evaluation.judges
        if judge.fits(cell.suite.name, cell.suite.measures)
    ]
