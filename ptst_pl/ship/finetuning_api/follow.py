"""A job after its submission: its status, its events, its end."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from typing import Any

from ptst_pl.generation.endpoint import EndpointSettings
from ptst_pl.generation.endpoint.settings import OPENAI_URL
from ptst_pl.ship.finetuning_api.server import Server
from ptst_pl.ship.finetuning_api.state import ENDED

TEST_CONFIG = "configs/paper/gpt35-test.yaml"
Say = Callable[[str], object]


def wait(server: Server, job_id: str, poll_s: float, say: Say = print) -> dict[str, Any]:
    """Ask until the job has ended, telling each change of its status. Returns the job."""
    last = ""
    while True:
        job = server.job(job_id)
        if (status := str(job.get("status"))) != last:
            say(f"{_clock()} {job_id}: {status}")
            last = status
        if status in ENDED:
            return job
        server.sleep(poll_s)


def events(server: Server, job_id: str, follow: bool, poll_s: float, say: Say = print) -> None:
    """Tell the job's events, oldest first, each once; with ``follow`` until the job has ended."""
    known: set[str] = set()
    while True:
        # First the status: what happens between the two requests is then not missed.
        ended = not follow or server.job(job_id).get("status") in ENDED
        for event in server.events(job_id, known):
            known.add(event["id"])
            say(f"{_clock(event.get('created_at'))} {shown(event.get('level') or '')} {shown(event.get('message'))}")
        if ended:
            return
        server.sleep(poll_s)


def lines_of(job: dict[str, Any]) -> list[str]:
    """What there is to say of a job."""
    found = [f"{job['id']}: {shown(job.get('status'))}, base model {shown(job.get('model'))}"]
    if job.get("trained_tokens"):
        found.append(f"trained on {job['trained_tokens']:,} tokens")
    if isinstance(error := job.get("error"), dict) and error.get("message"):
        found.append(f"error {shown(error.get('code'))}: {shown(error['message'])}")
    if job.get("fine_tuned_model"):
        found.append(f"fine-tuned model: {shown(job['fine_tuned_model'])}")
    return found


def evaluation_command(settings: EndpointSettings, model: str) -> str:
    """The command that evaluates the fine-tuned model."""
    words = ["python", "-m", "ptst_pl", "test", "--config", TEST_CONFIG, "--endpoint.model", model]
    if settings.url != OPENAI_URL:
        words += ["--endpoint.base_url", settings.url]
    if settings.api_key_env != EndpointSettings.api_key_env:
        words += ["--endpoint.api_key_env", settings.api_key_env]
    return shlex.join(words)


def shown(value: Any) -> str:
    """A server's word as one line of printable characters."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(str(value).split()))


def _clock(seconds: Any = None) -> str:
    """A time in UTC; now by default."""
    known = seconds if isinstance(seconds, int | float) and not isinstance(seconds, bool) else None
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(known))
