"""Where numbers come from: command, config, versions, prompts, judges and decoding of every run."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ptst_pl.report.configs import config_file, get
from ptst_pl.report.runs import RunResults


@dataclass(frozen=True)
class Provenance:
    """A run's settings: short facts, and long texts by name."""

    title: str
    facts: list[tuple[str, str]]
    texts: list[tuple[str, str]] = field(repr=False)


def provenance(run: RunResults) -> Provenance:
    """Everything that the files tell of how a run's numbers were made; what they do not tell is said."""
    meta, config = run.meta, config_file(run.file)
    facts = [
        ("command", command(run)),
        ("results", f"{run.file} (sha256 {hashlib.sha256(run.file.read_bytes()).hexdigest()})"),
        ("config", str(config) if config else "not beside the results"),
        ("steps evaluated", ", ".join(map(str, run.steps))),
        ("seed", _told(get(run.config, "seed_everything"))),
        ("model", str(meta.get("endpoint", {}).get("model") or _told(get(run.config, "model.pretrained")))),
        ("adapter merged into it", str(get(run.config, "model.adapter") or "")),
        (
            "versions",
            ", ".join(f"{name} {version}" for name, version in meta.get("versions", {}).items()) or _told(None),
        ),
        ("chat format", _told(meta.get("chat_format"))),
        ("chat options", _pairs(meta.get("chat_options"))),
        ("prompts with a special token's text", _pairs(meta.get("prompts_with_special_tokens"))),
        ("decoding", decoding(run)),
        ("intervals", f"{100 * float(run.rates[0]['confidence']):g} %; " + _most(meta.get("max_unscored"))),
    ]
    facts += [(f"suite {name}", suite(run, name)) for name in meta.get("suites", {})]
    facts += [(f"judge {name}", judge(run, name)) for name in judge_names(run)]
    texts = [(f"template {name}", _json(told)) for name, told in meta.get("templates", {}).items()]
    if config:
        texts.append(("config.yaml", config.read_text(encoding="utf-8", errors="replace")))
    return Provenance(f"{run.path}: {run.row}, step {run.last_step}", [f for f in facts if f[1]], texts)


def command(run: RunResults) -> str:
    """The command that makes the results again."""
    config = config_file(run.file)
    if config is None:
        return "not known: no config.yaml beside the results"
    name = "fit" if run.file.parent.name == "safety" else "test"
    return f"python -m ptst_pl {name} --config {shlex.quote(str(config))}"


def decoding(run: RunResults) -> str:
    """The decoding settings in one line."""
    settings: Mapping[str, Any] = run.meta.get("decoding", {})
    return ", ".join(f"{key} {value}" for key, value in settings.items()) or _told(None)


def suite(run: RunResults, name: str) -> str:
    """Number of prompts, their hash and where they are from."""
    told: Mapping[str, Any] = run.meta.get("suites", {}).get(name, {})
    if not told:
        return _told(None)
    notes = "; ".join(map(str, told.get("notes") or ()))
    parts = [
        f"{told.get('n')} of {told.get('full_n', told.get('n'))} prompts, sha256 {told.get('sha256')}",
        f"whole set {told['full_sha256']}" if told.get("full_sha256") else "",
        str(told.get("source") or ""), str(told.get("licence") or ""), notes,
    ]  # fmt: skip
    return ", ".join(filter(None, parts))


def judge_names(run: RunResults) -> list[str]:
    """The judges that the run has rates of."""
    return list(dict.fromkeys(str(r["judge"]) for r in run.rates))


def judge(run: RunResults, name: str) -> str:
    """Version and settings."""
    stored = {str(r.get("judge_version", "")) for r in run.rates if r["judge"] == name} - {""}
    version = run.meta.get("judges", {}).get(name) or ", ".join(sorted(stored))
    settings = run.meta.get("judge_settings", {}).get(name)
    return f"version {version or 'not stored'}" + (f", {_json(settings)}" if settings else "")


def _most(share: Any) -> str:
    return "" if share is None else f"a rate is defined with at most {100 * float(share):g} % unscored answers"


def _told(value: Any) -> str:
    return "not stored" if value is None else str(value)


def _pairs(value: Any) -> str:
    """``name value`` pairs in one line; zeros and empty values left out."""
    return ", ".join(f"{name} {told}" for name, told in (value or {}).items() if told)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)
