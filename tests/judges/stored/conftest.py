"""Run folders of the tiny lab's kind, judged by the real refusal and exact judges."""

from __future__ import annotations

import pytest
from stored_run import fill

from ptst_pl.cli import main
from ptst_pl.judges import ExactJudge, RefusalJudge


@pytest.fixture
def run(tmp_path):
    """A run folder with the refusal judge's verdicts."""
    fill(tmp_path / "run" / "version_0" / "safety", [RefusalJudge()])
    return tmp_path / "run"


@pytest.fixture
def judged(tmp_path):
    """A run folder that two judges have judged."""
    fill(tmp_path / "run" / "safety", [RefusalJudge(), ExactJudge()])
    return tmp_path / "run"


@pytest.fixture
def refused(capsys):
    """Run a command that must end with one line; gives that line."""

    def call(*argv):
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in argv])
        error = capsys.readouterr().err
        assert stopped.value.code == 2
        assert error.count("\n") == 1
        return error

    return call
