"""BERTScore on a small random BERT made on the spot: what it is, and what goes wrong with it elsewhere."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from ptst_pl import InputError
from ptst_pl.cli import main
from ptst_pl.judges.base import summarise
from ptst_pl.judges.bertscore import BertScoreJudge
from ptst_pl.judges.build import build_judge
from ptst_pl.results.records import Generation, ResultsFolder

WORDS = ["a", "hat", "is", "washed", "red", "door", "soap", "and", "the", "water"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A BERT of two layers with large random weights, so that tokens differ, and a word-level tokenizer."""
    path = tmp_path_factory.mktemp("bert")
    core = Tokenizer(models.WordLevel(unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["<s>", "</s>", "<pad>", "<unk>"]
    core.train_from_iterator([" ".join(WORDS)], trainers.WordLevelTrainer(special_tokens=special, show_progress=False))
    core.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(str(path))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = BertModel(
            BertConfig(
                vocab_size=len(WORDS) + 4, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                intermediate_size=32, max_position_embeddings=64, pad_token_id=2, initializer_range=0.5,
            ),
            add_pooling_layer=False,
        )  # fmt: skip
    model.save_pretrained(str(path))
    return path


@pytest.fixture(scope="module")
def judge(folder) -> BertScoreJudge:
    return build(folder)


def build(folder: Path | str, **options) -> BertScoreJudge:
    arguments = {"path": str(folder), "num_layers": 2, "max_length": 32, "device": "cpu"} | options
    found = build_judge({"class_path": "ptst_pl.judges.BertScoreJudge", "init_args": arguments})
    assert isinstance(found, BertScoreJudge)
    return found


def generation(answer: str, reference: str | None, number: int = 0) -> Generation:
    return Generation(
        suite="chatdoctor", prompt_id=str(number), category="", question="How?", template="chat:llama",
        prompt_text="?", answer=answer, finish_reason="stop", step=3, decoding={}, measures="helpfulness",
        reference=reference,
    )  # fmt: skip


def texts(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, 12))) for _ in range(count)]


def rows(count: int = 12) -> list[Generation]:
    pairs = zip(texts(count, 1), texts(count, 2), strict=True)
    return [generation(answer, reference, n) for n, (answer, reference) in enumerate(pairs)]


def by_hand(folder: Path, answer: str, reference: str, layer: int = 2) -> float:
    """Greedy matching of the tokens' states by cosine, special tokens left out (Zhang et al., section 3)."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(str(folder))
    model = BertModel.from_pretrained(str(folder), add_pooling_layer=False).eval()
    states = []
    for text in (answer, reference):
        with torch.no_grad():
            out = model(**tokenizer(text, return_tensors="pt", return_token_type_ids=False), output_hidden_states=True)
        states.append(torch.nn.functional.normalize(out.hidden_states[layer][0, 1:-1], dim=-1))
    likeness = states[0] @ states[1].T
    precision, recall = likeness.max(1).values.mean(), likeness.max(0).values.mean()
    return float(2 * precision * recall / (precision + recall))


def test_identical_texts_score_one_and_others_less(judge):
    found = judge.verdicts([generation(text, text, n) for n, text in enumerate(texts(8, 3))])
    assert [verdict.score for verdict in found] == pytest.approx([1.0] * 8, abs=1e-5)
    different = judge.verdicts([generation("red door", "a hat is washed")])[0].score
    assert different < 0.95
    assert {verdict.correct for verdict in found} == {None}


def test_it_is_the_papers_formula(judge, folder):
    for row in rows(4):
        assert judge.verdicts([row])[0].score == pytest.approx(by_hand(folder, row.answer, row.reference), abs=1e-5)


@pytest.mark.parametrize("layer", [0, 1])
def test_the_layer_is_the_one_that_is_asked_for(folder, layer):
    row = rows(1)[0]
    found = build(folder, num_layers=layer).verdicts([row])[0].score
    assert found == pytest.approx(by_hand(folder, row.answer, row.reference, layer), abs=1e-5)


def test_neither_order_nor_company_of_rows_matters(judge):
    """In batches torchmetrics 1.9 gives answers the references of other rows."""
    given = rows()
    scores = {row.prompt_id: judge.verdicts([row])[0].score for row in given}
    assert len(set(scores.values())) > 6
    for order in (given, given[::-1], given[5:] + given[:5]):
        found = judge.verdicts(order)
        assert [verdict.prompt_id for verdict in found] == [row.prompt_id for row in order]
        assert {verdict.prompt_id: verdict.score for verdict in found} == scores


def test_empty_answers_score_nothing_and_missing_references_are_unscored(judge):
    given = [generation("", "a hat"), generation("a hat", ""), generation("a hat", None), generation("a hat", "a hat")]
    found = judge.verdicts(given)
    assert [verdict.score for verdict in found] == [0.0, None, None, pytest.approx(1.0, abs=1e-5)]
    assert found[0].reason == "empty answer"
    (record,) = summarise(found, max_unscored=0.5)
    assert (record["n"], record["unscored"], record["mean_score"]) == (2, 2, pytest.approx(0.5, abs=1e-5))


def test_long_texts_are_cut_and_said_to_be(judge):
    long = " ".join(WORDS * 8)
    found = judge.verdicts([generation(long, long), generation("a hat", "a hat")])
    assert [verdict.details for verdict in found] == [{"cut": True}, {}]
    assert found[0].score == pytest.approx(1.0, abs=1e-5)


def test_judging_moves_no_random_number(judge):
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    build_judge(judge).verdicts(rows(2))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_judge_command_stores_the_mean_and_the_model(folder, tmp_path, capsys):
    results = ResultsFolder(tmp_path, {"train_template": "chat"})
    results.add(rows(), [], [{"step": 3, "judge": "none", "measures": "asr"}], 3)
    main([
        "judge", str(tmp_path), "--judge", "bertscore", "--path", str(folder), "--set", "num_layers=2",
        "--set", "max_length=32", "--set", "device=cpu",
    ])  # fmt: skip
    stored = json.loads((tmp_path / "results.json").read_text())
    (record,) = [r for r in stored["rates"] if r["judge"] == "bertscore"]
    assert record["rate"] is None
    assert record["score_low"] < record["mean_score"] < record["score_high"]
    assert f"{record['mean_score']:.3f}" in capsys.readouterr().out
    assert stored["judge_settings"]["bertscore"]["num_layers"] == 2
    assert "layer 2" in stored["judges"]["bertscore"]


class TestMistakes:
    def test_no_model_and_no_network(self):
        found = build_judge("bertscore")
        with pytest.raises(InputError) as raised:
            found.verdicts(rows(1))
        line = str(raised.value)
        assert line.startswith("judge bertscore: 'roberta-large' cannot be loaded (")
        assert "\n" not in line
        assert "give path: a local folder" in line

    @pytest.mark.parametrize("path", ["./nowhere", "/no/such/folder", "a/b/c"])
    def test_a_folder_without_a_model_is_said_before_anything_is_generated(self, path):
        with pytest.raises(InputError, match="is no folder with a config"):
            build(path)

    def test_a_layer_that_is_not_there(self, folder):
        with pytest.raises(InputError, match="has 2 layers, num_layers is 17"):
            build(folder, num_layers=17).verdicts(rows(1))

    @pytest.mark.parametrize("options", [{"num_layers": -1}, {"max_length": 2}])
    def test_numbers_that_cannot_be(self, folder, options):
        with pytest.raises(InputError, match="expected at least 0 and 3"):
            build(folder, **options)

    def test_weights_that_are_missing_would_be_random(self, folder, tmp_path):
        model = BertModel.from_pretrained(str(folder), add_pooling_layer=False)
        state = {name: value for name, value in model.state_dict().items() if "layer.1.output" not in name}
        model.save_pretrained(str(tmp_path), state_dict=state)
        PreTrainedTokenizerFast.from_pretrained(str(folder)).save_pretrained(str(tmp_path))
        with pytest.raises(InputError, match=r"has no weights for \d+ tensors, such as encoder.layer.1.output"):
            build(tmp_path).verdicts(rows(1))
