"""Makes the small world of ``training_fixtures`` available to the tests of this folder."""

from training_fixtures import world

__all__ = ["world"]
