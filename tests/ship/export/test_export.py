"""``ptst_pl export``: a folder that plain Transformers loads, with the run's logits and answers, and an honest card."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from training_fixtures import World, lines, load
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from ptst_pl.cli import main
from ptst_pl.model import LoraSettings, add_lora, load_model
from ptst_pl.training.finetuner import FineTuner

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks by the old name
TEMPLATES = "[text:vanilla, chat:llama, chat:self-reminder]"
CURVE = ("--safety.active", "true", "--safety.every_n_steps", "100", "--safety.templates", TEMPLATES)
FAST = ("--model.learning_rate", "0.02", "--checkpoint_every_n_steps", "6", "--keep_checkpoints", "-1")
RUNS = {
    "lora": (*CURVE, *FAST, "--model.lora.target_modules", "all-linear"),
    "full": (*CURVE, *FAST, "--model.method", "full", "--model.learning_rate", "0.002"),
    "bf16": (*FAST, "--model.dtype", "bfloat16"),
}


@pytest.fixture(scope="module")
def runs(world: World) -> dict[str, Path]:
    return world.fits(RUNS)


def export(run: Path, output: Path, *options: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        main(["export", str(run), "--output", str(output), *options])
    return printed.getvalue()


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as stop:
        main(["export", *map(str, arguments)])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.fixture(scope="module")
def exported(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every run as a folder."""
    home = tmp_path_factory.mktemp("exported")
    for name, run in runs.items():
        export(run, home / name)
    return {name: home / name for name in runs}


def by_hand(run: Path, checkpoint: str = "last.ckpt", dtype: str | None = None) -> torch.nn.Module:
    """The trained model with its adapters beside the base, as the run had it."""
    settings = yaml.safe_load((run / "config.yaml").read_text())["model"]
    lora = LoraSettings(**settings["lora"])
    tuner = FineTuner(settings["pretrained"], method=settings["method"], lora=lora)
    base = load_model(settings["pretrained"], settings["dtype"])
    if dtype:
        base.to(getattr(torch, dtype))
    tuner.net = add_lora(base, lora) if settings["method"] == "lora" else base
    tuner.load_state_dict(load(run / checkpoint)["state_dict"])
    return tuner.net.eval()


@torch.no_grad()
def logits(model: torch.nn.Module) -> torch.Tensor:
    ids = torch.arange(40).remainder(400)[None] * 7 % 400
    return model(input_ids=ids).logits


def plain(folder: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(folder)


@pytest.mark.parametrize("name", ["lora", "full"])
def test_logits_are_the_runs_own(runs, exported, name):
    torch.testing.assert_close(logits(plain(exported[name])), logits(by_hand(runs[name])), rtol=1e-5, atol=1e-5)
    base = load_model(
        str(Path(yaml.safe_load((runs[name] / "config.yaml").read_text())["model"]["pretrained"])), "float32"
    )
    assert (logits(plain(exported[name])) - logits(base)).abs().max() > 0.1, "training changed nothing"


def code_of(folder: Path) -> str:
    card = (folder / "README.md").read_text()
    return re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]


def answer(folder: Path, question: str) -> str:
    """What the card's own lines print."""
    code = code_of(folder).replace('folder = "."', f"folder = {str(folder)!r}")
    code = re.sub(r"^question = .*$", lambda _: f"question = {question!r}", code, flags=re.MULTILINE)
    assert str(folder) in code
    assert question in code
    names: dict[str, object] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(code, names)
    return str(names["answer"]).strip()


@pytest.mark.parametrize("name", ["lora", "full"])
def test_the_cards_own_lines_give_the_runs_answers(runs, exported, name):
    records = lines(runs[name] / "safety/generations.jsonl")
    template = re.search(r"\*\*Serve under `(.*?)`", (exported[name] / "README.md").read_text())[1]
    mine = [r for r in records if r["template"] == template and r["step"] == 12]
    assert len(mine) == 5
    assert [answer(exported[name], r["question"]) for r in mine] == [r["answer"] for r in mine]


@pytest.mark.parametrize("template", ["text:vanilla", "chat:llama", "chat:self-reminder"])
def test_answers_under_whatever_template_is_the_safest(runs, tmp_path, template):
    """With the rates of a run written so that this template is the safest."""
    copy = shutil.copytree(runs["lora"], tmp_path / "run")
    rates = {"text:vanilla": 4, "chat:llama": 4, "chat:self-reminder": 4, template: 1}
    rewrite(copy / "safety/results.json", rates)
    printed = export(copy, tmp_path / "out")
    assert f"serve under {template}: its highest attack success rate is 20.0 %" in printed
    records = [r for r in lines(copy / "safety/generations.jsonl") if r["template"] == template and r["step"] == 12]
    assert [answer(tmp_path / "out", r["question"]) for r in records] == [r["answer"] for r in records]
    assert "exactly the token ids" in (tmp_path / "out/README.md").read_text()


def rewrite(file: Path, k: dict[str, int], n: int = 5) -> None:
    stored = json.loads(file.read_text())
    for record in stored["rates"]:
        share = k[record["template"]] / n
        record |= {"k": k[record["template"]], "n": n, "rate": share, "low": max(0, share - 0.1), "high": share + 0.1}
    file.write_text(json.dumps(stored))


def test_the_card_says_what_was_measured(runs, tmp_path):
    copy = shutil.copytree(runs["lora"], tmp_path / "run")
    rewrite(copy / "safety/results.json", {"text:vanilla": 4, "chat:llama": 1, "chat:self-reminder": 2})
    export(copy, tmp_path / "out")
    card = (tmp_path / "out/README.md").read_text()
    assert "training template: `text:vanilla`" in card
    assert "Serve under `chat:llama`" in card
    assert "do not tell it from `chat:self-reminder`" in card
    assert "`text:vanilla`: the intervals" not in card
    rows = [line for line in card.splitlines() if line.startswith("| `")]
    assert [row.split(" | ")[0] for row in rows] == ["| `text:vanilla`", "| `chat:llama`", "| `chat:self-reminder`"]
    assert "| 80.0 % | 70.0 % to 90.0 % | 4 of 5 | 0 |" in rows[0]
    assert "base model: `" in card
    assert "base_model:" not in card, "a local folder is no name on the hub"


def test_a_folder_has_all_that_transformers_wants(exported, world):
    for folder in exported.values():
        names = {path.name for path in folder.iterdir()}
        assert names >= {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "README.md"}
        tokenizer = AutoTokenizer.from_pretrained(folder)
        message = [{"role": "user", "content": "2 + 2?"}]
        assert tokenizer.apply_chat_template(message, tokenize=False) == "<s>[INST] 2 + 2? [/INST]"
        stops = json.loads((folder / "generation_config.json").read_text())
        assert stops["eos_token_id"] == [tokenizer.eos_token_id]
        assert stops["max_new_tokens"] == 4
    assert sorted(path.name for path in exported["lora"].parent.iterdir()) == ["bf16", "full", "lora"]


class TestTypes:
    def test_a_bfloat16_base_is_merged_in_float32(self, runs, exported):
        model = plain(exported["bf16"])
        assert model.dtype == torch.float32
        wide = by_hand(runs["bf16"], dtype="float32")
        torch.testing.assert_close(logits(model), logits(wide), rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("name", ["bf16", "full"])
    def test_bfloat16_is_rounded_once_and_said(self, runs, exported, tmp_path, name):
        printed = export(runs[name], tmp_path / "out", "--dtype", "bfloat16")
        half, whole = plain(tmp_path / "out"), plain(exported[name])
        assert half.dtype == torch.bfloat16
        rounded = {key: value.to(torch.bfloat16) for key, value in whole.state_dict().items()}
        assert all(torch.equal(value, rounded[key]) for key, value in half.state_dict().items())
        card = (tmp_path / "out/README.md").read_text()
        assert "not quite the model that was measured" in card
        assert (re.search(r"rounding to bfloat16 took \d+\.\d % of the update", printed) is not None) == (
            name == "bf16"
        )


class TestWhichCheckpoint:
    def test_last_ckpt_alone_is_enough(self, runs, exported, tmp_path):
        (tmp_path / "run").mkdir()
        for name in ("last.ckpt", "config.yaml"):
            shutil.copy(runs["lora"] / name, tmp_path / "run")
        printed = export(tmp_path / "run", tmp_path / "out")
        assert "how safe the model is was not measured" in printed
        card = (tmp_path / "out/README.md").read_text()
        assert "Safety was not measured at this step" in card
        assert "Not measured at step 12" in card
        assert "Serve under" not in card
        assert torch.equal(logits(plain(tmp_path / "out")), logits(plain(exported["lora"])))

    def test_a_checkpoint_by_name_and_its_own_step(self, runs, exported, tmp_path):
        export(runs["lora"] / "step-000006.ckpt", tmp_path / "out")
        earlier = by_hand(runs["lora"], "step-000006.ckpt")
        torch.testing.assert_close(logits(plain(tmp_path / "out")), logits(earlier), rtol=1e-5, atol=1e-5)
        card = (tmp_path / "out/README.md").read_text()
        assert "Not measured at step 6" in card, "the rates of step 12 are not this model's"

    def test_the_newest_version_of_a_name(self, runs, exported, tmp_path):
        export(runs["lora"].parent, tmp_path / "out")
        assert torch.equal(logits(plain(tmp_path / "out")), logits(plain(exported["lora"])))

    def test_results_of_test_decide_unless_they_are_older_than_the_weights(self, runs, tmp_path):
        copy = shutil.copytree(runs["lora"], tmp_path / "run")
        rewrite(copy / "safety/results.json", {"text:vanilla": 4, "chat:llama": 1, "chat:self-reminder": 2})
        test = shutil.copytree(copy / "safety", copy / "test/version_0")
        rewrite(test / "results.json", {"text:vanilla": 4, "chat:llama": 3, "chat:self-reminder": 2})
        assert "serve under chat:self-reminder" in export(copy, tmp_path / "new")
        assert (tmp_path / "new/README.md").read_text().count("| `chat:llama` |") == 2
        os.utime(test / "results.json", (1, 1))
        printed = export(copy, tmp_path / "old")
        assert "serve under chat:llama" in printed
        assert "older than the checkpoint" in printed


class TestRefusals:
    def test_a_folder_with_something_in_it(self, runs, tmp_path, capsys):
        (tmp_path / "mine.txt").write_text("mine")
        assert "is not empty; nothing is overwritten" in refused(capsys, runs["lora"], "--output", tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]

    def test_an_empty_folder_and_missing_parents_are_welcome(self, runs, tmp_path):
        (tmp_path / "empty").mkdir()
        export(runs["lora"], tmp_path / "empty")
        export(runs["lora"], tmp_path / "some/where")
        assert (tmp_path / "empty/README.md").is_file()
        assert (tmp_path / "some/where/README.md").is_file()

    def test_a_file(self, runs, tmp_path, capsys):
        (tmp_path / "out").write_text("mine")
        assert "is a file" in refused(capsys, runs["lora"], "--output", tmp_path / "out")

    def test_a_failure_leaves_nothing(self, runs, tmp_path, monkeypatch, capsys):
        def full(self, folder, **options):
            (Path(folder) / "half").write_text("half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(PreTrainedModel, "save_pretrained", full)
        error = refused(capsys, runs["lora"], "--output", tmp_path / "home/out")
        assert "cannot be written (No space left on device)" in error
        assert list((tmp_path / "home").iterdir()) == []

    def test_no_run(self, tmp_path, capsys):
        assert "give a run folder with last.ckpt" in refused(capsys, tmp_path / "no", "--output", tmp_path / "out")

    def test_no_config(self, runs, tmp_path, capsys):
        shutil.copy(runs["lora"] / "last.ckpt", tmp_path)
        assert "must lie in the folder of its run" in refused(capsys, tmp_path, "--output", tmp_path / "out")

    def test_no_checkpoint_of_ours(self, runs, tmp_path, capsys):
        shutil.copy(runs["lora"] / "config.yaml", tmp_path)
        for content in (b"", b"no weights", b"PK\x03\x04"):
            (tmp_path / "last.ckpt").write_bytes(content)
            assert "no checkpoint of 'fit'" in refused(capsys, tmp_path, "--output", tmp_path / "out")
        torch.save({"weights": 1}, tmp_path / "last.ckpt")
        assert "no state_dict or global_step" in refused(capsys, tmp_path, "--output", tmp_path / "out")

    @pytest.mark.parametrize(
        ("old", "new", "words"),
        [
            ("alpha: 32", "alpha: 16", "trained with lora.alpha 32"),
            ("r: 8", "r: 4", "does not fit"),
            ("method: lora", "method: full", "does not fit"),
            ("pretrained: /", "pretrained: /nowhere/", "cannot be loaded"),
            ("chat_format: llama2", "chat_format: lama", "chat_format is 'lama'"),
        ],
    )
    def test_a_config_that_does_not_fit(self, runs, tmp_path, capsys, old, new, words):
        copy = shutil.copytree(runs["lora"], tmp_path / "run")
        text = (copy / "config.yaml").read_text()
        assert old in text
        (copy / "config.yaml").write_text(text.replace(old, new, 1))
        assert words in refused(capsys, copy, "--output", tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_weights_that_are_not_finite(self, runs, tmp_path, capsys):
        copy = shutil.copytree(runs["lora"], tmp_path / "run")
        contents = load(copy / "last.ckpt")
        for value in contents["state_dict"].values():
            value.fill_(float("nan"))
        torch.save(contents, copy / "last.ckpt")
        assert "weights finite?" in refused(capsys, copy, "--output", tmp_path / "out")
