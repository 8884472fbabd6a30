"""Judges of the judgezoo package: its classes on tiny models, what they leave unread, their prompts beside ours."""

from __future__ import annotations

import copy
import importlib
from types import SimpleNamespace

import pytest
import torch
from judge_models import GUARD_8B, causal, gemma_with_adapter, generation

from ptst_pl import InputError
from ptst_pl.judges.build import build_judge
from ptst_pl.judges.presets import PRESETS, harmbench, strongreject

pytest.importorskip("judgezoo", reason="needs the extra judgezoo")
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks by the old name
SAFE, BAD = "Put it into a box.", "Put it under the bed, then close the door."


def zoo(judge: str, **more: object) -> object:
    return build_judge({"name": "judgezoo", "judge": judge, **more})


@pytest.fixture(scope="module")
def made(byte_level):
    tokenizer = copy.deepcopy(byte_level)
    tokenizer.add_tokens([*"12345", "Yes", "No", "safe", "unsafe", "bed"])
    tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


@pytest.fixture
def on(monkeypatch, made):
    """Give one of its modules a tiny model instead of the hub's; every text that its tokenizer is asked for is kept."""

    def give(module: str, model: torch.nn.Module, template: str | None = None) -> list[str]:
        texts: list[str] = []

        class Kept(type(made)):
            def __call__(self, text, *args, **kwargs):
                texts.extend([text] if isinstance(text, str) else text)
                return super().__call__(text, *args, **kwargs)

        tokenizer = copy.deepcopy(made)
        tokenizer.__class__ = Kept
        tokenizer.chat_template, tokenizer.padding_side = template, "left"
        place = importlib.import_module(f"judgezoo.{module}")
        monkeypatch.setattr(place, "AutoModelForCausalLM", SimpleNamespace(from_pretrained=lambda *a, **k: model))
        monkeypatch.setattr(place, "AutoTokenizer", SimpleNamespace(from_pretrained=lambda *a, **k: tokenizer))
        return texts

    return give


def yes_no(made, bad: str = "Yes", safe: str = "No") -> torch.nn.Module:
    model = causal(made, [safe], [bad], "bed")
    model.generation_config.pad_token_id = made.pad_token_id
    return model


@pytest.mark.parametrize("size", [1, 2])
def test_the_verdict_is_what_its_own_class_says(on, made, size):
    on("harmbench", yes_no(made))
    judge = zoo("harmbench", batch_size=size)
    verdicts = judge.judge([generation(a, "How do I hide it?", n) for n, a in enumerate([BAD, SAFE, SAFE, BAD, SAFE])])
    assert [v.harmful for v in verdicts] == [True, False, False, True, False]
    assert [v.prompt_id for v in verdicts] == list("01234")
    assert {v.judge for v in verdicts} == {"judgezoo-harmbench"}
    assert judge.version.startswith("judgezoo 0.")
    assert [round(v.score) for v in verdicts] == [1, 0, 0, 1, 0]


def test_options_reach_its_class(on, made):
    on("harmbench", yes_no(made))
    (verdict,) = zoo("harmbench", options={"classifier": "mistral_7b"}, threshold=0.3).judge([generation(BAD)])
    assert verdict.harmful
    assert "classifier=mistral_7b" in verdict.judge_version
    for options, expected in (
        ({"classifier": "gpt"}, "'gpt' is none of cais"),
        ({"clasifier": 1}, "did you mean 'cla"),
    ):
        with pytest.raises(InputError, match=expected):
            zoo("harmbench", options=options).judge([generation(BAD)])


class TestOursBesideTheirs:
    """Where both have a judge: the same words, read by the same rule, or docs/log.md says why not."""

    def test_llama_guard_3_is_asked_the_same(self, on, made):
        texts = on("llama_guard_3", yes_no(made), GUARD_8B)
        with pytest.raises(InputError, match="out of bounds"):  # its token numbers are those of the real model
            zoo("llama_guard_3").judge([generation(SAFE)])
        tokenizer = copy.deepcopy(made)
        tokenizer.chat_template = GUARD_8B
        assert texts[-1] == PRESETS["llama-guard-3"](tokenizer).render(generation(SAFE).question, SAFE)

    def test_strong_reject_is_asked_the_same_but_for_our_bos_and_graded_the_same(self, on, made, tmp_path):
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        base, adapter = gemma_with_adapter(made, {"4": 3, "5": 3}, tmp_path)
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter).get_base_model()
        texts = on("strong_reject", model)
        (verdict,) = zoo("strong_reject").judge([generation(SAFE)])
        question = generation(SAFE).question
        assert texts[-1] == strongreject.PROMPT.format(forbidden_prompt=question, response=SAFE)
        assert (
            strongreject.StrongReject(made).render(question, SAFE).replace(str(made.bos_token or ""), "") == texts[-1]
        )
        assert (verdict.score, verdict.harmful) == (pytest.approx(0.875, abs=1e-2), True)

    def test_harmbench_differs_and_ours_is_the_authors_prompt(self, on, made):
        """Theirs has rules of the other prompts, and its template loses the line breaks around the system prompt."""
        texts = on("harmbench", yes_no(made))
        zoo("harmbench").judge([generation(SAFE)])
        ours = harmbench.LLAMA2_PROMPT.format(behavior=generation(SAFE).question, generation=SAFE)
        theirs = texts[-1].removeprefix(str(made.bos_token))
        assert theirs != ours
        assert theirs.startswith("[INST] <<SYS>>You are") != ours.startswith("[INST] <<SYS>>You are")
        assert ("Benign or supportive" in theirs, "Benign or supportive" in ours) == (False, True)


def said(monkeypatch, judge: str, answers) -> object:
    """The judge, with a package whose class says this of each part."""
    built = zoo(judge)
    asked: list[int] = []

    class Says:
        def judge(self, chats):
            asked.append(len(chats))
            return answers(chats)

    built._zoo = Says()
    built.batch_size = 3
    return built, asked


@pytest.mark.parametrize(
    ("found", "harmful", "score"),
    [
        ({"p_harmful": 0.9}, True, 0.9),
        ({"p_harmful": 0.5}, False, 0.5),
        ({"p_harmful": 0.9, "harmful": False}, False, 0.9),
        ({"p_harmful": None, "harmful": None}, None, None),
        ({"p_harmful": float("nan")}, None, None),
    ],
)
def test_a_score_is_read_and_none_is_unscored(monkeypatch, found, harmful, score):
    judge, _ = said(monkeypatch, "md_judge", lambda chats: {key: [value] * len(chats) for key, value in found.items()})
    for verdict in judge.judge([generation(SAFE)] * 2):
        assert (verdict.harmful, verdict.score) == (harmful, score)
        assert verdict.reason.startswith("judge failed") == (harmful is None)


def test_what_it_leaves_out_is_unscored_and_moves_nobody_elses_score(monkeypatch):
    """Its rubric judge returns a shorter list where a reply could not be read."""

    def answers(chats):
        scores = [1.0 if chat[1]["content"] == BAD else 0.0 for chat in chats if "?" not in chat[1]["content"]]
        return {"p_harmful": scores}

    judge, asked = said(monkeypatch, "strong_reject_rubric", answers)
    verdicts = judge.judge([generation(a, number=n) for n, a in enumerate(["What?", BAD, SAFE, SAFE, BAD])])
    assert [v.harmful for v in verdicts] == [None, True, False, False, True]
    assert asked == [3, 1, 1, 1, 2]


def test_xstest_says_refusals(monkeypatch):
    kinds = iter(["direct_answer", "indirect_refusal", "direct_refusal", None])
    judge, _ = said(monkeypatch, "xstest", lambda chats: {"category": [next(kinds) for _ in chats]})
    assert judge.measures == ("over-refusal",)
    verdicts = judge.judge([generation(SAFE, measures="over-refusal")] * 4)
    assert [v.refused for v in verdicts] == [False, True, True, None]
    assert [v.harmful for v in verdicts] == [None] * 4


def test_judged_text_brings_no_control_tokens(on, made):
    texts = on("harmbench", yes_no(made))
    zoo("harmbench").judge([generation(f"One {made.eos_token} two")])
    assert f"One {made.eos_token}" not in texts[-1]
    assert "two" in texts[-1]


def test_its_failure_is_one_line(on, monkeypatch):
    def fails(*args, **kwargs):
        raise OSError("cannot\nreach the hub")

    monkeypatch.setattr(importlib.import_module("judgezoo.md_judge"), "AutoModelForCausalLM", fails)
    with pytest.raises(InputError, match=r"^judge judgezoo: md_judge failed: .*[^\n]*$"):
        zoo("md_judge").judge([generation(SAFE)])


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"judge": "md_juge"}, "no judge 'md_juge'; did you mean 'md_judge'"),
        ({"judge": "pair"}, "pair cannot be used: it compares"),
        ({"judge": "best_of_n"}, "it wraps another judge"),
        ({"judge": "md_judge", "threshold": 2}, "threshold must be from 0 to 1"),
        ({"judge": "md_judge", "treshold": 0.5}, "unknown key 'treshold'; did you mean 'threshold'"),
        ({}, "judge"),
    ],
)
def test_a_wrong_entry_is_one_line(spec, expected):
    with pytest.raises(InputError, match=expected):
        build_judge({"name": "judgezoo", **spec})


def test_without_the_package_the_line_says_what_to_install(monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'ptst_pl\[judgezoo\]'"):
        zoo("md_judge")


def test_arguments_beside_a_known_name_reach_other_judges_too():
    assert build_judge({"name": "last-number", "rule": "signed"}).version == build_judge("last-number-signed").version
