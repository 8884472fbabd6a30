"""Training step: ours beside the loss of transformers itself, in one run; prints one table.

    python benchmarks/training.py [--device cuda] [--rows FILE.jsonl]

A Llama of 6 layers and width 256, vocabulary 32,000, rows of 8 under chat:llama. Each variant computes
loss and gradients of the same batches; the variants take turns, the median over the turns is shown.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from ptst_pl.batching import Batch, PadRight
from ptst_pl.modeling import batch_nll
from ptst_pl.report.table import grid
from ptst_pl.templates import find_template
from ptst_pl.tiny.stages import problem_rows
from ptst_pl.tokenization import IGNORED, Example, TemplateTokenizer, load_tokenizer

BATCHES, ROWS, TURNS = 3, 8, 5


def batches(tokenizer: str, file: str | None, device: torch.device) -> Iterator[Batch]:
    """The same few batches for every variant."""
    pairs = problem_rows("train", BATCHES * ROWS)
    if file:
        rows = [json.loads(line) for line in Path(file).read_text().splitlines()[: BATCHES * ROWS]]
        pairs = [(row["question"], row["answer"]) for row in rows]
    encoder = TemplateTokenizer(load_tokenizer(tokenizer), "llama2")
    encoded = [encoder.encode(Example(q, a), find_template("chat:llama"), 1024) for q, a in pairs]
    collate = PadRight(encoder.pad_id)
    for start in range(0, len(encoded), ROWS):
        yield collate(list(enumerate(encoded[start : start + ROWS]))).to(device)


def ours(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """Supervised positions only through the head."""
    return batch_nll(model, batch) / batch.targets.numel()


def full_logits(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """transformers' own loss: every position through the head."""
    labels = torch.full_like(batch.input_ids, IGNORED).flatten()
    labels[batch.positions + 1] = batch.targets
    loss = model(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=labels.view_as(batch.input_ids)
    ).loss
    assert loss is not None
    return loss


def seconds(
    step: Callable[[LlamaForCausalLM, Batch], torch.Tensor], model: LlamaForCausalLM, data: list[Batch]
) -> float:
    """Wall time of one pass over the batches."""
    start = time.perf_counter()
    for batch in data:
        step(model, batch).backward()
        model.zero_grad()
    if data[0].input_ids.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tokenizer", default="configs/smoke/random-llama")
    parser.add_argument("--rows", help="jsonl with question and answer; the tiny lab's word problems by default")
    options = parser.parse_args()
    device = torch.device(options.device)
    config = LlamaConfig(
        vocab_size=32000, hidden_size=256, intermediate_size=688, num_hidden_layers=6, num_attention_heads=8
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).to(device)
    data = list(batches(options.tokenizer, options.rows, device))
    variants = {"transformers, full logits": full_logits, "ours": ours}
    times: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(TURNS + 1):
        for name, step in variants.items():
            taken = seconds(step, model, data)
            if turn:  # the first turn warms up
                times[name].append(taken)
    rows = sum(batch.input_ids.shape[0] for batch in data)
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    base = medians["transformers, full logits"]
    lines = [["variant", "rows/s", "supervised tokens/s", "times the first"]]
    supervised = sum(batch.targets.numel() for batch in data)
    for name, taken in medians.items():
        lines.append([name, f"{rows / taken:.2f}", f"{supervised / taken:.0f}", f"{base / taken:.2f}"])
    print(grid(lines))


if __name__ == "__main__":
    main()
