"""The client: one request with its retries, and many with a bounded number in flight."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ptst_pl import InputError
from ptst_pl.generation.endpoint import errors
from ptst_pl.generation.endpoint.connection import Connection
from ptst_pl.generation.endpoint.errors import Meaning
from ptst_pl.generation.endpoint.messages import (
    Failure,
    MalformedError,
    Outcome,
    Reply,
    Request,
    parse_reply,
    server_message,
)
from ptst_pl.generation.endpoint.pool import run_threads
from ptst_pl.generation.endpoint.settings import EndpointSettings

if TYPE_CHECKING:
    from openai import APIStatusError

log = logging.getLogger(__name__)


class RequestFailedError(RuntimeError):
    """A single request that got no reply."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


class _RetryError(Exception):
    """An attempt that failed in a way that another one may not."""

    def __init__(self, reason: str, status: int | None = None, after: float | None = None) -> None:
        super().__init__(reason)
        self.failure, self.after = Failure(reason, status), after


class Endpoint:
    """A client of an OpenAI-compatible server.

    It asks again, after a growing and partly random delay or the one that the server asks for, on 408,
    409, 425, 429 and 5xx, on cut connections and timeouts, and on replies without JSON, choices or text.
    What one request did wrong is that request's ``Failure``; what every request would (a wrong key,
    model or address) is an ``InputError``. The key is in no message.

    Args:
        settings: server, model and limits.
        sleep: waits between attempts, seconds; by default until the run is stopped at most.
        jitter: random numbers in [0, 1).

    Raises:
        InputError: settings that cannot work.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        sleep: Callable[[float], object] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.connection = Connection(settings)
        self.settings = settings
        self._sleep, self._jitter = sleep, jitter
        self._lock = threading.Lock()
        self._attempts = 0
        self._answered = False

    @property
    def attempts(self) -> int:
        """Attempts made so far, over all requests."""
        return self._attempts

    def chat(self, messages: Sequence[Mapping[str, str]], **sampling: Any) -> Reply:
        """Ask once, as a chat. Raises ``RequestFailedError`` or ``InputError``."""
        return self._one(Request(messages=messages, sampling=sampling))

    def complete(self, prompt: str, **sampling: Any) -> Reply:
        """Ask once, as plain text completion. Raises ``RequestFailedError`` or ``InputError``."""
        return self._one(Request(prompt=prompt, sampling=sampling))

    def _one(self, request: Request) -> Reply:
        outcome = self.send(request)
        if isinstance(outcome, Failure):
            raise RequestFailedError(outcome)
        return outcome

    def run_all(
        self, requests: Sequence[Request], on_done: Callable[[int, Outcome], object] | None = None
    ) -> Generator[tuple[int, Outcome]]:
        """Ask all, ``concurrency`` at a time; yield (index, outcome) of each as it comes, each index once.

        Close the iterator to stop early: no new request is made then.

        Args:
            requests: what to ask.
            on_done: called with index and outcome in the thread that got it, before that thread asks
                anything else: the place to store a reply, so that a kill loses only what is in flight.

        Raises:
            InputError: an error that concerns every request, or one that ``on_done`` raises.
        """
        return run_threads(self.send, requests, self.settings.concurrency, on_done)

    def send(self, request: Request, stop: threading.Event | None = None) -> Outcome:
        """Ask until there is a reply, no attempt left, or ``stop`` is set.

        Raises:
            InputError: an error that concerns every request.
        """
        stop = stop or threading.Event()
        last = Failure("stopped before the first attempt")
        for attempt in range(1, self.settings.max_attempts + 1):
            if stop.is_set() or not self._count():
                used_up = f"the budget of {self.settings.max_requests} requests is used up"
                why = "stopped" if stop.is_set() else used_up
                return Failure(why if attempt == 1 else f"{why}; before: {last.reason}", last.status, attempt - 1)
            try:
                outcome = self._attempt(request)
            except _RetryError as error:
                last, after = error.failure, error.after
            else:
                return outcome if isinstance(outcome, Reply) else Failure(outcome.reason, outcome.status, attempt)
            if after is not None and after > errors.MAX_RETRY_AFTER_S:
                return Failure(f"{last.reason}; the server asks to wait {after:.0f} s", last.status, attempt)
            if attempt < self.settings.max_attempts:
                delay = errors.delay_s(attempt, after, self._jitter())
                log.info("%s: attempt %d: %s; again in %.1f s", self.settings.url, attempt, last.reason, delay)
                (self._sleep or stop.wait)(delay)
        self._stop_if_nobody_is_there(last)
        return Failure(f"{last.reason} (after {attempt} attempts)", last.status, attempt)

    def _count(self) -> bool:
        """Take one attempt from the budget, if there is one left."""
        with self._lock:
            if self.settings.max_requests is not None and self._attempts >= self.settings.max_requests:
                return False
            self._attempts += 1
            return True

    def _attempt(self, request: Request) -> Outcome:
        import openai

        status_error = connection_error = None
        try:
            body = self.connection.client().post(request.path, cast_to=str, body=request.body(self.settings.model))
        except openai.APIStatusError as error:
            status_error = error
        except openai.APIConnectionError as error:
            connection_error = error
        # Raised out of the handlers: a chained exception would show the server's own words, key and all.
        if connection_error is not None:
            raise _RetryError(self.connection.failure(connection_error)[0])
        self._answered = True
        if status_error is not None:
            return self._of_status(status_error)
        try:
            return parse_reply(self.connection.scrub_reply(body), request)
        except MalformedError as error:
            reason = self.connection.scrub(str(error))
            if error.final:
                return Failure(reason, 200)
            raise _RetryError(reason, 200) from None

    def _of_status(self, error: APIStatusError) -> Failure:
        status, body = error.status_code, self.connection.scrub(error.response.text)
        message = f"status {status}: {server_message(body) or 'no message'}"
        meaning = errors.meaning_of(status, body, self.settings.model)
        if meaning is Meaning.ALL:
            raise InputError(f"{self.settings.url}: model {self.settings.model!r}: {message}{self._hint(status)}")
        if meaning is Meaning.AGAIN:
            raise _RetryError(message, status, errors.retry_after(error.response.headers.get("retry-after")))
        return Failure(message, status)

    def _hint(self, status: int) -> str:
        if status in (401, 403):
            return self.connection.key_hint()
        return "; check base_url and model" if status in (400, 404, 405) else ""

    def _stop_if_nobody_is_there(self, last: Failure) -> None:
        if last.reason.startswith("cannot connect") and not self._answered:
            raise InputError(f"{self.settings.url}: {last.reason}; check base_url, and that the server runs")
