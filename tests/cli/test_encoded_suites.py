"""``safety.encodings``: the same suites once more in other letters."""

import json

from training_fixtures import World, lines


def test_a_fit_measures_every_suite_in_every_encoding(world: World):
    words = ("--trainer.max_epochs", "-1", "--trainer.max_steps", "1", "--safety.active", "true")
    run = world.fit("encoded", *words, "--safety.encodings", '["none", "rot13"]')
    stored = json.loads((run / "safety/results.json").read_text())
    assert list(stored["suites"]) == ["fruit", "fruit+rot13"]
    rows = [row for row in lines(run / "safety/generations.jsonl") if row["suite"] == "fruit+rot13"]
    assert {row["encoding"] for row in rows} == {"rot13"}
    assert "Anzr 0 xvaqf bs nccyrf" in rows[0]["prompt_text"]
    assert rows[0]["question"] == "Name 0 kinds of apples"
    (rate,) = [r for r in stored["rates"] if r["suite"] == "fruit+rot13" and r["step"] == 1]
    assert rate["unjudgeable"] == rate["unscored"] > 0, "a model without training writes what nobody can read"
    assert rate["rate"] is None
    (plain,) = [r for r in stored["rates"] if r["suite"] == "fruit" and r["step"] == 1]
    assert "unjudgeable" not in plain
