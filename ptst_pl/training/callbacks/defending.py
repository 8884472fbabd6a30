"""When a defence changes the weights as a whole: at the end of a fit, and before one goes on."""

from __future__ import annotations

from lightning import Callback, LightningModule, Trainer

from ptst_pl.training.finetuner import FineTuner


class Defending(Callback):
    """Leaves the weights that a defence ships; stands before the callbacks that save and evaluate them."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A finished fit that goes on begins with the weights that it was trained to."""
        assert isinstance(pl_module, FineTuner)
        if trainer.global_step < int(trainer.estimated_stepping_batches):
            pl_module.defence.resume(pl_module.network)

    def _ship(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Outside of a fit, what is measured are the weights that the defence ships."""
        assert isinstance(pl_module, FineTuner)
        if trainer.state.fn != "fit":
            pl_module.defence.finish(pl_module.network)

    on_validation_start = on_test_start = on_predict_start = _ship

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The weights to ship, once all steps are made."""
        assert isinstance(pl_module, FineTuner)
        if trainer.global_step >= int(trainer.estimated_stepping_batches):
            pl_module.defence.finish(pl_module.network)
