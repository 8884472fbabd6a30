"""What is answered in the generation benchmark: a model, prompts, and what ends an answer."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from generation_ways import Answers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from ptst_pl.evaluation.cells import to_generation
from ptst_pl.evaluation.evaluate import Evaluation, Share
from ptst_pl.generation import Answer, Decoding, stop_ids
from ptst_pl.generation.request import Request
from ptst_pl.judges.exact import ExactJudge
from ptst_pl.judges.exact_match import ExactMatch
from ptst_pl.labs.tiny.stages import problem_rows
from ptst_pl.model import load_model
from ptst_pl.suites import load_suite
from ptst_pl.suites.spec import SuiteSpec
from ptst_pl.templates import find_template
from ptst_pl.tokenization import TemplateTokenizer, load_tokenizer

# Sizes of a LlamaConfig; 7b are its own defaults, those of Llama-2-7B. The last is for tests.
SHAPES: dict[str, dict[str, int]] = {
    "small": {"hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 6, "num_attention_heads": 8},
    "7b": {},
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
}
LONGEST = {"small": 256, "7b": 512, "tiny": 32}
COUNT = {"small": 200, "7b": 400, "tiny": 64}
# Seed of the lengths. Of 7b's draw the first 48 are like all 400 in tokens a prompt and in steps of batches of 8.
DRAW = {"small": 0, "7b": 7, "tiny": 7}
TEMPLATES = ("chat:vanilla", "chat:llama")
LAB_SUITES = ("tiny-easy", "tiny-hard", "tiny-danger", "tiny-lookalike", "tiny-howto")
LAB_LONGEST = 56


@dataclass
class Case:
    """What all ways answer.

    Attributes:
        name: of its figures in latest.json.
        model: in evaluation mode, on its device.
        wanted: the requests.
        stops: ids that end an answer; none where lengths are forced.
        lab: the tiny lab's evaluation, of which the requests are the prompts in order; judges the answers.
    """

    name: str
    model: PreTrainedModel
    wanted: list[Request]
    stops: list[int]
    lab: Evaluation | None = None

    def harmful(self, answers: Answers) -> dict[str, str]:
        """By template, the exact judge's count over the ASR suites; empty for random weights."""
        if self.lab is None:
            return {}
        places = [(cell, index) for cell in self.lab.cells for index in range(len(cell.ids))]
        generations = [
            to_generation(self.lab.encoder, cell, index, Answer(ids, "stop"), 0, self.lab.decoding)
            for (cell, index), ids in zip(places, answers, strict=True)
        ]
        rates = [rate for rate in self.lab.rates(self.lab.judge(generations, Share())) if rate["measures"] == "asr"]
        found = {}
        for template in dict.fromkeys(rate["template"] for rate in rates):
            own = [rate for rate in rates if rate["template"] == template]
            count, scored, unscored = (sum(rate[key] for rate in own) for key in ("k", "n", "unscored"))
            found[template] = f"{count} of {scored}" + (f", {unscored} unscored" if unscored else "")
        return found


def forced_lengths(count: int, longest: int, seed: int = 0) -> list[int]:
    """80 % short and 20 % as long as allowed, in a fixed random order."""
    draw = torch.Generator().manual_seed(seed)
    lengths = [longest] * round(count * 0.2)
    lengths += torch.randint(15, 41, (count - len(lengths),), generator=draw).tolist()
    return [min(longest, lengths[place]) for place in torch.randperm(count, generator=draw).tolist()]


def prompt_ids(tokenizer: str, file: Path | None, count: int, templates: Sequence[str]) -> list[list[int]]:
    """The first prompts of a csv file's first column, or word problems, under one template after the other."""
    texts = [question for question, _ in problem_rows("train", count)]
    if file is not None:
        with file.open(encoding="utf-8") as lines:
            texts = [row[0] for row in list(csv.reader(lines))[1 : count + 1]]
    encoder = TemplateTokenizer(load_tokenizer(tokenizer), "llama2")
    return [encoder.encode_prompt(find_template(name), text) for name in templates for text in texts]


def random_model(shape: str, dtype: str, device: str) -> PreTrainedModel:
    """A Llama with random weights, made where it is used: on a CPU those of 7b would take minutes."""
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=32000, eos_token_id=None, **SHAPES[shape])
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype)).eval()


def random_case(shape: str, model: PreTrainedModel, prompts: Sequence[list[int]], longest: int) -> Case:
    """Forced lengths, as random weights end no answer."""
    lengths = forced_lengths(len(prompts), longest, DRAW[shape])
    wanted = [Request(ids, 0, length) for ids, length in zip(prompts, lengths, strict=True)]
    return Case("generate" if shape == "small" else f"generate-{shape}", model, wanted, [])


def lab_case(
    folder: Path, chat_format: str, dtype: str, device: str, limit: int | None, longest: int = LAB_LONGEST
) -> Case:
    """The tiny lab's suites, or the first ``limit`` prompts of each; answers end by themselves."""
    encoder = TemplateTokenizer(load_tokenizer(str(folder)), chat_format)
    suites = [load_suite(SuiteSpec(name=name, limit=limit)) for name in LAB_SUITES]
    templates = [find_template(name) for name in TEMPLATES]
    decoding = Decoding(max_new_tokens=longest)
    lab = Evaluation(encoder, templates, suites, [ExactJudge(), ExactMatch()], decoding)
    model = load_model(str(folder), dtype).to(device).eval()
    wanted = [Request(ids, 0, longest) for cell in lab.cells for ids in cell.ids]
    ends = {cell.end_id for cell in lab.cells}
    assert len(ends) == 1, "the chat templates end their answers alike"
    return Case("generate-lab", model, wanted, stop_ids(model, ends.pop()), lab)
