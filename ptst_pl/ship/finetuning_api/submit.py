"""One job for one request to have it, whatever happens on the way.

A job is looked for on the server before it is created: by its key, which stands in the job's metadata and
in the name of its training file (a server may drop the metadata). That a creation begins is written down
first; after an end that is not known (a kill, a lost reply) the server gets some time to list the job
before it is created again. Two machines that submit at the same moment could still make two: the routes
have nothing to prevent that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ptst_pl import InputError
from ptst_pl.ship.finetuning_api.job_spec import METADATA_KEY, JobSpec
from ptst_pl.ship.finetuning_api.server import AttemptFailedError, Server
from ptst_pl.ship.finetuning_api.state import JobState, States

IN_VAIN = ("failed", "cancelled")
LOOK_EVERY_S = 2.0
PROCESSING_S = 60.0

Found = dict[str, Any]


class Submission:
    """Submits jobs to one server.

    Args:
        server: the server.
        states: where the jobs' states are kept.
        settle_s: seconds that the server gets to list a job whose creation had no known end.
        say: told what is done, a line at a time.
    """

    def __init__(self, server: Server, states: States, settle_s: float, say: Callable[[str], object] = print) -> None:
        self.server, self.states, self.settle_s, self.say = server, states, settle_s, say

    def submit(self, spec: JobSpec, again: bool = False) -> JobState:
        """Create the job, or find it where it was created before.

        Args:
            spec: the job.
            again: create another one where the last one failed or was cancelled.

        Raises:
            InputError: the server refuses the file or the job, or cannot be reached.
        """
        with self.states.lock(spec.key):
            while True:
                state, created = self._one(spec)
                if created or state.status not in IN_VAIN:
                    return state
                following = spec.following()
                if not again and not self._exists(following):
                    self.say(f"it is {state.status}: submit it with --again to have another one")
                    return state
                spec = following

    def _one(self, spec: JobSpec) -> tuple[JobState, bool]:
        state = self.states.load(spec.key) or JobState.of(spec)
        if state.job_id:
            job, created = self.server.job(state.job_id), False
        else:
            job, created = self._find_or_create(spec, state)
        state.see(job)
        self.states.save(state)
        self.say(
            f"job {state.job_id} created: {spec.endpoint.model}, {state.status}"
            if created
            else f"job {state.job_id} was submitted before and is not submitted again: {state.status}"
        )
        return state, created

    def _exists(self, spec: JobSpec) -> bool:
        state = self.states.load(spec.key)
        return bool(state and state.job_id) or self._find_job(spec, state or JobState.of(spec)) is not None

    # ---- the job ----------------------------------------------------------------------------

    def _find_or_create(self, spec: JobSpec, state: JobState) -> tuple[Found, bool]:
        job = self._look(spec, state) if state.creating else self._find_job(spec, state)
        if job is not None:
            return job, False
        state.file_id = self._file(spec)
        for attempt in range(1, self.server.settings.max_attempts + 1):
            state.creating = True
            self.states.save(state)
            try:
                return self.server.create_job(spec.fields(state.file_id)), True
            except InputError:
                state.creating = False
                self.states.save(state)
                raise
            except AttemptFailedError as error:
                last = error
            # A reply that was lost may have been that of a job.
            if last.done and (job := self._look(spec, state)) is not None:
                return job, True
            if attempt < self.server.settings.max_attempts:
                self.server.rest(attempt, last)
        raise InputError(self.server.gave_up(last))

    def _look(self, spec: JobSpec, state: JobState) -> Found | None:
        """Look for a job whose creation may have just happened."""
        self.say(f"it is not known whether the job was created: looking for it for {self.settle_s:g} s")
        end = time.monotonic() + self.settle_s
        while (job := self._find_job(spec, state)) is None and time.monotonic() < end:
            self.server.sleep(min(LOOK_EVERY_S, self.settle_s / 4))
        return job

    def _find_job(self, spec: JobSpec, state: JobState) -> Found | None:
        files = {file["id"] for file in self.server.files(spec.file_name)} | {state.file_id} - {""}
        found = [job for job in self.server.jobs() if _is(job, spec, files)]
        if len(found) > 1:
            names = ", ".join(job["id"] for job in found)
            self.say(f"warning: the server has {len(found)} jobs of this kind: {names}")
        return min(found, key=lambda job: (job.get("status") in IN_VAIN, job.get("created_at") or 0), default=None)

    # ---- the file ---------------------------------------------------------------------------

    def _file(self, spec: JobSpec) -> str:
        """The training file's id on the server, once it is ready there."""
        file = self._find_or_upload(spec)
        end = time.monotonic() + PROCESSING_S
        while file.get("status") not in ("processed", "error") and time.monotonic() < end:
            # Some servers never say "processed": then the job itself tells.
            self.server.sleep(0.5 if file.get("status") == "uploaded" else LOOK_EVERY_S)
            file = self.server.file(file["id"])
        if file.get("status") == "error":
            why = file.get("status_details") or "no reason given"
            raise InputError(f"{spec.file.path}: the server refuses the file as {file['id']}: {why}")
        return str(file["id"])

    def _find_or_upload(self, spec: JobSpec) -> Found:
        for attempt in range(1, self.server.settings.max_attempts + 1):
            for file in self.server.files(spec.file_name):
                whole = file.get("bytes") in (None, len(spec.file.content))
                if whole and file.get("status") != "error":
                    self.say(f"the server has the file as {file['id']}")
                    return file
            try:
                file = self.server.upload(spec.file_name, spec.file.content)
            except AttemptFailedError as error:
                last = error
            else:
                self.say(f"uploaded {spec.file.path} as {file['id']}")
                return file
            if attempt < self.server.settings.max_attempts:
                self.server.rest(attempt, last)
        raise InputError(self.server.gave_up(last))


def _is(job: Found, spec: JobSpec, files: set[str]) -> bool:
    metadata = job.get("metadata")
    if isinstance(metadata, dict) and METADATA_KEY in metadata:
        return bool(metadata[METADATA_KEY] == spec.key)
    return job.get("training_file") in files
