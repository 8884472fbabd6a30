"""A job after its submission: waiting, events, cancelling, and the command that evaluates the result."""

from __future__ import annotations

import itertools
import os
import shlex
import signal
import subprocess
import sys
import threading
import time

import pytest
from job_commands import MODEL, SECRET, command, refused, states, submission
from jobs_server import Fault, serving_jobs

from ptst_pl.cli import main

JOB = "GET /fine_tuning/jobs/ID"


def test_wait_tells_each_status_once_and_ends_with_the_evaluation(server, chat_file, capsys):
    server.script = ("validating_files", "queued", "queued", "queued", "running", "running", "succeeded")
    main(submission(server, chat_file))
    capsys.readouterr()
    main(command("wait", "--poll", 0))
    lines = capsys.readouterr().out.splitlines()
    changes = [line.split()[-1] for line in lines if " ftjob-0: " in line]
    assert changes == ["queued", "running", "succeeded"]
    model = f"ft:{MODEL}:org::ftjob-0"
    assert f"fine-tuned model: {model}" in lines
    assert shlex.split(lines[-1]) == [
        *("python", "-m", "ptst_pl", "test", "--config", "configs/paper/gpt35-test.yaml"),
        *("--endpoint.model", model, "--endpoint.base_url", server.url),
    ]
    (state,) = states()
    assert (state["status"], state["fine_tuned_model"]) == ("succeeded", model)
    main(submission(server, chat_file))
    assert capsys.readouterr().out.splitlines()[-1] == lines[-1]


def test_openais_own_address_needs_no_flag_in_that_command():
    from ptst_pl.generation.endpoint import EndpointSettings
    from ptst_pl.ship.finetuning_api.follow import evaluation_command

    told = evaluation_command(EndpointSettings("m"), "ft:m")
    assert told.endswith("gpt35-test.yaml --endpoint.model ft:m")
    other = evaluation_command(EndpointSettings("m", api_key_env="OTHER"), "ft:m")
    assert other.endswith("--endpoint.model ft:m --endpoint.api_key_env OTHER")


def test_a_status_that_nobody_knows_is_not_the_end(server, chat_file, capsys):
    server.script = ("queued", "paused", "running", "succeeded")
    main(submission(server, chat_file))
    main(command("wait", "--poll", 0))
    assert "ftjob-0: paused" in capsys.readouterr().out


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_waiting_for_a_job_that_comes_to_nothing_has_status_1(server, chat_file, capsys, end):
    server.script = ("queued", end)
    main(submission(server, chat_file))
    with pytest.raises(SystemExit) as stopped:
        main(command("wait", "--poll", 0))
    assert stopped.value.code == 1
    out = capsys.readouterr().out
    reason = "error invalid_training_file: The job failed due to an invalid training file. Line 3 is odd."
    assert (reason in out) == (end == "failed")
    assert "evaluate it with" not in out


def test_wait_survives_a_server_that_comes_and_goes(chat_file, capsys):
    faults = itertools.cycle([Fault(503), Fault(drop=True), Fault(429), Fault(200, "[]"), Fault(200, "{}"), None])
    with serving_jobs(lambda route, before: next(faults) if route == JOB else None) as server:
        main(submission(server, chat_file))
        main(command("wait", "--poll", 0))
    assert "ftjob-0: succeeded" in capsys.readouterr().out


def wait_in_a_process(folder, stop: signal.Signals) -> tuple[int, str, str]:
    """Status and output of a waiting process that is stopped once it has said the first word."""
    environment = os.environ | {"OPENAI_API_KEY": SECRET}
    argv = [sys.executable, "-m", "ptst_pl", *command("wait", "--poll", "0.05")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # A test run in the background of a shell ignores SIGINT, and its children would too.
    pipes["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(argv, env=environment, cwd=folder, **pipes) as process:
        assert "ftjob-0: running" in process.stdout.readline()
        process.send_signal(stop)
        out, err = process.communicate(timeout=20)
    return process.returncode, out, err


def test_wait_goes_on_after_a_kill_and_after_ctrl_c(server, chat_file, tmp_path, capsys):
    server.script = ("queued", *["running"] * 100_000)
    main(submission(server, chat_file))
    assert wait_in_a_process(tmp_path, signal.SIGKILL)[0] == -signal.SIGKILL
    status, out, err = wait_in_a_process(tmp_path, signal.SIGINT)
    assert (status, err) == (130, "")
    assert "a job that was created goes on" in out
    server.scripts["ftjob-0"] = ["succeeded"]
    main(command("wait"))
    assert "ftjob-0: succeeded" in capsys.readouterr().out


@pytest.mark.parametrize("page", [1, 3, 100])
def test_events_oldest_first_each_once(server, chat_file, capsys, page):
    server.page = page
    server.script = ("queued",)
    main(submission(server, chat_file))
    for number in range(7):
        server.tell("ftjob-0", f"Step {number}:\n training loss=0.\x1b[31m{number}")
    capsys.readouterr()
    main(command("events"))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8
    assert lines[0] == "1970-01-01 00:00:00 info now queued"
    assert [line.split("Step ")[1][0] for line in lines[1:]] == list("0123456")
    assert not any("\x1b" in line for line in lines)


def test_events_are_followed_to_the_end(server, chat_file, capsys):
    server.script = ("queued", *["running"] * 20, "succeeded")
    server.page = 2
    main(submission(server, chat_file))
    told = threading.Thread(target=lambda: [server.tell("ftjob-0", f"step {n}") or time.sleep(0.01) for n in range(9)])
    told.start()
    main(command("events", "--follow", "--poll", "0.01"))
    told.join()
    lines = [line.split(" info ")[1] for line in capsys.readouterr().out.splitlines() if " info " in line]
    assert len(lines) == len(server.events["ftjob-0"]) == 31
    assert lines[-1] == "now succeeded"


def test_cancel(server, chat_file, capsys):
    server.script = ("queued", "running", "running", "running")
    main(submission(server, chat_file))
    main(command("cancel", "ftjob-0"))
    assert "ftjob-0: cancelled" in capsys.readouterr().out
    main(command("cancel"))
    assert "ftjob-0: cancelled" in capsys.readouterr().out
    assert server.asked["POST /fine_tuning/jobs/ID/cancel"] == 1


def test_cancel_when_the_reply_is_lost(chat_file, capsys):
    """The second attempt is told that the job has ended: that is what was asked for."""
    lost = Fault(drop=True, after=True)
    with serving_jobs(lambda route, before: lost if route.endswith("cancel") and before == 0 else None) as server:
        server.script = ("queued", "running", "running")
        main(submission(server, chat_file))
        main(command("cancel"))
    assert "ftjob-0: cancelled" in capsys.readouterr().out


def test_status_of_all_jobs_and_of_one(server, chat_file, capsys):
    assert "no job is known in" in refused(capsys, command("status"))
    for seed in (1, 2):
        main(submission(server, chat_file, "--seed", seed))
    capsys.readouterr()
    main(command("status"))
    out = capsys.readouterr().out
    assert "ftjob-0: queued" in out
    assert "ftjob-1: queued" in out
    main(command("status", "ftjob-1"))
    assert "ftjob-0" not in capsys.readouterr().out
    line = refused(capsys, command("wait"))
    assert "name the job (known in checkpoints/finetuning-api: " in line
    assert "ftjob-0" in line


def test_a_job_that_is_known_only_to_the_server(server, chat_file, capsys):
    main(submission(server, chat_file, "--state", "elsewhere"))
    main(command("wait", "ftjob-0", "--poll", 0, "--base-url", server.url))
    assert "ftjob-0: succeeded" in capsys.readouterr().out
    line = refused(capsys, command("status", "ftjob-7", "--base-url", server.url))
    assert "status 404: nothing at fine_tuning/jobs/ftjob-7" in line


def test_a_damaged_state_file_is_named(server, chat_file, tmp_path, capsys):
    main(submission(server, chat_file))
    (path,) = (tmp_path / "checkpoints/finetuning-api").glob("job-*.json")
    path.write_text("{}")
    assert f"{path.name}: no state of a job; delete it" in refused(capsys, submission(server, chat_file))
    path.unlink()
    main(submission(server, chat_file))
    assert len(server.jobs) == 1


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["finetune-api"], "ACTION"),
        (["finetune-api", "start"], "invalid choice: 'start'"),
        (command("wait", "x", "--poll", "-1"), "--poll is -1"),
        (command("submit"), "--file"),
    ],
)
def test_mistakes(capsys, argv, words):
    assert words in refused(capsys, argv)
