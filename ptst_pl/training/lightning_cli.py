"""``fit``, ``validate``, ``test`` and ``predict``: LightningCLI with the project's own wiring."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

import ptst_pl.judges
import ptst_pl.tasks  # noqa: F401  (short class names in configs)
from ptst_pl import InputError
from ptst_pl.evaluation.evaluate import last_rates
from ptst_pl.generation import Answer, choose
from ptst_pl.generation.answers_bar import AnswersBar
from ptst_pl.model.adapter import check_adapter
from ptst_pl.model.loading import check_vocabulary
from ptst_pl.model.weight_files import check_model_folder
from ptst_pl.results.journal import check_folder, key_of, was_interrupted, weights_identity
from ptst_pl.results.rates_table import rates_table
from ptst_pl.results.records import ResultsFolder
from ptst_pl.results.runs import new_version, newest_version
from ptst_pl.tasks.base import Task
from ptst_pl.templates import ChatFormat, OwnTemplates
from ptst_pl.tokenization import ChatOptions
from ptst_pl.training import slurm
from ptst_pl.training.callbacks import (
    AtomicCheckpointIO,
    Checkpoints,
    Defending,
    HyperParameters,
    ProgressBar,
    SafetyCurve,
    SaveModel,
    StopEarly,
    StopSignals,
    TimeShares,
)
from ptst_pl.training.callbacks.beside import spare
from ptst_pl.training.defended import defend
from ptst_pl.training.finetuner import FineTuner
from ptst_pl.training.launch import SlurmTasks, check_processes
from ptst_pl.training.lints.run import warn
from ptst_pl.training.lints.settings import Lints
from ptst_pl.training.prediction import PredictSettings, prompt_loader, write_answers
from ptst_pl.training.run_folders import claim_folder, home_of, starting_checkpoint, step_of
from ptst_pl.training.same_run import check_evaluated, check_resumed, stored_identity, trained_under
from ptst_pl.training.strategies import check_strategy, own_strategy


class TrainingCLI(LightningCLI):
    """The wiring: run folders, checkpoints, the safety curve, and checks before a model is loaded."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The project's own keys beside Lightning's ``trainer``, ``model`` and ``data``."""
        parser.add_argument("--name", type=str, required=True, help="run name: results go to <runs>/<name>/")
        parser.add_argument("--runs", type=str, default="checkpoints", help="folder of all runs")
        parser.add_argument("--chat_format", type=ChatFormat, required=True, help="the model's chat format")
        parser.add_argument("--chat_options", type=ChatOptions, default=ChatOptions(), help="beside the chat format")
        parser.add_argument("--tokenizer", type=str | None, default=None, help="default: the model's own")
        parser.add_argument("--templates", type=OwnTemplates, default={}, help="your own templates")
        parser.add_argument("--checkpoint_every_n_steps", type=int, default=100)
        parser.add_argument("--keep_checkpoints", type=int, default=2, help="newest step-*.ckpt to keep; -1: all")
        parser.add_argument("--results", type=str | None, default=None, help="folder for the results of test")
        parser.add_argument(
            "--held_out_loss", type=bool, default=False, help="test: also the held-out loss, at the end"
        )
        parser.add_argument("--sweep", type=dict[str, list[Any]] | None, default=None, help="read by sweep alone")
        parser.add_argument(
            "--defence", type=str | dict[str, Any] | None, default=None, help="a defence: docs/defences.md"
        )
        parser.add_lightning_class_args(SafetyCurve, "safety")
        parser.add_lightning_class_args(StopEarly, "stop")  # behind the curve, whose rates it reads
        parser.add_class_arguments(PredictSettings, "prediction")
        parser.add_class_arguments(Lints, "lints")
        parser.link_arguments("chat_format", "data.init_args.chat_format")
        parser.link_arguments("chat_options", "data.init_args.chat_options")
        parser.link_arguments("templates", "data.init_args.templates")
        parser.link_arguments("seed_everything", "data.init_args.seed", compute_fn=_pinned_seed)
        parser.link_arguments(
            ("tokenizer", "model.pretrained"), "data.init_args.tokenizer", compute_fn=lambda own, model: own or model
        )

    known_keys: ClassVar[list[str]] = []

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse; the keys are kept for "did you mean"."""
        for sub in self._subcommand_parsers.values():
            type(self).known_keys += [action.dest for action in sub._actions]
        super().parse_arguments(parser, args)

    def _parse_ckpt_path(self) -> None:
        """Do nothing: a checkpoint's hyper-parameters never override the command line (pitfall F1)."""

    def instantiate_classes(self) -> None:
        """Build all but the weights, check the input, and only then make a folder and the trainer."""
        assert self.subcommand is not None
        config = self.config[self.subcommand]
        check_processes(config["trainer"])
        checkpoint = starting_checkpoint(config, self.subcommand)
        config["ckpt_path"] = str(checkpoint) if checkpoint else None
        self.config_init = self.parser.instantiate_classes(self.config)
        self.datamodule, self.model = self._get(self.config_init, "data"), self._get(self.config_init, "model")
        defend(self._tuner, self.task, self.safety if self.subcommand != "predict" else None, config)
        self._check()
        self.resumed = checkpoint is not None
        home = home_of(config)
        base = checkpoint.parent / "test" if checkpoint else home / "untouched"
        self.folder = claim_folder(home, self.subcommand, checkpoint, lambda: self._results_folder(base))
        self.trainer = self.instantiate_trainer()

    def _results_folder(self, base: Path) -> Path:
        """The folder asked for, or else a new one; the newest one where an equal test was interrupted."""
        config = self.config["test"]
        self.safety.trained_under = trained_under(stored_identity(config["ckpt_path"]))
        if not self.safety.active:
            return Path(config["results"] or base)
        weights = weights_identity(self._tuner.base(), config["ckpt_path"])
        self.safety.key = key_of(self.safety.prepare(self.task).meta(), weights, config["trainer"]["precision"])
        if config["results"]:
            check_folder(Path(config["results"]), self.safety.key)
            return Path(config["results"])
        newest = newest_version(base)
        return newest if was_interrupted(newest, self.safety.key) else new_version(base)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Add the run folder's logger, atomic checkpoints and the closing callbacks."""
        config = self.config[self.subcommand]
        self._check_trainer(config["trainer"])
        kwargs |= {"logger": False, "default_root_dir": str(self.folder), "use_distributed_sampler": False}
        kwargs["strategy"] = own_strategy(self.config_init[self.subcommand]["trainer"]["strategy"])
        extra: list[Callback] = [Defending()]
        plugins = [*(config["trainer"]["plugins"] or []), *([SlurmTasks()] if slurm.manages_tasks() else [])]
        if config["trainer"]["enable_progress_bar"] is not False:
            extra.append(ProgressBar())
        if self.subcommand == "fit":
            purge: dict[str, Any] = {"purge_step": step_of(config["ckpt_path"]) + 1} if self.resumed else {}
            board = TensorBoardLogger(self.folder.parent, name="", version=self.folder.name, **purge)
            # TensorBoard's comes first: its folder is the run's.
            kwargs["logger"] = [board, *self._own_loggers()]
            checkpoints = Checkpoints(config["checkpoint_every_n_steps"], config["keep_checkpoints"])
            checkpoints.clock, self.safety.checkpoints = self.safety.clock, checkpoints
            self.safety.config_text = self._parser("fit").dump(config, skip_none=False)
            self.signals = StopSignals(checkpoints)
            extra += [TimeShares(self.safety.clock), checkpoints, SaveModel(), self.signals]
            extra.append(HyperParameters(config.as_dict()))
        else:
            kwargs["enable_checkpointing"] = False
        kwargs["plugins"] = [*plugins, AtomicCheckpointIO()]
        self.trainer_defaults["callbacks"] = extra
        return super().instantiate_trainer(**kwargs)

    def _own_loggers(self) -> list[Logger]:
        """What ``trainer.logger`` names, beside TensorBoard's."""
        found = self.config_init[self.subcommand]["trainer"]["logger"]
        return [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, Logger)]

    @staticmethod
    def _check_trainer(trainer: Any) -> None:
        """Refuse the trainer's keys that cannot take effect, as the run folder decides them.

        Raises:
            InputError: one of them was given.
        """
        given = {
            "logger": trainer["logger"] is False,
            "default_root_dir": trainer["default_root_dir"] is not None,
            "enable_checkpointing": trainer["enable_checkpointing"] is not None,
            "barebones": bool(trainer["barebones"]),
        }
        instead = {
            "logger": "TensorBoard's files belong to every run; a logger's class path adds another one",
            "default_root_dir": "the run folder is <runs>/<name>/version_<k>: use --runs and --name",
            "enable_checkpointing": "use --checkpoint_every_n_steps and --keep_checkpoints",
            "barebones": "it switches off what a run is made of",
        }
        for key, is_given in given.items():
            if is_given:
                raise InputError(f"trainer.{key} is {trainer[key]!r} and cannot take effect: {instead[key]}")

    # ---- checks before a model is loaded ----------------------------------------------------

    @property
    def task(self) -> Task:
        """The data module."""
        assert isinstance(self.datamodule, Task)
        return self.datamodule

    @property
    def _tuner(self) -> FineTuner:
        assert isinstance(self.model, FineTuner)
        return self.model

    @property
    def safety(self) -> SafetyCurve:
        """The safety curve's callback."""
        curve = self.config_init[self.subcommand]["safety"]
        assert isinstance(curve, SafetyCurve)
        return curve

    def _check(self) -> None:
        """Read and render everything that the command needs; raises ``InputError``."""
        assert self.subcommand is not None
        config = self.config[self.subcommand]
        precision = str(config["trainer"]["precision"])
        if precision.endswith("-true") and precision not in ("32-true", "64-true"):
            raise InputError(
                f"trainer.precision is {precision!r}: it would round adapters and master weights; "
                "use bf16-mixed (model.dtype sets the type of a frozen base)"
            )
        check_strategy(config["trainer"]["strategy"], precision, str(config["model"]["quantize"]))
        self._check_model(config["model"])
        check_vocabulary(self.task.encoder.tokenizer, str(config["model"]["pretrained"]))
        checkpoint, stored = config["ckpt_path"], stored_identity(config["ckpt_path"])
        if self.subcommand == "predict":
            if checkpoint:
                check_evaluated(checkpoint, stored, self._tuner, self.task)
            self.settings: PredictSettings = self.config_init["predict"]["prediction"]
            self.prompts = self.settings.load(self.task)
            return
        if self.subcommand != "test" or config["held_out_loss"] or not self.safety.active:
            self.task.check(self.subcommand)
        evaluation = None
        if self.subcommand in ("fit", "test") and self.safety.active:
            evaluation = self.safety.prepare(self.task)
        if checkpoint and self.subcommand == "fit":
            check_resumed(checkpoint, stored, self._tuner, self.task, evaluation)
        elif checkpoint:
            check_evaluated(checkpoint, stored, self._tuner, self.task, evaluation)
        if self.subcommand == "fit":
            stop: StopEarly = self.config_init["fit"]["stop"]
            stop.check(evaluation, bool(self.safety.every_n_steps or self.safety.every_n_epochs))
            if stop.monitor is not None and self.safety.beside:
                raise InputError("stop: with safety.beside a rate is known after its step; take one of them away")
            if self.safety.active and self.safety.beside:
                on_gpu = config["trainer"]["accelerator"] != "cpu" and torch.cuda.is_available()
                spare(torch.device("cuda" if on_gpu else "cpu"))
            if not getattr(rank_zero_only, "rank", 0):
                warn(self.config_init["fit"]["lints"], self.task, evaluation)

    def _check_model(self, model: Any) -> None:
        """Whether its folder is whole; ``plan`` needs no weights and asks nothing of them."""
        check_model_folder(str(model["pretrained"]), bool(model["random_weights"]))
        if model["adapter"]:
            check_adapter(str(model["adapter"]), str(model["quantize"]))

    def before_test(self) -> None:
        """The results go straight into the results folder; the held-out loss is computed where it is all there is."""
        self.safety.results_folder = self.folder
        self.task.held_out_in_test = bool(self.config["test"]["held_out_loss"]) or not self.safety.active

    def _run_subcommand(self, subcommand: str) -> None:
        """Run; a fit that a signal ended has its own exit status."""
        try:
            super()._run_subcommand(subcommand)
        except SystemExit as ended:
            status = self.signals.status if subcommand == "fit" else None
            raise SystemExit(ended.code if status is None else status) from ended

    # ---- after ------------------------------------------------------------------------------

    def after_fit(self) -> None:
        """The table of the first and the last point of the curve."""
        self._print_rates(self.folder / "safety")

    def after_test(self) -> None:
        """The table of this evaluation."""
        self._print_rates(self.folder)

    def _print_rates(self, folder: Path) -> None:
        if not self.trainer.is_global_zero:
            return
        rates = last_rates(ResultsFolder(folder).rates())
        if rates:
            print(f"\nresults in {folder}\n\n{rates_table(rates)}")

    def predict(self, model: FineTuner, datamodule: Task, ckpt_path: str | None = None, **options: Any) -> None:
        """Answer the prompts and write ``generations.jsonl``."""
        if self.trainer.world_size > 1:
            raise InputError("predict runs on one device: set trainer.devices to 1")
        decoding, total = self.settings.decoding, len(self.prompts.ids) * self.settings.decoding.samples
        with AnswersBar(total, "Answers", quiet=self.trainer.progress_bar_callback is None) as bar:
            loader = prompt_loader(self.prompts, decoding, self.task, bar.done, bar.made)
            answers = self.trainer.predict(model, dataloaders=loader, ckpt_path=ckpt_path, return_predictions=True)
        done, backend = cast(list[dict[int, Answer]], answers), choose(model.network, decoding.backend)
        path = write_answers(self.settings, self.prompts, self.task, done, model.loaded_step or 0, backend)
        print(f"wrote {total} answers to {path}")


def _pinned_seed(seed: int | bool) -> int:
    if isinstance(seed, bool):
        raise InputError("seed_everything must be a number, so that a run can be repeated")
    return seed
