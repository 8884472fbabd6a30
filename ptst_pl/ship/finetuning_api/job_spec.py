"""What a fine-tuning job is asked to do, and the key by which it is known again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from ptst_pl import InputError
from ptst_pl.generation.endpoint import EndpointSettings
from ptst_pl.ship.finetuning_api.chat_file import ChatFile

METADATA_KEY = "ptst_pl"
LONGEST_SUFFIX = 64
Auto = Literal["auto"]


@dataclass(frozen=True)
class Hyperparameters:
    """What the service lets one set; None leaves it to the service."""

    n_epochs: int | Auto | None = None
    batch_size: int | Auto | None = None
    learning_rate_multiplier: float | Auto | None = None

    def given(self) -> dict[str, Any]:
        """Those that are set.

        Raises:
            InputError: a value that is neither "auto" nor a number above 0.
        """
        values = {name: value for name, value in asdict(self).items() if value is not None}
        for name, value in values.items():
            whole = name != "learning_rate_multiplier"
            number = type(value) is int or (not whole and type(value) is float)
            if value != "auto" and not (number and 0 < value < float("inf")):
                kind = "a whole number" if whole else "a number"
                raise InputError(f"finetune-api: {name} is {value!r}, expected {kind} above 0, or auto")
        return values


@dataclass(frozen=True)
class JobSpec:
    """One job: file, model, settings, server. ``attempt`` counts the jobs after failed or cancelled ones.

    Raises:
        InputError: a setting out of range.
    """

    file: ChatFile
    endpoint: EndpointSettings
    hyperparameters: Hyperparameters
    seed: int | None = None
    suffix: str | None = None
    attempt: int = 0

    def __post_init__(self) -> None:
        self.hyperparameters.given()
        if self.seed is not None and (type(self.seed) is not int or self.seed < 0):
            raise InputError(f"finetune-api: seed is {self.seed!r}, expected a whole number from 0")
        if self.suffix is not None and not (isinstance(self.suffix, str) and 0 < len(self.suffix) <= LONGEST_SUFFIX):
            raise InputError(f"finetune-api: suffix is {self.suffix!r}, expected 1 to {LONGEST_SUFFIX} characters")

    @property
    def key(self) -> str:
        """Hash of everything that makes it this job and no other."""
        return hashlib.sha256(json.dumps(self.told(), sort_keys=True).encode("ascii")).hexdigest()

    def told(self) -> dict[str, Any]:
        """The job in words, as the state file has it."""
        return {
            "base_url": self.endpoint.url,
            "model": self.endpoint.model,
            "sha256": self.file.sha256,
            "hyperparameters": self.hyperparameters.given(),
            "seed": self.seed,
            "suffix": self.suffix,
            "attempt": self.attempt,
        }

    @property
    def file_name(self) -> str:
        """The file's name on the server. It carries the key, so that the file leads to its job there."""
        return f"ptst_pl-{self.key[:32]}.jsonl"

    def fields(self, file_id: str) -> dict[str, Any]:
        """The request that creates the job."""
        asked: dict[str, Any] = {"model": self.endpoint.model, "training_file": file_id}
        if given := self.hyperparameters.given():
            asked["method"] = {"type": "supervised", "supervised": {"hyperparameters": given}}
        optional = {"seed": self.seed, "suffix": self.suffix}
        asked |= {name: value for name, value in optional.items() if value is not None}
        return asked | {"metadata": {METADATA_KEY: self.key}}

    def following(self) -> JobSpec:
        """The same job once more, as another one."""
        return replace(self, attempt=self.attempt + 1)
