"""The HTML page: its numbers are the files' numbers, its policy holds, and no text in it becomes markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from html.parser import HTMLParser

import pytest
from page_runs import HOSTILE, META, data_block, four, page

from ptst_pl.cli import main
from ptst_pl.report.heat_map import contrast, shades
from ptst_pl.report.runs import load_run, matrix
from ptst_pl.results.judge_accuracy import JudgeAccuracy

VOID = {"meta", "input", "path", "use", "rect"}


class Parsed(HTMLParser):
    """What a browser makes of a page: elements with attributes, and the text of cells, scripts and styles."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.texts, self._open = [], {}, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(len(self.elements) - 1)

    def handle_endtag(self, tag):
        if tag not in VOID:
            self._open.pop()

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        for place in self._open:
            self.texts[place] = self.texts.get(place, "") + data

    def all(self, tag, **wanted):
        """(attributes, text) of the elements of a tag with these attributes."""
        found = [(k, attrs) for k, (name, attrs) in enumerate(self.elements) if name == tag]
        return [(a, self.texts.get(k, "")) for k, a in found if all(a.get(key) == v for key, v in wanted.items())]


def unpack(text):
    """The texts and answers of a page, as its script reads them."""
    lines = zlib.decompress(base64.b64decode(data_block(text, "pack"))).decode().splitlines()
    items = [json.loads(line) for line in lines]
    return [item for item in items if isinstance(item, str)], [item for item in items if not isinstance(item, str)]


def write(tmp_path, runs, *options):
    out = tmp_path / "page.html"
    main(["report", *map(str, runs), "--html", str(out), *options])
    return out.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    runs = four(folder)
    return runs, write(folder, runs)


def test_every_cell_shows_the_rate_of_the_files(made):
    runs, text = made
    cells, parsed = matrix([load_run(run) for run in runs]), Parsed(text)
    numbers = json.loads(data_block(text, "numbers"))["cells"]
    buttons = {int(a["data-cell"]): said for a, said in parsed.all("button") if "data-cell" in a}
    assert len(buttons) == len(numbers) == len(cells) == 24
    for number, cell in enumerate(numbers):
        key = (cell["filter"]["train"], cell["filter"]["template"], cell["filter"]["suite"], cell["filter"]["judge"])
        rate = cells[key]
        spread = "" if rate.deviation is None else f" ± {100 * rate.deviation:.1f}"
        own = ", ".join(f"{100 * value:.0f}" for value in rate.values)
        runs_ = f" × {rate.seeds} runs ({own})" if rate.seeds > 1 else ""
        wanted = f"{100 * rate.mean:.1f}{spread}[{100 * rate.low:.0f}, {100 * rate.high:.0f}]n {rate.n}{runs_}"
        assert buttons[number].removesuffix("PTST") == wanted, key
    mean = cells["chat:vanilla", "chat:llama", "hats", "exact"]
    assert (mean.mean, mean.seeds) == (pytest.approx(0.2), 2)


def test_the_untouched_model_is_the_first_row_and_only_ptst_cells_are_marked(made):
    _, text = made
    first = text.split('id="matrix-0"')[1].split("</table>")[0]
    rows = re.findall(r'<th scope="row"><bdi>([^<]*)', first)
    assert rows == ["(not fine-tuned)", "chat:vanilla", "chat:llama"]
    told = json.loads(data_block(text, "numbers"))["cells"]
    marked = [c["filter"] for c, said in zip(told, _cells(text), strict=True) if "PTST" in said]
    assert {(f["train"], f["template"]) for f in marked} == {("chat:vanilla", "chat:llama")}


def _cells(text):
    return [said for a, said in Parsed(text).all("button") if "data-cell" in a]


def test_a_chosen_cell_tells_counts_and_settings_of_every_run(made):
    runs, text = made
    cell = next(
        c for c in json.loads(data_block(text, "numbers"))["cells"]
        if list(c["filter"].values()) == ["chat:vanilla", "chat:llama", "hats", "exact", "last"]
    )  # fmt: skip
    facts = " ".join(f"{name}: {value}" for name, value in cell["facts"])
    assert "1 of 10 = 10.0 %" in facts
    assert "3 of 10 = 30.0 %" in facts
    for told in ("sha256 " + "a" * 64, "version 2", "max_new_tokens 56", f"fit --config {runs[0] / 'config.yaml'}"):
        assert told in facts


def test_the_policy_allows_this_style_and_this_script_and_nothing_else(made):
    parsed = Parsed(made[1])
    ((policy, _),) = [
        (a["content"], t) for a, t in parsed.all("meta") if a.get("http-equiv") == "Content-Security-Policy"
    ]
    (style,), (script,) = parsed.all("style"), [s for s in parsed.all("script") if "type" not in s[0]]
    for name, (_, content) in (("style-src", style), ("script-src", script)):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy


def test_nothing_is_fetched_and_nothing_is_styled_or_handled_inline(made):
    for tag, attrs in Parsed(made[1]).elements:
        assert not {"style", "src", "srcset", "action", "background"} & set(attrs), tag
        assert not [name for name in attrs if name.startswith("on")], tag
        assert attrs.get("href", "#").startswith("#"), tag
        assert tag not in ("link", "iframe", "object", "embed", "base", "form", "img", "image"), tag


def test_ids_are_unique_and_menus_name_panes_that_exist(made):
    parsed = Parsed(made[1])
    ids = [attrs["id"] for _, attrs in parsed.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    options = [a["value"] for a, _ in parsed.all("option")]
    assert options
    assert set(options) <= set(ids)
    targets = {attrs["href"][1:] for tag, attrs in parsed.elements if tag in ("use", "a") and "href" in attrs}
    assert targets <= set(ids)


def test_hostile_texts_make_no_element_and_come_back_whole(tmp_path, made):
    meta = {"decoding": META["decoding"] | {"stop": HOSTILE[0]}, "versions": {HOSTILE[1]: HOSTILE[0]}}
    suites = META["suites"]
    run = page(
        tmp_path / "plain",
        harmful={("chat:llama", 8): 2},
        texts=HOSTILE,
        n=len(HOSTILE),
        meta=meta | {"suites": suites},
    )
    plain = page(tmp_path / "odd", harmful={("chat:llama", 8): 2}, n=len(HOSTILE))
    odd, tame = write(tmp_path, [run]), write(tmp_path, [plain])
    kinds = [sorted(tag for tag, _ in Parsed(text).elements) for text in (odd, tame)]
    extra = [tag for tag in kinds[0] if kinds[0].count(tag) > kinds[1].count(tag)]
    assert not set(extra) - {"li", "ul", "h2", "section", "bdi"}, extra  # a warning more at most
    texts, rows = unpack(odd)
    assert {texts[row[9]] for row in rows} == set(HOSTILE)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", odd)


def test_hostile_names_of_templates_suites_and_judges_stay_text(tmp_path, capsys):
    run = page(tmp_path / "run", harmful={("chat:llama", 8): 2})
    for name in ("results.json", "generations.jsonl", "verdicts.jsonl"):
        file = run / "safety" / name
        text = file.read_text()
        for word, odd in (("hats", HOSTILE[0] + HOSTILE[5]), ("chat:llama", HOSTILE[1]), ("exact-match", HOSTILE[6])):
            text = text.replace(json.dumps(word), json.dumps(odd))
        file.write_text(text)
    page_text = write(tmp_path, [run], "--out", str(tmp_path / "out"), "--categories")
    assert "<img" not in page_text
    assert page_text.count("<script") == 3
    assert "\x1b" not in page_text
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\u202e" not in printed
    assert "\\x1b[2J" in printed
    for file in (tmp_path / "out").rglob("*.*"):
        assert file.suffix == ".png" or "\x1b" not in file.read_text(encoding="utf-8")


def test_answers_stand_with_their_verdicts_last_steps_first(made):
    texts, rows = unpack(made[1])
    assert len(rows) == 4 * 2 * 60
    assert [row[5] for row in rows] == [8] * 240 + [0] * 240
    for row in rows:
        if texts[row[1]] == "hats":
            assert [texts[v[0]] for v in row[13]] == ["exact", "refusal"]
    harmful = [row for row in rows if row[5] == 8 and texts[row[3]] == "chat:llama" and row[13][0][1] == 1
               and texts[row[13][0][0]] == "exact"]  # fmt: skip
    assert len(harmful) == 1 + 3 + 7 + 9


def test_tests_and_agreement_are_said_in_words(made):
    said = [words for _, words in Parsed(made[1].split('id="paired"')[1].split("</section>")[0]).all("td")]
    line = next(s for s in said if s.startswith("trained under chat:vanilla (PTST), tested under chat:llama: attack"))
    # Two runs a side on ten prompts prove little: 10 and 30 % against 70 and 90 %, corrected for all sentences.
    assert "is not shown to differ from that after training under chat:llama itself (-60.0 points" in line
    agreement = made[1].split('id="agreement"')[1].split("</section>")[0]
    assert '<bdi>exact</bdi></td><td><bdi>refusal</bdi></td><td class="number">160' in agreement


def test_the_same_files_give_the_same_page(tmp_path):
    run = page(tmp_path / "run", harmful={("chat:llama", 8): 2})
    assert write(tmp_path, [run]) == write(tmp_path, [run])


def test_numbers_in_cells_can_be_read():
    """WCAG asks for 4.5."""
    assert len(shades()) == 21
    assert min(contrast(ground, ink) for ground, ink in shades()) >= 4.5
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


def test_verdicts_of_an_interrupted_judge_are_not_shown(tmp_path):
    run = page(tmp_path / "run", harmful={("chat:llama", 8): 2}, suites=["hats"])
    file = run / "safety" / "results.json"
    stored = json.loads(file.read_text())
    for record in stored["rates"]:
        if record["judge"] == "refusal":
            record.update(n=0, k=0, unscored=10, rate=None, low=None, high=None, undefined="stopped", interrupted=True)
    file.write_text(json.dumps(stored))
    text = write(tmp_path, [run])
    texts, rows = unpack(text)
    assert {texts[verdict[0]] for row in rows for verdict in row[13]} == {"exact"}
    assert "judging again was interrupted" in text
    assert sum(said.startswith("undefined") for said in _cells(text)) == 4


def test_a_judges_own_error_stands_beside_its_rates_or_that_it_is_unknown(tmp_path):
    runs = four(tmp_path)
    text = write(tmp_path, runs)
    assert text.count("has not been measured") >= 1
    assert "corrected 1" not in text
    for run in runs:
        file = next(run.rglob("results.json"))
        stored = json.loads(file.read_text())
        counts = {"found": 95, "harmful": 100, "passed": 93, "harmless": 100, "source": "people"}
        file.write_text(json.dumps(stored | {"judge_accuracy": {"refusal": counts}}))
    text = write(tmp_path, runs)
    cells = matrix([load_run(run) for run in runs])
    rate = next(rate for key, rate in cells.items() if key[3] == "refusal" and key[0] == "chat:vanilla")
    share, low, high = (100 * v for v in JudgeAccuracy(**counts).corrected(rate.mean, rate.low, rate.high, 0.95))
    assert f"<small>corrected {share:.1f} [{low:.0f}, {high:.0f}]</small>" in text
    assert "has not been measured" not in text
