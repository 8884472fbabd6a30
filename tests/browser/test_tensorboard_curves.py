"""TensorBoard: its own reader and its real server find every curve, one row of settings per run, and text as text."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile import HOSTILE, LONG
from tensorboard_server import TensorBoard, tensorboard
from training_fixtures import World, curve

from ptst_pl.results.records import Generation
from ptst_pl.training.callbacks.tensorboard import LINK_QUERY, Curves, as_code, sub_runs

TEMPLATES = ["text:vanilla", "chat:vanilla", "chat:llama"]
TAGS = {"asr": "rate", "refused": "refusal_rate", "broken": "broken_rate"}
OPTIONS = (
    *("--safety.active", "true", "--safety.every_n_steps", "2", "--trainer.accumulate_grad_batches", "2"),
    *("--trainer.limit_val_batches", "1.0", "--safety.suites", '[{"name": "odd", "path": "odd.csv"}]'),
)
UNDER = ("--data.init_args.template", "chat:vanilla", "--safety.templates", json.dumps(TEMPLATES))


@pytest.fixture(scope="module")
def runs(world: World) -> dict[str, Path]:
    """Two runs in one folder: other training templates, other test templates, one of them resumed."""
    odd = [text.replace('"', '""') for text in HOSTILE.values() if text.strip("_") and text.isprintable()]
    (world.folder / "odd.csv").write_text("prompt\n" + "".join(f'"{text}"\n' for text in odd))
    base = ("--runs", str(world.folder / "board"))
    usual = (*base, *OPTIONS, "--safety.templates", '["text:vanilla"]')
    for started in [
        world.start("fit", "--name", "wide", *base, *OPTIONS, *UNDER),
        world.start("fit", "--name", "narrow", *usual, "--trainer.max_steps", "4", "--checkpoint_every_n_steps", "2"),
    ]:
        started.wait().ok()
    world.run("fit", "--name", "narrow", *usual, "--trainer.max_steps", "6", "--ckpt_path", "last")
    return {name: world.folder / "board" / name / "version_0" for name in ("wide", "narrow")}


@pytest.fixture(scope="module")
def board(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[TensorBoard]:
    with tensorboard(runs["wide"].parents[1], tmp_path_factory.mktemp("board") / "log") as started:
        yield started


def rates_of(run: Path) -> list[dict]:
    return json.loads((run / "safety/results.json").read_text())["rates"]


def test_every_pair_of_templates_is_one_sub_run_with_the_same_tags_and_the_true_steps(runs):
    found = {str(path.relative_to(runs["wide"])) for path in runs["wide"].glob("*/test=*")}
    assert found == {f"train=chat-vanilla/test={t.replace(':', '-')}" for t in TEMPLATES}
    rates = rates_of(runs["wide"])
    for template in TEMPLATES:
        folder = runs["wide"] / f"train=chat-vanilla/test={template.replace(':', '-')}"
        for name, key in TAGS.items():
            expected = [(r["step"], pytest.approx(r[key])) for r in rates if r["template"] == template]
            assert [step for step, _ in expected] == [0, 2, 4, 6]
            assert curve(folder, f"{name}/refusal-judge/odd") == expected


def test_the_server_shows_all_runs_of_a_folder_and_their_curves(board: TensorBoard, runs):
    names = {f"wide/version_0/train=chat-vanilla/test={t.replace(':', '-')}" for t in TEMPLATES}
    names.add("narrow/version_0/train=text-vanilla/test=text-vanilla")
    assert {name for name in board.get("runs") if "test=" in name} == names
    tags = board.get("plugin/scalars/tags")
    for name in names:
        assert set(tags[name]) == {f"{tag}/refusal-judge/odd" for tag in TAGS}
        points = board.get("plugin/scalars/scalars", run=name, tag="asr/refusal-judge/odd")
        test = name.rpartition("test=")[2].replace("-", ":", 1)
        rates = [r for r in rates_of(runs[name.partition("/")[0]]) if r["template"] == test]
        assert [point[1:] for point in points] == [[r["step"], pytest.approx(r["rate"])] for r in rates]


def test_the_hparams_view_has_one_row_per_run_with_settings_and_last_rates(board: TensorBoard, runs):
    rows = {row["name"]: row for row in board.rows()}
    assert set(rows) == {"wide/version_0/final", "narrow/version_0/final"}
    for name, template in (("wide", "chat:vanilla"), ("narrow", "text:vanilla")):
        row = rows[f"{name}/version_0/final"]
        assert row["settings"]["train_template"] == template
        assert row["settings"]["model.learning_rate"] == pytest.approx(1e-3)
        assert row["settings"]["seed"] == 1
        assert row["metrics"]["step"] == 6
        assert 0 < row["metrics"]["val/loss"] < 20
        last = {r["template"]: r["rate"] for r in rates_of(runs[name]) if r["step"] == 6}
        for test, rate in last.items():
            shown = row["metrics"][f"asr/refusal-judge/odd/{test.replace(':', '-')}"]
            assert shown == pytest.approx(rate)
    columns = {info["name"]["tag"] for info in board.post("plugin/hparams/experiment", {})["metricInfos"]}
    assert columns >= {f"asr/refusal-judge/odd/{t.replace(':', '-')}" for t in TEMPLATES}
    assert "train/grad_norm" not in columns


def test_a_resumed_run_replaces_its_row(runs):
    assert len(list((runs["narrow"] / "final").iterdir())) == 1


def test_stored_answers_come_out_of_the_server_as_text(board: TensorBoard):
    run = "wide/version_0/train=chat-vanilla/test=chat-llama"
    tags = board.get("plugin/text/tags")[run]
    assert len(tags) == 3
    for tag in tags:
        for event in board.get("plugin/text/text", run=run, tag=tag):
            own = {"table", "tbody", "tr", "td", "pre", "code"}  # TensorBoard's, one cell around one block
            assert set(re.findall(r"<\s*/?\s*([^\s>/]+)", event["text"])) == own
            assert "--- answer (" in event["text"]


def generation(answer: str, template: str = "chat:llama", prompt_id: str = "1") -> Generation:
    return Generation("s", prompt_id, "", "q", template, "[INST] q [/INST]", answer, "stop", 0, {})


def rendered(markdown: str) -> str:
    """As TensorBoard's text view does it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the library that it brings along
        from tensorboard.plugin_util import markdown_to_safe_html
    return markdown_to_safe_html(markdown.encode())


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answers_are_shown_and_do_nothing(name, tmp_path):
    answer = HOSTILE[name]
    curves = Curves()
    curves.show(tmp_path, "chat:vanilla", 0, [generation(answer, prompt_id=answer)], 1)
    curves.close()
    shown = rendered(as_code(generation(answer)))
    assert re.fullmatch(r"<pre><code>[^<>]*</code></pre>", shown.strip())
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown)
    for word in re.findall(r"[a-z]{3,}", answer):
        assert word in shown


def test_a_long_answer_is_cut_and_says_so():
    shown = as_code(generation(LONG))
    assert len(shown) < 30_000
    assert "more characters in generations.jsonl" in shown


def test_templates_that_look_alike_in_a_path_get_folders_of_their_own():
    found = sub_runs(Path("run"), "a:b", ["a:b", "a-b", "a/b", "c"])
    assert len(set(found.values())) == 4
    assert found["a:b"] == Path("run/train=a-b/test=a-b")


def test_the_link_in_a_browser_opens_the_curves_with_a_colour_per_test_template(board: TensorBoard, page):
    page.open(f"{board.url}{LINK_QUERY}&tagFilter=asr#timeseries")
    rows = "[...document.querySelectorAll('runs-data-table tb-data-table-content-row, tr.mat-row')]"
    names = page.wait(f"(r => r.length >= 4 && r.map(e => e.innerText))({rows})", 60)
    assert sum("test=" in name for name in names) == len(names) == 4
    colours = page.run(f"{rows}.map(e => [e.innerText, e.querySelector('button,.run-color-swatch').style.cssText])")
    by_test: dict[str, set[str]] = {}
    for name, colour in colours:
        by_test.setdefault(re.sub(r"\s", "", name).rpartition("test=")[2], set()).add(colour)
    assert {len(found) for found in by_test.values()} == {1}  # both runs' text-vanilla in one colour
    assert len(set.union(*by_test.values())) == len(by_test) == 3
    page.wait("document.querySelectorAll('scalar-card').length === 1", 30)
    assert not page.dialogs
    assert all(url.startswith((board.url, "data:", "blob:")) for url in page.requests)
