"""The plan of a run: what it trains, on how many tokens, in how much memory, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ptst_pl.model import causal_lm
from ptst_pl.planning import evaluations, hours, memory, shape, tokens
from ptst_pl.planning.devices import Device
from ptst_pl.planning.generating import Generating, generating
from ptst_pl.planning.operations import Operations, operations_of
from ptst_pl.planning.settings import Training, limited
from ptst_pl.tasks.base import Task
from ptst_pl.tasks.mixture import Mixture
from ptst_pl.tokenization.batches import Batch
from ptst_pl.training.callbacks import SafetyCurve
from ptst_pl.training.finetuner import FineTuner


@dataclass(frozen=True)
class Run:
    """What is planned.

    Attributes:
        finetuner: the module, its weights not loaded, its path chosen.
        task: its rows encoded.
        curve: the safety evaluations.
        training: the trainer's settings.
        sample: how many of the training rows were read.
    """

    finetuner: FineTuner
    task: Task
    curve: SafetyCurve
    training: Training
    sample: tokens.Sample

    @property
    def computing(self) -> torch.dtype:
        """The type of the matrix products."""
        own: torch.dtype = getattr(torch, self.finetuner.dtype_name)
        return self.training.autocast or own

    def collate(self, numbers: list[int], part: str = "train") -> Batch:
        """The batch of these rows, as the loader makes it."""
        make = self.finetuner.collator(self.task.encoder.pad_id, self.task.sources_of(part))
        rows = self.task.rows(part)
        return make([(number, rows[number]) for number in numbers])


def plan(run: Run, device: Device, utilisation: float) -> dict[str, Any]:
    """Everything about a run, as plain data. Sizes are in bytes, times in hours."""
    model = shape.build_on_meta(run.finetuner)
    counted = shape.count(model, run.finetuner.quantize)
    epoch, held_out = epochs_of(run)
    steps = run.training.total_steps(epoch.batches)
    per_epoch = run.training.steps_of_an_epoch(epoch.batches)
    answers = answers_of(run, epoch.batches, steps)
    way = None if answers is None else _generating(run, device, answers)
    needs = _memory(run, epoch, device, answers, way)
    work = operations_of(model, run.finetuner.activation_checkpointing)
    facts = {
        "model": _model(run, counted),
        "data": _data(run, epoch, held_out),
        "steps": {"per_epoch": per_epoch, "total": steps, "epochs": steps / max(1, per_epoch)},
        "operations": _operations(run, work, epoch, held_out),
        "evaluations": _evaluations(answers, way),
        "memory": fits(needs, device),
    }
    return facts | {"time": _time(run, facts, work, model, device, utilisation, answers, way, epoch)}


def epochs_of(run: Run) -> tuple[tokens.Epoch, tokens.Epoch | None]:
    """One epoch of training rows, scaled up where they are a sample; and one pass over the held-out rows."""
    task, training = run.task, run.training
    order = task.order("train", shuffle=True)
    found = tokens.count_epoch(task.rows("train"), order, task.batch_size, training)
    if not run.sample.whole:
        factor = run.sample.rows / run.sample.encoded
        rows = round(len(order) * factor)
        batches = limited(-(-rows // (task.batch_size * training.devices)), training.train_limit)
        seen = min(rows, batches * task.batch_size * training.devices)
        found = found.times(seen / max(1, found.rows), seen, batches)
    if training.held_out_limit == 0:
        return found, None
    held_out = task.order("held_out", shuffle=False)
    return found, tokens.count_epoch(task.rows("held_out"), held_out, task.batch_size, training, train=False)


def answers_of(run: Run, batches: int, steps: int) -> evaluations.Answers | None:
    """What the safety evaluations of ``steps`` steps generate; None where there are none."""
    if not run.curve.active:
        return None
    often = evaluations.count_evaluations(run.curve, run.training, batches, steps)
    return evaluations.count_answers(run.curve.prepare(run.task), often, run.training.devices)


def _generating(run: Run, device: Device, answers: evaluations.Answers) -> Generating:
    usable = device.usable - memory.held(run.finetuner, run.training)
    return generating(run.finetuner, run.training, run.curve.decoding, answers, usable, device.name != "cpu")


def _memory(
    run: Run, epoch: tokens.Epoch, device: Device, answers: evaluations.Answers | None, way: Generating | None
) -> memory.Memory:
    batches = [run.collate(numbers) for numbers in epoch.largest[run.finetuner.path]]
    prompts = None
    if answers is not None and way is not None:
        prompts = memory.Prompts(way.prompts, answers.longest, way.cache)
    return memory.estimate(
        run.finetuner, batches, run.training, run.finetuner.activation_checkpointing, device.name != "cpu", prompts
    )


def fits(needs: memory.Memory, device: Device) -> dict[str, Any]:
    """Whether it fits. The estimate is good to 15 %: in between stands "perhaps"."""
    verdict = "yes" if 1.15 * needs.peak <= device.usable else "perhaps" if needs.peak <= device.usable else "no"
    return {"moments": needs.moments(), "peak": needs.peak, "device": device.usable, "fits": verdict}


def _model(run: Run, counted: shape.Parameters) -> dict[str, Any]:
    finetuner, training = run.finetuner, run.training
    return {
        "pretrained": finetuner.pretrained,
        "adapter": finetuner.adapter,
        "method": finetuner.method,
        "quantize": finetuner.quantize,
        "parameters": counted.total,
        "trainable": counted.trainable,
        "by_dtype": counted.by_dtype,
        "outside_matrices": counted.unusual,
        "beside_text": counted.beside_text,
        "precision": training.precision,
        "devices": training.devices,
        "sharing": training.sharing,
        "batching": run.finetuner.path,
        "activation_checkpointing": run.finetuner.activation_checkpointing,
    }


def _data(run: Run, epoch: tokens.Epoch, held_out: tokens.Epoch | None) -> dict[str, Any]:
    reports = tokens.reports_of(run.task)
    found = {
        "task": type(run.task).__name__,
        "template": run.task.template_name,
        "rows_read": run.sample.rows,
        "rows_encoded": run.sample.encoded,
        "exact": run.sample.whole,
        "cut": sum(report.truncated for report in reports),
        "dropped": sum(report.dropped for report in reports),
        "max_length": run.task.max_length,
        "epoch_rows": epoch.rows,
        "batches_per_device": epoch.batches,
        "tokens": epoch.tokens,
        "supervised": epoch.supervised,
        "computed": {path: work.tokens for path, work in epoch.work.items()},
        "held_out_rows": held_out.rows if held_out else 0,
        "held_out_tokens": held_out.tokens if held_out else 0,
    }
    if isinstance(run.task, Mixture) and run.sample.whole:
        found["rows_by_source"] = run.task.counts()
    return found


def _operations(
    run: Run, work: Operations, epoch: tokens.Epoch, held_out: tokens.Epoch | None
) -> dict[str, float | int]:
    cost = epoch.work[run.finetuner.path]
    found: dict[str, float | int] = {
        "per_epoch": work.training(cost.tokens, cost.pairs, epoch.supervised),
        "attention_per_epoch": work.pair * cost.pairs,
        "head_per_epoch": float(work.head * epoch.supervised),
        "per_validation": 0,
    }
    if held_out is not None:
        cost = held_out.work[run.finetuner.path]
        found["per_validation"] = work.evaluating(cost.tokens, cost.pairs, held_out.supervised)
    return found


def _evaluations(answers: evaluations.Answers | None, way: Generating | None) -> dict[str, int | str]:
    if answers is None or way is None:
        return {"evaluations": 0}
    return {
        "evaluations": answers.evaluations,
        "answers": answers.answers,
        "prompt_tokens": answers.prompt_tokens,
        "new_tokens": answers.new_tokens,
        "backend": way.backend,
        "at_once": way.at_once,
        "steps_per_device": way.steps,
        "max_new_tokens": answers.max_new_tokens,
    }


def _time(
    run: Run,
    facts: dict[str, Any],
    work: Operations,
    model: nn.Module,
    device: Device,
    utilisation: float,
    answers: evaluations.Answers | None,
    way: Generating | None,
    epoch: tokens.Epoch,
) -> dict[str, Any]:
    training = run.training
    peak = device.bf16 if run.computing.itemsize == 2 else device.fp32
    speed = peak * training.devices
    steps = facts["steps"]
    validations = training.validations(epoch.batches, steps["total"]) if facts["data"]["held_out_rows"] else 0
    found = {
        "training": hours.computing_hours(facts["operations"]["per_epoch"] * steps["epochs"], speed, utilisation),
        "validation": hours.computing_hours(facts["operations"]["per_validation"] * validations, speed, utilisation),
        "evaluation": 0.0,
    }
    if answers is not None and way is not None:
        size = sum(p.numel() * p.element_size() for p in model.parameters())
        layers = causal_lm(model).config.get_text_config().num_hidden_layers
        one = (work.forward + work.head_forward) * way.at_once
        pause = hours.seconds_per_token(layers, one, peak * utilisation, size, device.bandwidth)
        once = hours.decoding_hours(way.steps, pause)
        once += hours.computing_hours(work.forward * answers.prompt_tokens, speed, utilisation)
        found["evaluation"] = answers.evaluations * once
    return {
        "device": device.name,
        "title": device.title,
        "peak": peak,
        "utilisation": utilisation,
        "validations": validations,
        "hours": found | {"total": sum(found.values())},
    }
