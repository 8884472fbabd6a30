"""What a prompt template is: the text around a question."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from ptst_pl import InputError

PLACE = "{input}"
SYSTEM_PLACE, CONTEXT_PLACE = "{system}", "{context}"


@dataclass(frozen=True)
class PromptTemplate:
    """How a question becomes a prompt.

    Attributes:
        name: unique name, such as ``chat:llama``.
        kind: ``chat`` (wrapped by a chat format) or ``text`` (no wrapping).
        user: the user turn; holds ``{input}`` exactly once.
        system: the system prompt, or None for no system prompt at all.
        shots: earlier (user, assistant) turns, as in In-context Defense.
        separator: what stands between a prompt and its answer in the llama2, mistral and text forms.
        before_close: what stands before ``[/INST]`` in the llama2 and mistral forms.
        row_system: the system prompt for rows that bring the text that this template has a place for.
        row_input: what such rows put at ``{input}``. ``row_system`` and ``row_input`` together hold one
            place: ``{system}`` for a row's own system prompt, or ``{context}`` for its input.

    Raises:
        InputError: ``user`` does not hold ``{input}`` exactly once, or the kind is unknown, or a
            text template ends in a space (the answer's first token would then be a different one),
            or ``row_system`` and ``row_input`` hold no place or several.
    """

    name: str
    kind: Literal["chat", "text"]
    user: str
    system: str | None = None
    shots: tuple[tuple[str, str], ...] = ()
    separator: str = " "
    before_close: str = " "
    row_system: str | None = None
    row_input: str | None = None

    def __post_init__(self) -> None:
        where = f"template {self.name!r}"
        if self.kind not in ("chat", "text"):
            raise InputError(f"{where}: kind is {self.kind!r}, expected 'chat' or 'text'")
        if self.user.count(PLACE) != 1:
            found = self.user.count(PLACE)
            raise InputError(f"{where}: user text must hold {PLACE} exactly once, found it {found} times")
        if self.kind == "text" and self.user.endswith(" "):
            raise InputError(f"{where}: user text must not end in a space; put the space into 'separator'")
        if self.kind == "text" and (self.system is not None or self.shots):
            raise InputError(f"{where}: a text template takes no system prompt and no shots")
        self._check_row_places(where)

    def _check_row_places(self, where: str) -> None:
        if self.row_system is None and self.row_input is None:
            return
        if self.kind == "text" and self.row_system is not None:
            raise InputError(f"{where}: a text template takes no system prompt, so no row_system either")
        system, user = self.row_system or "", PLACE if self.row_input is None else self.row_input
        places = [text.count(place) for text in (system, user) for place in (SYSTEM_PLACE, CONTEXT_PLACE)]
        if sum(places) != 1:
            raise InputError(f"{where}: row_system and row_input must hold {SYSTEM_PLACE} or {CONTEXT_PLACE} once")
        if user.count(PLACE) != 1 or PLACE in system:
            raise InputError(f"{where}: row_input must hold {PLACE} exactly once, and row_system not at all")

    @property
    def row_place(self) -> str:
        """``{system}`` or ``{context}``, whichever a row's own text has a place for; or an empty string."""
        held = (self.row_system or "") + (self.row_input or "")
        return next((place for place in (SYSTEM_PLACE, CONTEXT_PLACE) if place in held), "")

    def with_given_system(self, given: str, other: str) -> PromptTemplate:
        """Itself with ``other`` where a row's own text ``given`` stands in the system prompt."""
        before, _, after = (self.row_system or "").partition(self.row_place)
        assert self.system == before + given + after
        return replace(self, system=before + other + after)

    def fill(self, question: str) -> str:
        """The user turn with the question in place; the question's own braces or % stay as they are."""
        before, _, after = self.user.partition(PLACE)
        return before + question + after
