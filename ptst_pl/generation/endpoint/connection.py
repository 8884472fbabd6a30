"""One server's ``openai`` client, made when it is first needed, and its key, which is in no message."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from urllib.parse import quote

from ptst_pl.generation.endpoint.messages import one_line
from ptst_pl.generation.endpoint.settings import NO_KEY, EndpointSettings

if TYPE_CHECKING:
    from openai import APIConnectionError, OpenAI

# A shorter "key" such as EMPTY may be a word of a reply, and is no secret.
_SECRET = 16


class Connection:
    """The way to a server.

    Args:
        settings: address, key's variable and time limit.

    Raises:
        InputError: settings that cannot work.
    """

    def __init__(self, settings: EndpointSettings) -> None:
        settings.check()
        self.settings = settings
        self._key = settings.key()
        self._lock = threading.Lock()
        self._client: OpenAI | None = None

    def client(self) -> OpenAI:
        """The client, one for all threads. It tries once: attempts are counted, and repeated, by its users."""
        with self._lock:
            if self._client is None:
                import openai

                self._client = openai.OpenAI(
                    api_key=self._key, base_url=self.settings.url, timeout=self.settings.timeout_s, max_retries=0
                )
            return self._client

    def scrub(self, text: str) -> str:
        """A message of the server without the key."""
        if self._key != NO_KEY and len(self._key) > 3:
            for form in (self._key, quote(self._key, safe="")):
                text = text.replace(form, "***")
        return text

    def scrub_reply(self, text: str) -> str:
        """A model's reply without the key, where that is long enough to be a secret."""
        return self.scrub(text) if len(self._key) >= _SECRET else text

    def key_hint(self) -> str:
        """What to do where the server does not let us in."""
        state = "no key is set in" if self._key == NO_KEY else "check the key in"
        return f"; {state} the environment variable {self.settings.api_key_env}"

    def failure(self, error: APIConnectionError) -> tuple[str, bool]:
        """Why no reply came, and whether the server had been reached."""
        import openai

        late = isinstance(error, openai.APITimeoutError)
        why = f"nothing within {self.settings.timeout_s:g} s" if late else one_line(self.scrub(str(error.__cause__)))
        reached = type(error.__cause__).__name__ not in ("ConnectError", "ConnectTimeout")
        return f"{'connection cut' if reached else 'cannot connect'}: {why}", reached
