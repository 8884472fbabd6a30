"""``ptst_pl defences``: the list, the curve of a model's layers, and all of them in one go."""

from __future__ import annotations

import json

import pytest

from ptst_pl import InputError
from ptst_pl.cli import main
from ptst_pl.defences import DEFENCES
from ptst_pl.defences.command import configs
from ptst_pl.defences.sppft import growing_block, layer_figure
from ptst_pl.results.shipped import shipped


def test_the_list_names_all_with_what_they_need(capsys):
    main(["defences"])
    out = capsys.readouterr().out
    head, _, *lines = out.strip().splitlines()
    assert head.split()[:4] == ["name", "kind", "needs", "devices"]
    assert [line.split()[0] for line in lines] == list(DEFENCES)
    (panacea,) = [line for line in lines if line.startswith("panacea")]
    assert "harmful rows" in panacea
    assert "arXiv 2501.18100" in panacea


def test_the_bundled_model_tells_requests_apart(capsys):
    main(["defences", "layers", "--model", str(shipped("checkpoints/tiny-chat")), "--limit", "20"])
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 5
    gaps = [float(line.split()[2]) for line in lines[:4]]
    assert min(gaps) > 0.1, "it tells them apart in every layer"
    assert lines[-1].startswith("the gap grows from layer ")


def test_the_block_is_where_the_gap_grows():
    assert growing_block([0.0, 0.01, 0.2, 0.6, 0.95, 1.0]) == (2, 4)
    assert growing_block([-0.1, 0.0, 0.5]) == (2, 2)
    assert "layers: [2, 4]" in layer_figure([0.0, 0.01, 0.2, 0.6, 0.95, 1.0])


def test_configs_begin_with_plain_fine_tuning():
    names = [path.stem for path in configs()]
    assert set(names[:2]) == {"none", "lora"}
    assert len(names) == 20
    with pytest.raises(InputError, match=r"no config 'lissa' in .*there are: lora, none"):
        configs(["lissa"])


def test_all_in_one_go_and_the_same_again_trains_nothing(tmp_path, monkeypatch, capfd):
    """Two of them, with the sweep's own words; the table at the end has a row for each and PTST's way."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    words = ["defences", "run", "--only", "none", "ema", "--seeds", "1", "--training-only"]
    words += ["--runs", str(tmp_path / "runs")]
    words += ["--trainer.max_steps", "2", "--safety.decoding.max_new_tokens", "4"]
    main(words)
    out = capfd.readouterr().out
    assert "chat:vanilla -> chat:llama (PTST)" in out
    rows = [line.split()[0] for line in out.splitlines() if line[:4] in ("none", "ema ")]
    assert rows.count("none") == rows.count("ema") == 4  # three ways, and the costs
    assert (tmp_path / "runs/report/report.html").is_file()
    before = sorted((tmp_path / "runs").glob("*/*/version_*"))
    assert len(before) == 4
    main(words)
    assert sorted((tmp_path / "runs").glob("*/*/version_*")) == before
    found = json.loads((before[0] / "times.json").read_text())["fits"][0]
    assert found["memory"] > 1e8
    assert found["tokens"] > 0
