"""The paper's numbers as data: every cell is there, and each can have been measured."""

from __future__ import annotations

import itertools
from collections import Counter
from math import ceil, floor, sqrt

import pytest

from ptst_pl import InputError
from ptst_pl.report.paper.published import NO_FT, curves, find_tables, metrics, tables
from ptst_pl.report.runs import UNTOUCHED
from ptst_pl.templates import BUILT_IN_TEMPLATES


def test_every_cell_is_there():
    counts = {name: {metric: len(cells) for metric, cells in table.cells.items()} for name, table in tables().items()}
    assert counts == {
        "1a": {"gsm8k": 30},
        "1b": {"advbench": 30},
        "1c": {"directharm4": 30},
        "1d": {"jailbreakbench-gcg": 30},
        "2": {"gsm8k": 25, "directharm4": 25},
        "3": {"gsm8k": 12, "advbench": 12, "directharm4": 12},
        "4": {"chatdoctor": 12, "advbench": 12, "directharm4": 12},
        "5": {"arc-easy": 12, "arc-challenge": 12, "advbench": 12, "directharm4": 12},
        "6a": {"gsm8k": 12},
        "6b": {"advbench": 21, "directharm4": 21, "gsm-danger": 21},
        "7": {"gsm8k": 30, "advbench": 30, "directharm4": 30},
        "fig3a": {"directharm4": 9},
        "fig3b": {"directharm4": 9},
    }
    assert list(curves()) == ["fig2a", "fig2b"]


@pytest.mark.parametrize(
    ("table", "metric", "row", "column", "mean", "deviation", "runs"),
    [
        ("1a", "gsm8k", NO_FT, "CL", 6.52, None, 1),
        ("1a", "gsm8k", "CV", "CL", 30.00, 0.83, 3),
        ("1b", "advbench", "TA", "TA", 10.83, 2.09, 3),
        ("1c", "directharm4", "CL", "CL", 18.08, 2.49, 3),
        ("1c", "directharm4", "CV", "CV", 11.00, 0.82, 3),
        ("1d", "jailbreakbench-gcg", "CL", "CA", 31.33, 9.57, 3),
        ("2", "directharm4", "CV", "SR", 0.17, 0.12, 3),
        ("2", "gsm8k", "ICD", "CA", 33.36, 0.60, 3),
        ("3", "directharm4", "CL", "CV", 36.25, None, 1),
        ("4", "directharm4", NO_FT, "CA", 3.85, 0.46, 5),
        ("4", "chatdoctor", "CA", "CL", 84.4, None, 5),
        ("5", "arc-challenge", "CV", "CL", 46.84, None, 1),
        ("5", "directharm4", "CA", "CA", 44.75, None, 1),
        ("6a", "gsm8k", "CL+safety", "CL", 34.27, None, 1),
        ("6b", "gsm-danger", "CV", "CA", 52, None, 3),
        ("6b", "directharm4", "CL", "CL", 15.75, None, 3),
        ("7", "advbench", "TV", "TV", 89.81, None, 1),
        ("fig3a", "directharm4", "CL", "CM", 17.5, None, 1),
    ],
)
def test_cells_as_printed(table, metric, row, column, mean, deviation, runs):
    cell = tables()[table].cells[metric][row, column]
    assert 100 * cell.mean == pytest.approx(mean)
    assert (cell.deviation and 100 * cell.deviation) == (deviation and pytest.approx(deviation))
    assert cell.runs == runs


# Cells that no counts over whole prompts give; the data file's notes name those of them that are odd.
ODD = {
    ("1a", "gsm8k", "TA", "TV"), ("1a", "gsm8k", "TA", "CV"), ("1a", "gsm8k", "CV", "CV"), ("2", "gsm8k", "CV", "CV"),
    ("2", "gsm8k", "CA", "SR"), ("2", "gsm8k", "ICD", "ICD"), ("4", "advbench", "CL", "CL"),
    ("5", "arc-easy", NO_FT, "CL"), ("7", "gsm8k", "TV", "TA"), ("7", "advbench", "CA", "CA"),
}  # fmt: skip


def test_a_cell_is_a_share_of_whole_prompts():
    """A slip of a digit is hardly ever again a multiple of 1 / (runs x prompts)."""
    odd = {
        (name, metric, row, column)
        for name, table in tables().items()
        for metric, cells in table.cells.items()
        for (row, column), cell in cells.items()
        if metrics()[metric].unit == "percent" and not table.read_off
        if not _counts(cell.mean, metrics()[metric].n * cell.runs)
    }
    assert odd == ODD


def test_asr_deviations_of_tables_1_and_2_are_those_of_a_population_of_three():
    """Three whole counts have the printed mean and, divided by three and not two, the printed deviation."""
    checked = Counter()
    for name in ("1b", "1c", "1d", "2"):
        for metric, cells in tables()[name].cells.items():
            n = metrics()[metric].n
            for cell in cells.values():
                if cell.deviation is not None and metric != "gsm8k":
                    assert any(_spread(total, n, cell.deviation) for total in _counts(cell.mean, 3 * n)), (name, cell)
                    checked[name] += 1
    assert checked == {"1b": 25, "1c": 25, "1d": 25, "2": 25}


def _counts(mean: float, n: int) -> list[int]:
    """How many of n can be rounded to this share (two digits of a per cent)."""
    near = range(max(0, floor((mean - 1e-4) * n)), ceil((mean + 1e-4) * n) + 1)
    return [k for k in near if abs(k / n - mean) <= 0.5e-4 + 1e-9]


def _spread(total: int, n: int, deviation: float) -> bool:
    reach = ceil(3 * deviation * n) + 1
    around = range(max(0, total // 3 - reach), total // 3 + reach + 1)
    for first, second in itertools.combinations_with_replacement(around, 2):
        three = (first, second, total - first - second)
        found = sqrt(sum((k - total / 3) ** 2 for k in three) / 3) / n
        if abs(found - deviation) <= 0.5e-4 + 1e-9:
            return True
    return False


def test_the_data_keeps_what_does_not_fit_together():
    """DirectHarm4 under CL is another number in Table 6 than in Table 1; the notes say so."""
    first, sixth = tables()["1c"], tables()["6b"]
    assert first.cells["directharm4"]["CV", "CL"].mean != sixth.cells["directharm4"]["CV", "CL"].mean
    assert first.cells["directharm4"]["CV", "CV"].mean == sixth.cells["directharm4"]["CV", "CV"].mean
    for table in (first, sixth):
        assert any("wording" in note for note in table.notes)
    assert any("ChatDoctor's" in note for note in tables()["5"].notes)


def test_rows_and_columns_are_templates_of_ours():
    for table in tables().values():
        assert set(table.templates.values()) <= set(BUILT_IN_TEMPLATES)
        for row in table.rows:
            assert table.row_name(row) == UNTOUCHED or table.row_name(row).split(" +")[0] in BUILT_IN_TEMPLATES
    assert tables()["6b"].row_name("CV+safety") == "chat:vanilla +safety"


@pytest.mark.parametrize(
    ("name", "found"), [("1", "1a 1b 1c 1d"), ("6", "6a 6b"), ("Table 1c", "1c"), ("fig3", "fig3a fig3b")]
)
def test_a_table_or_all_its_parts(name, found):
    assert [table.name for table in find_tables(name)] == found.split()


@pytest.mark.parametrize(
    ("name", "said"), [("9", "known: 1a, 1b"), ("fig2a", "a curve"), ("", "known: 1a"), ("fig3c", "did you mean")]
)
def test_an_unknown_table_is_one_line(name, said):
    with pytest.raises(InputError, match=said):
        find_tables(name)
