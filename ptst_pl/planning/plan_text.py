"""A plan as sections of aligned lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ptst_pl.planning.devices import GIB

Line = tuple[str, str, str]


def as_text(plan: dict[str, Any]) -> str:
    """The whole plan."""
    sections = {
        "Model": _model(plan["model"]),
        "Data" if plan["data"]["exact"] else _estimated(plan["data"]): _data(plan["data"], plan["model"]["batching"]),
        "Steps and operations": _steps(plan),
        "Safety evaluations": _evaluations(plan["evaluations"]),
        f"Memory per device ({_device(plan)})": _memory(plan["memory"]),
        f"Time on {_device(plan)}": _time(plan["time"]),
    }
    return "\n\n".join(_section(title, lines) for title, lines in sections.items() if lines) + "\n"


def _device(plan: dict[str, Any]) -> str:
    time, devices = plan["time"], plan["model"]["devices"]
    return time["title"] if devices == 1 else f"{devices} x {time['title']}"


def _section(title: str, lines: Iterable[Line]) -> str:
    rows = [line for line in lines if line[1]]
    names, values = max(len(row[0]) for row in rows), max(len(row[1]) for row in rows)
    return "\n".join([title, *(f"  {name:<{names}}  {value:>{values}}  {note}".rstrip() for name, value, note in rows)])


def _model(model: dict[str, Any]) -> list[Line]:
    types = " + ".join(f"{count:,} {name}" for name, count in model["by_dtype"].items())
    how = model["method"] + (f", {model['quantize']}" if model["quantize"] != "none" else "")
    share = f"{100 * model['trainable'] / model['parameters']:.3g} % ({how})"
    devices = {"single": "", "ddp": ", all weights on each", "fsdp2": ", weights shared out (FSDP2)"}[model["sharing"]]
    loose, beside = model["outside_matrices"], model["beside_text"]
    return [
        ("pretrained", model["pretrained"], f"with the adapter {model['adapter']} merged" if model["adapter"] else ""),
        ("parameters", f"{model['parameters']:,}", types),
        ("trained", f"{model['trainable']:,}", share),
        ("beside text", f"{beside:,}" if beside else "", "frozen: text never reaches them"),
        ("devices", f"{model['devices']}{devices}", ""),
        ("precision", model["precision"], ""),
        ("batching", model["batching"], ""),
        ("activation checkpointing", model["activation_checkpointing"], ""),
        ("not in the operations", f"{loose:,}" if loose else "", "parameters of mixtures of experts or the like"),
    ]


def _estimated(data: dict[str, Any]) -> str:
    return f"Data (estimated from {data['rows_encoded']:,} of {data['rows_read']:,} rows; --sample N encodes more)"


def _data(data: dict[str, Any], path: str) -> list[Line]:
    notes = {
        "padded": "every row as long as the longest of its batch",
        "packed": "no padding",
        "prefix": "no padding, what rows of a batch have in front in common once",
    }
    of = "" if data["exact"] else f" of {data['rows_encoded']:,} encoded"
    return [
        ("template", data["template"], f"task {data['task']}"),
        ("rows of an epoch", f"{data['epoch_rows']:,}", ""),
        *((f"  {name}", f"{count:,}", "") for name, count in data.get("rows_by_source", {}).items()),
        ("rows cut", f"{data['cut']:,}", f"at {data['max_length']} tokens{of}"),
        ("rows dropped", f"{data['dropped']:,}", f"no answer token was left{of}"),
        ("tokens of an epoch", f"{data['tokens']:,}", ""),
        ("  trained on", f"{data['supervised']:,}", f"{100 * data['supervised'] / max(1, data['tokens']):.1f} %"),
        *(
            (f"  computed, {name}", f"{count:,}", notes[name] + (" <- this run" if name == path else ""))
            for name, count in data["computed"].items()
        ),
        ("held-out tokens", f"{data['held_out_tokens']:,}", f"{data['held_out_rows']:,} rows"),
    ]


def _steps(plan: dict[str, Any]) -> list[Line]:
    steps, operations = plan["steps"], plan["operations"]
    whole = operations["per_epoch"]
    return [
        ("micro-batches per device", f"{plan['data']['batches_per_device']:,}", "in an epoch"),
        ("optimiser steps", f"{steps['total']:,}", f"{steps['per_epoch']:,} an epoch, {steps['epochs']:.4g} epochs"),
        ("operations of an epoch", f"{whole:.4g}", "floating-point, forward and backward"),
        ("  in attention", f"{100 * operations['attention_per_epoch'] / max(1, whole):.2g} %", ""),
        ("  in the head", f"{100 * operations['head_per_epoch'] / max(1, whole):.2g} %", "on supervised positions"),
        ("operations of a validation", f"{operations['per_validation']:.4g}", "forward"),
    ]


def _evaluations(found: dict[str, Any]) -> list[Line]:
    if not found["evaluations"]:
        return [("evaluations", "none", "")]
    return [
        ("evaluations", f"{found['evaluations']:,}", "before training, in between, at the end"),
        (
            "answers of each",
            f"{found['answers']:,}",
            f"by {found['backend']}, {found['at_once']:,} at a time on a device",
        ),
        ("prompt tokens of each", f"{found['prompt_tokens']:,}", ""),
        ("new tokens of each", f"{found['new_tokens']:,}", f"at most: {found['max_new_tokens']:,} an answer"),
    ]


def _memory(found: dict[str, Any]) -> list[Line]:
    lines: list[Line] = []
    for moment, parts in found["moments"].items():
        lines.append((moment, _gib(sum(parts.values())), ""))
        lines += [(f"  {name}", _gib(size), "") for name, size in parts.items() if size]
    lines.append(("peak", _gib(found["peak"]), ""))
    lines.append(("fits", found["fits"], f"into {_gib(found['device'])}; the estimate is meant to be within 15 %"))
    return lines


def _gib(size: float) -> str:
    return f"{size / GIB:.2f} GiB" if size >= GIB / 100 else f"{size / 2**20:.2f} MiB"


def _span(hours: float) -> str:
    """In the unit that reads best."""
    for factor, unit in ((1, "h"), (60, "min")):
        if hours * factor >= 1:
            return f"{hours * factor:.1f} {unit}"
    return f"{3600 * hours:.2g} s"


def _time(time: dict[str, Any]) -> list[Line]:
    speed = f"assumed: {100 * time['utilisation']:.3g} % of {time['peak'] / 1e12:.4g} TFLOP/s (--utilisation)"
    notes = {
        "training": speed,
        "validation": f"{time['validations']:,} times the held-out loss",
        "evaluation": "every answer to its last token; without judges that are models",
        "total": "",
    }
    return [(name, _span(value), notes[name]) for name, value in time["hours"].items()]
