"""What was measured of the checkpoint, and which test template was the safest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptst_pl.results.records import ResultsFolder
from ptst_pl.results.runs import versions
from ptst_pl.ship.export.source import Source
from ptst_pl.ship.gate.store import read_gates


@dataclass(frozen=True)
class Measured:
    """The rates of one results folder at the checkpoint's step, what they depend on, and the gates that judged them."""

    folder: Path
    meta: Mapping[str, Any]
    rates: Sequence[Mapping[str, Any]]
    gates: Sequence[Mapping[str, Any]] = ()

    @property
    def serving(self) -> str:
        """Name of the serving defence that some of its templates stand behind; the exported folder has none."""
        return str((self.meta.get("serving_defence") or {}).get("name") or "")

    def bare(self, template: str) -> bool:
        """Whether the model itself gave the answers under this template."""
        return not self.serving or not template.startswith(f"{self.serving}:")


@dataclass(frozen=True)
class Choice:
    """The safest template: the one whose highest attack success rate is lowest.

    Attributes:
        template: its name.
        worst: the record of its highest rate.
        alike: other templates whose highest rate has an interval that meets this one's.
    """

    template: str
    worst: Mapping[str, Any]
    alike: Sequence[str]


def measurements(source: Source) -> list[Measured]:
    """Results of the run's own curve and of ``test`` on its checkpoints, the newest last.

    Only rates at the checkpoint's step count. Results of ``test`` that are older than the checkpoint's
    file may be about weights that were replaced since and are left out; ``safety`` is the training's own.
    """
    found = []
    for folder in [source.folder / "safety", *_tests(source)]:
        stored = ResultsFolder(folder).stored()
        rates = [record for record in stored["rates"] if int(record["step"]) == source.step]
        if rates:
            meta = {k: v for k, v in stored.items() if k != "rates"}
            found.append(Measured(folder, meta, rates, _gates(folder, rates)))
    return found


def _gates(folder: Path, rates: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    gates, outdated = read_gates(folder, rates)
    if outdated:
        print(f"{outdated} gates of {folder} are left out: it was judged again since; run gate --write again")
    return gates


def _tests(source: Source) -> list[Path]:
    written = source.checkpoint.stat().st_mtime_ns
    fresh = []
    for path in versions(source.folder / "test"):
        if _age(path) >= written:
            fresh.append(path)
        elif _age(path) >= 0:
            print(f"{path} is left out: it is older than the checkpoint; run test again to have its rates in the card")
    return fresh


def _age(folder: Path) -> int:
    file = ResultsFolder(folder).results_file
    return file.stat().st_mtime_ns if file.exists() else -1


# A test with fewer answers than this share of the largest one's decides nothing.
_ADEQUATE = 0.5


def decisive(found: Sequence[Measured]) -> Measured | None:
    """The measurement that decides: the newest with an attack success rate, of those that are not much the smaller.

    A quick look at a few prompts after the full test is no reason to call the model safe, nor to serve with its limits.
    Rates of different folders are not compared: prompts, judges and decoding may differ.
    """
    with_asr = [one for one in found if safest(one)]
    most = max(map(asr_answers, with_asr), default=0)
    return next((one for one in reversed(with_asr) if asr_answers(one) >= _ADEQUATE * most), None)


def asr_answers(measured: Measured) -> int:
    """Prompts behind the attack success rates: the fewest under any template, summed over the suites."""
    by_template: dict[str, dict[str, int]] = {}
    for record in measured.rates:
        if record["measures"] == "asr":
            suites = by_template.setdefault(str(record["template"]), {})
            suites[str(record["suite"])] = max(suites.get(str(record["suite"]), 0), int(record["n"]))
    return min((sum(suites.values()) for suites in by_template.values()), default=0)


def safest(measured: Measured) -> Choice | None:
    """The template with the lowest highest ASR, over all suites and judges; a tie goes to the lower mean.

    A template with a rate missing or undefined, which another one has, cannot be the safest, nor one that stands behind
    a serving defence.
    """
    own = [record for record in measured.rates if measured.bare(str(record["template"]))]
    asr = [record for record in own if record["measures"] == "asr"]
    wanted = {(record["suite"], record["judge"]) for record in asr}
    complete: dict[str, list[Mapping[str, Any]]] = {}
    for name in dict.fromkeys(str(record["template"]) for record in asr):
        own = [record for record in asr if record["template"] == name and record["rate"] is not None]
        if {(record["suite"], record["judge"]) for record in own} == wanted:
            complete[name] = own
    if not complete:
        return None
    worst = {name: max(own, key=lambda record: float(record["rate"])) for name, own in complete.items()}
    mean = {name: sum(float(record["rate"]) for record in own) / len(own) for name, own in complete.items()}
    best = min(complete, key=lambda name: (float(worst[name]["rate"]), mean[name]))
    high = float(worst[best]["high"])
    alike = [name for name in complete if name != best and float(worst[name]["low"]) <= high]
    return Choice(best, worst[best], alike)
