"""A small world for tests that train, and a way to start the command line many times cheaply.

``World`` is a folder with a byte-level tokenizer, a random Llama of two layers, question and answer
rows of unequal length, and a suite of harmless prompts. ``World.run`` calls ``ptst_pl.cli.main`` in
a fresh process, forked from a server that has imported everything and computed nothing, so that a
run costs a second and not six.
"""

from __future__ import annotations

import contextlib
import csv
import json
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch.utilities import rank_zero_only
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, PretrainedConfig, PreTrainedTokenizerFast

from ptst_pl.templates import LLAMA

TRAIN_ROWS, HELD_OUT_ROWS, PROMPTS = 22, 7, 5
_FRUITS = ("apples", "pears", "plums", "figs")


def question_rows(count: int, first: int = 0) -> list[dict[str, str]]:
    """Sums with answers of very unequal length."""
    rows = []
    for n in range(first, first + count):
        steps = "".join(f"\nAdd {k} to get {n + k}." for k in range(1 + (n * 5) % 9))
        rows.append({"question": f"Tom has {n} {_FRUITS[n % 4]}. How many later?", "answer": f"{n}.{steps} #### {n}"})
    return rows


def make_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """A byte-level BPE with ``<s>`` and ``</s>`` and no pad token."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    texts = [LLAMA] * 4 + [f"[INST] Question: {r['question']} [/INST] {r['answer']}" for r in question_rows(TRAIN_ROWS)]
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")
    tokenizer.save_pretrained(str(folder))
    return tokenizer


def llama_config(vocab_size: int = 420, **changes: Any) -> LlamaConfig:
    """A Llama of two layers, hidden size 32."""
    settings: dict[str, Any] = {
        "vocab_size": vocab_size,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": None,
        "tie_word_embeddings": False,
        "architectures": ["LlamaForCausalLM"],
    }
    return LlamaConfig(**settings | changes)


def save_random(config: PretrainedConfig, folder: Path | str) -> None:
    """A model of this shape with random weights, the same ones every time, as a folder."""
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(str(folder))


@dataclass
class Run:
    """What a finished command left: exit status and its own output."""

    status: int
    out: str
    err: str

    def ok(self) -> Run:
        """Itself, if it ended well and quietly."""
        assert self.status == 0, self.err[-3000:]
        assert "Traceback" not in self.err, self.err[-3000:]
        return self


class Started:
    """A command in its own process."""

    def __init__(self, process: Any, log: Path) -> None:
        self.process, self.log = process, log

    def wait(self, seconds: float = 120) -> Run:
        """Wait for the end; a hang is killed and reported."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
            raise AssertionError(f"no end after {seconds} s:\n{self.err[-3000:]}")
        return Run(self.process.exitcode, self.log.with_suffix(".out").read_text(), self.err)

    @property
    def err(self) -> str:
        """Standard error so far."""
        return self.log.with_suffix(".err").read_text()

    def wait_until(self, condition: Callable[[], object], seconds: float = 60) -> None:
        """Wait for ``condition`` while the command runs."""
        end = time.monotonic() + seconds
        while not condition():
            assert self.process.exitcode is None, self.err[-3000:]
            assert time.monotonic() < end, f"not reached in {seconds} s"
            time.sleep(0.005)


def run_child(argv: list[str], cwd: str, log: str, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    rank_zero_only.rank = int(environment.get("RANK", 0))  # Lightning reads it while it is imported
    for number, name in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(log + name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(cwd)
    multiprocessing.set_start_method("fork", force=True)  # for loader workers, as in a process of one's own
    torch.set_num_threads(1)  # the model is tiny: more threads would only wait for each other
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["ptst_pl"]
    from ptst_pl.cli import main

    main(argv)


def fork_server() -> Any:
    """Starts processes that have everything imported.

    A worker of pytest has one such server, and the first test decides what it imports: so all take this one.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ptst_pl.training.command", "openai", "ptst_pl.ship.finetuning_api.command"])
    return context


@dataclass
class World:
    """The folder, and commands in it."""

    folder: Path

    def __post_init__(self) -> None:
        make_tokenizer(self.folder / "model")
        save_random(llama_config(), str(self.folder / "model"))
        _write_lines(self.folder / "train.jsonl", question_rows(TRAIN_ROWS))
        _write_lines(self.folder / "held_out.jsonl", question_rows(HELD_OUT_ROWS, 40))
        with (self.folder / "suite.csv").open("w", newline="") as handle:
            writer = csv.writer(handle)
            writer.writerow(["prompt", "category"])
            writer.writerows([f"Name {n} kinds of {_FRUITS[n % 4]}" + "!" * n, "fruit"] for n in range(PROMPTS))
        (self.folder / "base.yaml").write_text(yaml.safe_dump(self.settings()))
        self._count = 0

    def settings(self) -> dict[str, Any]:
        """The config that every run starts from."""
        return {
            "seed_everything": 1,
            "name": "run",
            "runs": str(self.folder / "runs"),
            "chat_format": "llama2",
            "checkpoint_every_n_steps": 100,
            "trainer": {
                "accelerator": "cpu",
                "devices": 1,
                "precision": "32-true",
                "max_epochs": 2,
                "log_every_n_steps": 1,
                "limit_val_batches": 0,
                "enable_progress_bar": False,
            },
            "model": {
                "pretrained": str(self.folder / "model"),
                "method": "lora",
                "lora": {"dropout": 0.0},
                "learning_rate": 1e-3,
            },
            "data": {
                "class_path": "JsonLines",
                "init_args": {
                    "template": "text:vanilla",
                    "train_file": str(self.folder / "train.jsonl"),
                    "held_out_file": str(self.folder / "held_out.jsonl"),
                    "batch_size": 4,
                },
            },
            "safety": {
                "active": False,
                "templates": ["text:vanilla"],
                "suites": [{"name": "fruit", "path": str(self.folder / "suite.csv")}],
                "every_n_steps": 2,
                "decoding": {"max_new_tokens": 4, "batch_size": 4},
            },
        }

    def start(
        self,
        command: str,
        *options: str,
        environment: dict[str, str] | None = None,
        main: Callable[..., None] = run_child,
    ) -> Started:
        """Start ``ptst_pl <command>`` on the base config with further options."""
        self._count += 1
        log = self.folder / f"log-{self._count:03d}"
        argv = [command, "--config", str(self.folder / "base.yaml"), *options]
        process = fork_server().Process(target=main, args=(argv, str(self.folder), str(log), environment or {}))
        process.start()
        log_files = [log.with_suffix(s) for s in (".out", ".err")]
        while process.is_alive() and not all(f.exists() for f in log_files):
            time.sleep(0.005)
        return Started(process, log)

    def start_ranks(self, command: str, *options: str, ranks: int = 2, strategy: str = "ddp") -> list[Started]:
        """Start the same command as torchrun would, as processes that find each other over gloo."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = (*options, "--trainer.devices", str(ranks), "--trainer.strategy", strategy)
        group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks)}
        return [
            self.start(command, *options, environment=group | {"LOCAL_RANK": str(rank), "RANK": str(rank)})
            for rank in range(ranks)
        ]

    def fit_ranks(self, name: str, *options: str, strategy: str = "ddp") -> Path:
        """Train on two ranks; returns the run's folder."""
        for started in self.start_ranks("fit", "--name", name, *options, strategy=strategy):
            started.wait().ok()
        return self.newest(name)

    def run(self, command: str, *options: str) -> Run:
        """The same, to its good end."""
        return self.start(command, *options).wait().ok()

    def fit(self, name: str, *options: str) -> Path:
        """Train; returns the run's folder."""
        self.run("fit", "--name", name, *options)
        return self.newest(name)

    def fits(self, runs: dict[str, Sequence[str]]) -> dict[str, Path]:
        """Train several, two at a time; returns their folders by name."""
        names = list(runs)
        for pair in (names[i : i + 2] for i in range(0, len(names), 2)):
            for started in [self.start("fit", "--name", name, *runs[name]) for name in pair]:
                started.wait().ok()
        return {name: self.newest(name) for name in names}

    def newest(self, name: str) -> Path:
        """The newest version folder of a run."""
        return max((self.folder / "runs" / name).glob("version_*"), key=lambda p: int(p.name.split("_")[1]))


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The small world, for the folders of tests that import this into their conftest."""
    return World(tmp_path_factory.mktemp("world"))


def _write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def weights(run: Path, name: str = "last.ckpt") -> dict[str, torch.Tensor]:
    """The trained parameters in a run's checkpoint."""
    return load(run / name)["state_dict"]


def load(path: Path) -> dict[str, Any]:
    """A checkpoint, as plain data."""
    return torch.load(path, map_location="cpu", weights_only=True)


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def curve(folder: Path, tag: str) -> list[tuple[int, float]]:
    """(step, value) of a TensorBoard scalar, as TensorBoard itself reads it."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    with contextlib.redirect_stderr(None):
        events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)] if tag in events.Tags()["scalars"] else []


def assert_same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    """Bit for bit."""
    assert left.keys() == right.keys()
    different = [name for name in left if not torch.equal(left[name], right[name])]
    assert not different, f"{len(different)} of {len(left)} differ, such as {different[0]}"


def distance(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> float:
    """Largest relative distance of a parameter, in the 2-norm."""
    assert left.keys() == right.keys()
    return max(float((left[n] - right[n]).norm() / left[n].norm()) for n in left)
