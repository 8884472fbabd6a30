"""The real small model, where the package index has it: what the small random models of the other tests promise."""

from __future__ import annotations

import copy
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_fixtures import World, question_rows, world  # noqa: F401
from transformers import AutoModelForCausalLM, AutoTokenizer

from ptst_pl import InputError
from ptst_pl.cli import main
from ptst_pl.generation import Decoding, generate, stop_ids
from ptst_pl.labs.real.align_rows import benign
from ptst_pl.labs.real.package import fetch
from ptst_pl.model import batch_nll, load_model
from ptst_pl.model.batch_paths import choose_path
from ptst_pl.templates import find_template
from ptst_pl.tokenization import Example, TemplateTokenizer, load_tokenizer
from ptst_pl.tokenization.batches import PackRows, PadRight

pytestmark = pytest.mark.real


@pytest.fixture(scope="session")
def file() -> Path:
    cache = Path(os.environ.get("PTST_PL_CACHE", Path.home() / ".cache/ptst_pl"))
    try:
        return fetch(cache / "real")
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def model(file):
    return load_model(str(file), "float32")


@pytest.fixture(scope="module")
def encoder(file):
    return TemplateTokenizer(load_tokenizer(str(file)), "tokenizer")


def test_it_is_what_it_says_and_none_means_no_system_prompt(model, encoder):
    assert sum(parameter.numel() for parameter in model.parameters()) == 134_515_008
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert "named SmolLM" in str(encoder.tokenizer.chat_template)
    text = encoder.tokenizer.decode(encoder.encode_prompt(find_template("chat:vanilla"), "What is tea?"))
    assert "named SmolLM" not in text
    assert text.endswith("<|im_start|>assistant\n")


def test_sixteen_answers_of_the_engine_are_those_of_generate(model, encoder):
    template = find_template("chat:llama")
    questions = [row["question"] for row in benign()][:16]
    prompts = [encoder.encode_prompt(template, question) for question in questions]
    stops = stop_ids(model, encoder.end_id(template))
    decoding = Decoding(max_new_tokens=12, batch_size=8, backend="engine")
    engine = generate(model, prompts, stops, encoder.pad_id, decoding)
    plain = generate(model, prompts, stops, encoder.pad_id, replace(decoding, backend="hf"))
    assert [answer.ids for answer in engine] == [answer.ids for answer in plain]


def test_two_steps_with_the_prefix_computed_once_are_two_padded_steps(model, encoder):
    rows = [encoder.encode(Example(r["question"], r["answer"]), find_template("chat:llama")) for r in question_rows(4)]
    losses = {}
    for path in ("padded", "prefix"):
        own = copy.deepcopy(model)
        assert choose_path(own, path)[0] == path
        collate = PadRight(encoder.pad_id) if path == "padded" else PackRows(encoder.pad_id, sharing=True)
        optimizer = torch.optim.SGD(own.parameters(), lr=0.1)
        losses[path] = []
        for step in range(2):
            batch = collate(list(enumerate(rows[2 * step : 2 * step + 2])))
            loss = batch_nll(own, batch) / batch.targets.numel()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses[path].append(float(loss.detach()))
    assert losses["prefix"] == pytest.approx(losses["padded"], rel=1e-4)
    assert losses["padded"][1] != losses["padded"][0]


def test_what_was_trained_on_it_is_exported_and_answers_the_same(world: World, file, tmp_path):  # noqa: F811
    run = world.fit(
        "real", "--model.pretrained", str(file), "--chat_format", "tokenizer", "--trainer.max_steps", "1",
        "--data.template", "chat:vanilla", "--safety.templates", "[chat:vanilla]", "--safety.active", "true",
        "--safety.every_n_steps", "100", "--safety.decoding.max_new_tokens", "8",
    )  # fmt: skip
    main(["export", str(run), "--output", str(tmp_path / "out")])
    tokenizer, model = (
        AutoTokenizer.from_pretrained(tmp_path / "out"),
        AutoModelForCausalLM.from_pretrained(tmp_path / "out"),
    )
    rows = [json.loads(line) for line in (run / "safety/generations.jsonl").read_text().splitlines()]
    for row in [row for row in rows if row["step"] == 1][:3]:
        ids = tokenizer(row["prompt_text"], add_special_tokens=False, return_tensors="pt").input_ids
        made = model.generate(ids, max_new_tokens=8, do_sample=False, attention_mask=torch.ones_like(ids))
        assert tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True).strip() == row["answer"].strip()
