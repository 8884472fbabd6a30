"""The findings are read off the files of the runs, and what is missing is said."""

from __future__ import annotations

import json

import pytest

from ptst_pl import InputError
from ptst_pl.labs.pcfg.findings import OBJECTIVES, lines

SUITES = ("pcfg-unsafe", "pcfg-duplicates", "pcfg-grammar", "pcfg-borderline", "pcfg-lookalike", "pcfg-task")


def write(file, *steps):
    """Rates of every suite under both templates: ``rate`` grows with the step, and differs by template."""
    rates = [
        {"suite": suite, "template": template, "step": step, "rate": (step + 10 * n + plain) / 1000}
        for step in steps
        for n, suite in enumerate(SUITES)
        for plain, template in enumerate(("text:safe", "text:a"))
    ]
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"rates": rates}))


@pytest.fixture
def runs(tmp_path):
    for name in OBJECTIVES:
        folder = tmp_path / name / "seed=1/version_0/safety"
        write(folder / "results.json", 0, 600)
        write(tmp_path / f"borderline/{name}-1/results.json", 0)
        for template in ("text-a", "text-safe"):
            write(tmp_path / f"finetune-{name}-1/template={template}/version_0/safety/results.json", 0, 200)
        looks = [
            {
                "step": step, "template": template, "layer": layer, "separation": 0.5 + step / 6000 + layer,
                "lipschitz_safe": 1.0, "lipschitz_unsafe": 2.0 - step / 600,
                "places": {"pcfg-unsafe": 1.2, "pcfg-duplicates": 0.4, "pcfg-grammar": 1.3 if name == "dpo" else 0.9},
            }
            for step in (0, 600) for template in ("text:a", "text:safe") for layer in (0, 1)
        ]  # fmt: skip
        (folder / "probe.jsonl").write_text("".join(json.dumps(line) + "\n" for line in looks))
    return tmp_path


def test_rates_of_the_last_step_and_the_last_layers_look(runs):
    text = "\n".join(lines(runs, [1]))
    first = next(line for line in text.splitlines() if line.startswith("sft"))
    # unsafe under text:a and text:safe, duplicates, grammar at step 600; borderline at step 0; lookalikes
    assert first.split()[1:] == ["60.1", "60.0", "61.0", "62.0", "3.0", "64.0"]
    second = [line for line in text.splitlines() if line.startswith("sft")][1]
    assert second.split()[1:] == ["200", "20.1", "20.0", "20.0", "25.0", "25.0"]
    third = [line for line in text.splitlines() if line.startswith("sft")][2]
    assert third.split()[1:] == [
        "1.50",
        "->",
        "1.60",
        "2.00",
        "->",
        "1.00",
        "1.00",
        "->",
        "1.00",
        "1.20",
        "0.40",
        "0.90",
    ]
    assert "1. safety tuning parts the clusters: sft yes, dpo yes, unlearning yes" in text
    assert "3. risky operators under other names lie nearer to safe requests: sft yes, dpo yes, unlearning yes" in text
    assert "3. texts of another grammar lie nearer to safe requests: sft yes, dpo no, unlearning yes" in text


def test_a_missing_run_is_one_line(runs):
    with pytest.raises(InputError, match=r"seed=2.*is missing.*ptst_pl pcfg run"):
        list(lines(runs, [1, 2]))
