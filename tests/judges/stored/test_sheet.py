"""Sheets and the human judge: text survives spreadsheets, formulas never run, labels are never guessed."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored_run import REFUSAL, generation

from ptst_pl import InputError
from ptst_pl.judges import HumanJudge
from ptst_pl.judges.sheet import guarded, row_id, shown, unguarded, write_csv

HEAD = ["row", "question", "answer", "harmful", "refused", "note"]
HOSTILE = [
    "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "＝1", "'=1", "''", '"=1"', "=HYPERLINK(\"x\")",
    "a;b,c", 'say "no"', "line\r\nbreak", "\0", "\x1b[31m", "half \ud83d", "7", "007", "3/4", "Mar 3", "DEC1", "true",
    "1e5", "\u2028 \x85 \x1c", "x" * 40_000, "", "Ü ø 🙂",
]  # fmt: skip
anything = st.one_of(st.text(max_size=40), st.text(st.characters(), max_size=40), st.sampled_from(HOSTILE))


def write(path, answers, labels):
    """A sheet as ``sample`` writes it, with (harmful, refused, note) filled in; gives the generations."""
    found = [generation(i, answer=answer) for i, answer in enumerate(answers)]
    lines = [[row_id(g), g.question, g.answer, *label] for g, label in zip(found, labels, strict=True)]
    write_csv(path, [HEAD, *lines])
    return found


def cells(path):
    return list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))


def saved_again(path, separator=",", encoding="utf-8-sig", quoting=csv.QUOTE_MINIMAL, change=lambda cell: cell):
    """The sheet as a spreadsheet writes it."""
    text = io.StringIO(newline="")
    lines = [[change(cell) for cell in line] for line in csv.reader(io.StringIO(path.read_bytes().decode("utf-8-sig")))]
    csv.writer(text, delimiter=separator, quoting=quoting).writerows(lines)
    path.write_bytes(text.getvalue().encode(encoding))


quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@quick
@given(answers=st.lists(anything, max_size=4))
def test_any_answer_comes_back_with_its_label(tmp_path, answers):
    path = tmp_path / "sheet.csv"
    labels = [(("yes", "no")[i % 2], "", "") for i in range(len(answers))]
    found = write(path, answers, labels)
    assert [v.harmful for v in HumanJudge(str(path)).judge(found)] == [i % 2 == 0 for i in range(len(answers))]


@quick
@given(answers=st.lists(anything, max_size=4))
@pytest.mark.parametrize(("separator", "encoding"), [(";", "utf-8"), (",", "utf-8-sig"), ("\t", "utf-16")])
@pytest.mark.parametrize("apostrophe", ["kept", "eaten"])
def test_any_answer_survives_a_spreadsheet(tmp_path, answers, separator, encoding, apostrophe):
    path = tmp_path / "sheet.csv"
    found = write(path, answers, [("No", "YES", "")] * len(answers))
    saved_again(path, separator, encoding, change=unguarded if apostrophe == "eaten" else str)
    assert [(v.harmful, v.refused) for v in HumanJudge(str(path)).judge(found)] == [(False, True)] * len(answers)


@quick
@given(text=anything)
def test_no_cell_is_a_formula(tmp_path, text):
    path = tmp_path / "x.csv"
    write_csv(path, [HEAD, [text] * len(HEAD)])
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    for cell in cells(path)[1]:
        assert not cell.lstrip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))
        assert not cell.startswith(("\t", "\r", "\n"))
        assert not [c for c in cell if c < " " and c not in "\t\n"]
        assert len(cell) < 32_767
        assert unguarded(cell) == shown(text)


@quick
@given(text=st.text(max_size=20))
def test_the_guard_comes_off_again(text):
    assert unguarded(guarded(text)) == text


@pytest.mark.parametrize("text", ["7", "-7", "007", "3/4", "1e5", "Mar 3", "sept. 2021", "DEC1", "true", "FALSE", "'x"])
def test_what_a_spreadsheet_would_change_is_guarded(text):
    assert guarded(text) == "'" + text


@pytest.mark.parametrize(
    "text", ["", "Sorry.", "Marble is 3", "tiny-hard-0001", "ra80bd898de5bd2d", "December is cold."]
)
def test_plain_text_is_left_alone(text):
    assert guarded(text) == text


@pytest.mark.parametrize(
    ("word", "harmful"),
    [
        *((word, True) for word in ("yes", "Y", " 1 ", "TRUE", "ja")),
        *((word, False) for word in ("no", "N", "0", "False", "nein")),
        *((word, None) for word in ("", "  ", "unsure", "?")),
    ],
)
def test_words_for_labels(tmp_path, word, harmful):
    found = write(tmp_path / "s.csv", [REFUSAL], [(word, "", "")])
    (verdict,) = HumanJudge(str(tmp_path / "s.csv")).judge(found)
    assert verdict.harmful is harmful
    assert verdict.refused is None


def test_what_has_no_label_is_unscored_and_says_why(tmp_path):
    found = write(tmp_path / "s.csv", [REFUSAL] * 3, [("unsure", "yes", "odd"), ("", "", ""), ("no", "", "")])
    verdicts = HumanJudge(str(tmp_path / "s.csv"), name="ann").judge([*found, generation(9)])
    assert [(v.harmful, v.reason) for v in verdicts] == [
        (None, "unsure"), (None, "no label"), (False, "labelled"), (None, "not in the sheet"),
    ]  # fmt: skip
    assert verdicts[0].details == {"note": "odd"}
    assert {v.judge for v in verdicts} == {"ann"}
    mild = generation(0, answer=REFUSAL, measures="over-refusal")
    only = write(tmp_path / "t.csv", [REFUSAL], [("unsure", "yes", "")])
    assert row_id(mild) == row_id(only[0])
    (verdict,) = HumanJudge(str(tmp_path / "t.csv")).judge([mild])
    assert (verdict.refused, verdict.reason) == (True, "labelled")


def test_the_version_changes_with_the_labels(tmp_path):
    versions = set()
    for word in ("yes", "no"):
        write(tmp_path / "s.csv", [REFUSAL], [(word, "", "")])
        versions.add(HumanJudge(str(tmp_path / "s.csv")).version)
    assert len(versions) == 2


def test_rows_that_a_spreadsheet_adds_or_cuts(tmp_path):
    path = tmp_path / "s.csv"
    found = write(path, [REFUSAL] * 2, [("yes", "", "")] * 2)
    path.write_text(path.read_text().replace(',"yes","",""', ",yes") + ",,,,,,,\r\n\r\n")
    path.write_text(path.read_text().replace('"note"', '"note",,'))
    assert [v.harmful for v in HumanJudge(str(path)).judge(found)] == [True, True]


def edited(old, new):
    return lambda text: text.replace(old, new, 1)


def doubled(label):
    def change(text):
        first = text.splitlines()[1]
        return text + first.replace('"yes"', f'"{label}"') + "\r\n"

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (edited('"yes"', '"maybe"'), "row 2: harmful is 'maybe', expected yes, no, unsure or nothing"),
        (edited("with that", "with this"), "row 2: the answer is not the stored one to hats hats-0"),
        (doubled("no"), "row 4: {row} stands in row 2 too, with another label or answer"),
        (edited('"row"', '"id"'), "expected the columns row, answer and harmful or refused"),
        (edited('"harmful","refused"', '"a","b"'), "expected the columns"),
        (edited('"question"', '"answer"'), "expected the columns"),
        (edited("{row}", "r0"), "row 2: r0 is no answer of these results"),
        (edited("{row}", ""), "row 2: column 'row' is empty"),
        (edited('""\r\n', '"","more"\r\n'), "row 2: 7 cells, expected 6"),
        (lambda text: text.replace('"no","",""', '"no","","","more"'), "row 3: 7 cells, expected 6"),
        (lambda text: text[:-5] + '"', "no CSV that can be read"),
        (lambda text: "", "expected the columns"),
    ],
)
def test_mistakes_name_file_and_row(tmp_path, change, expected):
    path = tmp_path / "s.csv"
    found = write(path, [REFUSAL] * 2, [("yes", "", ""), ("no", "", "")])
    name = row_id(found[0])
    text = path.read_bytes().decode("utf-8-sig").replace(name, "{row}")
    path.write_bytes(change(text).replace("{row}", name).encode())
    with pytest.raises(InputError) as caught:
        HumanJudge(str(path)).judge(found)
    assert expected.replace("{row}", name) in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_row_that_stands_twice_with_one_label_is_no_mistake(tmp_path):
    path = tmp_path / "s.csv"
    found = write(path, [REFUSAL] * 2, [("yes", "", ""), ("no", "", "")])
    path.write_text(doubled("yes")(path.read_text()))
    assert [v.harmful for v in HumanJudge(str(path)).judge(found)] == [True, False]


def test_other_encodings_are_refused(tmp_path):
    path = tmp_path / "s.csv"
    write(path, ["Dür fällt nichts ein."], [("no", "", "")])
    saved_again(path, encoding="latin-1")
    with pytest.raises(InputError, match="not UTF-8"):
        HumanJudge(str(path))
