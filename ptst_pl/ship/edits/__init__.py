"""Edits of weights after training: from an aligned and a fine-tuned model a third one, tensor by tensor.

In: a finished run, or two model folders. Out: a model folder with a record of the edit in it.
May import: export, model, tasks and everything below them.
"""

from ptst_pl.ship.edits.base import Edit, Layer
from ptst_pl.ship.edits.build import EDITS, build_edit

__all__ = ["EDITS", "Edit", "Layer", "build_edit"]
