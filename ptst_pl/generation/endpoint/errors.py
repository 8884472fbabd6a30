"""What a failed attempt means: try again, give this request up, or stop the whole run."""

from __future__ import annotations

import email.utils
import math
import re
import time
from enum import Enum

from ptst_pl.generation.endpoint.messages import error_code, server_message

FIRST_DELAY_S = 1.0
MAX_DELAY_S = 60.0
# A server that asks for more (a daily quota) is not waited for.
MAX_RETRY_AFTER_S = 600.0

_AGAIN = {408, 409, 425, 429}
_EVERYBODY = {401, 402, 403, 404, 405}
# Codes that name the account, the model or a setting, and not the text that was sent.
_ABOUT_ALL = {
    "invalid_api_key", "insufficient_quota", "model_not_found",
    "unsupported_parameter", "unsupported_value", "unknown_parameter",
}  # fmt: skip
_MODERATION = re.compile(r"moderation|flagged|content[ _]?(?:filter|polic)", re.IGNORECASE)
_LENGTH = re.compile(r"too (?:long|large)|context|\btokens?\b", re.IGNORECASE)


class Meaning(Enum):
    """What follows from a failed attempt."""

    AGAIN = "another attempt may succeed"
    THIS_ONE = "this request fails whenever it is asked"
    ALL = "every request fails"


def meaning_of(status: int, body: str, model: str) -> Meaning:
    """What an HTTP error status with its body means."""
    message, code = server_message(body), error_code(body)
    if code in _ABOUT_ALL:
        return Meaning.ALL
    if status in _AGAIN or status >= 500:
        return Meaning.AGAIN
    # Some gateways answer 403 for one text that their own moderation does not let through.
    if status == 403 and _MODERATION.search(message + code):
        return Meaning.THIS_ONE
    if status in _EVERYBODY or (status == 400 and _names(message, model)):
        return Meaning.ALL
    return Meaning.THIS_ONE


def _names(message: str, model: str) -> bool:
    named = re.search(rf"(?<!\w)(?<!\w'){re.escape(model)}(?!\w)", message) is not None
    return named and not _LENGTH.search(message.replace(model, "")) and not _MODERATION.search(message)


def retry_after(value: str | None, now: float | None = None) -> float | None:
    """Seconds to wait by a ``Retry-After`` header: a number or an HTTP date; None without a usable one."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - (time.time() if now is None else now)
        except (ValueError, TypeError, OverflowError):
            return None
    return None if math.isnan(seconds) else max(seconds, 0.0)


def delay_s(attempt: int, asked: float | None, jitter: float) -> float:
    """Seconds before the next attempt: exponential, half of it random, never less than the server asks for.

    Args:
        attempt: attempts made so far, from 1.
        asked: what ``Retry-After`` says.
        jitter: a random number in [0, 1).
    """
    backoff = min(FIRST_DELAY_S * 2.0 ** (attempt - 1), MAX_DELAY_S)
    return backoff * (0.5 + jitter / 2) if asked is None else asked + backoff * jitter / 2
