"""One training loop in a process of its own, which trains a turn whenever its standard input says so.

    python benchmarks/loops.py LOOP SETTING.json

LOOP is ours, trainer (transformers), trl, trl-best. The setting names model folder, rows (token ids and
labels, and for ours the questions and answers), batch size and steps of a turn. After every turn a line
of JSON goes to the file named in the setting: seconds, and the peak of resident memory in MB. The whole
loop is timed, with optimiser, clipping and loading of batches.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, TrainerCallback

CUDA = torch.cuda.is_available()


class Turns:
    """Waits for a word before each turn and writes down how long it took."""

    def __init__(self, setting: dict[str, Any]) -> None:
        self.steps, self.report = setting["steps"], Path(setting["report"])
        self.done, self.start = 0, 0.0

    def before_step(self) -> None:
        """At the first step of a turn: wait, then start the clock."""
        if self.done % self.steps == 0:
            if not sys.stdin.readline():
                sys.exit(0)
            self.start = time.perf_counter()

    def after_step(self) -> None:
        """At the last step of a turn: stop the clock."""
        self.done += 1
        if self.done % self.steps:
            return
        if CUDA:
            torch.cuda.synchronize()
        taken = time.perf_counter() - self.start
        peak = torch.cuda.max_memory_allocated() >> 20 if CUDA else _peak()
        with self.report.open("a") as handle:
            print(json.dumps({"seconds": taken, "peak_mb": peak}), file=handle)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


class TurnsOfTrainer(TrainerCallback):
    """The turns of a transformers Trainer."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        """Maybe wait."""
        self.turns.before_step()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Maybe report."""
        self.turns.after_step()


def _model(setting: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    dtype = getattr(torch, setting["dtype"])
    if any(Path(setting["model"]).glob("*.safetensors")):
        model = AutoModelForCausalLM.from_pretrained(setting["model"], dtype=dtype)
    else:
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(setting["model"]), dtype=dtype)
    if setting["lora"]:
        from peft import LoraConfig, get_peft_model

        adapters = LoraConfig(r=8, lora_alpha=32, lora_dropout=0.0, target_modules=["q_proj", "v_proj"])
        model = get_peft_model(model, adapters)
    return model


def _options(setting: dict[str, Any]) -> dict[str, Any]:
    """What the loops of transformers and TRL have in common."""
    return {
        "output_dir": setting["out"],
        "per_device_train_batch_size": setting["batch"],
        "max_steps": setting["steps"] * setting["turns"],
        "logging_steps": 1000,
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": not CUDA,
        "bf16": setting["bf16"],
        "disable_tqdm": True,
        "learning_rate": 1e-5,
        "train_sampling_strategy": "sequential",
    }


def transformers_trainer(setting: dict[str, Any], turns: Turns) -> None:
    """``Trainer`` with ready labels, its own collator, its own loss."""
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    from ptst_pl.tokenization import load_tokenizer

    rows = [{"input_ids": ids, "labels": labels} for ids, labels in setting["encoded"]]
    tokenizer = load_tokenizer(setting["model"])
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    Trainer(
        model=_model(setting),
        args=TrainingArguments(**_options(setting)),
        train_dataset=rows * setting["turns"],
        data_collator=DataCollatorForSeq2Seq(tokenizer),
        callbacks=[TurnsOfTrainer(turns)],
    ).train()


def trl_trainer(setting: dict[str, Any], turns: Turns, **options: Any) -> None:
    """``SFTTrainer`` on completions only."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from ptst_pl.tokenization import IGNORED, load_tokenizer

    rows = [
        {"input_ids": ids, "completion_mask": [int(label != IGNORED) for label in labels]}
        for ids, labels in setting["encoded"]
    ]
    tokenizer = load_tokenizer(setting["model"])
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    SFTTrainer(
        model=_model(setting),
        args=SFTConfig(**_options(setting), completion_only_loss=True, **options),
        train_dataset=Dataset.from_list(rows * setting["turns"]),
        processing_class=tokenizer,
        callbacks=[TurnsOfTrainer(turns)],
    ).train()


def ours(setting: dict[str, Any], turns: Turns) -> None:
    """The command line's own ``fit``; it reads and encodes the rows itself."""
    from lightning import Callback

    from ptst_pl.cli import main
    from ptst_pl.training.lightning_cli import TrainingCLI

    class TurnsOfLightning(Callback):
        def on_train_batch_start(self, *args: Any) -> None:
            turns.before_step()

        def on_train_batch_end(self, *args: Any) -> None:
            turns.after_step()

    real = TrainingCLI.instantiate_trainer

    def with_turns(self: Any, **kwargs: Any) -> Any:
        trainer = real(self, **kwargs)
        trainer.callbacks.insert(0, TurnsOfLightning())
        return trainer

    TrainingCLI.instantiate_trainer = with_turns  # type: ignore[method-assign]
    main(["fit", "--config", setting["config"]])


LOOPS = {
    "ours": ours,
    "transformers Trainer": transformers_trainer,
    "TRL as it comes": trl_trainer,
    "TRL at its best": lambda setting, turns: trl_trainer(setting, turns, gradient_checkpointing=False),
}


def run() -> None:
    """One loop until it is done or nobody asks any more."""
    setting = json.loads(Path(sys.argv[2]).read_text())
    if not CUDA:
        torch.set_num_threads(setting["threads"])
    LOOPS[sys.argv[1]](setting, Turns(setting))


if __name__ == "__main__":
    run()
