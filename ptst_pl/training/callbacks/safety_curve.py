"""The safety curve: how safe the model is under each test template, while it trains."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from ptst_pl import InputError, __version__
from ptst_pl.defences.serving import build_serving
from ptst_pl.evaluation.capability import NAME as CAPABILITY
from ptst_pl.evaluation.capability import capability_spec, record_of
from ptst_pl.evaluation.evaluate import Evaluation, Share, Stopped
from ptst_pl.generation import Decoding
from ptst_pl.judges.base import MAX_UNSCORED
from ptst_pl.judges.build import build_judge
from ptst_pl.judges.suites_of import check_named
from ptst_pl.model.ranks import gather
from ptst_pl.model.sharding import check_room, computing_type, is_sharded
from ptst_pl.results.journal import Journal
from ptst_pl.results.records import ResultsFolder
from ptst_pl.suites import PromptSuite, load_suite, suite_spec
from ptst_pl.suites.encodings import PLAIN, check_encodings, encoded, named
from ptst_pl.tasks.base import Task
from ptst_pl.templates import find_template
from ptst_pl.training.callbacks.beside import Beside, check_left
from ptst_pl.training.callbacks.checkpoints import Checkpoints, write_weights
from ptst_pl.training.callbacks.folder import run_folder
from ptst_pl.training.callbacks.measuring import Measuring
from ptst_pl.training.callbacks.run_identity import identity_of
from ptst_pl.training.callbacks.tensorboard import Curves
from ptst_pl.training.callbacks.times import Clock
from ptst_pl.training.finetuner import FineTuner

log = logging.getLogger(__name__)


class SafetyCurve(Callback):
    """Generates under the test templates at step 0, at regular steps and at the end; judges; logs.

    It belongs to the evaluation, not to the model: nothing of it is in a checkpoint, so the command
    line always decides which templates are tested (pitfall F1).

    Args:
        templates: names of the test templates.
        suites: the prompt suites, each with the keys of ``SuiteSpec``, or ``lm-eval`` with its tasks. A list on the
            command line replaces the config's as a whole: typed entries would be merged one by one, an old ``limit``
            staying.
        judges: names or class paths, each for all suites that it can judge or for those under ``suites``; if none
            is named, the refusal judge, and for helpfulness the last number.
        decoding: how answers are generated.
        every_n_steps: evaluate every that many optimiser steps.
        every_n_epochs: or every that many epochs; 0.25 means four times an epoch.
        confidence: of the intervals.
        max_unscored: largest share of unscored answers with which a rate is still defined.
        text_samples: generations per template and suite to show in TensorBoard as text.
        active: False switches the evaluation off.
        defence: a defence at serving time, by name or with arguments beside it: further columns, docs/defences.md.
        probe: look at the hidden states of so many prompts of each kind, docs/watch.md; None for no look.
        encodings: every suite in each of these as well: ``none`` is plain text, docs/evaluate.md has the others.
        at_start: False leaves out step 0, for runs of a model whose untrained answers another run has.
        drafts: check the last evaluation's answers before new ones are made, docs/performance.md; False makes every
            answer token by token. In bfloat16 rounding may then differ at near-ties.
        beside: evaluate in a second process on spare cores or a spare GPU while the training goes on; the curve's
            points are the same and come later, docs/watch.md.
    """

    def __init__(
        self,
        templates: list[str],
        suites: list[dict[str, Any]],
        judges: list[str | dict[str, Any]] | None = None,
        decoding: Decoding | None = None,
        every_n_steps: int | None = None,
        every_n_epochs: float | None = None,
        confidence: float = 0.95,
        max_unscored: float = MAX_UNSCORED,
        text_samples: int = 3,
        active: bool = True,
        at_start: bool = True,
        defence: str | dict[str, Any] | None = None,
        encodings: list[str] | None = None,
        probe: int | None = None,
        drafts: bool = True,
        beside: bool = False,
    ) -> None:
        super().__init__()
        if every_n_steps is not None and every_n_epochs is not None:
            raise InputError("safety: give every_n_steps or every_n_epochs, not both")
        for name, interval in (("every_n_steps", every_n_steps), ("every_n_epochs", every_n_epochs)):
            if interval is not None and interval <= 0:
                raise InputError(f"safety: {name} is {interval}, expected a number above 0")
        if not 0 < confidence < 1:
            raise InputError(f"safety: confidence is {confidence}, expected a number between 0 and 1")
        if not 0 <= max_unscored <= 1:
            raise InputError(f"safety: max_unscored is {max_unscored}, expected a share between 0 and 1")
        self.template_names = templates
        self.suite_specs = [suite_spec(suite) for suite in suites if suite.get("name") != CAPABILITY]
        self.capabilities = [capability_spec(suite) for suite in suites if suite.get("name") == CAPABILITY]
        self.judges = [build_judge(judge) for judge in judges or self._usual_judges()]
        if probe is not None and probe < 2:
            raise InputError(f"safety: probe is {probe}, expected 2 or more prompts of each kind, or nothing")
        self.probe = probe
        self.encodings = encodings or [PLAIN]
        check_encodings(self.encodings)
        names = {named(spec.name, way): str(spec.measures) for spec in self.suite_specs for way in self.encodings}
        check_named(self.judges, names)
        self.decoding, self.confidence, self.max_unscored = decoding or Decoding(), confidence, max_unscored
        self.every_n_steps, self.every_n_epochs = every_n_steps, every_n_epochs
        self.text_samples, self.active, self.at_start, self.drafts = text_samples, active, at_start, drafts
        self.beside, self.config_text = beside, ""
        self._beside: Beside | None = None
        self.following = False  # this is the process beside a fit
        self.serving = build_serving(defence)
        self.results_folder: Path | None = None
        self.clock = Clock()
        # Of a fit: who is asked to stop. An evaluation between two steps or behind the last one is left for it.
        self.checkpoints: Checkpoints | None = None
        self.key = ""
        # Of the checkpoint under test, which knows it better than the config at hand.
        self.trained_under = ""
        self._evaluation: Evaluation | None = None
        self._curves = Curves()
        self._last_step = -1

    def _usual_judges(self) -> list[str]:
        more = {"helpfulness": "last-number", "rules": "rules"}
        found = dict.fromkeys(spec.measures for spec in self.suite_specs)
        return ["refusal", *(judge for measure, judge in more.items() if measure in found)]

    def prepare(self, task: Task) -> Evaluation:
        """Load suites and render all prompts, before any model is loaded; the result is kept.

        Raises:
            InputError: an unknown template, an unreadable or empty suite, or a template that the
                tokenizer cannot express.
        """
        if self._evaluation is None:
            self._evaluation = Evaluation(
                task.encoder,
                [find_template(name, task.own_templates) for name in self.template_names],
                self.load_suites(),
                self.judges,
                self.decoding,
                self.confidence,
                self.max_unscored,
                self.serving,
                self.drafts,
            )
        return self._evaluation

    def load_suites(self) -> list[PromptSuite]:
        """Every suite, in every encoding that is asked for.

        Raises:
            InputError: one that cannot be read, or is empty.
        """
        return [encoded(suite, way) for suite in map(load_suite, self.suite_specs) for way in self.encodings]

    # ---- when -------------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find out what is spare before the model is loaded."""
        if stage != "fit" or not self.active or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        run = run_folder(trainer)
        if not self.beside:
            check_left(run, ResultsFolder(run / "safety").steps())
            return
        if trainer.world_size > 1:
            raise InputError(
                f"safety.beside goes with one training process, and there are {trainer.world_size}, which share the "
                "answers; take safety.beside away"
            )
        self._beside = Beside(run, self.config_text, trainer.strategy.root_device)
        self._beside.start()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Step 0 of a fresh run; a resumed run forgets what it recorded after its checkpoint."""
        assert isinstance(pl_module, FineTuner)
        if self.active:
            check_room(pl_module.network, computing_type(str(trainer.precision)), pl_module.device)
        step, left = trainer.global_step, list[int]()
        if self._beside is not None and is_sharded(pl_module.network):
            raise InputError("safety.beside needs whole weights, and these are sharded; take one of the two away")
        if trainer.is_global_zero and self.active and step:
            results = self._results(trainer)
            results.forget_after(step)
            done = results.steps()
            left = [] if self._beside is None else self._beside.left(step, done)
            # Before anything is drawn anew. What is left may have been drawn, and not stored.
            self._curves.forget(run_folder(trainer), min([*left, step if step not in done else step + 1]))
        if self._beside is not None:
            self._beside.go_on(left)
        if self.at_start if step == 0 else self.due(trainer):
            self._evaluate_once(trainer, pl_module, step)
        self._last_step = step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Evaluate when an optimiser step has just been made and an evaluation is due."""
        if trainer.global_step == self._last_step:
            return
        self._last_step = trainer.global_step
        if self.due(trainer):
            self._evaluate_or_leave(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The last point of the curve."""
        if not self._evaluate_or_leave(trainer, pl_module, last=True) and self.checkpoints is not None:
            self.checkpoints.stop_at_end(trainer)
        self._curves.close()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """However the fit ended, no process is left."""
        if self._beside is not None:
            self._beside.stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """As ``teardown``."""
        self.teardown(trainer, pl_module, "fit")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate a checkpoint at its own step (pitfall F2), before any held-out loss."""
        assert isinstance(pl_module, FineTuner)
        self._evaluate_once(trainer, pl_module, pl_module.loaded_step or 0)

    def due(self, trainer: Trainer) -> bool:
        """Whether an evaluation belongs to the trainer's step; the first and the last step are evaluated anyway."""
        step = trainer.global_step
        if self.every_n_steps is not None:
            return step % self.every_n_steps == 0
        if self.every_n_epochs is None:
            return False
        steps_per_epoch = -(-int(trainer.num_training_batches) // trainer.accumulate_grad_batches)
        interval = self.every_n_epochs * steps_per_epoch
        return int(step / interval) > int((step - 1) / interval) if step else True

    # ---- what -------------------------------------------------------------------------------

    def _results(self, trainer: Trainer) -> ResultsFolder:
        task = trainer.datamodule  # type: ignore[attr-defined]
        folder = self.results_folder or run_folder(trainer) / "safety"
        trained_under = self.trained_under or task.template_name
        meta = {
            "train_template": trained_under,
            "identity": identity_of(trainer),
            "versions": versions(),
            "precision": str(trainer.precision),
            **self._meta(task),
        }
        return ResultsFolder(folder, meta | ({"key": self.key} if self.key else {}))

    def _meta(self, task: Task) -> dict[str, Any]:
        found = self.prepare(task).meta()
        found["suites"] |= {name: record_of(spec) for spec in self.capabilities for name in spec.suites()}
        return found

    def _journal(self, trainer: Trainer, results: ResultsFolder) -> Journal | None:
        """For ``test`` only: a fit's weights at a step may differ when the step is lived again."""
        if self.results_folder is None or self.following:
            return None
        name = f"answers-{trainer.global_rank}-of-{trainer.world_size}.jsonl"
        return Journal(results.path / name, self.key)

    def _evaluate_or_leave(self, trainer: Trainer, pl_module: LightningModule, last: bool = False) -> bool:
        """``_evaluate_once`` in a fit; False where it was left because the fit is to stop. Nothing of it is kept."""
        step, stop = trainer.global_step, self.checkpoints
        try:
            self._evaluate_once(trainer, pl_module, step, stop)
            if last and self._beside is not None:
                with self.clock.during("generation"):
                    self._beside.wait(0, self._leaving)
                self._beside.close()
        except Stopped:
            if trainer.is_global_zero:
                log.warning("stopped during the evaluation at step %d; a resumed run repeats it first", step)
            return False
        return True

    def _evaluate_once(
        self, trainer: Trainer, pl_module: LightningModule, step: int, stop: Checkpoints | None = None
    ) -> None:
        """Evaluate unless this step is already complete in the results (pitfall G4)."""
        if not self.active or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        results = self._results(trainer)
        if trainer.strategy.broadcast(step in results.steps()):
            return
        with self.clock.during("other"):
            if self._beside is not None:
                self._beside.hand_over(step, partial(write_weights, trainer), self._leaving)
                return
            share = Share(trainer.global_rank, trainer.world_size, gather)
            if stop is not None:
                share = replace(share, leaving=stop.leaving, vote=stop.vote.any)
            journal = self._journal(trainer, results)
            self._measuring(trainer).run(trainer, step, share, partial(self._results, trainer), journal)

    def _measuring(self, trainer: Trainer) -> Measuring:
        in_fit = self.following or trainer.state.fn == "fit"
        evaluation = self.prepare(trainer.datamodule)  # type: ignore[attr-defined]
        return Measuring(
            evaluation, self.capabilities, self.probe, self.text_samples, self.clock, self._curves, in_fit
        )  # fmt: skip

    def _leaving(self) -> bool:
        return self.checkpoints is not None and self.checkpoints.leaving()


def versions() -> dict[str, str]:
    """What the numbers were computed with."""
    names = ("torch", "transformers", "lightning", "peft")
    return {"ptst_pl": __version__, **{name: metadata.version(name) for name in names}}
