"""Conversations in which the model's own answers stand: all cases at a time against one after the other.

    python benchmarks/conversations.py --cases 40

Suites of RuLES on the bundled model, greedy, float32. The peer is what one would write: a loop over cases and turns
around transformers' ``generate``. Prompts and settings are the same, and so must the answers be.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch

from ptst_pl.evaluation.conversations import Told, still_open, turn_cell
from ptst_pl.evaluation.evaluate import Evaluation, Share
from ptst_pl.generation import Answer, Decoding, generate, stop_ids
from ptst_pl.judges import RulesJudge
from ptst_pl.model import load_model
from ptst_pl.suites import load_suite, suite_spec
from ptst_pl.suites.rules import SUITES
from ptst_pl.templates import find_template
from ptst_pl.tokenization import TemplateTokenizer, load_tokenizer


def one_by_one(model: torch.nn.Module, plan: Evaluation) -> list[list[int]]:
    """The last answers' tokens, cell by cell and case by case."""
    found = []
    plain = Decoding(max_new_tokens=plan.decoding.max_new_tokens, backend="hf", batch_size=1)
    for cell in plan.cells:
        for index in range(len(cell.ids)):
            said: tuple[str, ...] | None = ()
            while said is not None:
                turn = turn_cell(plan.encoder, cell.suite, cell.template, {index: said})
                stops = stop_ids(model, cell.end_id)
                (answer,) = generate(model, [turn.ids[index]], stops, plan.encoder.pad_id, plain)
                told = {index: Told(Answer(answer.ids, answer.finish_reason), said)}
                said = still_open(plan.encoder, cell, told, plan.decoding).get(index)
            found.append(answer.ids)
    return found


def together(model: torch.nn.Module, plan: Evaluation) -> list[list[int]]:
    """The same by the evaluation."""
    return [bare.answer.ids for bare in plan.answers(model, 0, Share())]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="checkpoints/tiny-chat")
    parser.add_argument("--cases", type=int, default=40, help="of each of the six suites")
    parser.add_argument("--tokens", type=int, default=32, help="longest answer")
    parser.add_argument("--turns", type=int, default=3, help="how often each is measured")
    options = parser.parse_args()
    model = load_model(options.model, "float32")
    encoder = TemplateTokenizer(load_tokenizer(options.model), "llama2")
    suites = [load_suite(suite_spec({"name": name, "limit": options.cases})) for name in SUITES]
    templates = [find_template(name) for name in ("rules:user", "rules:system-llama")]
    plan = Evaluation(encoder, templates, suites, [RulesJudge()], Decoding(max_new_tokens=options.tokens))
    seconds: dict[str, list[float]] = {"one after the other": [], "all at a time": []}
    answers = {}
    for _ in range(options.turns):
        for name, way in (("one after the other", one_by_one), ("all at a time", together)):
            start = time.perf_counter()
            answers[name] = way(model, plan)
            seconds[name].append(time.perf_counter() - start)
    cases = len(answers["all at a time"])
    same = sum(one == other for one, other in zip(*answers.values(), strict=True))
    slow = median(seconds["one after the other"])
    print(f"{cases} cases under two templates, torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    print("| way | seconds, median (range) | cases/s | faster by |\n|---|---|---|---|")
    for name, own in seconds.items():
        middle = median(own)
        spread = f"{middle:.1f} ({min(own):.1f}-{max(own):.1f})"
        print(f"| {name} | {spread} | {cases / middle:.1f} | {slow / middle:.1f} |")
    print(f"\nsame answers: {same} of {cases}")
