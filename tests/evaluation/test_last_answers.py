"""The answers of the last evaluation are the drafts of the next: less work, the same records."""

from __future__ import annotations

import pytest
import torch
from training_fixtures import World, llama_config, world
from transformers import AutoModelForCausalLM

from ptst_pl.evaluation.evaluate import Evaluation, Share
from ptst_pl.generation import Decoding
from ptst_pl.generation.engine.model_runner import ModelRunner
from ptst_pl.judges import RefusalJudge
from ptst_pl.suites import SuiteSpec, load_suite
from ptst_pl.templates import find_template
from ptst_pl.tokenization import TemplateTokenizer, load_tokenizer

__all__ = ["world"]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_unchanged_model_takes_no_step_and_a_changed_one_answers_anew(world: World, monkeypatch, temperature):
    encoder = TemplateTokenizer(load_tokenizer(str(world.folder / "model")), "llama2")
    suite = load_suite(SuiteSpec("fruit", str(world.folder / "suite.csv")))
    templates = [find_template("text:vanilla"), find_template("chat:llama")]
    decoding = Decoding(max_new_tokens=6, temperature=temperature)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(llama_config())
    steps: list[int] = []
    real = ModelRunner.decode
    monkeypatch.setattr(ModelRunner, "decode", lambda self, rows, n: (steps.append(n), real(self, rows, n))[1])

    def answers(drafts: bool) -> Evaluation:
        return Evaluation(encoder, templates, [suite], [RefusalJudge()], decoding, drafts=drafts)

    def said(one: Evaluation) -> tuple[list, int]:
        before = len(steps)
        found = [answer.record for answer in one.answers(model, 1, Share())]
        return found, len(steps) - before

    kept, fresh = answers(True), answers(False)
    first, taken = said(kept)
    assert taken > 0
    assert said(kept) == (first, 0)
    assert said(fresh) == (first, taken)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    changed, _ = said(kept)
    assert changed == said(fresh)[0]
    assert changed != first
