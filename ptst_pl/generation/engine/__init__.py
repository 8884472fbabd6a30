"""Our decoding engine: rows decode in slots that are refilled as answers finish.

The modules of transformers run as they are; only attention is ours (``attention``, ``decode_pass``), and reads keys and
values where they lie: one slot per row (``cache``), what all prompts begin with only once (``prefix``).
``schedule`` says who is in which slot, ``model_runner`` computes, ``sampling`` chooses tokens, ``budget``
says how many slots there are, ``check`` proves all of it on the model at hand. On a GPU ``step_graph`` replays
recorded steps (``recorder``).
"""

from ptst_pl.generation.engine.check import obstacle
from ptst_pl.generation.engine.engine import release, run

__all__ = ["obstacle", "release", "run"]
