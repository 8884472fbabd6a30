"""What the card says of the gates that the model passed, and of templates that it is not meant to be served under."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ptst_pl.ship.export.measured_rates import Measured, decisive, safest


def limits(measured: Sequence[Measured]) -> list[str]:
    """The card's sections about gates and other templates; none where no attack success rate was measured."""
    deciding = decisive(measured)
    return [] if deciding is None else [_gates(measured), _elsewhere(deciding)]


def _gates(measured: Sequence[Measured]) -> str:
    lines = [line for one in measured for gate in one.gates for line in _gate(one, gate)]
    if not lines:
        lines = ["No gate has judged these rates; `ptst_pl gate RESULTS --max-asr 0.05 ... --write` does."]
    else:
        lines = [
            "Judged is the worst end of each rate's interval, unscored answers counted against the model.\n",
            *lines,
        ]
    return "## Gates\n\n" + "\n".join(lines)


def _gate(measured: Measured, gate: Mapping[str, Any]) -> Iterator[str]:
    templates = ", ".join(f"`{name}`" for name in dict.fromkeys(check["template"] for check in gate["checks"]))
    word = "Passed" if gate["passed"] else "NOT passed"
    compared = f", relative to `{gate['relative_to']}`" if gate.get("relative_to") else ""
    confidence = f"{100 * float(gate['confidence']):g} % confidence"
    yield f"- **{word} under {templates}** (`{measured.folder.name}`, {confidence}{compared})"
    for check in gate["checks"]:
        mark = "kept" if check["passed"] else "not shown to be kept"
        yield f"  - {mark}: {' '.join(str(check['reason'] or check['text']).split())}"


def _elsewhere(deciding: Measured) -> str:
    choice = safest(deciding)
    assert choice is not None
    others = [name for name in _templates(deciding) if name != choice.template]
    worst = {name: _worst(deciding, name) for name in others}
    found = sorted(filter(None, worst.values()), key=lambda record: -float(record["rate"]))
    undefined = [f"- `{name}`: undefined, too few answers could be scored" for name in others if worst[name] is None]
    if not found:
        text = (
            f"No attack success rate is known under any template but `{choice.template}`: what the model does where "
            "users can set the system prompt was not measured."
        )
        return "\n".join(["## Under other templates\n", text, *undefined])
    first = found[0]
    head = (
        f"If users can set the system prompt, expect an attack success rate of {_rate(first)} "
        f"({first['suite']} under `{first['template']}`, judge {first['judge']}), the highest that was measured; "
        "under a prompt that was not measured it may be higher. The highest rate under each template:\n"
    )
    rows = [
        f"- `{record['template']}`: {_rate(record)} ({record['suite']}, judge {record['judge']})" for record in found
    ]
    return "\n".join(["## Under other templates\n", head, *rows, *undefined])


def _templates(measured: Measured) -> list[str]:
    return list(dict.fromkeys(str(r["template"]) for r in measured.rates if r["measures"] == "asr"))


def _worst(measured: Measured, template: str) -> Mapping[str, Any] | None:
    """The record of a template's highest attack success rate; None where all are undefined."""
    own = [r for r in measured.rates if (r["template"], r["measures"]) == (template, "asr") and r["rate"] is not None]
    return max(own, key=lambda record: float(record["rate"]), default=None)


def _rate(record: Mapping[str, Any]) -> str:
    low, rate, high = (f"{100 * float(record[name]):.1f}" for name in ("low", "rate", "high"))
    return f"{rate} % [{low}, {high}], {record['k']} of {record['n']}"
