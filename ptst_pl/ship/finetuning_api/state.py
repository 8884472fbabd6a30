"""What is known here of the jobs on a server: one small file a job, whole or not there at all.

It holds no key and nothing of the rows. It only saves time: whoever loses it finds the job on the server.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ptst_pl import InputError
from ptst_pl.results.records import write_text
from ptst_pl.ship.finetuning_api.job_spec import JobSpec

FORMAT = 1
ENDED = ("succeeded", "failed", "cancelled")


@dataclass
class JobState:
    """One job.

    Attributes:
        key: see ``JobSpec.key``.
        base_url: the server.
        api_key_env: name of the variable that holds its key.
        model: the base model.
        file: the training file, as it was given.
        told: the rest of what the key is made of.
        file_id: the file on the server.
        creating: a request to create the job was sent, or was about to be, and its end is not known.
        job_id: the job, once it is known.
        status: the last one seen.
        fine_tuned_model: the result.
    """

    key: str
    base_url: str
    api_key_env: str
    model: str
    file: str
    told: dict[str, Any]
    file_id: str = ""
    creating: bool = False
    job_id: str = ""
    status: str = ""
    fine_tuned_model: str = ""

    @classmethod
    def of(cls, spec: JobSpec) -> JobState:
        """Nothing is done yet."""
        endpoint = spec.endpoint
        return cls(spec.key, endpoint.url, endpoint.api_key_env, endpoint.model, str(spec.file.path), spec.told())

    def see(self, job: dict[str, Any]) -> None:
        """Take over what the server says of the job."""
        self.job_id, self.creating = str(job["id"]), False
        self.status = str(job.get("status") or "")
        self.fine_tuned_model = str(job.get("fine_tuned_model") or "")


class States:
    """The folder of all state files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, key: str) -> JobState | None:
        """The state of a job that was begun here."""
        path = self._path(key)
        return _read(path) if path.exists() else None

    def save(self, state: JobState) -> None:
        """Write it, whole or not at all."""
        text = json.dumps({"format": FORMAT, **asdict(state)}, indent=1, ensure_ascii=False)
        write_text(self._path(state.key), text + "\n")

    def all(self) -> list[JobState]:
        """All jobs that were begun here."""
        return [_read(path) for path in sorted(self.folder.glob("job-*.json"))]

    def find(self, job_id: str | None) -> JobState | None:
        """The job of that id; without an id the only one there is.

        Raises:
            InputError: no id, and not exactly one job.
        """
        known = [state for state in self.all() if state.job_id]
        if job_id is not None:
            return next((state for state in known if state.job_id == job_id), None)
        if len(known) != 1:
            names = ", ".join(state.job_id for state in known) or "none"
            raise InputError(f"finetune-api: name the job (known in {self.folder}: {names})")
        return known[0]

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Keep a second process from submitting the same job; a kill opens it again.

        Raises:
            InputError: another process holds it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f".job-{key[:16]}.lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise InputError("finetune-api: another process is submitting this very job; wait for it") from error
            yield

    def _path(self, key: str) -> Path:
        return self.folder / f"job-{key[:16]}.json"


def _read(path: Path) -> JobState:
    names = {field.name for field in fields(JobState)}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return JobState(**{name: value for name, value in found.items() if name in names})
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: no state of a job; delete it, the job is found on the server again") from error
