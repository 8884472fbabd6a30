"""Generation: our engine beside the ways of transformers, in one run; prints one table.

    python benchmarks/generation.py [--prompts FILE.csv] [--tokenizer FOLDER] [--device cuda] [--save] [--quick]
    python benchmarks/generation.py --lab | --model FOLDER    # a trained model, whose answers end by themselves
    python benchmarks/generation.py --shape 7b --device cuda --fit
    python benchmarks/generation.py --dtype bfloat16          # and which rows rounding turns

A random Llama of 6 layers and width 256, vocabulary 32,000, prompts under chat:llama, greedy, float32. Answer
lengths are forced: 80 % of 15 to 40 tokens and 20 % of 256, drawn once, as refusals are short and other answers
run to the limit. The ways take turns; the median over the turns is shown. One row is the same as the first way's
if all its tokens are; in float32 every other row is printed, and the exit status is 1 unless all are near ties.
Without --prompts it takes ../shared/data/directharm4/directHarm4.csv, or else word problems. The lab's prompts are
those of its suites under chat:vanilla and chat:llama. ``generation_limit.py`` says what the limit of --shape is.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from generation_cases import COUNT, LONGEST, SHAPES, TEMPLATES, Case, lab_case, prompt_ids, random_case, random_model
from generation_differences import compare, difference_table, near_ties
from generation_fit import evaluation_in_a_fit, fit_table
from generation_limit import Count, bandwidth, counted, limit_seconds
from generation_measure import Measured, answers_of, measure, record, table
from generation_ways import Entry, entries, ours
from latest import update
from transformers import logging

from ptst_pl import InputError
from ptst_pl.generation.engine import obstacle

ROOT = Path(__file__).parents[1]
OURS = "ours"


def options_of(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line, checked; ``lab`` is the trained model's folder, if any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--shape", choices=list(SHAPES), default="small", help="of the random Llama")
    which.add_argument("--lab", action="store_const", const=ROOT / "checkpoints/tiny-chat", help="the bundled model")
    which.add_argument("--model", dest="lab", type=Path, help="folder of another trained model, such as a run's model/")
    parser.add_argument("--chat-format", default="llama2", help="of --model")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="float32, but bfloat16 for --shape 7b")
    parser.add_argument("--slots", type=int, nargs="*", help="compare ours with so many slots; in bfloat16 1 and 64")
    parser.add_argument("--fit", action="store_true", help="with --shape: one evaluation inside a LoRA fit, too")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tokenizer", default=str(ROOT / "configs/smoke/random-llama"))
    parser.add_argument("--prompts", type=Path, help="csv whose first column is prompts")
    parser.add_argument("--count", type=int, help="prompts; of the lab, prompts of each suite")
    parser.add_argument("--turns", type=int, help="3; of --shape 7b 1")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", help="only ways whose name contains this")
    parser.add_argument("--settings", action="store_true", help="generate_batch with other settings too")
    parser.add_argument("--quick", action="store_true", help="a few short answers, to see that it runs")
    parser.add_argument("--save", action="store_true", help="put the result into benchmarks/latest.json")
    options = parser.parse_args(argv)
    large = options.shape == "7b"
    options.dtype = options.dtype or ("bfloat16" if large else "float32")
    options.turns = 1 if options.quick else options.turns or (1 if large else 3)
    options.save = options.save and not options.quick
    if options.slots is None:
        options.slots = [1, 64] if options.dtype == "bfloat16" and not large else []
    if options.fit and options.lab:
        parser.error("--fit measures random weights of a --shape; leave --lab and --model out")
    if options.lab and not (options.lab / "config.json").is_file():
        parser.error(
            f"--model {options.lab}: found no config.json there; name the folder of a model, such as a run's model"
        )
    if options.prompts and not options.prompts.is_file():
        parser.error(f"--prompts {options.prompts}: no such file; name a csv whose first column is prompts")
    try:
        options.case = case_of(options)
    except InputError as error:
        parser.error(str(error))
    return options


def case_of(options: argparse.Namespace) -> Case:
    """The model and what it is asked."""
    if options.lab:
        limit, longest = (2, 16) if options.quick else (options.count, 56)
        case = lab_case(options.lab, options.chat_format, options.dtype, options.device, limit, longest)
    else:
        model = random_model(options.shape, options.dtype, options.device)
        count = 12 if options.quick else options.count or COUNT[options.shape]
        ids = prompt_ids(options.tokenizer, prompt_file(options), count, TEMPLATES[1:])
        case = random_case(options.shape, model, ids, 24 if options.quick else LONGEST[options.shape])
    parts = [case.name, options.device.partition(":")[0].replace("cpu", "")]
    parts.append("bf16" if options.dtype == "bfloat16" else "")
    return replace(case, name="-".join(filter(None, parts)))


def prompt_file(options: argparse.Namespace) -> Path | None:
    """The csv file of the prompts, if there is one."""
    usual = ROOT.parent / "shared/data/directharm4/directHarm4.csv"
    return options.prompts or (usual if usual.is_file() else None)


def source_of(options: argparse.Namespace) -> str:
    """Where the prompts are from, in words."""
    if options.lab:
        return f"the tiny lab's, answered by {os.path.relpath(options.lab)}"
    file = prompt_file(options)
    return "word problems" if file is None else file.name


def chosen(options: argparse.Namespace, count: Count) -> list[Entry]:
    """The ways that are asked for; what ours reads is counted."""
    found = entries(options.shape in ("7b", "tiny"), torch.device(options.device).type, options.settings)
    found = [replace(one, way=counted(one.way, count)) if one.name == OURS else one for one in found]
    return [one for one in found if options.only is None or options.only in one.name]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and keep the result."""
    logging.set_verbosity_error()
    options = options_of(argv)
    case: Case = options.case
    torch.set_num_threads(options.threads)
    assert not obstacle(case.model)
    count = Count()
    found = measure(chosen(options, count), case, options.turns)
    limit = limit_of(options, found, count)
    tokens = sum(map(len, max((one.answers for one in found.values()), key=len)))
    where = f"{options.threads} threads" if options.device == "cpu" else torch.cuda.get_device_name(options.device)
    print(f"{len(case.wanted)} prompts, {tokens} tokens, {options.dtype}, {where}, {source_of(options)}")
    print(table(case, found, limit))
    result = {"prompts": len(case.wanted), "tokens": tokens, **record(found, limit)}
    fine = report(options, found, result)
    if options.fit:
        result["fit"] = fit(options)
    if options.save:
        update(case.name, result)
    if not fine:
        raise SystemExit("rows differ that are no near ties: a way answers wrongly")


def limit_of(options: argparse.Namespace, found: dict[str, Measured], count: Count) -> float | None:
    """Tokens a second that memory allows, where a shape for it is asked for."""
    if options.shape == "small" or OURS not in found:
        return None
    speed = bandwidth(options.device, (64 if options.device == "cpu" else 4096) << 20)
    seconds = limit_seconds(options.case.model, count, speed)
    print(f"limit: {count.steps} steps in {seconds:.2f} s, at {speed / 1e9:.0f} GB/s")
    return sum(map(len, found[OURS].answers)) / seconds


def report(options: argparse.Namespace, found: dict[str, Measured], result: dict[str, Any]) -> bool:
    """Which rows differ; whether that is as it should be."""
    case, first, fine = options.case, next(iter(found)), True
    answers = {name: one.answers for name, one in found.items()}
    if options.dtype == "float32":
        lines, fine = near_ties(case, first, answers)
        print("".join(f"{line}\n" for line in lines), end="")
    elif len(answers) > 1:
        against = {name: compare(case, answers[first], other) for name, other in answers.items() if name != first}
        print(f"\nagainst {first}\n{difference_table(against)}")
        result["differences"] = {name: one.record() for name, one in against.items()}
    if options.slots and OURS in answers:
        others = {f"ours, slots {slots}": answers_of(Entry("", ours(slots)), case) for slots in options.slots}
        against = {name: compare(case, answers[OURS], other) for name, other in others.items()}
        print(f"\nagainst ours\n{difference_table(against)}")
        result["slots"] = {name: one.record() for name, one in against.items()}
    return fine


def fit(options: argparse.Namespace) -> dict[str, float]:
    """100 prompts under each of two templates, in a fit."""
    count, longest = (6, 24) if options.quick else (100, LONGEST[options.shape])
    prompts = prompt_ids(options.tokenizer, prompt_file(options), count, TEMPLATES)
    found = evaluation_in_a_fit(options.case.model, prompts, longest)
    print("\n" + fit_table(found, len(prompts), longest, options.shape == "7b"))
    return found


if __name__ == "__main__":
    main()
