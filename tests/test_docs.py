"""README and guides: their commands exist, their links lead somewhere, their own examples run as they stand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ptst_pl.cli import COMMANDS

ROOT = Path(__file__).parents[1]
GUIDES = sorted(p for p in (ROOT / "docs").glob("*.md") if p.name not in ("index.md", "reference.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *GUIDES, *sorted((ROOT / "configs").rglob("README.md"))]
NO_GUIDE = {"log.md"}
EVALUATE = (ROOT / "docs/evaluate.md").read_text(encoding="utf-8")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def block(kind: str) -> str:
    (found,) = re.findall(rf"```{kind}\n(.*?)```", EVALUATE, re.DOTALL)
    return str(found)


def test_the_readme_is_short_and_leads_to_every_guide():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert [guide.name for guide in GUIDES if f"docs/{guide.name}" not in text] == []


def test_the_site_has_every_guide():
    site = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), yaml.BaseLoader)
    assert {guide.name for guide in GUIDES} <= {file for entry in site["nav"] for file in entry.values()}


@pytest.mark.parametrize("page", [g for g in GUIDES if g.name not in NO_GUIDE], ids=name_of)
def test_a_guide_begins_with_its_question_and_a_command(page):
    title, question, code, *_ = [part.strip("\n") for part in page.read_text(encoding="utf-8").split("\n\n")]
    assert title.startswith("# ")
    assert question.endswith("?")
    assert re.match(r"    (python -m|make |pip )|```python", code), code


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_exists(page):
    text = page.read_text(encoding="utf-8")
    if page.name not in NO_GUIDE:
        assert set(re.findall(r"python -m ptst_pl ([\w-]+)", text)) <= set(COMMANDS)
        targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
        assert set(re.findall(r"(?:^    |`)make ([a-z][\w-]*)", text, re.MULTILINE)) <= targets


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_and_every_named_file_leads_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not link.startswith("http"):
            assert (page.parent / link).exists(), link
    if page.name not in NO_GUIDE:
        named = r"(?<![\w/.<-])(?:configs|checkpoints/tiny-chat|docs|data/tiny|tests|ptst_pl|benchmarks)/[\w./-]*\w"
        for path in set(re.findall(named, text)):
            if path != "configs/mine.yaml":
                assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_modules_that_a_page_names_can_be_found(page):
    for module in set(re.findall(r"python -m (ptst_pl\.[\w.]+)", page.read_text(encoding="utf-8"))):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module


def test_a_judge_and_a_suite_of_ones_own(tmp_path):
    """In 20 lines each, in a module beside the user, named in a config by class path."""
    code = block("python")
    assert all(len(part.strip().splitlines()) <= 20 for part in code.split("\n\n\n"))
    (tmp_path / "my_module.py").write_text(code, encoding="utf-8")
    safety = yaml.safe_load(block("yaml"))["safety"]
    flags = [word for key, value in safety.items() for word in (f"--safety.{key}", json.dumps(value))]
    model = ["--model.pretrained", str(ROOT / "checkpoints/tiny-chat"), "--results", "results"]
    command = [sys.executable, "-m", "ptst_pl", "test", "--config", str(ROOT / "configs/tiny/untouched.yaml")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, *model, *flags], cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    verdicts = [json.loads(line) for line in (tmp_path / "results/verdicts.jsonl").read_text().splitlines()]
    assert {(v["suite"], v["prompt_id"], v["judge"]) for v in verdicts} == {
        ("doors", colour, judge) for colour in ("red", "blue") for judge in ("refusal", "names-tool")
    }
    assert "names-tool-judge" in done.stdout
