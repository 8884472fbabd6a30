"""Many requests over a few threads: outcomes as they come, prompt to stop, none lost."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

Asked = TypeVar("Asked")
Got = TypeVar("Got")

# How long a stopped run waits for requests in flight, whose replies may have been paid for.
GRACE_S = 2.0


def run_threads(
    send: Callable[[Asked, threading.Event], Got],
    requests: Sequence[Asked],
    concurrency: int,
    on_done: Callable[[int, Got], object] | None = None,
) -> Generator[tuple[int, Got]]:
    """Yield (index, what ``send`` returned) of every request, in the order in which they are done.

    The threads are daemons: one that hangs in a request does not keep the process alive. When the
    iterator is closed, or the consumer is interrupted, no further request is started, and those in
    flight get ``GRACE_S`` seconds to end.

    Args:
        send: does one request; gets an event that is set once the run is stopped.
        requests: what to send.
        concurrency: number of threads at most.
        on_done: called in the thread that got the outcome, before it takes another request.

    Raises:
        BaseException: whatever ``send`` or ``on_done`` raise, the first of them; the run is stopped.
    """
    done: queue.SimpleQueue[tuple[int, Got] | BaseException] = queue.SimpleQueue()
    stop, lock, waiting = threading.Event(), threading.Lock(), iter(enumerate(requests))

    def work() -> None:
        while not stop.is_set():
            with lock:
                index, request = next(waiting, (None, None))
            if index is None:
                return
            try:
                outcome = send(request, stop)  # type: ignore[arg-type]
                if on_done:
                    on_done(index, outcome)
            except BaseException as error:
                stop.set()
                done.put(error)
                return
            done.put((index, outcome))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(concurrency, len(requests)))]
    for thread in threads:
        thread.start()
    try:
        for _ in requests:
            item = done.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        deadline = time.monotonic() + GRACE_S
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
