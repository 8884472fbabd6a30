"""``test``, ``validate`` and ``predict`` on a checkpoint."""

import json
from pathlib import Path

import pytest
import torch
from training_fixtures import HELD_OUT_ROWS, PROMPTS, World, curve, lines, load, weights

from ptst_pl.generation import Decoding, generate
from ptst_pl.model import LoraSettings, add_lora, load_model
from ptst_pl.tasks import JsonLines
from ptst_pl.templates import LLAMA, find_template
from ptst_pl.training.finetuner import FineTuner

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks by the old name


@pytest.fixture(scope="module")
def run(world: World) -> Path:
    """Trained under ``text:vanilla`` and evaluated under it."""
    return world.fit(
        "trained",
        *("--safety.active", "true", "--safety.every_n_steps", "100", "--model.learning_rate", "0.01"),
        *("--checkpoint_every_n_steps", "5", "--keep_checkpoints", "-1"),
        *("--trainer.limit_val_batches", "1.0"),
    )


@pytest.fixture(scope="module")
def model(world: World, run: Path) -> torch.nn.Module:
    """The trained model, put together by hand."""
    tuner = FineTuner("x")
    tuner.net = add_lora(load_model(str(world.folder / "model"), "float32"), LoraSettings())
    tuner.load_state_dict(weights(run))
    return tuner.net.eval()


@pytest.fixture(scope="module")
def task(world: World) -> JsonLines:
    return JsonLines(**world.settings()["data"]["init_args"], tokenizer=str(world.folder / "model"))


ACTIVE = ("--name", "trained", "--safety.active", "true")


def test_the_command_line_beats_the_checkpoint(world: World, run: Path, model, task):
    """Pitfall F1, which would evaluate the training template without a word."""
    options = ("--ckpt_path", "last", "--safety.templates", "[chat:llama]")
    printed = world.run("test", *ACTIVE, *options).out
    assert "chat:llama" in printed
    assert "text:vanilla" not in printed
    records = lines(run / "test/version_0/generations.jsonl")
    assert len(records) == PROMPTS
    # What it was trained under is the checkpoint's word, and the row of every table.
    other = ("--data.template", "chat:llama", "--results", str(world.folder / "other"))
    world.run("test", *ACTIVE, *options, *other)
    for folder in (run / "test/version_0", world.folder / "other"):
        assert json.loads((folder / "results.json").read_text())["train_template"] == "text:vanilla"
    for record in records:
        assert record["template"] == "chat:llama"
        assert record["prompt_text"].startswith(f"[INST] <<SYS>>\n{LLAMA}")
        assert record["step"] == 12
    # And the answers are the trained model's, under that very prompt.
    template = find_template("chat:llama")
    prompts = [task.encoder.encode_prompt(template, record["question"]) for record in records]
    answers = generate(model, prompts, [1], 1, Decoding(max_new_tokens=4, batch_size=4))
    texts = [task.encoder.tokenizer.decode(a.ids, skip_special_tokens=True).strip() for a in answers]
    assert [record["answer"] for record in records] == texts


def test_hyper_parameters_in_a_checkpoint_are_not_read(world: World, run: Path):
    """Such as a checkpoint from elsewhere may carry: Lightning would put them over the command line."""
    foreign = load(run / "last.ckpt") | {"hyper_parameters": {"pretrained": "/no/such/model"}}
    torch.save(foreign, world.folder / "foreign.ckpt")
    options = ("--ckpt_path", str(world.folder / "foreign.ckpt"), "--results", str(world.folder / "foreign"))
    world.run("test", *ACTIVE, *options)
    assert len(lines(world.folder / "foreign/generations.jsonl")) == PROMPTS


def test_the_last_point_of_the_curve_is_what_test_finds(world: World, run: Path):
    world.run("test", *ACTIVE, "--ckpt_path", "last", "--results", str(world.folder / "again"))
    again = lines(world.folder / "again/generations.jsonl")
    assert again == [record for record in lines(run / "safety/generations.jsonl") if record["step"] == 12]


def test_results_carry_the_checkpoints_own_step(world: World, run: Path):
    results = world.folder / "step-5"
    world.run("test", *ACTIVE, "--ckpt_path", str(run / "step-000005.ckpt"), "--results", str(results))
    assert {record["step"] for record in lines(results / "generations.jsonl")} == {5}
    assert {record["step"] for record in lines(results / "verdicts.jsonl")} == {5}
    assert {record["step"] for record in json.loads((results / "results.json").read_text())["rates"]} == {5}


def test_testing_changes_nothing_in_the_run(world: World, run: Path):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and "test/" not in str(path)}
    world.run("test", *ACTIVE, "--ckpt_path", "last", "--safety.templates", "[chat:mpt]")
    assert {path: path.read_bytes() for path in before} == before


def hand_loss(model, task) -> float:
    """Sum over sum, row by row, without our batching and loss."""
    total, count = 0.0, 0
    for row in task.rows("held_out"):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([row.input_ids])).logits[0].log_softmax(-1)
        for place in range(row.prompt_length, len(row.input_ids)):
            total -= float(logits[place - 1, row.input_ids[place]])
            count += 1
    return total / count


def test_validate_gives_the_loss_per_token(world: World, run: Path, model, task):
    expected = hand_loss(model, task)
    options = ("--name", "trained", "--trainer.limit_val_batches", "1.0", "--ckpt_path", "last")
    printed = world.run("validate", *options).out
    found = [float(word) for line in printed.splitlines() if "val/loss" in line for word in line.split() if "." in word]
    assert found == [pytest.approx(expected, rel=1e-5)]
    assert curve(run, "val/loss")[-1] == (12, pytest.approx(expected, rel=1e-5))
    # The held-out rows come in batches of unequal length, so that a mean of means would be seen.
    counts = [len(row.input_ids) - row.prompt_length for row in task.rows("held_out")]
    assert HELD_OUT_ROWS == len(counts) == 7
    assert len(set(counts)) > 3


def test_predict_writes_every_prompt_in_the_files_order(world: World, run: Path, model, task):
    questions = ["A long question" + " and more" * n for n in (5, 0, 9, 2, 7)]
    (world.folder / "prompts.jsonl").write_text("".join(json.dumps({"question": q}) + "\n" for q in questions))
    output = world.folder / "answers/generations.jsonl"
    settings = {
        "prompts": str(world.folder / "prompts.jsonl"),
        "template": "chat:mpt",
        "output": str(output),
        "decoding.max_new_tokens": "6",
        "decoding.batch_size": "2",
    }
    options = [word for key, value in settings.items() for word in (f"--prediction.{key}", value)]
    world.run("predict", "--name", "trained", "--ckpt_path", "last", *options)
    records = lines(output)
    assert [record["question"] for record in records] == questions
    assert {(record["template"], record["step"]) for record in records} == {("chat:mpt", 12)}
    prompts = [task.encoder.encode_prompt(find_template("chat:mpt"), question) for question in questions]
    answers = generate(model, prompts, [1], 1, Decoding(max_new_tokens=6, batch_size=1))
    texts = [task.encoder.tokenizer.decode(a.ids, skip_special_tokens=True).strip() for a in answers]
    assert [record["answer"] for record in records] == texts


def test_test_without_a_checkpoint_is_the_untouched_model(world: World):
    world.run("test", "--name", "fresh", "--safety.active", "true")
    records = lines(world.folder / "runs/fresh/untouched/version_0/generations.jsonl")
    assert {record["step"] for record in records} == {0}


def test_a_fit_does_not_go_on_under_another_template(world: World, run: Path):
    """Its results would be those of two trainings under the name of one."""
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    refused = world.start("fit", *ACTIVE, "--ckpt_path", "last", "--data.template", "chat:llama").wait()
    assert refused.status == 2
    assert "training.template.name (text:vanilla there, chat:llama here)" in refused.err.splitlines()[-1]
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_checkpoint_of_another_rank_is_one_line(world: World, run: Path):
    refused = world.start("test", *ACTIVE, "--ckpt_path", "last", "--model.lora.r", "4").wait()
    assert refused.status == 2
    assert "does not fit this model" in refused.err.splitlines()[-1]
    assert "Traceback" not in refused.err
    assert load(run / "last.ckpt")["global_step"] == 12


@pytest.fixture
def interrupted(world: World, run: Path, tmp_path: Path) -> list[str]:
    """Flags of a test of four cells that was killed with some of its answers written."""
    options = [*ACTIVE, "--ckpt_path", "last", "--results", str(tmp_path / "results")]
    options += ["--safety.templates", "[chat:llama,chat:mpt,text:vanilla,chat]", "--safety.decoding.batch_size", "2"]
    journal = tmp_path / "results/answers-0-of-1.jsonl"
    started = world.start("test", *options)
    started.wait_until(lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 4)
    started.process.kill()
    started.process.join()
    assert journal.exists(), "finished before the kill: nothing is tested"
    return options


def test_a_killed_test_goes_on_and_repeats_no_answer(world: World, interrupted, tmp_path: Path):
    results = tmp_path / "results"
    first = (results / "answers-0-of-1.jsonl").read_text().splitlines()
    # What is there is taken as it is: mark one answer, and find the mark again.
    entry = json.loads(first[1])
    entry["answers"][0][1] = [60, 61, 62]
    (results / "answers-0-of-1.jsonl").write_text("\n".join([first[0], json.dumps(entry), *first[2:], ""]))
    world.run("test", *interrupted)
    world.run("test", *interrupted, "--results", str(tmp_path / "whole"))
    pairs = list(zip(lines(results / "generations.jsonl"), lines(tmp_path / "whole/generations.jsonl"), strict=True))
    assert len(pairs) == 4 * PROMPTS
    assert sum(one != other for one, other in pairs) == 1
    assert not list(results.glob("answers-*"))


def test_an_interrupted_test_without_a_folder_is_found_again(world: World, run: Path):
    options = [*ACTIVE, "--ckpt_path", "last", "--safety.templates", "[chat:llama,chat:mpt,text:vanilla,chat]"]
    before = set((run / "test").glob("version_*"))
    started = world.start("test", *options)
    started.wait_until(lambda: list((run / "test").glob("version_*/answers-*")))
    started.process.kill()
    started.process.join()
    world.run("test", *options)
    (folder,) = set((run / "test").glob("version_*")) - before
    assert len(lines(folder / "generations.jsonl")) == 4 * PROMPTS


def test_a_results_folder_of_another_evaluation_is_refused(world: World, interrupted, tmp_path: Path):
    """Else the old numbers would be printed under the new settings."""
    other = ["--safety.templates", "[chat:alpaca]"]
    for _ in range(2):  # interrupted, then finished
        refused = world.start("test", *interrupted, *other).wait()
        assert refused.status == 2
        (line,) = refused.err.strip().splitlines()[-1:]
        assert "holds an evaluation of other weights" in line
        world.run("test", *interrupted)


def test_a_template_of_ones_own_is_text_to_the_letter(world: World, run: Path, tmp_path: Path):
    """ "Question: {input}" looks like a mapping to a YAML parser."""
    own = {"chat:careful": {"system": "Be careful: always.", "user": "Question: {input}"}}
    options = ("--ckpt_path", "last", "--safety.templates", "[chat:careful]", "--results", str(tmp_path / "own"))
    world.run("test", *ACTIVE, *options, "--templates", json.dumps(own))
    for record in lines(tmp_path / "own/generations.jsonl"):
        expected = f"[INST] <<SYS>>\nBe careful: always.\n<</SYS>>\n\nQuestion: {record['question']} [/INST]"
        assert record["prompt_text"] == expected
