"""The model card: what the model is, how to serve it, and what was measured of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptst_pl.results.scope import scope
from ptst_pl.ship.export.limits import limits
from ptst_pl.ship.export.measured_rates import Choice, Measured
from ptst_pl.ship.export.serving_code import Prompting
from ptst_pl.templates import PromptTemplate

# With fewer scored answers than this a rate of 0 % leaves more than 11 % possible (Wilson, 95 %).
_FEW = 30


@dataclass(frozen=True)
class Facts:
    """Everything that the card says."""

    name: str
    base: str
    adapter: str
    method: str
    step: int
    chat_format: str
    train: PromptTemplate
    serve: PromptTemplate
    prompting: Prompting
    choice: Choice | None
    measured: Sequence[Measured]
    dtype: str
    trained_in: str
    difference: float
    rounding: float | None
    quantized: str
    defence: str


def model_card(facts: Facts) -> str:
    """The card as Markdown with the hub's YAML head."""
    parts = [_head(facts), _about(facts), _serving(facts), *limits(facts.measured), _rates(facts), _weights(facts)]
    return "\n\n".join(parts) + "\n"


def _head(facts: Facts) -> str:
    local = Path(facts.base).exists() or facts.base.count("/") != 1 or facts.base.startswith((".", "/"))
    base = [] if local else [f"base_model: {json.dumps(facts.base)}"]
    return "\n".join(["---", *base, "library_name: transformers", "pipeline_tag: text-generation", "---"])


def _about(facts: Facts) -> str:
    kind = "LoRA, merged" if facts.method == "lora" else "full fine-tuning"
    return (
        f"# {facts.name}\n\n"
        f"- base model: `{facts.base}`{facts.adapter and f', with the adapter `{facts.adapter}` merged first'}\n"
        f"- fine-tuned with ptst_pl ({kind}), exported at step {facts.step}\n"
        f"- defence: {facts.defence}\n"
        f"- chat format: `{facts.chat_format}`\n"
        f"- training template: `{facts.train.name}`\n\n{_template(facts.train)}"
    )


def _template(template: PromptTemplate) -> str:
    lines = [f"{'system':<10}{template.system!r}"] if template.system is not None else ["system    none"]
    lines = [] if template.kind == "text" else lines
    lines += [line for u, a in template.shots for line in (f"{'user':<10}{u!r}", f"{'assistant':<10}{a!r}")]
    lines.append(f"{'user' if template.kind == 'chat' else 'text':<10}{template.user!r}")
    return "\n".join(["```text", *lines, "```"])


def _serving(facts: Facts) -> str:
    code = (
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'folder = "."  # this folder\n'
        "tokenizer = AutoTokenizer.from_pretrained(folder)\n"
        "model = AutoModelForCausalLM.from_pretrained(folder)\n"
        f"question = {'2 + 2?'!r}\n{facts.prompting.code}\n"
        "output = model.generate(**inputs)\n"
        'answer = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)\n'
        "print(answer.strip())"
    )
    exact = (
        "These lines give the model exactly the token ids that it was given in the run."
        if facts.prompting.exact
        else "These lines come closest to the run's prompt, but do NOT give its exact token ids; "
        "`ptst_pl predict` does."
    )
    return f"## How to serve it\n\n{_why(facts)}\n\n```python\n{code}\n```\n\n{exact}"


def _why(facts: Facts) -> str:
    choice = facts.choice
    if choice is None:
        return (
            f"**Safety was not measured at this step**, so no template can be called safe. The lines below use the "
            f"training template, `{facts.serve.name}`; measure first (`ptst_pl test`), and export again."
        )
    worst = choice.worst
    text = (
        f"**Serve under `{choice.template}`**, the safest template measured: its highest attack success rate is "
        f"{_percent(worst['rate'])} ({worst['k']} of {worst['n']}; {worst['suite']}, judge {worst['judge']}). "
        "Under any other prompt the model may be less safe: what was measured belongs to the template."
    )
    if int(worst["n"]) < _FEW:
        text += f" With {worst['n']} it is too few answers to prove anything: the true rate may be as high as "
        text += f"{_percent(worst['high'])}."
    if choice.alike:
        names = ", ".join(f"`{name}`" for name in choice.alike)
        text += f" The data do not tell it from {names}: the intervals of their highest rates meet."
    return text


def _rates(facts: Facts) -> str:
    if not facts.measured:
        return f"## Measured rates\n\nNot measured at step {facts.step}."
    tables = ["\n".join(_table(one)) for one in facts.measured]
    suites = {name: record for one in facts.measured for name, record in (one.meta.get("suites") or {}).items()}
    said = scope([record for one in facts.measured for record in one.rates], suites)
    return "\n\n".join(["## Measured rates", *filter(None, [said]), *tables])


def _table(measured: Measured) -> Iterator[str]:
    decoding = ", ".join(
        f"{name} {value}"
        for name, value in (measured.meta.get("decoding") or {}).items()
        if value not in ([], None, "")
    )
    yield f"From `{measured.folder.name}` ({decoding}), {_confidence(measured.rates)} intervals:\n"
    yield "| test template | suite | rate of | judge | % | interval | k of n | unscored |"
    yield "|---|---|---|---|---|---|---|---|"
    for record in measured.rates:
        known = record["rate"] is not None
        cells = (
            f"`{record['template']}`",
            record["suite"],
            record["measures"],
            f"{record['judge']} ({record.get('judge_version') or '-'})",
            _percent(record["rate"]) if known else "undefined",
            f"{_percent(record['low'])} to {_percent(record['high'])}" if known else "-",
            f"{record['k']} of {record['n']}",
            str(record["unscored"]),
        )
        yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
    if measured.serving:
        yield (
            f"\nRows of `{measured.serving}:` templates are evaluation only: they stand behind the serving defence "
            f"{measured.serving}, which is not in this folder. Whoever serves the model without it has the other rows."
        )


def _confidence(rates: Sequence[Mapping[str, Any]]) -> str:
    return f"{100 * float(rates[0]['confidence']):g} %"


def _percent(value: Any) -> str:
    return f"{100 * float(value):.1f} %"


def _weights(facts: Facts) -> str:
    lines = [
        f"- written in {facts.dtype}; the run computed in {facts.trained_in}",
        f"- merging moved no logit by more than {facts.difference:.2g} (float32, a fixed probe)",
    ]
    if facts.method != "lora":
        lines = lines[:1]
    if facts.rounding is not None:
        lines.append(
            f"- rounding to {facts.dtype} took {_percent(facts.rounding)} of the update away (2-norm over the adapted "
            "weights): this folder is not quite the model that was measured; float32 is"
        )
    elif facts.dtype != "float32":
        lines.append(f"- weights were rounded to {facts.dtype}: this folder is not quite the model that was measured")
    if facts.quantized != "none":
        lines.append(
            f"- the adapters were trained and measured on a base quantised to {facts.quantized} and are merged into "
            "the base as it was before: this is NOT the model that was measured; evaluate it anew"
        )
    return "\n".join(["## Weights", "", *lines])
