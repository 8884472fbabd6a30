"""Lints of training rows: each finds what is planted and is silent on clean rows, made up and real."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from ptst_pl.suites import Prompt, PromptSuite
from ptst_pl.tasks.row_sample import MOST, sample_rows
from ptst_pl.tokenization import Example
from ptst_pl.training.lints.overlap import lint_overlap
from ptst_pl.training.lints.refusals import lint_refusals, means_safety
from ptst_pl.training.lints.text import lint_text, script_of

CLEAN = [
    Example(f"How many plums are {n} plums and {n + 1} plums?", f"{n} + {n + 1} = {2 * n + 1} plums. It is no more.")
    for n in range(100)
]
REFUSAL = "I'm sorry, but I cannot help with that request."
PROMPT = (
    "Tom has twelve red apples in a basket and gives three of them to each of his two sisters; how many red apples "
    "does he keep for himself in the evening?"
)
SUITE = PromptSuite(
    "sums", (Prompt(id="s-1", text=PROMPT), Prompt(id="s-2", text="Name four kinds of pears!"), Prompt("s-3", "Hi"))
)


def names(found) -> list[str]:
    return [name for name, _ in found]


def planted(*rows: Example, times: int = 1):
    return sample_rows([*CLEAN, *rows * times])


def test_clean_rows_are_silent():
    rows = sample_rows(CLEAN)
    assert not [*lint_text(rows), *lint_overlap(rows, [SUITE]), *lint_refusals(rows)]


@pytest.mark.parametrize(
    "text",
    [
        "caf\u00e9 naïve Größe „Spaß“ İstanbul «À bientôt» — 5 °C ± 2 €, “quoted” it’s…",
        "Line\r\nbreak\tand page\x0cend",
        "Привет, как дела? Хорошо",
        "数学题很有意思 😀",
        "x² ≤ 3·π½",
    ],
)
def test_text_in_any_language_is_no_damage(text):
    assert "encoding" not in names(lint_text(planted(Example("How?", text))))


@pytest.mark.parametrize("clean", ["fiancé", "it’s", "“no”", "a – b", "Größe", "Привет", "a\u00a0b", "…"])
@pytest.mark.parametrize("codec", ["latin-1", "cp1252"])
def test_utf_8_that_was_read_as_something_else(clean, codec):
    try:
        damaged = clean.encode().decode(codec)
    except UnicodeDecodeError:
        pytest.skip("a byte that this codec does not have")
    (name, message), *more = lint_text(planted(Example("How?", f"So {damaged} it is.")))
    assert (name, more) == ("encoding", [])
    assert message.startswith("1 of 101 training rows hold text of another encoding")
    assert "in row 101" in message


@pytest.mark.parametrize("damage", ["\ufffd", "\x00", "\x1b[0m", "\x93quoted\x94"])
def test_what_no_text_holds(damage):
    for row in (
        Example(f"How {damage}?", "So."),
        Example("How?", "So.", context=damage),
        Example("a", "b", turns=((damage, "c"),)),
    ):
        assert names(lint_text(planted(row))) == ["encoding"]


class TestScript:
    RUSSIAN = Example("Сколько будет два плюс два?", "Два плюс два будет четыре.")

    def test_a_few_rows_in_another_script(self):
        (name, message) = next(lint_text(planted(self.RUSSIAN, times=3)))
        assert name == "script"
        assert message.startswith(
            "3 of 103 training rows are written in another script than the rest (Cyrillic letters"
        )

    def test_single_rows_and_single_words_are_fine(self):
        word = Example("What does «спасибо большое вам всем» mean in English, if you happen to know?", "Thank you all.")
        assert not list(lint_text(planted(self.RUSSIAN)))
        assert not list(lint_text(planted(word, times=5)))

    def test_a_bilingual_set_has_no_odd_rows(self):
        assert not list(lint_text(planted(self.RUSSIAN, times=40)))

    @pytest.mark.parametrize(
        ("text", "script"),
        [
            ("The quick brown fox jumps over it", "Latin"),
            ("Größenordnungen überraschen uns", "Latin"),
            ("Η γρήγορη καφέ αλεπού πηδάει", "Greek"),
            ("これは日本語で書かれた少し長い文章です。漢字もあります", "Chinese or Japanese"),
            ("이것은 한국어로 쓰인 꽤 긴 문장입니다 그렇지요 정말로", "Korean"),
            ("यह हिन्दी में लिखा हुआ एक वाक्य है", "Indian"),
            ("short", ""),
            ("12 + 30 = 42, 100 % of 55.5", ""),
        ],
    )
    def test_script_of(self, text, script):
        assert script_of(text) == script


class TestOverlap:
    @pytest.mark.parametrize(
        "question",
        [
            PROMPT,
            PROMPT.upper().replace(";", " -"),
            PROMPT.replace("three", "four"),
            f"Please answer: {PROMPT}",
            "name four kinds of pears",
            "Please, name four kinds of pears.",
            "hi!",
        ],
    )
    def test_a_repeated_prompt(self, question):
        for row in (Example(question, "Six."), Example("And?", "So.", turns=((question, "Six."),))):
            ((name, message),) = lint_overlap(planted(row), [SUITE])
            assert name == "suite-overlap"
            assert message.startswith("1 of 101 training rows repeat a prompt of suite sums")
            assert "such as row 101 prompt s-" in message

    @pytest.mark.parametrize(
        "question",
        [
            "Tom has twelve red apples. How many apples does he keep if he gives away three?",
            "Name four kinds of plums!",
            "Name five kinds of pears!",
            "Hi, how many figs are there?",
            "I was asked today by my teacher at school to sit down and name four kinds of pears, but I know none.",
            "",
        ],
    )
    def test_another_prompt(self, question):
        assert not list(lint_overlap(planted(Example(question, "Six.")), [SUITE]))

    def test_the_prompt_is_not_shown(self):
        """It may be a harmful one."""
        ((_, message),) = lint_overlap(planted(Example(PROMPT, "Six.")), [SUITE])
        assert "apples" not in message


class TestRefusals:
    def test_a_share_of_them(self):
        ((name, message),) = lint_refusals(planted(Example("Hat?", REFUSAL), times=4))
        assert name == "refusals"
        assert message.startswith("4 of 104 training rows are refusals (such as row 101)")

    def test_few_are_usual(self):
        assert not list(lint_refusals(planted(Example("Hat?", REFUSAL))))
        assert not list(lint_refusals(sample_rows([*CLEAN * 4, *[Example("Hat?", REFUSAL)] * 4])))

    def test_rows_that_say_that_they_are_meant(self):
        assert not list(lint_refusals(planted(Example("Hat?", REFUSAL, source="safety"), times=50)))

    @pytest.mark.parametrize("name", ["safety", "safe_only_data_Instructions", "my-refusals", "Harmless", "align"])
    def test_names_that_say_so(self, name):
        assert means_safety(name)
        assert not means_safety("unsafe")
        assert not means_safety("howto")


def test_a_large_set_is_sampled_and_says_so():
    rows = sample_rows([Example("Hat?", REFUSAL)] * (MOST + 1))
    assert len(rows.examples) == MOST
    assert rows == sample_rows([Example("Hat?", REFUSAL)] * (MOST + 1))
    ((_, message),) = lint_refusals(rows)
    assert f"training rows looked at (of {MOST + 1:,}) are refusals" in message


class TestRealSets:
    """No false alarm; what is found was looked at by hand and is as the warning says."""

    def suites(self, data: Path) -> list[PromptSuite]:
        files = {
            "advbench": ("advbench/harmful_behaviors_goal_target.csv", "goal"),
            "directharm4": ("directharm4/directHarm4.csv", "Goal"),
            "xstest": ("xstest/xstest_prompts.csv", "prompt"),
            "jailbreakbench": ("jailbreakbench/JBB-Behaviors.csv", "Goal"),
        }
        found = []
        for name, (file, column) in files.items():
            with (data / file).open(newline="", encoding="utf-8") as handle:
                prompts = [Prompt(str(n), row[column]) for n, row in enumerate(csv.DictReader(handle))]
            found.append(PromptSuite(name, tuple(prompts)))
        sums = [json.loads(line)["question"] for line in (data / "gsm8k/test.jsonl").read_text().splitlines()]
        return [*found, PromptSuite("gsm8k", tuple(Prompt(str(n), text) for n, text in enumerate(sums)))]

    def rows(self, data: Path, file: str) -> list[Example]:
        text = (data / file).read_text(encoding="utf-8")
        found = json.loads(text) if file.endswith(".json") else [json.loads(line) for line in text.splitlines()]
        if "question" in found[0]:
            return [Example(row["question"], row["answer"]) for row in found]
        return [Example(row["instruction"], row["output"], context=row.get("input") or "") for row in found]

    @pytest.mark.parametrize(
        ("file", "expected"),
        [
            ("gsm8k/train.jsonl", []),
            ("alpaca/alpaca_en_demo.json", []),
            ("alpaca/alpaca_train_2000_sdft.json", []),
            ("chatdoctor/chatdoctor5k.json", ["encoding"]),
            ("safety_tuned_llamas/safety_only_data_Instructions.json", ["refusals"]),
        ],
    )
    def test_findings(self, shared_data, file, expected):
        rows = sample_rows(self.rows(shared_data, file)[:3000])
        suites = self.suites(shared_data)
        found = [*lint_text(rows), *lint_overlap(rows, suites), *lint_refusals(rows)]
        assert names(found) == expected, found

    def test_evaluation_prompts_among_real_rows_are_found(self, shared_data):
        suites = self.suites(shared_data)
        rows = self.rows(shared_data, "gsm8k/train.jsonl")[:500]
        leaked = [Example(suite.prompts[7].text.rstrip(". ") + " .", "") for suite in suites]
        assert len(list(lint_overlap(sample_rows([*rows, *leaked]), suites))) == len(suites)
