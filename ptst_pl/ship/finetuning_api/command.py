"""``ptst_pl finetune-api``: fine-tuning jobs on a server with OpenAI's routes.

OpenAI itself is closing its service (see the package's docstring); ``--base-url`` names another server.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ptst_pl import InputError, did_you_mean
from ptst_pl.generation.endpoint import EndpointSettings
from ptst_pl.results.arguments import Parser
from ptst_pl.ship.finetuning_api import follow
from ptst_pl.ship.finetuning_api.chat_file import notes, read_chat_file
from ptst_pl.ship.finetuning_api.job_spec import Auto, Hyperparameters, JobSpec
from ptst_pl.ship.finetuning_api.server import Server
from ptst_pl.ship.finetuning_api.state import ENDED, JobState, States
from ptst_pl.ship.finetuning_api.submit import Submission
from ptst_pl.training.config_files import read_config

STATES = "checkpoints/finetuning-api"
SECTION = "finetuning"
# Arguments that a config's section may hold.
_OF_CONFIG = (
    "model", "epochs", "batch_size", "learning_rate_multiplier", "seed", "suffix", "base_url", "api_key_env",
)  # fmt: skip
# A job takes hours, and a server may be away for some of that time: about half an hour of attempts.
_PATIENT = 36


def main(argv: Sequence[str]) -> None:
    """Run one of submit, status, wait, events and cancel."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace", line_buffering=True)
    options = _parser().parse_args(argv[1:])
    try:
        _ACTIONS[options.action](options, States(options.state))
    except KeyboardInterrupt:
        print("stopped; a job that was created goes on, and so does the same command")
        sys.exit(130)


def number_or_auto(text: str) -> float | int | Auto:
    """A flag's value; the parser's message has this function's name."""
    if text == "auto":
        return "auto"
    try:
        return int(text)
    except ValueError:
        return float(text)


def _parser() -> argparse.ArgumentParser:
    server = Parser(add_help=False, allow_abbrev=False)
    server.add_argument("--base-url", metavar="URL", help="the server; default: $OPENAI_BASE_URL, or OpenAI's own")
    server.add_argument("--api-key-env", metavar="NAME", help="variable that holds its key; default: OPENAI_API_KEY")
    server.add_argument("--state", type=Path, default=Path(STATES), metavar="DIR", help="what is known of the jobs")
    parser = Parser(prog="ptst_pl finetune-api", description=__doc__, allow_abbrev=False)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    submit = actions.add_parser("submit", parents=[server], allow_abbrev=False, help="create a job, once")
    submit.add_argument("--file", type=Path, required=True, help="chat rows, as of 'ptst_pl export-chat'")
    submit.add_argument("--config", type=Path, help=f"file with a section {SECTION!r}; flags beat it")
    submit.add_argument("--model", help="the base model")
    submit.add_argument("--epochs", type=number_or_auto, metavar="N")
    submit.add_argument("--batch-size", type=number_or_auto, metavar="N")
    submit.add_argument("--learning-rate-multiplier", type=number_or_auto, metavar="X")
    submit.add_argument("--seed", type=int)
    submit.add_argument("--suffix", help="becomes part of the fine-tuned model's name")
    submit.add_argument("--again", action="store_true", help="another job, if the last one failed or was cancelled")
    submit.add_argument(
        "--settle", type=float, default=30.0, metavar="S", help="seconds to look for a job after a lost reply"
    )
    for name, help_text in _OF_A_JOB.items():
        one = actions.add_parser(name, parents=[server], allow_abbrev=False, help=help_text)
        one.add_argument("job", nargs="?", metavar="JOB", help="its id; default: the only one known here")
        one.add_argument("--poll", type=float, default=20.0, metavar="S", help="seconds between two questions")
        if name == "events":
            one.add_argument("--follow", action="store_true", help="until the job has ended")
    return parser


_OF_A_JOB = {
    "status": "what the server says of a job; without JOB of all that are known here",
    "wait": "wait for the end of a job; may be stopped and started again",
    "events": "the messages of a job",
    "cancel": "stop a job",
}


# ---- submit -------------------------------------------------------------------------------------


def _submit(options: argparse.Namespace, states: States) -> None:
    _take_config(options)
    if not options.model:
        raise InputError("finetune-api submit: no model; give --model, or a config with it")
    file = read_chat_file(options.file)
    settings = _settings(options.model, options.base_url, options.api_key_env)
    hyperparameters = Hyperparameters(options.epochs, options.batch_size, options.learning_rate_multiplier)
    spec = JobSpec(file, settings, hyperparameters, options.seed, options.suffix)
    server = Server(settings)
    for note in notes(file):
        print(f"note: {note}")
    state = Submission(server, states, options.settle).submit(spec, options.again)
    if state.status not in ENDED:
        where = f" --state {states.folder}" if str(states.folder) != STATES else ""
        print(f"next: python -m ptst_pl finetune-api wait {state.job_id}{where}")
    elif state.fine_tuned_model:
        _print_test(settings, state.fine_tuned_model)


def _take_config(options: argparse.Namespace) -> None:
    """Fill in what the flags leave open."""
    if options.config is None:
        return
    section = _section(options.config)
    for key, value in section.items():
        if key not in _OF_CONFIG:
            raise InputError(
                f"--config {options.config}: {SECTION}: unknown key {key!r}{did_you_mean(key, _OF_CONFIG)}"
            )
        if getattr(options, key) is None:
            setattr(options, key, value)


def _section(path: Path) -> Mapping[str, Any]:
    section = read_config(path).get(SECTION)
    if not isinstance(section, dict):
        raise InputError(f"--config {path}: no section {SECTION!r} with keys such as model and epochs")
    return section


def _settings(
    model: str, base_url: str | None, api_key_env: str | None, max_attempts: int = EndpointSettings.max_attempts
) -> EndpointSettings:
    variable = api_key_env or EndpointSettings.api_key_env
    settings = EndpointSettings(model, base_url, variable, max_attempts=max_attempts)
    settings.check()
    return settings


# ---- a job that is there ------------------------------------------------------------------------


def _job(options: argparse.Namespace, states: States) -> tuple[str, Server, JobState | None]:
    """The job's id, its server, and what is known of it here; flags beat the latter."""
    state = states.find(options.job)
    return (options.job or (state.job_id if state else "")), _server(options, state), state


def _server(options: argparse.Namespace, state: JobState | None) -> Server:
    if not options.poll >= 0:
        raise InputError(f"finetune-api: --poll is {options.poll}, expected seconds")
    url = options.base_url or (state.base_url if state else None)
    variable = options.api_key_env or (state.api_key_env if state else None)
    model = state.model if state else "unknown"
    return Server(_settings(model, url, variable, _PATIENT if options.action in ("wait", "events") else 8))


def _seen(states: States, state: JobState | None, job: dict[str, Any]) -> None:
    if state is not None:
        state.see(job)
        states.save(state)


def _status(options: argparse.Namespace, states: States) -> None:
    asked: list[tuple[str, JobState | None]] = [(state.job_id, state) for state in states.all() if state.job_id]
    if options.job is not None:
        asked = [(options.job, states.find(options.job))]
    if not asked:
        raise InputError(f"finetune-api status: no job is known in {states.folder}; name one")
    for job_id, state in asked:
        server = _server(options, state)
        job = server.job(job_id)
        _seen(states, state, job)
        _print_job(server, job)


def _wait(options: argparse.Namespace, states: States) -> None:
    job_id, server, state = _job(options, states)
    job = follow.wait(server, job_id, options.poll)
    _seen(states, state, job)
    _print_job(server, job)
    if job.get("status") != "succeeded":
        sys.exit(1)


def _events(options: argparse.Namespace, states: States) -> None:
    job_id, server, _ = _job(options, states)
    follow.events(server, job_id, options.follow, options.poll)


def _cancel(options: argparse.Namespace, states: States) -> None:
    job_id, server, state = _job(options, states)
    job = server.job(job_id)
    if job.get("status") not in ENDED:
        try:
            job = server.cancel(job_id)
        except InputError:
            job = server.job(job_id)
            if job.get("status") not in ENDED:
                raise
    _seen(states, state, job)
    _print_job(server, job)


def _print_job(server: Server, job: dict[str, Any]) -> None:
    for line in follow.lines_of(job):
        print(line)
    if job.get("status") == "succeeded" and job.get("fine_tuned_model"):
        _print_test(server.settings, str(job["fine_tuned_model"]))


def _print_test(settings: EndpointSettings, model: str) -> None:
    print(f"evaluate it with:\n{follow.evaluation_command(settings, model)}")


_ACTIONS = {"submit": _submit, "status": _status, "wait": _wait, "events": _events, "cancel": _cancel}
