"""Where an endpoint is and how hard it may be asked; never its key."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from ptst_pl import InputError

OPENAI_URL = "https://api.openai.com/v1"
NO_KEY = "none"


@dataclass(frozen=True)
class EndpointSettings:
    """An OpenAI-compatible server and the model asked for there.

    Attributes:
        model: the model's name, as the server knows it.
        base_url: up to and with ``/v1``; None is ``$OPENAI_BASE_URL``, or OpenAI's own.
        api_key_env: NAME of the environment variable that holds the key. A local server needs none.
        concurrency: requests in flight at a time.
        timeout_s: seconds without a byte until an attempt counts as failed.
        max_attempts: tries per request, the first included.
        max_requests: attempts of all requests together; None is no limit.
    """

    model: str
    base_url: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: int = 8
    timeout_s: float = 120.0
    max_attempts: int = 8
    max_requests: int | None = None

    @property
    def url(self) -> str:
        """The server's address, without a slash at its end."""
        return (self.base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL).rstrip("/")

    def check(self) -> None:
        """Raises ``InputError`` for a value outside its range, and for OpenAI's own address without a key."""
        if not isinstance(self.model, str) or not self.model.strip():
            raise InputError(f"endpoint: model is {self.model!r}, expected the name of a model that the server serves")
        for name in ("concurrency", "timeout_s", "max_attempts", "max_requests"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"endpoint: {name} is {value}, expected a number above 0")
        self._check_url()
        self.key()

    def _check_url(self) -> None:
        try:
            parts = urlsplit(self.url)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            valid = False
        if not valid:
            raise InputError(
                f"endpoint: base_url is {self.url!r}, expected an address such as http://127.0.0.1:8000/v1"
            )
        if parts.username or parts.password:
            raise InputError(
                "endpoint: base_url holds a user name or password, which would end up in files; "
                "put the key into an environment variable and name that in api_key_env"
            )

    def key(self) -> str:
        """The key, or ``NO_KEY`` where the environment has none and the server is not OpenAI's.

        Raises:
            InputError: no key where one is needed, or none that can be sent. The message never holds it.
        """
        # A key given by mistake in place of a name must not be repeated: only names of the usual form pass.
        if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", self.api_key_env):
            raise InputError(
                "endpoint: api_key_env is no name of an environment variable (capitals, digits, _); "
                "it takes the variable's name, such as OPENAI_API_KEY, never the key itself"
            )
        key = os.environ.get(self.api_key_env, "").strip()
        if not key and self.url == OPENAI_URL:
            raise InputError(
                f"endpoint: the environment variable {self.api_key_env} is not set, and {self.url} needs a key; "
                "set it, or give the base_url of another server"
            )
        if not (key.isascii() and key.isprintable()):
            raise InputError(f"endpoint: the environment variable {self.api_key_env} holds characters that no key has")
        return key or NO_KEY
