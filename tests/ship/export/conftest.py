"""The small world of tests that train."""

from __future__ import annotations

from training_fixtures import world  # noqa: F401
