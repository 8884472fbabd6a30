"""The line of an edit: which runs are on it, in which order, and that the page draws it."""

from page_runs import page

from ptst_pl.cli import main
from ptst_pl.report.discover import find_runs
from ptst_pl.report.edit_curve import edit_tracks, edited


def made(folder, values=(1.0, 0.0, 0.5)):
    return [
        page(folder / f"a{value}", steps=(0,), harmful={("chat:llama", 0): round(10 * value)},
             edit={"edit": "interpolate", "alpha": value, "made_of": {}})
        for value in values
    ]  # fmt: skip


def test_the_values_come_in_order_under_each_template(tmp_path):
    runs = find_runs([*made(tmp_path), page(tmp_path / "plain", steps=(0,))]).runs
    ((name, (key, own)),) = edited(runs).items()
    assert (name, key, len(own)) == ("interpolate", "alpha", 3)
    tracks = edit_tracks(key, own, ("hats", "exact"), ("howto", "exact-match"))
    assert [(value, round(risk.mean, 2), help_.mean) for value, help_, risk in tracks["chat:llama"]] == [
        (0.0, 0.0, 0.7), (0.5, 0.5, 0.7), (1.0, 1.0, 0.7),
    ]  # fmt: skip


def test_one_value_is_no_line(tmp_path):
    assert edited(find_runs(made(tmp_path, (0.5,))).runs) == {}


def test_the_page_has_the_figure(tmp_path):
    main(["report", *map(str, made(tmp_path)), "--html", str(tmp_path / "page.html")])
    html = (tmp_path / "page.html").read_text()
    assert '<section id="edits">' in html
    assert "interpolate, alpha: hats (exact judge) against" in html
