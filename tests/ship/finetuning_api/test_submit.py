"""A job is created once: after kills, lost replies, refusals, and from two processes at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from job_commands import MODEL, SECRET, command, refused, states, submission
from jobs_server import Fault, JobsServer, serving_jobs
from training_fixtures import fork_server

from ptst_pl.cli import main
from ptst_pl.ship.finetuning_api import server as server_module
from ptst_pl.ship.finetuning_api import state as state_module

CREATE, UPLOAD = "POST /fine_tuning/jobs", "POST /files"


def test_a_job_gets_the_file_and_the_settings(server, chat_file, capsys):
    flags = ["--epochs", 1, "--batch-size", "auto", "--learning-rate-multiplier", 0.5, "--seed", 7, "--suffix", "cv"]
    main(submission(server, chat_file, *flags))
    out = capsys.readouterr().out
    assert "job ftjob-0 created: gpt-3.5-turbo-0613, validating_files" in out
    assert "python -m ptst_pl finetune-api wait ftjob-0" in out
    assert server.contents["file-0"] == chat_file.read_bytes()
    (asked,) = server.bodies
    assert asked.pop("metadata").keys() == {"ptst_pl"}
    settings = {"n_epochs": 1, "batch_size": "auto", "learning_rate_multiplier": 0.5}
    method = {"type": "supervised", "supervised": {"hyperparameters": settings}}
    assert asked == {"model": MODEL, "training_file": "file-0", "method": method, "seed": 7, "suffix": "cv"}
    (state,) = states()
    assert (state["job_id"], state["status"], state["creating"]) == ("ftjob-0", "validating_files", False)


def test_settings_that_are_not_given_are_left_to_the_server(server, chat_file):
    main(submission(server, chat_file))
    assert set(server.bodies[0]) == {"model", "training_file", "metadata"}


def test_the_same_again_is_the_same_job_and_anything_else_another(server, chat_file, capsys):
    for _ in range(3):
        main(submission(server, chat_file, "--epochs", 1))
    assert "was submitted before and is not submitted again" in capsys.readouterr().out
    assert len(server.jobs) == len(server.files) == 1
    for number, other in enumerate((["--epochs", 2], ["--seed", 1], ["--suffix", "a"], ["--model", "gpt-4o-mini"]), 2):
        main(submission(server, chat_file, *other))
        assert len(server.jobs) == number
    chat_file.write_text("".join(chat_file.read_text().splitlines(keepends=True)[:-1]))
    main(submission(server, chat_file, "--epochs", 1))
    assert len(server.jobs) == 6


@pytest.mark.parametrize("keeps_metadata", [True, False])
def test_a_job_is_known_on_another_machine(server, chat_file, keeps_metadata, capsys):
    """Without the state files, by the metadata or by the file's name."""
    server.keeps_metadata, server.page = keeps_metadata, 2
    for seed in range(5):
        main(submission(server, chat_file, "--seed", seed))
    for seed in range(5):
        main(submission(server, chat_file, "--seed", seed, "--state", "elsewhere"))
        assert f"job ftjob-{seed} was submitted before" in capsys.readouterr().out
    assert len(server.jobs) == len(server.files) == 5


# ---- kills --------------------------------------------------------------------------------------


def _submit_and_die(argv: list[str], folder: str, kill_at: int, done) -> None:
    """Run a command that is killed at the given one of the moments before and after each effect."""
    moments = iter(range(1000))

    def moment() -> None:
        if next(moments) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(function):
        def wrapped(*args, **kwargs):
            moment()
            result = function(*args, **kwargs)
            moment()
            return result

        return wrapped

    os.chdir(folder)
    os.environ["OPENAI_API_KEY"] = SECRET
    server_module.Server.attempt = around(server_module.Server.attempt)
    state_module.write_text = around(state_module.write_text)
    main(argv)
    done.value = next(moments)


def test_a_kill_at_any_moment_leaves_one_job(chat_file, tmp_path, capfd):
    """Killed before and after every request and every write, then run again.

    The server is a hard one: it drops the metadata, and a new job comes late into its list.
    """
    context = fork_server()
    kill_at, finished = 0, False
    while not finished:
        folder = tmp_path / f"kill-{kill_at}"
        folder.mkdir()
        with serving_jobs() as server:
            server.keeps_metadata, server.lag = False, 2
            argv = submission(server, chat_file, "--settle", 1, "--state", folder / "states")
            done = context.Value("i", 0)
            process = context.Process(target=_submit_and_die, args=(argv, str(folder), kill_at, done))
            process.start()
            process.join(60)
            finished = done.value > 0
            assert process.exitcode == (0 if finished else -signal.SIGKILL)
            main(argv)
            assert len(server.jobs) == 1, f"killed at moment {kill_at}"
            assert len(server.files) == 1
            (state,) = states(folder / "states")
            assert (state["job_id"], state["creating"]) == ("ftjob-0", False)
        kill_at += 1
    assert kill_at > 12, "every effect has a moment before and one after"


# ---- faults -------------------------------------------------------------------------------------

ROUTES = ["GET /files", UPLOAD, "GET /fine_tuning/jobs", CREATE, "GET /fine_tuning/jobs/ID"]
FAULTS = {
    "429": Fault(429), "500": Fault(500), "503": Fault(503), "dropped": Fault(drop=True),
    "500, and done all the same": Fault(500, after=True), "reply lost": Fault(drop=True, after=True),
    "a web page": Fault(200, "<html>"), "an empty object, done": Fault(200, "{}", after=True),
    "a list that is none": Fault(200, '{"data": null}', after=True), "a list of nothing": Fault(200, '{"data": [{}]}'),
}  # fmt: skip


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
def test_faults_on_the_way_leave_one_job(chat_file, route, fault):
    """Each request fails twice in the same way; one job comes out."""
    with serving_jobs(lambda asked, before: fault if asked == route and before < 2 else None) as server:
        main(submission(server, chat_file))
        main(submission(server, chat_file))
        assert len(server.jobs) == 1
        (state,) = states()
        assert state["job_id"] == "ftjob-0"


def test_a_job_whose_reply_was_lost_and_that_is_listed_late(chat_file):
    lost = Fault(drop=True, after=True)
    with serving_jobs(lambda route, before: lost if route == CREATE and before == 0 else None) as server:
        server.lag = 4
        main(submission(server, chat_file, "--settle", 5))
        assert len(server.jobs) == 1


def test_a_server_that_stays_away_is_one_line_and_the_same_command_goes_on(chat_file, capsys):
    away = True
    with serving_jobs(lambda route, before: Fault(503) if away and route == CREATE else None) as server:
        line = refused(capsys, submission(server, chat_file))
        assert "status 503: not now (after 8 attempts); run the same command again" in line
        away = False
        main(submission(server, chat_file))
        assert len(server.jobs) == len(server.files) == 1


def test_a_list_that_repeats_itself_is_no_proof_that_there_is_no_job(chat_file, capsys):
    page = json.dumps({"data": [{"id": "ftjob-x"}], "has_more": True})
    fault = Fault(200, page)
    with serving_jobs(lambda route, before: fault if route == "GET /fine_tuning/jobs" else None) as server:
        assert "same page of a list again and again" in refused(capsys, submission(server, chat_file))
        assert not server.jobs


def test_nobody_there(chat_file, capsys, server):
    argv = submission(server, chat_file)
    argv[argv.index("--base-url") + 1] = "http://127.0.0.1:9/v1"
    assert "http://127.0.0.1:9/v1: cannot connect" in refused(capsys, argv)


def test_a_server_without_these_routes(chat_file, capsys):
    with serving_jobs(lambda route, before: Fault(404)) as server:
        assert "has fine-tuning routes" in refused(capsys, submission(server, chat_file))


# ---- refusals -----------------------------------------------------------------------------------


def test_a_refused_file_and_a_refused_job(chat_file, capsys):
    body = '{"error": {"message": "Invalid file format. Line 2 is odd", "code": null}}'
    with serving_jobs(lambda route, before: Fault(400, body) if route == UPLOAD else None) as server:
        assert "status 400: Invalid file format. Line 2 is odd" in refused(capsys, submission(server, chat_file))
        assert server.asked[UPLOAD] == 1
    body = '{"error": {"message": "cannot be fine-tuned", "code": "model_not_available"}}'
    with serving_jobs(lambda route, before: Fault(403, body) if route == CREATE else None) as server:
        assert "status 403: cannot be fine-tuned" in refused(capsys, submission(server, chat_file))
        assert server.asked[CREATE] == 1
        assert states()[-1]["creating"] is False


def test_a_file_that_fails_the_servers_own_check(server, chat_file, capsys):
    server.file_status = ("error", "row 3 has no assistant message")
    assert "refuses the file as file-0: row 3 has no assistant message" in refused(
        capsys, submission(server, chat_file)
    )
    server.file_status = ("processed", None)
    main(submission(server, chat_file))
    assert server.bodies[0]["training_file"] == "file-1"


def test_a_server_that_never_says_processed(server, chat_file):
    server.file_status = ("uploaded", None)
    main(submission(server, chat_file))
    assert len(server.jobs) == 1


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_job_that_ended_in_vain_is_repeated_only_on_request(server, chat_file, capsys, end):
    server.script = (end,)
    main(submission(server, chat_file))
    assert len(server.jobs) == 1
    main(submission(server, chat_file))
    assert "submit it with --again" in capsys.readouterr().out
    assert len(server.jobs) == 1
    main(submission(server, chat_file, "--again"))
    assert len(server.jobs) == 2, "one more, although it ended at once too"
    server.script = ("running",)
    for _ in range(2):
        main(submission(server, chat_file, "--again"))
    main(submission(server, chat_file))
    main(submission(server, chat_file, "--again", "--state", "elsewhere"))
    assert len(server.jobs) == 3
    assert "job ftjob-2 was submitted before" in capsys.readouterr().out


def test_two_processes_at_a_time(server, chat_file, capsys, monkeypatch):
    """The second is told to wait; it does not make a second job."""
    (entered, go_on), lines = (threading.Event(), threading.Event()), []
    real = JobsServer.add_job

    def slow(self, asked):
        entered.set()
        go_on.wait(10)
        return real(self, asked)

    monkeypatch.setattr(JobsServer, "add_job", slow)
    first = threading.Thread(target=lambda: main(submission(server, chat_file)))
    first.start()
    assert entered.wait(10)
    lines.append(refused(capsys, submission(server, chat_file)))
    go_on.set()
    first.join(10)
    assert "another process is submitting this very job" in lines[0]
    assert len(server.jobs) == 1


# ---- input and secrets --------------------------------------------------------------------------

BAD_LINES = [
    ("{", "line 13: no JSON object"),
    ("[]", "line 13: found list, expected a JSON object"),
    ("", "line 13: no JSON object"),
    ("{}", "line 13: key 'messages' is missing"),
    ('{"messages": []}', "line 13: key 'messages' is missing"),
    ('{"messages": [5]}', "roles are None"),
    ('{"messages": [{"role": "user", "content": "a"}]}', "roles are user; expected"),
    ('{"messages": [{"role": "assistant", "content": "a"}]}', "roles are assistant; expected"),
    ('{"messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": "a"}]}', "content is empty"),
    (
        '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": [1]}]}',
        "message 2 (assistant): content is list, expected text",
    ),
    (
        '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0}]}',
        "nothing to train on",
    ),
    (
        '{"messages": [{"role": "user", "content": "\\ud83d"}, {"role": "assistant", "content": "b"}]}',
        "lone surrogate",
    ),
]


@pytest.mark.parametrize(("line", "words"), BAD_LINES)
def test_a_bad_line_is_never_sent(server, chat_file, capsys, line, words):
    chat_file.write_text(chat_file.read_text() + line + "\n")
    assert words in refused(capsys, submission(server, chat_file))
    assert not server.asked


BAD_FLAGS = [
    (["--epochs", "0"], "n_epochs is 0, expected a whole number above 0, or auto"),
    (["--epochs", "1.5"], "n_epochs is 1.5"),
    (["--epochs", "many"], "--epochs"),
    (["--learning-rate-multiplier", "nan"], "learning_rate_multiplier is nan"),
    (["--batch-size", "-4"], "batch_size is -4"),
    (["--suffix", "x" * 65], "expected 1 to 64 characters"),
    (["--seed", "-1"], "seed is -1"),
    (["--file", "nowhere.jsonl"], "nowhere.jsonl: no such file; 'ptst_pl export-chat' writes one"),
    (["--base-url", "localhost:8000"], "base_url is 'localhost:8000'"),
    (["--base-url", "http://me:pw@127.0.0.1/v1"], "holds a user name or password"),
    (["--api-key-env", SECRET], "api_key_env is no name of an environment variable"),
    (["--config", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
    (["--epoch", "1"], "--epoch"),
]


@pytest.mark.parametrize(("flags", "words"), BAD_FLAGS, ids=lambda value: str(value)[:40])
def test_a_bad_flag_is_one_line_and_nothing_is_sent(server, chat_file, capsys, flags, words):
    line = refused(capsys, submission(server, chat_file, *flags))
    assert words in line
    assert SECRET not in line
    assert not server.asked


def test_settings_from_a_config_and_flags_beat_it(server, chat_file, tmp_path, capsys):
    config = tmp_path / "job.yaml"
    config.write_text("data: 1\nfinetuning: {model: from-config, epochs: 1, learning_rate_multiplier: 2, seed: 3}\n")
    argv = command("submit", "--file", chat_file, "--base-url", server.url, "--config", config)
    main([*argv, "--epochs", "5"])
    asked = server.bodies[0]
    assert (asked["model"], asked["seed"]) == ("from-config", 3)
    settings = {"n_epochs": 5, "learning_rate_multiplier": 2}
    assert asked["method"]["supervised"]["hyperparameters"] == settings
    config.write_text("finetuning: {model: m, epoch: 1}\n")
    assert "unknown key 'epoch'; did you mean 'epochs'?" in refused(capsys, argv)
    config.write_text("finetuning: {model: m, epochs: yes}\n")
    assert "n_epochs is True" in refused(capsys, argv)
    config.write_text("model: {}\n")
    assert "no section 'finetuning'" in refused(capsys, argv)


def test_the_key_is_sent_and_is_nowhere_else(server, chat_file, tmp_path, capsys):
    main(submission(server, chat_file))
    assert server.keys == {f"Bearer {SECRET}"}
    seen = "".join(capsys.readouterr())
    told = '{"error": {"message": "wrong key KEY", "code": "invalid_api_key"}}'
    for fault in (Fault(401, told), Fault(500, told), Fault(200, "wrong KEY")):
        with serving_jobs(lambda route, before, fault=fault: fault) as angry:
            seen += refused(capsys, submission(angry, chat_file))
    assert "wrong key Bearer ***; check the key in the environment variable OPENAI_API_KEY" in seen
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 2
    assert SECRET not in seen + "".join(path.read_text() for path in files)


def test_the_key_is_in_no_traceback(chat_file, tmp_path):
    """In a process of its own: neither a chained exception nor a log shows it."""
    told = '{"error": {"message": "wrong key KEY"}}'
    with serving_jobs(lambda route, before: Fault(401, told)) as server:
        environment = os.environ | {"OPENAI_API_KEY": SECRET, "OPENAI_LOG": "debug"}
        argv = [sys.executable, "-m", "ptst_pl", *submission(server, chat_file)]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("ptst_pl: error:")
