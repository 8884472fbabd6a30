"""The server's routes, each with its retries; nothing here creates a job twice.

Only ``create_job`` must not simply be sent again: a reply that was lost says nothing about the job.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ptst_pl import InputError
from ptst_pl.generation.endpoint import EndpointSettings
from ptst_pl.generation.endpoint.connection import Connection
from ptst_pl.generation.endpoint.errors import MAX_RETRY_AFTER_S, Meaning, delay_s, meaning_of, retry_after
from ptst_pl.generation.endpoint.messages import one_line, server_message

if TYPE_CHECKING:
    from openai import APIStatusError

_PAGE = 100
Check = Callable[[dict[str, Any]], object]
# After these statuses the request was certainly not carried out.
_NOT_DONE = {425, 429}


class AttemptFailedError(Exception):
    """An attempt after which another may succeed.

    Attributes:
        done: whether the server may have carried the request out all the same.
        after: seconds that the server asks to wait.
    """

    def __init__(self, reason: str, done: bool, after: float | None = None) -> None:
        super().__init__(reason)
        self.done, self.after = done, after


class Server:
    """An OpenAI-compatible server's files and fine-tuning jobs, through the ``openai`` client.

    Args:
        settings: address, key's variable, time limit, attempts.
        sleep: waits, seconds.

    Raises:
        InputError: settings that cannot work. So do all methods, with one line and without the key, where
            the server refuses or cannot be reached.
    """

    def __init__(self, settings: EndpointSettings, sleep: Callable[[float], object] = time.sleep) -> None:
        # The client does not retry: one more request after a lost reply could start a second job.
        self.connection = Connection(settings)
        self.settings, self.sleep = settings, sleep

    # ---- files ------------------------------------------------------------------------------

    def files(self, name: str) -> list[dict[str, Any]]:
        """The uploaded files of that name."""
        found = self._pages(lambda client, page: client.files.with_raw_response.list(purpose="fine-tune", **page))
        return [file for file in found if file.get("filename") == name]

    def upload(self, name: str, content: bytes) -> dict[str, Any]:
        """One attempt to upload a training file. Raises ``AttemptFailedError``."""
        return self.attempt(lambda c: c.files.with_raw_response.create(file=(name, content), purpose="fine-tune"))

    def file(self, file_id: str) -> dict[str, Any]:
        """What the server says of a file."""
        return self._ask(lambda client: client.files.with_raw_response.retrieve(file_id))

    # ---- jobs -------------------------------------------------------------------------------

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs of the account, in the server's order."""
        return self._pages(lambda client, page: client.fine_tuning.jobs.with_raw_response.list(**page))

    def create_job(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """One attempt to create a job. Raises ``AttemptFailedError``."""
        return self.attempt(lambda client: client.fine_tuning.jobs.with_raw_response.create(**fields))

    def job(self, job_id: str) -> dict[str, Any]:
        """What the server says of a job."""
        return self._ask(lambda client: client.fine_tuning.jobs.with_raw_response.retrieve(job_id))

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Stop a job."""
        return self._ask(lambda client: client.fine_tuning.jobs.with_raw_response.cancel(job_id))

    def events(self, job_id: str, known: set[str]) -> list[dict[str, Any]]:
        """A job's events that are not ``known``, oldest first."""
        found = self._pages(
            lambda client, page: client.fine_tuning.jobs.with_raw_response.list_events(job_id, **page),
            lambda event: event.get("id") in known,
        )
        return found[::-1]

    # ---- asking -----------------------------------------------------------------------------

    def _pages(
        self, ask: Callable[..., Any], stop: Callable[[dict[str, Any]], bool] = lambda item: False
    ) -> list[dict[str, Any]]:
        """All items of a list, page by page, until ``stop`` says that the rest is known.

        A page without a list of items is a failed attempt: read as empty it would hide a job.
        """
        found: dict[str, dict[str, Any]] = {}
        page: dict[str, Any] = {"limit": _PAGE}
        while True:
            told = self._ask(lambda client, page=page: ask(client, page), _check_page)
            fresh = [item for item in told["data"] if item["id"] not in found]
            for item in fresh:
                if stop(item):
                    return list(found.values())
                found[item["id"]] = item
            if told.get("has_more") and not fresh:
                raise InputError(f"{self.settings.url}: gives the same page of a list again and again")
            if not fresh or not told.get("has_more", True):
                return list(found.values())
            page = {"limit": _PAGE, "after": fresh[-1]["id"]}

    def _ask(self, send: Callable[..., Any], check: Check | None = None) -> dict[str, Any]:
        for attempt in range(1, self.settings.max_attempts + 1):
            try:
                return self.attempt(send, check)
            except AttemptFailedError as error:
                last = error
            if attempt < self.settings.max_attempts:
                self.rest(attempt, last)
        raise InputError(self.gave_up(last))

    def rest(self, attempt: int, failed: AttemptFailedError) -> None:
        """Wait before another attempt. Raises ``InputError`` where the server asks for too long."""
        if failed.after is not None and failed.after > MAX_RETRY_AFTER_S:
            raise InputError(f"{self.settings.url}: {failed}; the server asks to wait {failed.after:.0f} s")
        self.sleep(delay_s(attempt, failed.after, random.random()))

    def gave_up(self, last: AttemptFailedError) -> str:
        """The line for an end of all patience."""
        tries = self.settings.max_attempts
        return f"{self.settings.url}: {last} (after {tries} attempts); run the same command again to go on"

    def attempt(self, send: Callable[..., Any], check: Check | None = None) -> dict[str, Any]:
        """One request. Raises ``AttemptFailedError``, or ``InputError`` where another one would fail too."""
        import openai

        status = connection = None
        try:
            body = send(self.connection.client()).http_response.text
        except openai.APIStatusError as error:
            status = error
        except openai.APIConnectionError as error:
            connection = error
        # Raised out of the handlers: a chained exception would show the server's own words, key and all.
        if connection is not None:
            raise AttemptFailedError(*self.connection.failure(connection))
        if status is not None:
            raise self._of_status(status)
        told = _read_object(self.connection.scrub(body))
        (check or _check_object)(told)
        return told

    def _of_status(self, error: APIStatusError) -> Exception:
        status, body = error.status_code, self.connection.scrub(error.response.text)
        message = f"status {status}: {server_message(body) or 'no message'}"
        if meaning_of(status, body, self.settings.model) is Meaning.AGAIN:
            after = retry_after(error.response.headers.get("retry-after"))
            return AttemptFailedError(message, status not in _NOT_DONE, after)
        hint = ""
        if status in (401, 403):
            hint = self.connection.key_hint()
        elif status in (404, 405):
            hint = "; check the name, and that the server at base_url has fine-tuning routes"
        return InputError(f"{self.settings.url}: {message}{hint}")


def _read_object(body: str) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise AttemptFailedError(f"the reply is no JSON object: {one_line(body)!r}", True)
    return told


def _check_object(told: dict[str, Any]) -> None:
    if not isinstance(told.get("id"), str):
        raise AttemptFailedError(f"the reply has no id: {server_message(json.dumps(told))!r}", True)


def _check_page(told: dict[str, Any]) -> None:
    items = told.get("data")
    if not isinstance(items, list) or not all(
        isinstance(item, dict) and isinstance(item.get("id"), str) for item in items
    ):
        raise AttemptFailedError("the reply holds no list", True)
