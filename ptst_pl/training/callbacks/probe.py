"""A look inside at every safety evaluation: where the model has safe and unsafe prompts, layer by layer.

One forward pass over prompts that are encoded anyway. Lines of ``probe.jsonl``: step, test template, layer, and what
``model.cluster_geometry`` finds; drift is the cosine of a layer's refusal direction to the one at the first look.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ptst_pl.evaluation.cells import Cell
from ptst_pl.model.cluster_geometry import geometry, place_between
from ptst_pl.model.hidden_states import last_token_states
from ptst_pl.results.records import read_lines, write_text

FILE_NAME, DIRECTIONS = "probe.jsonl", "probe-directions.pt"
Line = dict[str, Any]


class Probe:
    """Looks at one folder's checkpoints.

    Args:
        folder: of the safety results.
        prompts: at most so many of each kind.
    """

    def __init__(self, folder: Path, prompts: int) -> None:
        self._folder, self._prompts = folder, prompts
        self._directions: dict[str, Tensor] = {}

    def look(self, model: nn.Module, cells: Sequence[Cell], pad_id: int, step: int) -> list[Line]:
        """The lines of this step, for every template with prompts of both kinds; writes nothing.

        Args:
            model: whole, or gathered.
            cells: of the evaluation; suites for attack success are unsafe, the others safe.
            pad_id: to pad with.
            step: the step.
        """
        first = self._first()
        lines: list[Line] = []
        for template in dict.fromkeys(cell.template.name for cell in cells):
            own = [cell for cell in cells if cell.template.name == template and _plain(cell)]
            kinds = [
                self._some([cell for cell in own if (cell.suite.measures == "asr") == unsafe]) for unsafe in (0, 1)
            ]
            if not all(len(prompts) > 1 for prompts in kinds):
                continue
            states = last_token_states(model, [ids for _, ids in [*kinds[0], *kinds[1]]], pad_id)
            safe, unsafe = states[: len(kinds[0])], states[len(kinds[0]) :]
            start = first.get(template)
            found = geometry(safe, unsafe, start)
            places = _places([name for name, _ in kinds[1]], safe, unsafe)
            self._directions[template] = found.direction
            drift = torch.ones(len(found.direction)) if start is None else (found.direction * start).sum(-1)
            for layer in range(len(found.direction)):
                lines.append(
                    {"step": step, "template": template, "layer": layer, "safe": len(safe), "unsafe": len(unsafe),
                     "separation": _number(found.separation[layer]), "drift": _number(drift[layer]),
                     "projection": _number(found.projection[layer]),
                     "lipschitz_safe": _number(found.lipschitz_safe[layer]),
                     "lipschitz_unsafe": _number(found.lipschitz_unsafe[layer]),
                     "places": {name: _number(place[layer]) for name, place in places.items()}}
                )  # fmt: skip
        return lines

    def write(self, lines: Sequence[Line]) -> None:
        """Put a step's lines behind those of earlier ones; the first directions are kept for the later ones' drift."""
        if not lines:
            return
        file, step = self._folder / FILE_NAME, lines[0]["step"]
        kept = [line for line in (read_lines(file) if file.is_file() else ()) if line["step"] < step]
        if not (self._folder / DIRECTIONS).is_file():
            self._folder.mkdir(parents=True, exist_ok=True)
            torch.save(self._directions, self._folder / DIRECTIONS)
        write_text(file, "".join(json.dumps(line) + "\n" for line in [*kept, *lines]))

    def _first(self) -> dict[str, Tensor]:
        file = self._folder / DIRECTIONS
        found: dict[str, Tensor] = torch.load(file, weights_only=True) if file.is_file() else {}
        return found

    def _some(self, cells: Sequence[Cell]) -> list[tuple[str, list[int]]]:
        """Prompts of all cells in turn, with the names of their suites."""
        found = [(cell.suite.name, ids) for cell in cells for ids in cell.ids]
        step = max(1, len(found) // self._prompts)
        return found[::step][: self._prompts]


def _places(names: Sequence[str], safe: Tensor, unsafe: Tensor) -> dict[str, Tensor]:
    """(layers,) for each unsafe suite where its prompts lie between the safe ones and all unsafe ones."""
    found = {}
    for name in dict.fromkeys(names):
        own = unsafe[[place for place, other in enumerate(names) if other == name]]
        found[name] = place_between(own, safe, unsafe)
    return found


def _plain(cell: Cell) -> bool:
    """Whether its prompts are single questions in plain text."""
    return not cell.suite.conversational and not cell.suite.encoding


def _number(value: Tensor) -> float | None:
    return None if math.isnan(float(value)) else round(float(value), 5)
