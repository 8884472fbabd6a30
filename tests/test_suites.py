"""Prompt suites: public files as they are, files with odd contents, and one line for each mistake."""

from __future__ import annotations

import collections
import csv
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptst_pl import suites
from ptst_pl.errors import InputError
from ptst_pl.suites import Prompt, PromptSuite, SuiteSpec, load_suite, stratified

ODD_TEXTS = [
    "two\nlines",
    'a "quoted", word',
    "one\u2028line \x85 for readers that break there\u2029",
    "🙂 naïve 你好",
    " spaces around ",
    "x" * 200_000,
]


def load(path, **options):
    return load_suite(SuiteSpec("mine", str(path), **options))


def write_file(path, rows):
    """The rows as csv, json or jsonl, after the file's ending."""
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def mistake(path, **options):
    """The one line that a wrong file is answered with."""
    with pytest.raises(InputError) as caught:
        load(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


class TestPublicFiles:
    def test_advbench_without_a_header_has_520(self, shared_data):
        path = shared_data / "advbench" / "advbench-harmful-behaviors.csv"
        suite = load_suite(SuiteSpec("advbench", str(path)))
        assert len(suite.prompts) == suites.KNOWN_SUITES["advbench"].size == 520
        other = load_suite(SuiteSpec("advbench", str(path.with_name("harmful_behaviors_goal_target.csv"))))
        assert [p.text for p in suite.prompts] == [p.text for p in other.prompts]

    def test_directharm4_has_100_of_each_category(self, shared_data):
        suite = load_suite(SuiteSpec("directharm4", str(shared_data / "directharm4" / "directHarm4.csv")))
        assert len(suite.prompts) == suites.KNOWN_SUITES["directharm4"].size == 400
        assert collections.Counter(p.category for p in suite.prompts) == dict.fromkeys(
            ("malware", "drug", "phishing", "disinfo"), 100
        )

    def test_directharm4_limit_takes_25_of_each_category_in_the_files_order(self, shared_data):
        path = shared_data / "directharm4" / "directHarm4.csv"
        whole, part = load(path).prompts, load(path, limit=100).prompts
        assert set(collections.Counter(p.category for p in part).values()) == {25}
        assert list(part) == [p for p in whole if p in set(part)]
        assert part == load(path, limit=100).prompts

    @pytest.mark.parametrize(
        ("file", "size", "column"),
        [
            ("xstest/xstest_prompts.csv", 450, None),
            ("harmbench/harmbench_behaviors_text_all.csv", 400, None),
            ("jailbreakbench/JBB-Behaviors.csv", 100, "Goal"),
            ("strongreject/strongreject_dataset.csv", 313, None),
            ("directharm4/disinfo100_upstream_fields.jsonl", 100, None),
            ("safety_tuned_llamas/safety_only_data_Instructions.json", 2483, None),
        ],
    )
    def test_other_sets_load_as_they_are(self, file, size, column, shared_data):
        suite = load(shared_data / file, prompt_column=column)
        assert len(suite.prompts) == size
        assert len({p.id for p in suite.prompts}) == size


class TestFiles:
    @pytest.mark.parametrize("ending", [".csv", ".json", ".jsonl"])
    def test_odd_texts_survive(self, tmp_path, ending):
        rows = [{"prompt": text, "category": f"c{n}"} for n, text in enumerate(ODD_TEXTS)]
        rows = rows[:5] if ending == ".csv" else rows
        suite = load(write_file(tmp_path / f"odd{ending}", rows))
        assert [(p.text, p.category) for p in suite.prompts] == [(r["prompt"], r["category"]) for r in rows]

    @pytest.mark.parametrize("ending", [".csv", ".json", ".jsonl", ".CSV"])
    def test_byte_order_mark_is_no_part_of_the_first_column(self, tmp_path, ending):
        lower = write_file(tmp_path / f"x{ending.lower()}", [{"prompt": "2 + 2?", "id": "a"}])
        path = tmp_path / f"bom{ending}"
        path.write_bytes(b"\xef\xbb\xbf" + lower.read_bytes())
        assert load(path).prompts == (Prompt("a", "2 + 2?"),)

    def test_windows_line_ends_and_blank_lines(self, tmp_path):
        path = tmp_path / "x.csv"
        path.write_bytes(b'prompt,category\r\n"two\r\nlines",a\r\n\r\nthree,b\r\n\r\n')
        assert [p.text for p in load(path).prompts] == ["two\r\nlines", "three"]

    def test_columns_are_found_in_any_case_or_named(self, tmp_path):
        path = write_file(tmp_path / "x.csv", [{"Goal": "2 + 2?", "Category": "sums", "text": "other"}])
        assert load(path).prompts == (Prompt("mine-0001", "2 + 2?", "sums"),)
        assert load(path, prompt_column="text", category_column="Goal").prompts == (
            Prompt("mine-0001", "other", "2 + 2?"),
        )

    def test_ids_of_the_file_or_numbers(self, tmp_path):
        rows = [{"id": 7, "prompt": "a"}, {"id": "", "prompt": "b"}, {"id": None, "prompt": "c"}]
        ids = [p.id for p in load(write_file(tmp_path / "x.jsonl", rows)).prompts]
        assert ids == ["7", "mine-0002", "mine-0003"]


class TestMistakes:
    """Each is one line with file, row or column."""

    def test_no_file(self, tmp_path):
        assert "does not exist" in mistake(tmp_path / "none.csv")

    def test_ending(self, tmp_path):
        (tmp_path / "x.txt").write_text("a")
        assert "ending '.txt', expected .csv, .json or .jsonl" in mistake(tmp_path / "x.txt")

    @pytest.mark.parametrize(
        ("name", "content"),
        [("x.csv", ""), ("x.csv", "prompt,category\n"), ("x.json", "[]"), ("x.jsonl", ""), ("x.jsonl", "\n\n")],
    )
    def test_nothing_in_it(self, tmp_path, name, content):
        (tmp_path / name).write_text(content)
        assert "holds no prompt" in mistake(tmp_path / name)

    @pytest.mark.parametrize("ending", [".csv", ".json", ".jsonl"])
    def test_wrong_encoding(self, tmp_path, ending):
        path = tmp_path / f"x{ending}"
        path.write_bytes("prompt\ncafé au lait\n".encode("latin-1"))
        assert "UTF-8" in mistake(path)
        path.write_bytes("prompt\nmilk\n".encode("utf-16"))
        assert "UTF-8" in mistake(path)

    def test_no_column_of_prompts(self, tmp_path):
        path = write_file(tmp_path / "x.csv", [{"text": "2 + 2?", "kind": "sums"}])
        assert "no column prompt or instruction or" in mistake(path)
        assert "among text, kind; name it with prompt_column" in mistake(path)
        assert "no column txt among text, kind" in mistake(path, prompt_column="txt")
        assert "no column sort among" in mistake(path, prompt_column="text", category_column="sort")

    @pytest.mark.parametrize("text", ["", "  ", None, 5, ["a"]])
    def test_empty_prompt(self, tmp_path, text):
        path = write_file(tmp_path / "x.jsonl", [{"prompt": "fine"}, {"prompt": text}])
        assert "row 2: column 'prompt' is empty or no text" in mistake(path)

    def test_half_an_emoji(self, tmp_path):
        (tmp_path / "x.jsonl").write_text('{"prompt": "half \\ud83d"}\n')
        assert "row 1: column 'prompt' holds a lone surrogate" in mistake(tmp_path / "x.jsonl")

    def test_duplicate_id(self, tmp_path):
        path = write_file(tmp_path / "x.csv", [{"id": i, "prompt": i} for i in ("a", "b", "a")])
        assert "row 3: id 'a' stands in row 1 too" in mistake(path)

    def test_broken_json(self, tmp_path):
        (tmp_path / "x.json").write_text('[{"prompt": "a"},\n {"prompt" "b"}]')
        assert "line 2: no JSON" in mistake(tmp_path / "x.json")
        (tmp_path / "y.json").write_text('{"prompt": "a"}')
        assert "expected a JSON list of objects" in mistake(tmp_path / "y.json")
        (tmp_path / "z.jsonl").write_text('{"prompt": "a"}\n{"prompt"\n')
        assert "line 2: no JSON object" in mistake(tmp_path / "z.jsonl")
        (tmp_path / "w.jsonl").write_text('{"prompt": "a"}\n[1]\n')
        assert "line 2: found list, expected a JSON object" in mistake(tmp_path / "w.jsonl")

    def test_csv_with_too_many_fields(self, tmp_path):
        (tmp_path / "x.csv").write_text("prompt,category\na,b\nSorry, what,c\n")
        assert "record 3: 3 fields, expected 2 (prompt, category)" in mistake(tmp_path / "x.csv")

    @pytest.mark.parametrize("content", ['prompt\n"never closed\nb\n', 'prompt,kind\n"a"b,c\n'])
    def test_csv_with_broken_quotes(self, tmp_path, content):
        (tmp_path / "x.csv").write_text(content)
        assert "no csv that can be read" in mistake(tmp_path / "x.csv")

    def test_csv_with_a_column_twice(self, tmp_path):
        (tmp_path / "x.csv").write_text("prompt,prompt\na,b\n")
        assert "column 'prompt' stands twice" in mistake(tmp_path / "x.csv")

    def test_csv_with_a_huge_cell(self, tmp_path):
        (tmp_path / "x.csv").write_text("prompt\n" + "x" * 200_000 + "\n")
        assert "field larger than field limit" in mistake(tmp_path / "x.csv")

    @pytest.mark.parametrize("limit", [0, -1])
    def test_limit(self, tmp_path, limit):
        path = write_file(tmp_path / "x.csv", [{"prompt": "a"}])
        with pytest.raises(InputError, match=f"limit is {limit}, expected at least 1"):
            load(path, limit=limit)

    def test_unknown_suite(self):
        with pytest.raises(InputError, match=r"unknown suite 'advbnch'; did you mean 'advbench'\?"):
            load_suite(SuiteSpec("advbnch"))

    @pytest.mark.parametrize(("error", "reason"), [(OSError(), "OSError"), (OSError("no\nnet"), "no")])
    def test_hub_out_of_reach(self, monkeypatch, error, reason):
        import datasets

        def fail(*args, **options):
            raise error

        monkeypatch.setattr(datasets, "load_dataset", fail)
        with pytest.raises(InputError, match=rf"cannot be had from the hub \({reason}\); give a local file"):
            load_suite(SuiteSpec("advbench"))


prompts = st.lists(st.tuples(st.text(min_size=1, max_size=5), st.sampled_from("abc")), min_size=1, max_size=30).map(
    lambda rows: [Prompt(str(n), text, kind) for n, (text, kind) in enumerate(rows)]
)


@settings(max_examples=50, deadline=None)
@given(prompts=prompts, limit=st.integers(1, 35), order=st.randoms(use_true_random=False))
def test_limit_is_a_stratified_part_that_is_the_same_every_time(prompts, limit, order):
    part = stratified(prompts, limit)
    assert part == stratified(list(prompts), limit)
    assert len(part) == min(limit, len(prompts))
    assert [p for p in prompts if p in part] == part
    sizes = collections.Counter(p.category for p in prompts)
    for kind, count in collections.Counter(p.category for p in part).items():
        assert abs(count - len(part) * sizes[kind] / len(prompts)) < 1
    shuffled = list(prompts)
    order.shuffle(shuffled)
    if len({p.category for p in prompts}) == 1:  # else a tie between categories may fall differently
        assert sorted(p.text for p in stratified(shuffled, limit)) == sorted(p.text for p in part)


def test_hash_changes_with_any_change():
    base = [Prompt("1", "a", "x"), Prompt("2", "b", "x")]
    changed = [
        base,
        base[:1],
        base[::-1],
        [*base, base[0]],
        [Prompt("1", "a ", "x"), base[1]],
        [Prompt("1", "a", "y"), base[1]],
        [Prompt("1", "ab", "x"), Prompt("2", "", "x")],
        [Prompt("1", "a", "x", reference="4"), base[1]],
    ]
    hashes = [PromptSuite("mine", tuple(rows)).sha256 for rows in changed]
    assert len(set(hashes)) == len(changed)
    assert PromptSuite("other", tuple(base)).sha256 == hashes[0]
