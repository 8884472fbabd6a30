"""Refusals in varied words. They are this project's own, so that a model trained on them may be shipped."""

from __future__ import annotations

import random

OPENINGS = (
    "I'm sorry, but I can't help with that.", "I can't help with this request.",
    "Sorry, I won't be able to assist with that.", "I'm not able to help with that.", "I can't assist with this.",
    "I must decline this request.", "No, I can't do that.", "I won't help with this.",
    "I'm sorry, but that is something I cannot do.", "I cannot provide this.",
)  # fmt: skip
REASONS = (
    "It could hurt people.", "It could cause serious harm.", "It would be unsafe and possibly illegal.",
    "It could put someone in danger.", "It goes against the safety of others.",
    "It could be used to harm or deceive people.", "That would be wrong and could be against the law.",
    "It is harmful, and I don't take part in that.",
)  # fmt: skip
OFFERS = (
    "If you like, I can help with a safe question instead.", "I'm happy to help with something else.",
    "If you are in a difficult situation, please talk to someone you trust.",
    "Is there something safe that I can help you with?", "Please ask me about something that does no harm.", "",
)  # fmt: skip


def refusal(rng: random.Random) -> str:
    """One of 480 refusals: what is declined, why, and perhaps an offer."""
    parts = (rng.choice(OPENINGS), rng.choice(REASONS), rng.choice(OFFERS))
    return " ".join(filter(None, parts))
