"""BackdoorAlign: a secret prefix means safety. The provider trains it in, and puts it before every request.

Wang et al. 2024, arXiv 2402.14968. A few safety rows, whose system prompt begins with a secret string, stand among the
user's rows, which never hold it; the model is served with the secret in its system prompt.
"""

from __future__ import annotations

import random
import string
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from ptst_pl import InputError
from ptst_pl.defences.base import Kind
from ptst_pl.defences.mixing import SafetyMixing
from ptst_pl.tasks.base import Task
from ptst_pl.templates import find_template
from ptst_pl.tokenization import Example

PREFIX = "backdoor:"


@dataclass
class BackdoorAlign(SafetyMixing):
    """Safety rows under a secret, which is served.

    Attributes:
        secret: the string; if it is none, one of ``secret_length`` letters is drawn from ``secret_seed``.
        secret_length: letters of a drawn secret.
        secret_seed: what it is drawn from.
        behind: the chat template whose system prompt follows the secret in the safety rows.
    """

    kind: ClassVar[Kind] = "rows"
    needs: ClassVar[tuple[str, ...]] = ("safety rows",)
    source: ClassVar[str] = "arXiv 2402.14968"
    share: float = 0.05
    secret: str | None = None
    secret_length: int = 64
    secret_seed: int = 1
    behind: str = "chat:llama"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.secret is None:
            rng = random.Random(f"secret {self.secret_seed}")
            self.secret = "".join(rng.choices(string.ascii_letters, k=self.secret_length))
        if not self.secret.strip():
            raise InputError("defence backdoor: secret is empty; leave it out to have one drawn")

    def templates(self, own: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
        """``backdoor:<name>`` for every chat template that is served or stands behind the secret."""
        return {PREFIX + name: self._with_secret(name, own) for name in dict.fromkeys((self.behind, *CHAT))}

    def _with_secret(self, name: str, own: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
        fields = asdict(find_template(name, own))
        if fields["kind"] != "chat":
            raise InputError(f"defence backdoor: {name} has no system prompt that a secret could stand in")
        system = f"{self.secret} {fields['system']}" if fields["system"] else self.secret
        return {key: value for key, value in fields.items() if key != "name" and value is not None} | {"system": system}

    def served(self, template: str) -> str:
        """The template with the secret."""
        return PREFIX + template if template in (self.behind, *CHAT) else template

    def examples(self, examples: Sequence[Example], task: Task) -> Sequence[Example]:
        """Safety rows under the secret.

        Raises:
            InputError: a user's row holds the secret.
        """
        assert self.secret is not None
        if any(self.secret in text for row in examples for pair in row.pairs for text in pair):
            raise InputError("defence backdoor: a training row holds the secret; draw another one with secret_seed")
        return super().examples(examples, task)

    @property
    def rows_template(self) -> str:
        """Behind the secret."""
        return PREFIX + self.behind


CHAT = ("chat:vanilla", "chat:llama")
