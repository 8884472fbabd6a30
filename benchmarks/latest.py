"""``benchmarks/latest.json``: what the benchmarks last found on this machine."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

PATH = Path(__file__).parent / "latest.json"
PACKAGES = ("torch", "transformers", "trl", "lightning", "peft")


def _version(package: str) -> str | None:
    """None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def update(section: str, values: dict[str, Any], path: Path = PATH) -> None:
    """Put entries in the place of their last figures; other entries and sections stay.

    ``made`` says of each entry of each section when, where and with which versions it was measured.
    """
    known = json.loads(path.read_text()) if path.exists() else {}
    versions = {name: version for name in PACKAGES if (version := _version(name))}
    where = {"date": datetime.now(UTC).date().isoformat(), "machine": platform.processor() or platform.machine()}
    made = known.pop("made", {})
    made[section] = made.get(section, {}) | dict.fromkeys(values, where | versions)
    whole = known | {section: known.get(section, {}) | values, "made": made}
    path.write_text(json.dumps(whole, indent=2) + "\n")
