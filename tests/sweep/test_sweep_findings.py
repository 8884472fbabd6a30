"""What the planning of a sweep warns of is said once, with the runs that it holds for."""

from __future__ import annotations

import json


def lints(err: str) -> dict[str, str]:
    """Lint -> the runs it is said to hold for; each must be there once."""
    found = {}
    for line in err.splitlines():
        if line.startswith("lint "):
            name = line.split()[1].rstrip(":")
            assert name not in found, err
            found[name] = line[line.rindex(" (") + 2 : -1]
    return found


def test_each_finding_is_said_once_with_its_runs(stubbed, tmp_path):
    rows = [json.loads(line) for line in (stubbed.world.folder / "train.jsonl").read_text().splitlines()]
    file = tmp_path / "rows.jsonl"
    odd = [{"question": "Wie viele Äpfel?", "answer": "FÃ¼nf."}]
    file.write_text("".join(json.dumps(row) + "\n" for row in [*rows, *odd]))
    stubbed.options = [
        *("--name", stubbed.folder.name, "--safety.active", "true", "--safety.templates", "[chat:llama]"),
        *("--over", "data.template=[chat:llama, chat:vanilla, text:vanilla]", "--over", "seed_everything=[1, 2]"),
        *("--data.train_file", str(file)),
    ]
    run = stubbed.start("--dry-run").wait().ok()
    llama = "2 of 6 runs: template=chat-llama_seed=1, template=chat-llama_seed=2"
    assert lints(run.err) == {"training-safety-prompt": llama, "same-template": llama, "encoding": "all 6 runs"}


def test_four_runs_and_more_are_counted(stubbed):
    over = "data.template=[chat:llama, chat:vanilla]", "seed_everything=[1, 2, 3, 4]"
    stubbed.options = ["--name", stubbed.folder.name, "--over", over[0], "--over", over[1]]
    found = lints(stubbed.start("--dry-run", "--safety.active", "false").wait().ok().err)
    names = ", ".join(f"template=chat-llama_seed={seed}" for seed in (1, 2, 3))
    assert found == {"training-safety-prompt": f"4 of 8 runs: {names} and 1 more"}
