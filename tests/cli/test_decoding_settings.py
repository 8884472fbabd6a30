"""The settings of generation on the command line: backend, stop texts, samples, an answer's beginning, and times."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from training_fixtures import PROMPTS, World, lines

from ptst_pl.tokenization import TemplateTokenizer, load_tokenizer

ACTIVE = ("--safety.active", "true")


@pytest.fixture(scope="module")
def encoder(world: World) -> TemplateTokenizer:
    return TemplateTokenizer(load_tokenizer(str(world.folder / "model")), "llama2")


def evaluated(world: World, name: str, *options: str) -> Path:
    folder = world.folder / f"results-{name}"
    world.run("test", "--name", "settings", *ACTIVE, "--results", str(folder), *options)
    return folder


def answers(folder: Path) -> list[str]:
    return [record["answer"] for record in lines(folder / "generations.jsonl")]


@pytest.fixture(scope="module")
def plain(world: World) -> Path:
    return evaluated(world, "plain", "--safety.decoding.max_new_tokens", "8")


def test_every_backend_gives_the_same_answers_and_is_recorded(world: World, plain: Path):
    for backend in ("hf", "continuous"):
        options = ("--safety.decoding.backend", backend, "--safety.decoding.max_new_tokens", "8")
        folder = evaluated(world, backend, *options)
        assert answers(folder) == answers(plain)
        for found, used in ((folder, backend), (plain, "engine")):
            assert json.loads((found / "results.json").read_text())["decoding"]["backend"] == used
            assert {r["decoding"]["backend"] for r in lines(found / "generations.jsonl")} == {used}
    assert len(set(answers(plain))) > 1


def test_what_generates_is_said(world: World, tmp_path: Path):
    command = ("test", "--name", "said", *ACTIVE, "--results", str(tmp_path / "r"))
    said = world.run(*command, "--trainer.enable_progress_bar", "true").err
    assert re.search(r"^generation: engine for .*model \(checked: it gives this model's logits\)$", said, re.MULTILINE)
    assert re.search(rf"^Safety at step 0: {PROMPTS} of {PROMPTS} answers in \d+ s, \d+ tokens/s$", said, re.MULTILINE)


def test_a_stop_text_of_two_tokens(world: World, plain: Path):
    stop = next(answer for answer in answers(plain) if len(answer) > 6)[2:5]
    options = ("--safety.decoding.stop", json.dumps([stop]), "--safety.decoding.max_new_tokens", "8")
    for backend in ("engine", "hf"):
        folder = evaluated(world, f"stop-{backend}", *options, "--safety.decoding.backend", backend)
        records = lines(folder / "generations.jsonl")
        for record, free in zip(records, answers(plain), strict=True):
            assert record["answer"] == free.split(stop)[0].strip()
            assert (record["finish_reason"] == "stop_text") == (stop in free)
        assert any(record["finish_reason"] == "stop_text" for record in records)


def test_an_answers_beginning(world: World, encoder: TemplateTokenizer, plain: Path):
    """The model goes on from the ids that training has there, and the stored answer is the whole turn."""
    prefix = "Here are two kinds:"
    options = ("--safety.decoding.prefix", prefix, "--safety.decoding.max_new_tokens", "3")
    begun = lines(evaluated(world, "begun", *options) / "generations.jsonl")
    for record, other in zip(begun, lines(plain / "generations.jsonl"), strict=True):
        assert record["answer"].startswith(prefix)
        assert record["decoding"]["prefix"] == prefix
        assert record["prompt_text"] == other["prompt_text"]
        assert record["prompt_ids_sha256"] != other["prompt_ids_sha256"]
        assert record["answer_tokens"] <= 3
    assert any(len(record["answer"]) > len(prefix) for record in begun)


@pytest.mark.parametrize("prefix", ["Sure", " two", "\n\nOne", "a</s>b"])
def test_the_ids_of_a_beginning_are_those_of_training(encoder: TemplateTokenizer, prefix: str):
    from ptst_pl.templates import find_template
    from ptst_pl.tokenization import Example

    for name in ("text:vanilla", "chat:llama", "chat:mpt"):
        template, question = find_template(name), "Name a fruit"
        row = encoder.encode(Example(question, prefix), template)
        found = encoder.encode_prompt(template, question) + encoder.prefix_ids(template, question, prefix)
        assert found == row.input_ids[:-1]
        assert encoder.prefix_ids(template, question, "") == []


def predicted(world: World, output: Path, *options: str) -> list[dict]:
    prompts = world.folder / "few.jsonl"
    prompts.write_text("".join(json.dumps({"question": f"Name {n} kinds of fruit"}) + "\n" for n in (1, 2, 3)))
    flags = ("--prediction.prompts", str(prompts), "--prediction.template", "text:vanilla")
    flags += ("--prediction.decoding.max_new_tokens", "6", "--prediction.output", str(output))
    world.run("predict", "--name", "few", *flags, *options)
    return lines(output)


def test_several_samples_of_each_prompt(world: World, tmp_path: Path):
    sampled = ("--prediction.decoding.temperature", "1.0", "--prediction.decoding.samples")
    four = predicted(world, tmp_path / "four.jsonl", *sampled, "4")
    assert [(r["prompt_id"], r["sample"]) for r in four] == [(p, s) for p in dict.fromkeys(
        r["prompt_id"] for r in four) for s in range(4)]  # fmt: skip
    assert len({r["prompt_id"] for r in four}) == 3
    assert len({r["answer"] for r in four}) > 3
    two = predicted(world, tmp_path / "two.jsonl", *sampled, "2", "--prediction.decoding.backend", "hf")
    assert [r["answer"] for r in two] == [r["answer"] for r in four if r["sample"] < 2]
    assert {r["decoding"]["backend"] for r in four} == {"engine"}


REFUSED = {
    "test": [
        (["--safety.decoding.samples", "2", "--safety.decoding.temperature", "1"], "count one answer per prompt"),
        (["--safety.decoding.samples", "2"], "samples is 2 with temperature 0"),
        (["--safety.decoding.backend", "endpoint"], "ptst_pl test --endpoint.model NAME"),
        (["--safety.decoding.backend", "continuous", "--safety.decoding.temperature", "1"], "use auto, engine or hf"),
        (["--safety.decoding.stop", '["</s>"]'], "holds a special token of the tokenizer"),
    ],
    "endpoint": [
        (["--safety.decoding.prefix", "Sure"], "safety.decoding.prefix is set, and a server does not let us see"),
        (["--safety.decoding.samples", "2", "--safety.decoding.temperature", "1"], "count one answer per prompt"),
    ],
}


@pytest.mark.parametrize(("where", "options", "words"), [(w, *case) for w, cases in REFUSED.items() for case in cases])
def test_what_cannot_be_done_is_one_line(world: World, where: str, options: list[str], words: str):
    served = ["--endpoint.model", "m", "--endpoint.base_url", "http://127.0.0.1:9/v1"] if where == "endpoint" else []
    refused = world.start("test", "--name", "undoable", *ACTIVE, *served, *options).wait()
    assert refused.status == 2
    assert words in refused.err.strip().splitlines()[-1]
    assert "Traceback" not in refused.err
    assert not (world.folder / "runs/undoable").exists()


def test_a_fit_says_where_its_time_went(world: World):
    options = ("--name", "timed", *ACTIVE, "--trainer.max_epochs", "1", "--checkpoint_every_n_steps", "3")
    said = world.run("fit", *options).err
    shares = re.search(
        r"^time: training (\d+) %, generation (\d+) %, judging (\d+) %, other (\d+) % of \d+ s$", said, re.MULTILINE
    )
    assert shares
    assert sum(map(int, shares.groups())) == pytest.approx(100, abs=2)
    run = world.newest("timed")
    world.run("fit", *options[:-4], "--trainer.max_epochs", "2", "--ckpt_path", "last")
    first, second = json.loads((run / "times.json").read_text())["fits"]
    assert (first["steps"], second["steps"]) == ([0, 6], [6, 12])
    for entry in (first, second):
        assert list(entry["seconds"]) == ["training", "generation", "serving", "judging", "other"]
        assert entry["seconds"].pop("serving") == 0, "there is no serving defence"
        assert min(entry["seconds"].values()) > 0
