"""Training beside its peers, in one run: rows a second, supervised tokens a second, peak of memory.

    python benchmarks/training.py [--data FOLDER] [--only SETTING ...] [--turns 3] [--quick]

A Llama of 6 layers and width 256 (at 49,152 words SmolLM2-135M's shape: 30 layers, width 576, tied head; with --shape
7b Llama-2-7B's), 24 rows in steps of 8, AdamW, full fine-tuning in float32, or with --bf16 all loops under bf16-mixed.
Every loop lives in a process of its own (``loops.py``) with the same rows, threads and allocator settings, and they
take turns: one turn each, then the next. Medians are shown.
FOLDER holds gsm8k/train.jsonl, chatdoctor/chatdoctor5k.json and tokenizers/...; without it the tiny lab's
word problems and the smoke tokenizer stand in for them. Writes the section ``train`` of ``latest.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from latest import update
from transformers import AutoModelForCausalLM, LlamaConfig

from ptst_pl.labs.tiny.stages import problem_rows
from ptst_pl.results.rates_table import grid
from ptst_pl.templates import find_template
from ptst_pl.tokenization import IGNORED, Example, TemplateTokenizer, load_tokenizer

LOOPS = ["ours", "transformers Trainer", "TRL as it comes", "TRL at its best"]
REAL = "chat:llama@49152"  # of the real lab's shape
SETTINGS = ["chat:llama@32000", "chat:vanilla@32000", "chatdoctor:llama@32000", "chat:llama@2048", REAL]
BATCH, STEPS = 8, 3
HERE = Path(__file__).parent
CUDA = torch.cuda.is_available()
# glibc with huge pages and without giving memory back, which any program may set; for all loops or none.
TUNED = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=17179869184"


def pairs(template: str, data: Path | None) -> list[tuple[str, str]]:
    """Questions and answers: 24 rows around the middle of the first thousand's lengths."""
    if data is None:
        return problem_rows("train", BATCH * STEPS)
    if template.startswith("chatdoctor"):
        rows = json.loads((data / "chatdoctor" / "chatdoctor5k.json").read_text())[:1000]
        found = [(row["input"], row["output"]) for row in rows]
    else:
        lines = (data / "gsm8k" / "train.jsonl").read_text().splitlines()[:1000]
        found = [(row["question"], row["answer"]) for row in map(json.loads, lines)]
    start = len(found) // 2 - BATCH * STEPS // 2
    return sorted(found, key=lambda pair: len(pair[0] + pair[1]))[start : start + BATCH * STEPS]


def model_config(vocabulary: int, shape: str) -> LlamaConfig:
    """The small one for a processor, or the shape of a published model."""
    if shape == "tiny":
        return LlamaConfig(
            vocab_size=vocabulary, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4
        )  # fmt: skip
    if vocabulary == 49152:
        return LlamaConfig(
            vocab_size=vocabulary, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
            num_attention_heads=9, num_key_value_heads=3, tie_word_embeddings=True,
        )  # fmt: skip
    if shape == "7b":
        return LlamaConfig(vocab_size=vocabulary)
    if shape == "1b":
        return LlamaConfig(
            vocab_size=vocabulary, hidden_size=2048, intermediate_size=5504, num_hidden_layers=16,
            num_attention_heads=16,
        )  # fmt: skip
    return LlamaConfig(
        vocab_size=vocabulary, hidden_size=256, intermediate_size=688, num_hidden_layers=6, num_attention_heads=8
    )


def write_weights(config: LlamaConfig, folder: Path, dtype: torch.dtype) -> None:
    """Random weights, made on the GPU if there is one: on a processor every loop would draw them for minutes."""
    with torch.device("cuda" if CUDA else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.save_pretrained(str(folder))
    del model
    if CUDA:
        torch.cuda.empty_cache()


def write_setting(name: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Model folder, rows and our config; what ``loops.py`` reads."""
    template, vocabulary = name.rsplit("@", 1)
    model = folder / "model"
    real = options.data and int(vocabulary) == 32000
    tokenizer = load_tokenizer(
        str(options.data / "tokenizers" / "llama2_hf_llama-recipes") if real else "configs/smoke/random-llama"
    )
    tokenizer.save_pretrained(str(model))
    config = model_config(int(vocabulary), options.shape)
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(str(model))
    write_weights(config, model, torch.bfloat16 if options.lora else torch.float32)
    rows = pairs(template, options.data)
    encoder = TemplateTokenizer(tokenizer, "llama2")
    encoded = [encoder.encode(Example(q, a), find_template(template), 1024) for q, a in rows]
    (folder / "rows.jsonl").write_text("".join(json.dumps({"prompt": q, "response": a}) + "\n" for q, a in rows))
    setting = {
        "model": str(model), "config": str(folder / "fit.yaml"), "batch": BATCH, "steps": STEPS,
        "turns": options.turns + 1, "threads": options.threads, "dtype": "bfloat16" if options.lora else "float32",
        "lora": options.lora, "bf16": options.lora or options.bf16,
        "encoded": [(row.input_ids, row.labels) for row in encoded],
    }  # fmt: skip
    (folder / "fit.yaml").write_text(yaml.safe_dump(fit_config(template, folder, setting)))
    return setting


def fit_config(template: str, folder: Path, setting: dict[str, Any]) -> dict[str, Any]:
    """The config of our own loop."""
    rows = str(folder / "rows.jsonl")
    return {
        "seed_everything": 1, "name": "bench", "runs": str(folder / "runs"), "chat_format": "llama2",
        "checkpoint_every_n_steps": 10**6,
        "trainer": {
            "accelerator": "cuda" if CUDA else "cpu", "devices": 1, "max_steps": setting["steps"] * setting["turns"],
            "gradient_clip_val": 1.0, "limit_val_batches": 0, "log_every_n_steps": 1000, "enable_progress_bar": False,
            "precision": "bf16-mixed" if setting["bf16"] else "32-true",
        },
        "model": {
            "pretrained": setting["model"], "method": "lora" if setting["lora"] else "full",
            "dtype": setting["dtype"], "learning_rate": 1e-5, "lora": {"dropout": 0.0},
        },
        "data": {
            "class_path": "JsonLines",
            "init_args": {"template": template, "train_file": rows, "held_out_file": rows, "batch_size": BATCH},
        },
        "safety": {"templates": ["chat:vanilla"], "suites": [], "active": False},
    }  # fmt: skip


class Loop:
    """A loop's process, and its turns so far."""

    def __init__(self, name: str, setting: dict[str, Any], folder: Path, tuned: bool) -> None:
        self.report = folder / f"{name}.jsonl"
        file = folder / f"{name}.json"
        file.write_text(json.dumps(setting | {"report": str(self.report), "out": str(folder / "out")}))
        environment = os.environ | {"OMP_NUM_THREADS": str(setting["threads"]), "HF_HUB_OFFLINE": "1"}
        environment |= {"GLIBC_TUNABLES": TUNED} if tuned else {}
        self.log = (folder / f"{name}.log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "loops.py"), name, str(file)], stdin=subprocess.PIPE, stdout=self.log,
            stderr=self.log, text=True, env=environment,
        )  # fmt: skip

    def turn(self) -> None:
        """One turn, from the word to the report."""
        had = len(self.turns())
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        while len(self.turns()) == had:
            if self.process.poll() is not None:
                self.log.seek(0)
                raise SystemExit(f"{self.process.args} ended:\n{self.log.read()[-3000:]}")
            time.sleep(0.02)

    def turns(self) -> list[dict[str, float]]:
        """Seconds and peak of every turn."""
        return [json.loads(line) for line in self.report.read_text().splitlines()] if self.report.exists() else []

    def end(self) -> None:
        """Nobody asks any more."""
        self.process.kill()
        self.process.wait()


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """All loops in one setting, in turns; the first turn warms up."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        setting = write_setting(name, folder, options)
        loops = {loop: Loop(loop, setting, folder, options.tuned) for loop in options.loops}
        try:
            for _ in range(options.turns + 1):
                for loop in loops.values():
                    loop.turn()
            turns = {loop_name: loop.turns()[1:] for loop_name, loop in loops.items()}
        finally:
            for loop in loops.values():
                loop.end()
        operations = planned_operations(setting)
    supervised = sum(label != IGNORED for _, labels in setting["encoded"] for label in labels)
    return summary(turns, supervised, operations)


def planned_operations(setting: dict[str, Any]) -> float:
    """Floating-point operations of one turn of ours, by ``ptst_pl plan``."""
    command = [sys.executable, "-m", "ptst_pl", "plan", "--config", setting["config"], "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    return float(json.loads(done.stdout)["operations"]["per_epoch"])


def peak_of_products() -> float:
    """Operations a second of large matrix products, the best of a few: what utilisation is measured against."""
    size, kind, device = (8192, torch.bfloat16, "cuda") if CUDA else (2048, torch.float32, "cpu")
    left, right = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        left @ right
        if CUDA:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def summary(turns: dict[str, list[dict[str, float]]], supervised: int, operations: float) -> dict[str, Any]:
    """Medians, and ours against the best of the peers."""
    seconds = {name: statistics.median(turn["seconds"] for turn in found) for name, found in turns.items()}
    peaks = {name: max(turn["peak_mb"] for turn in found) for name, found in turns.items()}
    best = min((name for name in seconds if name != "ours"), key=seconds.__getitem__)
    return {
        "ours_rows_s": BATCH * STEPS / seconds["ours"],
        "peers": {name: BATCH * STEPS / taken for name, taken in seconds.items() if name != "ours"},
        "supervised_tokens_s": {name: supervised / taken for name, taken in seconds.items()},
        "utilisation": operations / seconds["ours"] / peak_of_products(),
        "best_peer": best,
        "ratio_to_best_peer": seconds[best] / seconds["ours"],
        "peak_mb": peaks["ours"],
        "peers_peak_mb": {name: peak for name, peak in peaks.items() if name != "ours"},
        "peak_to_best_peer": peaks["ours"] / peaks[best],
    }


def table(found: dict[str, dict[str, Any]]) -> str:
    """One row per setting and loop."""
    lines = [["setting", "loop", "rows/s", "supervised tokens/s", "peak MB", "ours is faster by", "of peak"]]
    for name, values in found.items():
        rates = {"ours": values["ours_rows_s"], **values["peers"]}
        peaks = {"ours": values["peak_mb"], **values["peers_peak_mb"]}
        for loop, rate in rates.items():
            ratio = "" if loop == "ours" else f"{values['ours_rows_s'] / rate:.2f}"
            tokens, peak = values["supervised_tokens_s"][loop], peaks[loop]
            share = f"{values['utilisation']:.0%}" if loop == "ours" else ""
            lines.append([name, loop, f"{rate:.2f}", f"{tokens:.0f}", f"{peak:.0f}", ratio, share])
    return grid(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with gsm8k, chatdoctor and tokenizers")
    parser.add_argument("--only", nargs="+", choices=SETTINGS, default=SETTINGS)
    parser.add_argument("--turns", type=int, default=3, help="turns that count, after one that warms up")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--shape", choices=["tiny", "small", "1b", "7b"], default="small")
    parser.add_argument("--lora", action="store_true", help="LoRA on bfloat16 weights")
    parser.add_argument("--bf16", action="store_true", help="products in bfloat16, weights in float32 (bf16-mixed)")
    parser.add_argument("--tuned", action="store_true", help="huge pages for every loop")
    parser.add_argument("--loops", nargs="+", choices=LOOPS, default=LOOPS)
    parser.add_argument("--quick", action="store_true", help="one turn, our loop and transformers', nothing written")
    options = parser.parse_args()
    if options.quick:
        options.turns, options.loops = 1, LOOPS[:2]
    found = {name: measure(name, options) for name in options.only}
    print(table(found))
    if not options.quick:
        kind = [] if options.shape == "small" else [options.shape]
        kind += [name for name in ("bf16", "tuned") if getattr(options, name)]
        update("-".join(["train", *kind]), found)


if __name__ == "__main__":
    main()
