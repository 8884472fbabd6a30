"""The endpoint's client against a server that fails in every known way."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
from faulty_server import FAULTS, Answer, completes, error, says, serving

from ptst_pl import InputError
from ptst_pl.generation.endpoint import Endpoint, EndpointSettings, Failure, Reply, Request, RequestFailedError

KEY = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def _no_key(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def endpoint(server, waits=None, **settings) -> Endpoint:
    """A client that does not wait; the waits that it would have made go into ``waits``."""
    settings = EndpointSettings("judge", server.url, **{"timeout_s": 0.4, **settings})
    return Endpoint(settings, sleep=(waits if waits is not None else []).append)


def ask(text: str) -> Request:
    return Request(messages=[{"role": "user", "content": text}])


@pytest.mark.parametrize("fault", FAULTS)
def test_a_passing_fault_is_asked_again_until_there_is_a_reply(fault):
    waits: list[float] = []
    with serving(lambda asked: FAULTS[fault] if asked.before < 2 else says("fine")) as server:
        reply = endpoint(server, waits).chat([{"role": "user", "content": "hello"}], temperature=0)
    assert reply.text == "fine"
    assert len(server.asked) == 3
    assert len(waits) == 2


@pytest.mark.parametrize("fault", FAULTS)
def test_a_lasting_fault_ends_with_a_reason(fault):
    with serving(lambda asked: FAULTS[fault]) as server:
        outcome = endpoint(server, max_attempts=2).send(ask("hello"))
    assert isinstance(outcome, Failure)
    assert outcome.attempts == len(server.asked) == 2
    assert "after 2 attempts" in outcome.reason
    assert "\n" not in outcome.reason


def test_waits_grow_and_are_partly_random():
    waits: list[float] = []
    with serving(lambda asked: FAULTS["500"]) as server:
        Endpoint(EndpointSettings("judge", server.url, max_attempts=9), waits.append, jitter=lambda: 0.0).send(ask("a"))
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30]
    waits.clear()
    with serving(lambda asked: FAULTS["500"]) as server:
        endpoint(server, waits).send(ask("a"))
    assert all(0.5 * 2**i <= wait <= 2**i for i, wait in enumerate(waits[:6]))


def test_retry_after_is_the_least_wait():
    waits: list[float] = []
    with serving(lambda a: error(429, "wait", **{"Retry-After": "7"}) if a.before < 1 else says("ok")) as server:
        endpoint(server, waits).send(ask("a"))
    assert 7 <= waits[0] <= 8


def test_retry_after_as_a_date():
    from email.utils import formatdate

    waits: list[float] = []
    when = formatdate(time.time() + 20, usegmt=True)
    with serving(lambda a: error(503, "wait", **{"Retry-After": when}) if a.before < 1 else says("ok")) as server:
        endpoint(server, waits).send(ask("a"))
    assert 15 <= waits[0] <= 21


def test_a_wait_of_a_day_is_not_waited():
    with serving(lambda asked: error(429, "daily quota", **{"Retry-After": "86400"})) as server:
        outcome = endpoint(server).send(ask("a"))
    assert isinstance(outcome, Failure)
    assert "86400 s" in outcome.reason
    assert len(server.asked) == 1


FATAL = {
    "401": error(401, "who are you"),
    "402": error(402, "no credit"),
    "403": error(403, "not for you"),
    "404": error(404, "no such route"),
    "model": error(400, "Server is pinned to 'other'; requested 'judge'"),
    "FastAPI": Answer(400, "{\"detail\": \"Server is pinned to 'other'; requested 'judge'\"}"),
    "quota": error(429, "You exceeded your quota", code="insufficient_quota"),
    "setting": error(400, "Unsupported parameter: 'max_tokens'", code="unsupported_parameter"),
}


@pytest.mark.parametrize("name", FATAL)
def test_what_concerns_every_request_stops_the_run_with_one_line(name):
    with serving(lambda asked: FATAL[name]) as server, pytest.raises(InputError) as caught:
        list(endpoint(server, concurrency=2).run_all([ask(str(i)) for i in range(50)]))
    line = str(caught.value)
    assert server.url in line
    assert f"status {FATAL[name].status}" in line
    assert any(word in line for word in ("who are you", "credit", "not for", "route", "pinned", "quota", "Unsupp"))
    assert "\n" not in line
    assert len(server.asked) <= 4, "no request is started after the first that failed for all"


ONE = {
    "too long": error(400, "This model's maximum context length is 8 tokens; judge got 9"),
    "unprocessable": Answer(422, '{"detail": [{"msg": "field required"}]}'),
    "too large": error(413, "too large"),
    "filter": error(400, "filtered by the content policy of judge", code="content_filter"),
    "moderation": error(403, "the input was flagged"),
    "filtered reply": says(None, finish_reason="content_filter"),
    "all thought": says("", finish_reason="length"),
}


@pytest.mark.parametrize("name", ONE)
def test_what_one_request_did_wrong_is_its_own_failure(name):
    requests = [replace(ask(text), need_text=True) for text in ("good", "bad", "good too")]
    with serving(lambda asked: ONE[name] if asked.text == "bad" else says("fine")) as server:
        outcomes = dict(endpoint(server).run_all(requests))
    assert [type(outcomes[i]) for i in range(3)] == [Reply, Failure, Reply]
    assert len(server.asked) == 3, "it is not asked again"


def test_many_requests_over_a_faulty_server_each_end_once():
    faults = list(FAULTS.values())
    quick = [fault for fault in faults if not fault.delay_s]

    def answer(asked):
        number = int(asked.text)
        return quick[number % len(quick)] if asked.before < number % 4 else says(asked.text)

    done = []
    with serving(answer) as server:
        client = endpoint(server, concurrency=6, timeout_s=20)
        got = list(client.run_all([ask(str(i)) for i in range(120)], lambda i, outcome: done.append(i)))
    assert sorted(i for i, _ in got) == sorted(done) == list(range(120))
    assert all(isinstance(outcome, Reply) and outcome.text == str(i) for i, outcome in got)
    assert client.attempts == len(server.asked) == sum(1 + i % 4 for i in range(120))


def test_no_more_than_the_bound_are_in_flight():
    with serving(lambda asked: says("ok", delay_s=0.02)) as server:
        list(endpoint(server, concurrency=3).run_all([ask(str(i)) for i in range(30)]))
    assert 1 < server.most_in_flight <= 3


def test_the_budget_counts_every_attempt():
    with serving(lambda asked: FAULTS["500"] if asked.before < 1 else says("ok")) as server:
        outcomes = dict(endpoint(server, concurrency=1, max_requests=5).run_all([ask(str(i)) for i in range(10)]))
    assert len(server.asked) == 5
    assert sorted(outcomes) == list(range(10))
    assert [isinstance(outcomes[i], Reply) for i in range(10)] == [True, True] + [False] * 8
    assert "budget of 5 requests" in outcomes[9].reason
    assert "status 500" in outcomes[2].reason


def test_a_closed_run_starts_nothing_more_and_does_not_wait_for_what_hangs():
    with serving(lambda asked: says("ok", delay_s=8 if asked.text == "3" else 0)) as server:
        run = endpoint(server, concurrency=2, timeout_s=60).run_all([ask(str(i)) for i in range(100)])
        next(run)
        started = time.monotonic()
        run.close()
        assert time.monotonic() - started < 4
        asked = len(server.asked)
        time.sleep(0.2)
        assert len(server.asked) == asked < 20


def test_a_stopped_run_does_not_sit_out_its_waits():
    with serving(lambda asked: says("ok") if asked.text == "0" else error(429, "w", **{"Retry-After": "30"})) as server:
        run = Endpoint(EndpointSettings("judge", server.url, concurrency=2)).run_all([ask("0"), ask("1")])
        next(run)
        started = time.monotonic()
        run.close()
    assert time.monotonic() - started < 1.5


def test_an_error_while_storing_stops_the_run():
    def full(index, outcome):
        raise InputError("disk full")

    with serving(lambda asked: says("ok")) as server, pytest.raises(InputError, match="disk full"):
        list(endpoint(server, concurrency=2).run_all([ask(str(i)) for i in range(50)], full))
    assert len(server.asked) <= 4


def test_chat_and_completion_send_what_was_asked():
    def answer(asked):
        return completes("x", model="judge@main") if asked.path.endswith("/v1/completions") else says("y")

    with serving(answer) as server:
        client = endpoint(server)
        text = client.complete("Once", temperature=0, logit_bias={"1": 2.0})
        chat = client.chat([{"role": "system", "content": "s"}, {"role": "user", "content": "u"}], max_tokens=3)
    assert (text.text, text.finish_reason, text.model) == ("x", "length", "judge@main")
    assert (chat.text, chat.finish_reason, chat.usage) == ("y", "stop", {"total_tokens": 3})
    first, second = server.asked
    assert first.body == {"model": "judge", "prompt": "Once", "temperature": 0, "logit_bias": {"1": 2.0}}
    assert first.path == "/v1/completions"
    assert second.body["messages"][0] == {"role": "system", "content": "s"}
    assert second.body["max_tokens"] == 3
    assert second.authorization == "Bearer none"


def test_an_empty_answer_is_a_reply_unless_text_is_needed():
    with serving(lambda asked: says("")) as server:
        assert endpoint(server).chat([{"role": "user", "content": "x"}]).text == ""
        with pytest.raises(RequestFailedError, match="no text"):
            endpoint(server, max_attempts=2)._one(replace(ask("x"), need_text=True))
    assert len(server.asked) == 3


def test_a_refusal_in_a_field_of_its_own_is_the_text():
    body = '{"choices": [{"message": {"content": null, "refusal": "I cannot."}, "finish_reason": "stop"}]}'
    with serving(lambda asked: Answer(body=body)) as server:
        assert endpoint(server).send(ask("x")).text == "I cannot."


def test_lone_surrogates_go_both_ways():
    body = '{"choices": [{"message": {"content": "a\\ud800b"}}]}'
    with serving(lambda asked: Answer(body=body)) as server:
        reply = endpoint(server).send(ask("c\udfffd"))
    assert reply.text == "a\ufffdb"
    assert server.asked[0].text == "c\ufffdd"


def test_a_server_that_is_not_there_is_said_once():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    client = Endpoint(EndpointSettings("judge", url, max_attempts=2), sleep=lambda s: None)
    with pytest.raises(InputError, match=r"cannot connect.*server runs"):
        list(client.run_all([ask(str(i)) for i in range(50)]))


def test_a_server_that_goes_away_later_costs_only_what_is_left():
    with serving(lambda asked: says("ok", headers={"Connection": "close"})) as server:
        client = endpoint(server, max_attempts=2, concurrency=1)
        client.send(ask("a"))
    outcome = client.send(ask("b"))
    assert isinstance(outcome, Failure)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"model": " "}, "model"),
        ({"base_url": "localhost:8000"}, "expected an address"),
        ({"base_url": "http://me:" + KEY + "@host/v1"}, "user name or password"),
        ({"base_url": None}, "OPENAI_API_KEY is not set"),
        ({"api_key_env": KEY}, "never the key itself"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"max_attempts": -1}, "max_attempts is -1"),
        ({"max_requests": 0}, "max_requests is 0"),
        ({"timeout_s": float("nan")}, "timeout_s is nan"),
    ],
)
def test_settings_that_cannot_work(settings, told):
    with pytest.raises(InputError) as caught:
        Endpoint(EndpointSettings(**{"model": "m", "base_url": "http://h/v1"} | settings))
    assert told in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("sampling", [{"stream": True}, {"n": 2}, {"model": "x"}])
def test_a_field_of_the_clients_own_is_no_sampling(sampling):
    with pytest.raises(InputError, match="no sampling setting"):
        Request(prompt="x", sampling=sampling)


def test_a_key_is_sent_and_never_told(monkeypatch, caplog):
    monkeypatch.setenv("MY_KEY", KEY + "\n")
    caplog.set_level("DEBUG")

    def answer(asked):
        told = f"bad key {asked.authorization}"
        return {
            "fatal": error(401, told), "one": error(400, told), "again": error(500, told),
            "text": Answer(body=told), "reply": says(told),
        }[asked.text]  # fmt: skip

    with serving(answer) as server:
        client = endpoint(server, api_key_env="MY_KEY", max_attempts=2)
        outcomes = [client.send(ask(text)) for text in ("one", "again", "text", "reply")]
        with pytest.raises(InputError) as caught:
            client.send(ask("fatal"))
    assert {asked.authorization for asked in server.asked} == {f"Bearer {KEY}"}
    assert caught.value.__context__ is None, "a chained error would show the server's words in a traceback"
    for text in (str(caught.value), repr(outcomes), repr(client.settings), caplog.text):
        assert KEY not in text
    assert "bad key Bearer ***" in str(caught.value)
    assert "check the key in the environment variable MY_KEY" in str(caught.value)


def test_a_word_given_as_a_key_is_not_cut_out_of_replies(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    with serving(lambda asked: says("an EMPTY box")) as server:
        assert endpoint(server).send(ask("x")).text == "an EMPTY box"


def test_the_openai_package_is_loaded_only_when_something_is_asked():
    code = "import sys, ptst_pl.generation.endpoint; sys.exit('openai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_threads_end_with_the_run():
    before = set(threading.enumerate())  # a request that hung in an earlier test may still be there
    with serving(lambda asked: says("ok")) as server:
        list(endpoint(server).run_all([ask(str(i)) for i in range(20)]))
        assert not [t for t in threading.enumerate() if "work" in t.name and t not in before]
    end = time.monotonic() + 20  # the server's own end a moment after it
    while len([t for t in threading.enumerate() if t not in before]) > 1:
        assert time.monotonic() < end
        time.sleep(0.05)
