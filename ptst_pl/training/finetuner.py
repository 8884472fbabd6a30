"""FineTuner: the Lightning module. It knows no task, no template, no judge and no suite."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from peft import PeftModel
from torch import Tensor

from ptst_pl import InputError
from ptst_pl.defences import KEPT, Defence, LossDefence, Step
from ptst_pl.generation import Answer, PromptBatch, generate, stop_ids
from ptst_pl.model import Dtype, LoraSettings, Method, Quantize, batch_nll, describe, load_model, to_train, trainable
from ptst_pl.model.base_identity import base_identity
from ptst_pl.model.batch_paths import WHAT, Batching, Path, choose_path
from ptst_pl.model.loss import ABSENT, FirstNotFinite, SummedLoss
from ptst_pl.model.ranks import gather
from ptst_pl.model.rounded import rounded
from ptst_pl.model.sharding import (
    ActivationCheckpointing,
    checkpoint_activations,
    clip_to_norm,
    clip_to_value,
    computing_type,
    gradients,
    in_root,
    shard,
)
from ptst_pl.results.identity import check_same
from ptst_pl.tokenization.batches import Batch, PackRows, PadRight, Sources
from ptst_pl.training.optimiser import Schedule, adamw, with_schedule

log = logging.getLogger(__name__)
# So many micro-batches are remembered at most, to name the one without a finite loss.
REMEMBERED = 1000


class FineTuner(LightningModule):
    """Fine-tunes a causal language model, with LoRA or in full.

    The loss of an optimiser step is the mean over all its supervised tokens, whatever the number of
    micro-batches and ranks: each micro-batch contributes its sum, and the gradient is divided once
    by the step's token count (pitfalls C1 to C3). Where the rows come from several sources, the loss
    of each is logged beside it, the mean over its own tokens of the step: ``train/loss/<source>``.

    Args:
        pretrained: local folder or hub name of the model.
        method: ``lora`` or ``full``.
        lora: LoRA hyper-parameters.
        dtype: type of the loaded weights. ``full`` keeps float32 master weights (pitfall E9); use
            ``trainer.precision: bf16-mixed`` for speed. Adapters are float32 on any base.
        attention: ``auto``, or an implementation that transformers knows.
        quantize: ``nf4`` or ``int8`` for LoRA over a quantised base; needs CUDA and bitsandbytes.
        learning_rate: peak learning rate of AdamW.
        weight_decay: AdamW's weight decay.
        betas: AdamW's running-average factors.
        schedule: ``constant``, ``cosine`` or ``linear`` to zero, or ``per-epoch-decay``.
        warmup_steps: optimiser steps of linear warm-up.
        decay: factor per epoch of ``per-epoch-decay``.
        activation_checkpointing: ``full`` keeps only the input of each block for the backward pass and computes
            the block again, ``selective`` that of every other block; the gradients are the same.
        batching: how rows become batches: ``padded``, ``packed``, ``prefix``, or the fastest that the model supports.
        random_weights: make up the weights of a folder that has none, for smoke runs; the answers mean nothing.
        adapter: folder or hub name of a LoRA adapter that is merged into the model first.

    Raises:
        InputError: full fine-tuning on weights that are not float32, or quantised.
    """

    def __init__(
        self,
        pretrained: str,
        method: Method = "lora",
        lora: LoraSettings | None = None,
        dtype: Dtype = "float32",
        attention: str = "auto",
        learning_rate: float = 1e-4,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        schedule: Schedule = "constant",
        warmup_steps: int = 0,
        decay: float = 0.85,
        quantize: Quantize = "none",
        activation_checkpointing: ActivationCheckpointing = "off",
        batching: Batching = "auto",
        random_weights: bool = False,
        adapter: str | None = None,
    ) -> None:
        super().__init__()
        if method == "full" and quantize != "none":
            raise InputError(f"model.quantize is {quantize!r} with method 'full': quantised weights cannot be trained")
        if method == "full" and dtype != "float32":
            raise InputError(
                f"model.dtype is {dtype!r} with method 'full': updates would be rounded away; use float32 "
                "(and trainer.precision: bf16-mixed for speed)"
            )
        self.pretrained, self.method, self.lora = pretrained, method, lora or LoraSettings()
        self.dtype_name, self.attention, self.quantize = dtype, attention, quantize
        self.activation_checkpointing = activation_checkpointing
        self.batching, self.random_weights, self.adapter = batching, random_weights, adapter
        self.path: Path = "padded"
        self.learning_rate, self.weight_decay, self.betas = learning_rate, weight_decay, betas
        self.schedule, self.warmup_steps, self.decay = schedule, warmup_steps, decay
        self.defence = Defence()
        self.net: torch.nn.Module | None = None
        self._saved: frozenset[str] = frozenset()
        self.strict_loading = False  # a checkpoint holds the trained parameters only
        self.loaded_step: int | None = None
        self.seen_tokens = 0  # by this process's training passes
        self._tested = False
        # What the run is, see ``ptst_pl.results.identity``; ``known`` once it says how this fit trains.
        self.record: dict[str, Any] = {}
        self.known = False
        self._trained = self._evaluated = SummedLoss(torch.device("cpu"))
        self._not_finite = torch.zeros(())
        self._first_not_finite = FirstNotFinite()
        self.shown: dict[str, float] = {}  # by the progress bar

    def configure_model(self) -> None:
        """Load the weights. Lightning calls this in ``fit``, ``validate``, ``test`` and ``predict``."""
        if self.net is not None:
            return
        device = self.trainer.strategy.root_device.type
        model = load_model(
            self.pretrained, self.dtype_name, self.attention, device, self.quantize, self.random_weights, self.adapter
        )
        self.net = to_train(model, self.method, self.lora)
        # A defence may freeze some of them; a checkpoint holds them all.
        self._saved = frozenset(trainable(self.net))
        self.net.train()
        self.path, why = choose_path(self.net, self.batching)
        if self.trainer.state.fn == "fit":
            self.defence.prepare(self.net, self.trainer.datamodule)  # type: ignore[attr-defined]
        checkpoint_activations(self.net, self.activation_checkpointing)
        facts = describe(self.net)
        log.info(
            "model %s: %d parameters, %d of them trained (%s), types %s, attention %s",
            self.pretrained, facts["parameters"], facts["trainable"], self.method,
            "+".join(facts["dtypes"]), facts["attention"],
        )  # fmt: skip
        log.info("batches: %s (%s; %s); loss on supervised positions only", self.path, WHAT[self.path], why)
        if self.device_mesh is not None:
            for one in (*self.defence.extra_models(), self.net):
                line = shard(one, self.device_mesh["data_parallel"], computing_type(str(self.trainer.precision)))
            log.info(line)

    def collator(self, pad_id: int, sources: Sources | None) -> PadRight | PackRows:
        """What makes training batches of encoded rows, the way the model takes them."""
        if self.path == "padded":
            return PadRight(pad_id, sources)
        return PackRows(pad_id, sources, sharing=self.path == "prefix")

    @property
    def network(self) -> torch.nn.Module:
        """The loaded model, with its adapters."""
        assert self.net is not None, "the model is loaded by configure_model"
        return self.net

    # ---- training ---------------------------------------------------------------------------

    def on_fit_start(self) -> None:
        """Counters live where the model lives."""
        self._trained = SummedLoss(self.device)
        self._not_finite = torch.zeros((), device=self.device)
        for one in self.defence.extra_models():
            one.to(self.device)
        self.defence.kept = {name: value.to(self.device) for name, value in self.defence.kept.items()}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The micro-batch's summed loss; see the class for the division."""
        if not torch.is_grad_enabled():
            return in_root(batch_nll, self.network, batch)
        each = self._trained.each(batch)
        self.see(batch)
        with self.defence.training():
            if isinstance(self.defence, LossDefence):
                nll = self.defence.batch_loss(self.network, batch, each)
            else:
                nll = in_root(batch_nll, self.network, batch, each)
        self._trained.add(nll, batch.targets.numel())
        self._first_not_finite.note(nll, self.trainer.global_step + 1, batch.rows)
        return nll

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Turn the accumulated gradient of sums into the gradient of the mean over the step's tokens."""
        sums = self._summed(self._trained.vector)
        # Lightning has divided each micro-batch by the window's length and averaged over ranks.
        undo = self.trainer.accumulate_grad_batches * self.trainer.world_size
        tokens = sums[1].clamp(min=1)
        torch._foreach_mul_(gradients(trainable(self.network).values()), undo / tokens)
        self._not_finite += sums[2]
        by_source = self._trained.means_by_source("train/loss", sums)
        self._log_step({"train/loss": sums[0] / tokens, "train/tokens": sums[1], **by_source})
        self._trained.reset()
        self.defence.before_step(Step.of(self, optimizer))

    def see(self, batch: Batch) -> None:
        """Count what goes through the model in training."""
        self.seen_tokens += batch.input_ids.numel()

    def check_finite(self) -> None:
        """End the run if a loss was not finite since the last check; on all ranks together, and waits for the device.

        Raises:
            InputError: it was, in this step and in these rows.
        """
        if not int(self._not_finite):
            self._first_not_finite.find()
            return
        found = [micro for micro in gather(self._first_not_finite.find()) if micro is not None]
        first = min(found, key=lambda micro: micro.step)
        raise InputError(
            f"the loss is not finite at step {first.step}, in the micro-batch of training rows "
            f"{', '.join(map(str, first.rows))}; nothing was saved since then. Look at these rows, lower "
            f"model.learning_rate ({self.learning_rate:g}) or set trainer.gradient_clip_val, and go on with "
            "--ckpt_path last"
        )

    def _summed(self, sums: Tensor) -> Tensor:
        """Over all ranks, in one call."""
        found = self.trainer.strategy.reduce(sums, reduce_op="sum")
        assert isinstance(found, Tensor)
        return found

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by norm or value; done here because Lightning refuses it for some precisions (E6)."""
        parameters = trainable(self.network).values()
        if not gradient_clip_val:
            return
        if gradient_clip_algorithm == "value":
            clip_to_value(parameters, gradient_clip_val)
            return
        norm = clip_to_norm(parameters, gradient_clip_val)
        self._log_step({"train/grad_norm": norm})

    def _log_step(self, metrics: dict[str, Tensor]) -> None:
        """Log at the number of the step that is being made.

        Lightning would log behind the step's checkpoint, where a stop loses the point, and one
        step too low.
        """
        step = self.trainer.global_step + 1
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        due = bool(every) and step % every == 0
        if due or len(self._first_not_finite) >= REMEMBERED:
            self.check_finite()
        if due:
            self.shown |= self._log_at(metrics, step)
            self.log_dict(self.shown, logger=False, rank_zero_only=True)  # for callbacks that watch a metric

    def _log_at(self, metrics: dict[str, Tensor], step: int) -> dict[str, float]:
        values = torch.stack(list(metrics.values())).tolist()  # one wait for the GPU, not one each
        found = {name: value for name, value in zip(metrics, values, strict=True) if value != ABSENT}
        for logger in self.trainer.loggers:
            logger.log_metrics(found, step)
        return found

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: torch.optim.Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Make the step and free its gradients: Lightning would keep them through the next forward pass."""
        step = Step.of(self, optimizer)
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.defence.after_step(step)
        optimizer.zero_grad(set_to_none=True)

    def configure_optimizers(self) -> Any:
        """AdamW over the trained parameters, and the schedule per optimiser step."""
        rate = self.defence.learning_rate(self.learning_rate)
        precision = str(self.trainer.precision)
        optimizer = adamw(trainable(self.network).values(), rate, self.weight_decay, self.betas, precision)
        return with_schedule(optimizer, self.schedule, self.warmup_steps, self.decay, self._total_steps)

    def _total_steps(self) -> int:
        return int(self.trainer.estimated_stepping_batches)

    # ---- held-out loss ----------------------------------------------------------------------

    def _start_evaluation(self) -> None:
        self._evaluated = SummedLoss(self.device, torch.float64)

    def _add_evaluation(self, batch: Batch) -> None:
        nll = in_root(batch_nll, self.network, batch, self._evaluated.each(batch))
        self._evaluated.add(nll, batch.targets.numel())

    def _log_evaluation(self, name: str) -> None:
        """Sum over sum, over all batches and ranks; a mean of batch means is another number (C4)."""
        sums = self._summed(self._evaluated.vector)
        loss = (sums[0] / sums[1].clamp(min=1)).float()
        by_source = self._evaluated.means_by_source(name, sums)
        by_source = {key: mean for key, mean in by_source.items() if mean.item() != ABSENT}
        fitting = self.trainer.state.fn == "fit"
        # Outside of fit, what is marked for the logger is what Lightning prints as a table.
        self.log(name, loss, prog_bar=True, logger=not fitting, rank_zero_only=True)
        self.log_dict(by_source, logger=not fitting, rank_zero_only=True)
        if fitting and not self.trainer.sanity_checking:
            self._log_at({name: loss, **by_source}, self.trainer.global_step)

    def on_validation_epoch_start(self) -> None:
        """Start counting."""
        self._start_evaluation()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch's loss."""
        self._add_evaluation(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the held-out loss per token."""
        self._log_evaluation("val/loss")

    def on_test_epoch_start(self) -> None:
        """Start counting."""
        self._start_evaluation()

    def test_step(self, batch: Batch | None, batch_idx: int) -> None:
        """Add a batch's loss; nothing where the held-out loss is not asked for."""
        if batch is not None:
            self._add_evaluation(batch)
            self._tested = True

    def on_test_epoch_end(self) -> None:
        """Log the held-out loss per token, if it was computed."""
        if self._tested:
            self._log_evaluation("test/loss")

    @contextlib.contextmanager
    def aligned(self) -> Iterator[torch.nn.Module]:
        """The model that training starts from: its adapters off, or a copy of its own where all weights are trained."""
        if isinstance(self.network, PeftModel):
            with self.network.disable_adapter():
                yield self.network
            return
        device = self.device.type
        yield load_model(
            self.pretrained, self.dtype_name, self.attention, device,
            random_weights=self.random_weights, adapter=self.adapter,
        ).to(self.device)  # fmt: skip

    # ---- answers ----------------------------------------------------------------------------

    def predict_step(self, batch: PromptBatch, batch_idx: int) -> dict[int, Answer]:
        """Answers by the prompt's number."""
        stops = stop_ids(self.network, batch.end_id)
        with rounded(self.network, str(self.trainer.precision)):
            answers = generate(
                self.network, batch.prompts, stops, batch.pad_id, batch.decoding, batch.progress,
                decode=batch.decode, samples=batch.samples, made=batch.made,
            )  # fmt: skip
        return dict(zip(batch.indices, answers, strict=True))

    # ---- checkpoints ------------------------------------------------------------------------

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """The trained parameters only: an adapter's checkpoint does not hold its base (pitfall E4)."""
        whole: dict[str, Any] = super().state_dict(*args, **kwargs)
        if self.net is not None and self.method == "lora":
            wanted = {f"net.{name}" for name in self._saved or trainable(self.net)}
            whole = {name: value for name, value in whole.items() if name in wanted}
        return whole | {KEPT + name: value for name, value in self.defence.kept.items()}

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Load trained parameters; refuses a checkpoint that does not hold exactly those.

        Raises:
            InputError: the checkpoint belongs to another method, rank or model.
        """
        kept = {name: value for name, value in state_dict.items() if name.startswith(KEPT)}
        if self.defence.keeps_weights:
            self.defence.kept = {name.removeprefix(KEPT): value.clone() for name, value in kept.items()}
        state_dict = {name: value for name, value in state_dict.items() if name not in kept}
        own = {name: value for name, value in self.state_dict().items() if not name.startswith(KEPT)}
        missing, extra = sorted(set(own) - set(state_dict)), sorted(set(state_dict) - set(own))
        shapes = [name for name in own if name in state_dict and own[name].shape != state_dict[name].shape]
        if missing or extra or shapes:
            kind = "missing" if missing else "unexpected" if extra else "of another shape:"
            example = [*missing, *extra, *shapes][0]
            raise InputError(
                f"the checkpoint does not fit this model and method {self.method!r}: {kind} {example!r} "
                f"({len(missing)} missing, {len(extra)} unexpected, {len(shapes)} of another shape)"
            )
        return super().load_state_dict(state_dict, strict=False, assign=assign)

    def base(self) -> dict[str, Any]:
        """The record's part about the weights that training starts from."""
        return base_identity(self.pretrained, self.random_weights, self.adapter)

    def identity(self) -> dict[str, Any]:
        """What the record of a run says of how its parameters are trained."""
        lora = asdict(self.lora) if self.method == "lora" else None
        names = ("learning_rate", "weight_decay", "schedule", "warmup_steps", "decay")
        settings = {name: getattr(self, name) for name in names} | {"betas": list(self.betas)}
        settings["defence"] = self.defence.record()
        return {"method": self.method, "lora": lora, "dtype": self.dtype_name, "quantize": self.quantize, **settings}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note the adapter's scale, which no tensor shows; refuse to save weights that are lost."""
        self.check_finite()
        checkpoint["lora_alpha"] = self.lora.alpha if self.method == "lora" else None
        checkpoint["defence"] = self.defence.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember the checkpoint's own step: ``test`` does not restore it (pitfall F2).

        Raises:
            InputError: the adapter was trained with another ``lora.alpha``, or the checkpoint on another base.
        """
        alpha = checkpoint.get("lora_alpha")
        if self.method == "lora" and alpha not in (None, self.lora.alpha):
            raise InputError(f"the checkpoint was trained with lora.alpha {alpha}, the config says {self.lora.alpha}")
        stored = checkpoint.get("identity") or {}
        advice = "give the base that it was trained on; another base is another run, under another --name"
        check_same("the checkpoint", stored, {"base": self.base()}, advice, ("base",))
        self.record = {**stored, "base": self.base()}
        self.loaded_step = int(checkpoint["global_step"])
        trained_with = ((stored.get("training") or {}).get("defence") or {}).get("name", "none")
        state = checkpoint.get("defence") or {}
        if trained_with == self.defence.name:
            self.defence.load_state(state)
        elif state.get("finished") is False:
            raise InputError(
                f"the checkpoint was trained with the defence {trained_with!r}, which ships other weights than it "
                f"trains; give the run's own section 'defence:' (the config says {self.defence.name!r})"
            )
