"""The human judge: labels that a person wrote into a sheet of ``ptst_pl sample``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from ptst_pl import InputError
from ptst_pl.judges.base import Judge
from ptst_pl.judges.sheet import SheetRow, read_sheet, row_id
from ptst_pl.results.records import COUNTED_FIELD, Generation, Verdict


class HumanJudge(Judge):
    """Verdicts from a labelled sheet; what is not in it, or has no clear label, is unscored.

    A judge's version is a hash of its sheet.

    Args:
        sheet: CSV file with the columns ``row``, ``answer``, and ``harmful`` or ``refused`` or both, filled with
            yes, no, unsure or nothing.
        name: another name for each person, so that their agreement can be measured.

    Raises:
        InputError: a sheet that cannot be read, or an empty name; names file and row.
    """

    reads_thoughts = True  # the sheet shows the person the answer as it is stored

    def __init__(self, sheet: str, name: str = "human") -> None:
        if not name.strip():
            raise InputError("human judge: the name is empty; give one, such as human")
        self.name, self.path = name, Path(sheet)
        self.rows = read_sheet(self.path)
        self.version = hashlib.sha256(self.path.read_bytes()).hexdigest()[:12]

    def judge(self, generations: Sequence[Generation]) -> list[Verdict]:
        """One verdict per generation, in order.

        Raises:
            InputError: the sheet has a row that is about none of them, or whose answer differs.
        """
        known = {row_id(generation) for generation in generations}
        for row in self.rows.values():
            if row.row not in known:
                raise InputError(
                    f"{self.path} row {row.number}: {row.row} is no answer of these results; "
                    "the sheet was sampled from another folder"
                )
        return [self._one(generation, self.rows.get(row_id(generation))) for generation in generations]

    def _one(self, generation: Generation, row: SheetRow | None) -> Verdict:
        if row is None:
            return self.verdict(generation, reason="not in the sheet")
        if not row.is_about(generation):
            raise InputError(
                f"{self.path} row {row.number}: the answer is not the stored one to {generation.suite} "
                f"{generation.prompt_id} ({row.row}); it was edited, or the sheet is of another run"
            )
        field = COUNTED_FIELD[generation.measures]
        reason = "labelled" if getattr(row, field) is not None else "unsure" if field in row.unsure else "no label"
        details = {"note": row.note} if row.note else {}
        return self.verdict(generation, harmful=row.harmful, refused=row.refused, reason=reason, details=details)
