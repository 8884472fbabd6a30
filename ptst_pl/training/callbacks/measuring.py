"""One safety evaluation of a run's weights: answers, verdicts and rates, into results, curves and metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning import Trainer
from torch import nn

from ptst_pl.defences.serving import Served
from ptst_pl.evaluation.capability import CapabilitySpec, measure
from ptst_pl.evaluation.evaluate import Evaluation, Share
from ptst_pl.generation import release
from ptst_pl.generation.answers_bar import AnswersBar
from ptst_pl.model.rounded import rounded
from ptst_pl.model.sharding import gathered
from ptst_pl.results.journal import Journal
from ptst_pl.results.records import Generation, ResultsFolder
from ptst_pl.training.callbacks.folder import run_folder
from ptst_pl.training.callbacks.probe import Line, Probe
from ptst_pl.training.callbacks.publishing import publish
from ptst_pl.training.callbacks.tensorboard import Curves
from ptst_pl.training.callbacks.times import Clock
from ptst_pl.training.finetuner import FineTuner


@dataclass
class _Found:
    """What a model did at one step.

    Attributes:
        generations: its answers, and those that users would see under a serving defence.
        served: a line about each of the latter.
        capability: records of lm-eval's tasks.
        probed: what the probe has seen.
    """

    generations: list[Generation]
    served: list[Any] = field(default_factory=list)
    capability: list[dict[str, Any]] = field(default_factory=list)
    probed: list[Line] = field(default_factory=list)


@dataclass
class Measuring:
    """Evaluates a run's weights, step by step.

    Attributes:
        evaluation: suites, templates and judges.
        capabilities: tasks of lm-eval beside them.
        probe: prompts of each kind whose hidden states are looked at; None for no look.
        text_samples: answers per template and suite to show in TensorBoard as text.
        clock: what generation and judging are counted with.
        curves: TensorBoard's.
        in_fit: whether the points belong to a fit's curve: drawn, and no judge that fails later on ends it.
    """

    evaluation: Evaluation
    capabilities: Sequence[CapabilitySpec]
    probe: int | None
    text_samples: int
    clock: Clock
    curves: Curves
    in_fit: bool = False

    def run(
        self,
        trainer: Trainer,
        step: int,
        share: Share,
        results: Callable[[], ResultsFolder],
        journal: Journal | None = None,
    ) -> None:
        """Answer, judge, publish, draw and store.

        Args:
            trainer: whose module is evaluated, with its data module.
            step: of the weights.
            share: this process's part.
            results: the folder, with what its numbers depend on as far as that is known when it is asked.
            journal: where answers are kept while they come.

        Raises:
            Stopped: the fit is to stop; nothing is stored.
        """
        tuner = trainer.lightning_module
        assert isinstance(tuner, FineTuner)
        looker = Probe(results().path, self.probe) if self.probe and trainer.is_global_zero else None
        found = self._found(trainer, tuner, step, share, looker, journal)
        # A judge that fails from the start is a mistake to be mended; later on it must not end the training.
        with self.clock.during("judging"):
            verdicts = self.evaluation.judge(found.generations, share, tolerant=self.in_fit and step > 0)
        rates = self.evaluation.rates(verdicts) + found.capability
        publish(trainer, verdicts, share, tuner.device, self.evaluation.max_unscored)
        if trainer.is_global_zero:
            folder = results()  # which names the backend, now that it is known
            # Drawn first: what is in the results is never evaluated, and so never drawn, again.
            if self.in_fit:
                where = run_folder(trainer), str(folder.meta["train_template"]), step
                self.curves.draw(*where, rates)
                self.curves.show(*where, found.generations, self.text_samples)
                self.curves.look(*where, found.probed)
            folder.add(found.generations, verdicts, rates, step, found.served)
            if looker is not None:
                looker.write(found.probed)
        trainer.strategy.barrier()
        if journal is not None:
            journal.close()

    def _found(
        self, trainer: Trainer, tuner: FineTuner, step: int, share: Share, looker: Probe | None, journal: Journal | None
    ) -> _Found:
        evaluation, model = self.evaluation, tuner.network
        quiet = not trainer.is_global_zero or trainer.progress_bar_callback is None
        mine = -(-evaluation.size // trainer.world_size)
        with (
            self.clock.during("generation"),
            AnswersBar(mine, f"Safety at step {step}", quiet) as bar,
            trainer.precision_plugin.forward_context(),
            tuner.defence.shipped(model),
            gathered(model),
            rounded(model, str(trainer.precision)),
        ):
            bare = evaluation.answers(model, step, share, bar.done, journal, bar.made)
            found = _Found([one.record for one in bare])
            if evaluation.serving is not None:
                own = trainer.datamodule.own_templates  # type: ignore[attr-defined]
                served = Served(model, evaluation.used, tuner.aligned, evaluation.encoder, own)
                with self.clock.during("serving"):
                    shown, found.served = evaluation.defended(bare, served, share)
                found.generations += shown
            found.capability = self._capability(trainer, model, step)
            if looker is not None:
                found.probed = looker.look(model, evaluation.cells, evaluation.encoder.pad_id, step)
        if trainer.state.fn == "fit" and next(model.parameters()).is_cuda:
            release(model)
        return found

    def _capability(self, trainer: Trainer, model: nn.Module, step: int) -> list[dict[str, Any]]:
        """Records of lm-eval's tasks under every template; the first process asks, the others wait."""
        found: list[dict[str, Any]] = []
        if self.capabilities and trainer.is_global_zero:
            for template in dict.fromkeys(cell.template for cell in self.evaluation.cells):
                for spec in self.capabilities:
                    found += measure(model, self.evaluation.encoder, template, spec, step, self.evaluation.confidence)
        if self.capabilities:
            trainer.strategy.barrier()
        return found
