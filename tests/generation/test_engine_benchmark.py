"""The generation benchmark's tables, on the tiny lab and on a tiny model in the place of the large one."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from benchmark_script import QUICK, ROOT, printed_by, ways

from ptst_pl.generation.request import Request


def test_the_tables_of_the_gpu_on_a_tiny_model():
    found = printed_by(*QUICK, "--shape", "tiny", "--fit")
    steps = int(found.split("limit: ")[1].split()[0])
    assert steps == 23  # the first of 24 tokens comes with the prompt, and all rows have a slot
    assert "of the limit" in found
    table = ways(found, 12)
    assert list(table) == ["author", "genera", "ours  "]
    assert all(line.endswith("12 of 12") for line in table.values())
    assert all(float(line.split("%")[0].split()[-1]) > 0 for line in table.values())
    inside = found.split("answers inside a LoRA fit")
    assert inside[0].endswith("12 prompts in all, at most 24 tokens\n")
    kinds = [line.split("  ")[0] for line in inside[1].splitlines()[2:]]
    expected = [
        "80 % of 15 to 40 tokens, 20 % to the limit",
        "all to the limit",
        "the same answers once more, as drafts",
    ]
    assert kinds == expected


def test_the_labs_answers_end_by_themselves_and_are_judged(bench, capsys):
    bench.main([*QUICK, "--lab"])
    printed = capsys.readouterr().out
    tokens = int(printed.splitlines()[0].split(", ")[1].split()[0])
    assert printed.startswith("20 prompts")
    assert 20 < tokens < 20 * 16
    assert "harmful, chat:vanilla  harmful, chat:llama" in printed
    table = ways(printed, 20)
    assert list(table) == ["author", "batche", "genera", "ours  "]
    assert all(line.endswith("20 of 20") and line.count(" of 6 ") == 2 for line in table.values())


def test_the_judge_counts_what_a_way_answered(bench):
    """Half of the right answers, under the second template: no stand-in for what the model says."""
    case = bench.cases.lab_case(ROOT / "checkpoints/tiny-chat", "llama2", "float32", "cpu", 4, 8)
    places = [(cell, index) for cell in case.lab.cells for index in range(len(cell.ids))]
    encode = case.lab.encoder.tokenizer
    answers = [
        encode(cell.suite.prompts[index].reference, add_special_tokens=False)["input_ids"]
        if cell.template.name == "chat:llama" and index % 2
        else []
        for cell, index in places
    ]
    assert case.harmful(answers) == {"chat:vanilla": "0 of 12", "chat:llama": "6 of 12"}


def test_in_bf16_it_reports_rows_gaps_and_rates(bench, capsys):
    bench.main([*QUICK, "--lab", "--dtype", "bfloat16", "--only", "ours"])
    printed = capsys.readouterr().out
    assert "bfloat16" in printed.splitlines()[0]
    slots = [line for line in printed.split("against ours\n")[1].splitlines() if line.startswith("ours, slots")]
    assert [line.split()[2] for line in slots] == ["1", "64"]
    assert all(" of 20 " in line and line.count(" of 6") == 2 for line in slots)


def test_a_large_model_answers_a_part_in_the_authors_way(bench):
    found = bench.ways.entries(large=True, device="cuda", settings=False)
    assert [entry.first for entry in found] == [48, None, None]
    more = bench.ways.entries(large=True, device="cuda", settings=True)
    assert [entry.name for entry in more[:3]] == [entry.name for entry in found]
    assert more[-1].name == "without CUDA graphs, ours"
    asked = bench.cases.random_model("tiny", "float32", "cpu"), [Request([5, 6, 7], 0, 4)], []
    assert more[-1].way(*asked) == found[2].way(*asked)
    lengths = bench.cases.forced_lengths(400, 512, bench.cases.DRAW["7b"])
    steps = [max(lengths[start : start + 8]) for start in range(0, 400, 8)]
    assert sum(lengths[:48]) / 48 == pytest.approx(sum(lengths) / 400, rel=0.05)
    assert sum(steps[:6]) / sum(lengths[:48]) == pytest.approx(sum(steps) / sum(lengths), rel=0.02)
    case = SimpleNamespace(harmful=lambda answers: {})
    rows = {
        "a": bench.measure.Measured([2.0], [[1, 2]]),
        "b": bench.measure.Measured([4.0], [[1, 2], [3, 4], [5, 6, 7, 8]]),
    }
    first, second = bench.measure.table(case, rows, 10.0).splitlines()[2:]
    assert first.split()[3:] == ["1", "1.0", "10.0%", "1", "of", "1"]
    assert second.split()[3:] == ["2", "2.0", "20.0%", "1", "of", "1"]


def test_the_result_is_kept_under_its_own_key(bench, monkeypatch):
    kept = {}
    monkeypatch.setattr(
        bench.script, "update", lambda name, values: kept.update({name: json.loads(json.dumps(values))})
    )
    flags = ["--threads", "1", "--turns", "1", "--save"]
    bench.main([*flags, "--shape", "tiny", "--count", "6", "--only", "ours", "--dtype", "bfloat16"])
    bench.main([*flags, "--lab", "--count", "1", "--only", "ours"])
    assert list(kept) == ["generate-tiny-bf16", "generate-lab"]
    assert kept["generate-lab"]["ways"]["ours"]["same_rows"] == kept["generate-lab"]["prompts"] == 10
    assert kept["generate-tiny-bf16"]["slots"]["ours, slots 1"]["rows"] == 6
    assert kept["generate-tiny-bf16"]["ways"]["ours"]["share_of_limit"] > 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model", "nowhere"], "--model nowhere: found no config.json there"),
        (["--prompts", "nowhere.csv"], "--prompts nowhere.csv: no such file"),
        (["--lab", "--fit"], "--fit measures random weights"),
        (["--lab", "--shape", "7b"], "not allowed with argument --lab"),
    ],
)
def test_flags_that_do_not_fit(bench, capsys, flags, message):
    with pytest.raises(SystemExit) as ended:
        bench.main(flags)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
