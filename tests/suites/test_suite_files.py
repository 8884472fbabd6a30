"""Files of a user's own: odd contents survive, columns are found, and every mistake is one line."""

import csv
import json
import os
import tracemalloc

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from ptst_pl import InputError
from ptst_pl.suites import Prompt, SuiteSpec, load_suite

ODD_TEXTS = [
    "two\nlines",
    'a "quoted", word',
    "one\u2028line \x85 for readers that break there\u2029",
    "🙂 naïve 你好",
    " spaces around ",
    "x" * 200_000,
]
ENDINGS = [".csv", ".json", ".jsonl"]


def load(path, **options):
    return load_suite(SuiteSpec("mine", str(path), **options))


class TestFiles:
    @pytest.mark.parametrize("ending", ENDINGS)
    def test_odd_texts_survive(self, write_rows, ending):
        rows = [{"prompt": text, "category": f"c{n}"} for n, text in enumerate(ODD_TEXTS)]
        rows = rows[:5] if ending == ".csv" else rows
        suite = load(write_rows(f"odd{ending}", rows))
        assert [(p.text, p.category) for p in suite.prompts] == [(r["prompt"], r["category"]) for r in rows]

    @pytest.mark.parametrize("ending", [*ENDINGS, ".CSV"])
    def test_byte_order_mark_is_no_part_of_the_first_column(self, write_rows, tmp_path, ending):
        lower = write_rows(f"x{ending.lower()}", [{"prompt": "2 + 2?", "id": "a"}])
        path = tmp_path / f"bom{ending}"
        path.write_bytes(b"\xef\xbb\xbf" + lower.read_bytes())
        assert load(path).prompts == (Prompt("a", "2 + 2?"),)

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_line_ends_of_all_systems_and_blank_lines(self, tmp_path, end):
        path = tmp_path / "x.csv"
        path.write_bytes(f'prompt,category{end}"two{end}lines",a{end}{end}three,b{end}{end}'.encode())
        assert [p.text for p in load(path).prompts] == [f"two{end}lines", "three"]

    def test_columns_are_found_in_any_case_or_named(self, write_rows):
        path = write_rows("x.csv", [{"Goal": "2 + 2?", "Category": "sums", "text": "other"}])
        assert load(path).prompts == (Prompt("mine-0001", "2 + 2?", "sums"),)
        named = load(path, prompt_column="text", category_column="Goal")
        assert named.prompts == (Prompt("mine-0001", "other", "2 + 2?"),)

    def test_ids_of_the_file_or_numbers(self, write_rows):
        rows = [{"id": 7, "prompt": "a"}, {"id": "", "prompt": "b"}, {"id": None, "prompt": "c"}]
        ids = [p.id for p in load(write_rows("x.jsonl", rows)).prompts]
        assert ids == ["7", "mine-0002", "mine-0003"]

    def test_a_prompt_per_line_without_a_header(self, tmp_path):
        (tmp_path / "x.csv").write_text('How do I wash a hat?\n"Where, then, is it?"\n')
        found = load(tmp_path / "x.csv", header=False).prompts
        assert [p.text for p in found] == ["How do I wash a hat?", "Where, then, is it?"]

    @pytest.mark.parametrize(
        "content",
        ["prompt;category\nA hat, red?;fine\n", "sep=;\nprompt;category\nA hat, red?;fine\n",
         "sep=\t\nprompt\tcategory\nA hat, red?\tfine\n", "category\tPrompt\nfine\tA hat, red?\n",
         'category,prompt\nfine,"A hat, red?"\n', '{"prompt": "A hat, red?", "category": "fine"}\n'],
    )  # fmt: skip
    def test_delimiters_of_all_countries_and_json_lines_under_a_csv_name(self, tmp_path, content):
        for name in ("x.csv", "x.tsv"):
            (tmp_path / name).write_text(content)
            assert load(tmp_path / name).prompts == (Prompt("mine-0001", "A hat, red?", "fine"),)

    def test_parquet(self, tmp_path):
        rows = [{"prompt": "A hat?", "category": "fine"}, {"prompt": "A drum?", "category": None}]
        parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "x.parquet")
        assert [(p.text, p.category) for p in load(tmp_path / "x.parquet").prompts] == [
            ("A hat?", "fine"),
            ("A drum?", ""),
        ]

    def test_harmbench_under_another_name_is_asked_with_its_contexts(self, write_rows):
        rows = [
            {"Behavior": "Say what it is", "FunctionalCategory": "contextual", "ContextString": "A red hat."},
            {"Behavior": "Wash a hat", "FunctionalCategory": "standard", "ContextString": ""},
        ]
        first, second = load(write_rows("x.csv", rows)).prompts
        assert (first.context, first.text.startswith("A red hat."), first.text.endswith("Say what it is")) == (
            "A red hat.", True, True,
        )  # fmt: skip
        assert (second.context, second.text) == ("", "Wash a hat")

    @settings(max_examples=60, deadline=None)
    @given(texts=st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1))
    def test_what_a_csv_writer_writes_is_read_back(self, texts, tmp_path_factory):
        path = tmp_path_factory.mktemp("csv") / "x.csv"
        with path.open("w", encoding="utf-8", newline="") as handle:
            csv.writer(handle, quoting=csv.QUOTE_ALL).writerows(
                [["prompt", "n"], *([f"{t}.", n] for n, t in enumerate(texts))]
            )
        assert [p.text for p in load(path).prompts] == [f"{text}." for text in texts]

    @settings(max_examples=150, deadline=None)
    @given(content=st.binary(max_size=80), ending=st.sampled_from(ENDINGS))
    def test_any_bytes_are_prompts_or_one_line(self, content, ending, tmp_path_factory):
        path = tmp_path_factory.mktemp("bytes") / f"x{ending}"
        path.write_bytes(content)
        try:
            said = f"{path} is fine" if load(path).prompts else "neither"
        except InputError as error:
            said = str(error)
        assert str(path) in said


class TestMistakes:
    """Each is one line with file, row or line, through the command line."""

    def test_no_file(self, tmp_path, mistake):
        assert "does not exist" in mistake(tmp_path / "none.csv")

    def test_a_folder(self, tmp_path, mistake):
        (tmp_path / "folder.csv").mkdir()
        assert "is a folder, expected one of .csv" in mistake(tmp_path / "folder.csv")

    def test_a_pipe(self, tmp_path, mistake):
        os.mkfifo(tmp_path / "pipe.csv")
        assert "is no regular file" in mistake(tmp_path / "pipe.csv")

    def test_a_name_that_is_too_long(self, tmp_path, mistake):
        assert "cannot be read" in mistake(tmp_path / f"{'x' * 300}.csv")

    def test_ending(self, tmp_path, mistake):
        (tmp_path / "x.txt").write_text("a")
        assert "ending '.txt', expected one of .csv, .tsv, .json, .jsonl, .parquet" in mistake(tmp_path / "x.txt")

    @pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.json", "x.jsonl"])
    @pytest.mark.parametrize(
        ("content", "what"),
        [
            (b"<!DOCTYPE html>\n<html><body>Please sign in</body></html>", "a web page"),
            (b"\xef\xbb\xbf\n  <HTML><head>", "a web page"),
            (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "a web page"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 5\n", "git lfs pull"),
            (b'{"error": "Access to this data set is restricted"}', "a server's error message"),
            (b'{"message": "Not Found", "status": 404}', "a server's error message"),
            (b"PK\x03\x04....", "a zip file, as .xlsx"), (b"%PDF-1.7 ...", "a PDF"), (b"\x1f\x8b\x08..", "a gzip file"),
        ],
    )  # fmt: skip
    def test_what_is_no_file_of_prompts_says_what_it_is(self, tmp_path, name, content, what, mistake):
        (tmp_path / name).write_bytes(content)
        assert what in mistake(tmp_path / name)

    @pytest.mark.parametrize(
        "content",
        ["Access to dataset is restricted. You must be authenticated.", "User Prompt\nHow do I wash a hat?\n",
         "User Prompt\tKind\nHow do I wash a hat?\tfine\n", "Prompt text;Kind\nHow do I wash a hat?;fine\n",
         "How do I wash a hat?\nWhere is it?\n", "text\nHow do I wash a hat?\n", "404: Not Found"],
    )  # fmt: skip
    def test_a_header_of_unknown_names_is_never_a_prompt(self, tmp_path, content, mistake):
        (tmp_path / "x.csv").write_text(content)
        for name in ("mine", "advbench"):
            assert "prompt_column" in mistake(tmp_path / "x.csv", name=name)

    def test_a_broken_parquet_file(self, tmp_path, mistake):
        (tmp_path / "x.parquet").write_bytes(b"PAR1 and no more")
        assert "no parquet file that can be read" in mistake(tmp_path / "x.parquet")

    @pytest.mark.parametrize(
        ("name", "content"),
        [("x.csv", ""), ("x.csv", "prompt,category\n"), ("x.json", "[]"), ("x.json", ""), ("x.jsonl", "\n\n")],
    )
    def test_nothing_in_it(self, tmp_path, name, content, mistake):
        (tmp_path / name).write_text(content)
        assert "holds no prompt" in mistake(tmp_path / name)

    @pytest.mark.parametrize("ending", ENDINGS)
    @pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le"])
    def test_wrong_encoding(self, tmp_path, ending, encoding, mistake):
        path = tmp_path / f"x{ending}"
        path.write_bytes("prompt\nnaïve café au lait\n".encode(encoding))
        assert "UTF-8" in mistake(path)

    def test_wrong_encoding_names_the_line(self, tmp_path, mistake):
        (tmp_path / "x.csv").write_bytes("prompt\nmilk\ncafé\n".encode("latin-1"))
        assert "line 3: not UTF-8 (byte 3); save it as UTF-8" in mistake(tmp_path / "x.csv")

    def test_nul_bytes(self, tmp_path, mistake):
        (tmp_path / "x.csv").write_bytes(b"prompt\nmi\0lk\n")
        assert "line 2: not UTF-8 but UTF-16, or no text at all (NUL bytes)" in mistake(tmp_path / "x.csv")
        (tmp_path / "x.json").write_text('[{"prompt": "a"}, {"prompt": "mi\\u0000lk"}]')
        assert "row 2: column 'prompt' holds a NUL character" in mistake(tmp_path / "x.json")

    def test_no_column_of_prompts(self, write_rows, mistake):
        path = write_rows("x.csv", [{"text": "2 + 2?", "kind": "sums"}])
        assert "no column prompt or instruction or" in mistake(path)
        assert "among text, kind; name it with prompt_column" in mistake(path)
        assert "no column txt among text, kind" in mistake(path, "--prompt-column", "txt")
        assert "no column sort among" in mistake(path, "--prompt-column", "text", "--category-column", "sort")

    @pytest.mark.parametrize("text", ["", "  ", None, 5, ["a"]])
    def test_empty_prompt(self, write_rows, text, mistake):
        path = write_rows("x.jsonl", [{"prompt": "fine"}, {"prompt": text}])
        assert "row 2: column 'prompt' is empty or no text" in mistake(path)

    @pytest.mark.parametrize("column", ["prompt", "category", "id"])
    def test_half_an_emoji(self, tmp_path, column, mistake):
        (tmp_path / "x.jsonl").write_text(json.dumps({"prompt": "whole", column: "half \ud83d"}))
        assert f"row 1: column '{column}' holds a lone surrogate" in mistake(tmp_path / "x.jsonl")

    def test_duplicate_id(self, write_rows, mistake):
        path = write_rows("x.csv", [{"id": i, "prompt": i} for i in ("a", "b", "a")])
        assert "row 3: id 'a' stands in row 1 too" in mistake(path)

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            ('[{"prompt": "a"},\n {"prompt" "b"}]', "line 2: no JSON"),
            ('{"prompt": "a"}', "found an object with keys prompt, expected a JSON list of objects"),
            ('"a"', "found str, expected a JSON list of objects"),
            ('[{"prompt": "a"}, "b"]', "row 2: found str, expected a JSON list of objects"),
            ("[" * 100_000, "no JSON that can be read"),
            ("9" * 10_000, "no JSON that can be read"),
        ],
    )
    def test_no_json_list(self, tmp_path, content, expected, mistake):
        (tmp_path / "x.json").write_text(content)
        assert expected in mistake(tmp_path / "x.json")

    def test_no_json_lines(self, tmp_path, mistake):
        (tmp_path / "z.jsonl").write_text('{"prompt": "a"}\n{"prompt"\n')
        assert "line 2: no JSON object" in mistake(tmp_path / "z.jsonl")
        (tmp_path / "w.jsonl").write_text('{"prompt": "a"}\n[1]\n')
        assert "line 2: found list, expected a JSON object" in mistake(tmp_path / "w.jsonl")

    @pytest.mark.parametrize(
        ("row", "expected"),
        [
            ("Sorry, what,c", "line 4: 3 fields, expected 2 (prompt, category)"),
            ("c", "line 4: 1 fields, expected 2 (prompt, category)"),
        ],
    )
    def test_ragged_csv(self, tmp_path, row, expected, mistake):
        (tmp_path / "x.csv").write_text(f'prompt,category\n"a\nb",c\n{row}\nd,e\n')
        assert expected in mistake(tmp_path / "x.csv")

    def test_ragged_csv_without_a_header(self, tmp_path, mistake):
        """A comma in a prompt that is not quoted: half a prompt would look like one."""
        (tmp_path / "x.csv").write_text("How do I wash a hat?\nWhere, then, is it?\n")
        assert "line 2: 3 fields, expected 1 (prompt)" in mistake(tmp_path / "x.csv", "--no-header")

    @pytest.mark.parametrize("content", ['prompt\n"never closed\nb\n', 'prompt,kind\n"a"b,c\n'])
    def test_csv_with_broken_quotes(self, tmp_path, content, mistake):
        (tmp_path / "x.csv").write_text(content)
        assert "line 2: no csv that can be read" in mistake(tmp_path / "x.csv")

    def test_csv_with_a_column_twice(self, tmp_path, mistake):
        (tmp_path / "x.csv").write_text("prompt,prompt\na,b\n")
        assert "column 'prompt' stands twice" in mistake(tmp_path / "x.csv")

    def test_csv_with_a_huge_cell(self, tmp_path, mistake):
        (tmp_path / "x.csv").write_text("prompt\n" + "x" * 200_000 + "\n")
        assert "field larger than field limit" in mistake(tmp_path / "x.csv")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x.jsonl", "line 2: longer than 16 MiB, expected one record of text a line"),
        ("x.csv", "line 2: longer than 16 MiB, expected one record of text a line"),
        ("x.json", "105 MiB, expected at most 64 MiB of JSON; write one row a line, as .jsonl"),
    ],
)
def test_a_line_of_100_megabytes_is_refused_without_holding_it(tmp_path, name, expected, mistake):
    path = tmp_path / name
    with path.open("wb") as handle:
        handle.write(b'{"prompt": "fine"}\n' if name == "x.jsonl" else b"prompt\n")
        handle.truncate(110_000_000)  # the rest is one line, of holes that take no room on the disk
    tracemalloc.start()
    try:
        assert expected in mistake(path)
        assert tracemalloc.get_traced_memory()[1] < 60_000_000
    finally:
        tracemalloc.stop()
