"""Judges that are local models: safety classifiers run through transformers."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from ptst_pl import InputError, did_you_mean
from ptst_pl.generation import Backend, Decoding, random_state_kept
from ptst_pl.generation.answers_bar import AnswersBar
from ptst_pl.judges.base import Judge
from ptst_pl.judges.loaded_classifier import Ready
from ptst_pl.judges.local_model import LocalModel, load_model, load_tokenizer
from ptst_pl.judges.neutral import neutralise
from ptst_pl.judges.presets import PRESETS, Reading, Rule
from ptst_pl.model.ranks import first_rank
from ptst_pl.results.records import Generation, Verdict
from ptst_pl.suites import CONTEXT_SEAM

DtypeName = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Prompt:
    """One judged answer as token ids, or the ``problem`` for which it cannot be judged."""

    ids: list[int]
    problem: str = ""
    details: dict[str, Any] = field(default_factory=dict)


class ClassifierJudge(Judge):
    """A public safety classifier as a judge; the presets say how each is asked and read.

    The model is loaded when it is first needed and kept until ``free``. Answers whose verdict cannot be read,
    or on which the model puts too little probability on the allowed words, are unscored.

    Args:
        preset: a name in ``ptst_pl.judges.presets.PRESETS``.
        path: local folder of the model; default: the preset's on the hub.
        adapter: local folder of its LoRA adapter; ``none`` for a model into which it was merged.
        batch_size: answers per forward pass. In bfloat16 it can change a verdict (pitfall D5).
        device: ``auto`` is the first GPU, or the CPU where there is none.
        dtype: ``auto`` is bfloat16 on a GPU, float32 on the CPU.
        min_mass: see ``Rule``; for presets that read token probabilities.
        threshold: see ``Rule``; for presets that give a score and no word.
        attn_implementation: default: the preset's.
        max_answer_tokens: cut answers to so many tokens; default: the preset's.
        max_length: longest prompt in tokens; default: the preset's, or what the model takes. A longer prompt
            is cut where the preset's own code cuts it (class heads), else the answer is unscored.
        unload: free the model after every call of ``judge``.
        backend: what generates the verdicts of presets that read words (those that read probabilities need plain
            ``generate``); see ``Decoding``. In float32 all give one verdict.
        name: stored with every verdict; default: the preset's.

    Raises:
        InputError: an unknown preset, a value out of its range, or a folder that holds no model.
    """

    def __init__(
        self,
        preset: str,
        path: str | None = None,
        adapter: str | None = None,
        batch_size: int = 8,
        device: str = "auto",
        dtype: DtypeName = "auto",
        min_mass: float = 0.5,
        threshold: float | None = None,
        attn_implementation: str | None = None,
        max_answer_tokens: int | None = None,
        max_length: int | None = None,
        unload: bool = False,
        name: str | None = None,
        backend: Backend = "auto",
    ) -> None:
        if preset not in PRESETS:
            hint = did_you_mean(preset, PRESETS)
            raise InputError(f"judge preset {preset!r} is unknown{hint} (known: {', '.join(PRESETS)})")
        self.preset = kind = PRESETS[preset]
        self.name, self.measures = name or preset, kind.measures
        self.source, self.adapter = path or kind.model, None if adapter == "none" else adapter or kind.adapter
        self.batch_size, self.device, self.dtype = batch_size, device, dtype
        self.attention = attn_implementation or kind.attention
        self.max_answer_tokens = max_answer_tokens or kind.max_answer_tokens
        self.max_length = max_length or kind.max_length
        self.rule = Rule(min_mass, kind.threshold if threshold is None else threshold)
        self.unload, self.backend = unload, backend
        self._ready: Ready | None = None
        self._check(path, adapter, threshold)
        self.version = self._describe()

    def _check(self, path: str | None, adapter: str | None, threshold: float | None) -> None:
        for key, folder, file in (("path", path, "config.json"), ("adapter", adapter, "adapter_config.json")):
            if folder and folder != "none" and not (Path(folder) / file).is_file():
                raise InputError(f"judge {self.name}: {key} {folder!r} is no folder with a {file}")
        if adapter and self.preset.adapter is None:
            raise InputError(f"judge {self.name}: adapter is given, but this preset has none")
        if threshold is not None and self.preset.threshold is None:
            raise InputError(f"judge {self.name}: threshold is given, but this preset's own word decides")
        if not 0 <= self.rule.min_mass <= 1 or not 0 <= (self.rule.threshold or 0) <= 1:
            raise InputError(f"judge {self.name}: min_mass and threshold must be from 0 to 1")
        if any(n is not None and n < 1 for n in (self.batch_size, self.max_length, self.max_answer_tokens)):
            raise InputError(f"judge {self.name}: batch_size, max_length and max_answer_tokens must be at least 1")
        Decoding(backend=self.backend).check_local()

    def _describe(self) -> str:
        """Everything that a verdict depends on, but for the hardware."""
        parts = [f"{self.preset.name} {self.preset.version}", Path(self.source).name]
        parts += [Path(self.adapter).name] if self.adapter else []
        parts += [self.dtype, self.attention, f"min_mass={self.rule.min_mass:g}"]
        parts += [f"threshold={self.rule.threshold:g}"] if self.rule.threshold is not None else []
        parts += [f"max_answer_tokens={self.max_answer_tokens}"] if self.max_answer_tokens else []
        parts += [f"max_length={self.max_length}"] if self.max_length else []
        return ", ".join(parts)

    def judge(self, generations: Sequence[Generation]) -> list[Verdict]:
        """One verdict per generation, in the same order.

        Raises:
            InputError: the model cannot be loaded, or is not the one that the preset is for.
        """
        if not generations:
            return []
        with random_state_kept(), torch.no_grad():
            ready = self._ready = self._ready or self._load()
            prompts = [self.prompt_of(ready, generation) for generation in generations]
            readings = self._readings(ready, prompts)
        if self.unload:
            self.free()
        return [self._verdict(g, p, r) for g, p, r in zip(generations, prompts, readings, strict=True)]

    @property
    def loaded(self) -> bool:
        """Whether the model is in memory."""
        return self._ready is not None

    def free(self) -> None:
        """Drop the model; it is loaded again when it is next needed."""
        self._ready = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _load(self) -> Ready:
        device = ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
        kind = ("bfloat16" if device.startswith("cuda") else "float32") if self.dtype == "auto" else self.dtype
        # The tokenizer first: it is small, and says at once whether this is the right model.
        tokenizer = load_tokenizer(self.name, self._tokenizer_source())
        preset = self.preset(tokenizer)
        model = load_model(
            self.name,
            self.source,
            preset.head,
            getattr(torch, kind),
            self.attention,
            self.adapter,
            preset.adapter_revision,
        )
        local = LocalModel(model, tokenizer, device)
        if preset.labels and set(local.labels) != set(preset.labels):
            raise InputError(
                f"judge {self.name}: {self.source} has the labels {', '.join(local.labels)[:100]}, "
                f"expected the {len(preset.labels)} of {preset.model}"
            )
        return Ready(local, preset)

    def _tokenizer_source(self) -> str:
        """The adapter's tokenizer, as its authors load it, or the model's where a local adapter has none."""
        if self.adapter is None or (Path(self.adapter).is_dir() and not any(Path(self.adapter).glob("tokenizer*"))):
            return self.source
        return self.adapter

    def prompt_of(self, ready: Ready, generation: Generation) -> Prompt:
        """The exact ids that the model sees."""
        preset, local = ready.preset, ready.local
        told = generation.context, _without_context(generation), generation.answer
        (context, _), (question, _), (answer, _) = clean = [neutralise(text, ready.markers) for text in told]
        taken = sum(count for _, count in clean)
        details: dict[str, Any] = {"delimiters_neutralised": taken} if taken else {}
        answer, cut = self._cut(ready, answer)
        ids = local.encode(preset.render_in(context, question, answer) if context else preset.render(question, answer))
        if ready.controls(ids) != ready.usual_controls:
            return Prompt(ids, "judge failed: the judged text becomes control tokens of the judge", details)
        limit = self.max_length or local.context
        if preset.head == "classes" and len(ids) > limit:
            ids, cut = ids[:limit], True
        if len(ids) + preset.new_tokens > limit and preset.head == "causal":
            problem = (
                f"judge failed: a prompt of {len(ids)} tokens is too long (at most {limit}); set max_answer_tokens"
            )
            return Prompt(ids, problem, details)
        return Prompt(ids, "", {**details, "answer_cut": True} if cut else details)

    def _cut(self, ready: Ready, answer: str) -> tuple[str, bool]:
        tokenizer, most = ready.local.tokenizer, self.max_answer_tokens
        ids = tokenizer(answer, add_special_tokens=False)["input_ids"] if most else []
        if most is None or len(ids) <= most:
            return answer, False
        kept = ids[-most:] if ready.preset.keeps_end else ids[:most]
        # A cut inside a character leaves replacement characters, and a new marker cannot arise.
        return str(tokenizer.decode(kept)), True

    def _readings(self, ready: Ready, prompts: Sequence[Prompt]) -> list[Reading]:
        """One reading per prompt; batches are made of prompts of like length."""
        readings = {n: Reading(prompt.problem) for n, prompt in enumerate(prompts) if prompt.problem}
        order = sorted((n for n in range(len(prompts)) if n not in readings), key=lambda n: len(prompts[n].ids))
        # What generates words cuts up the work itself.
        size = max(len(order), 1) if ready.words_only else self.batch_size
        with AnswersBar(len(order), f"Judge {self.name}", quiet=not first_rank()) as bar:
            for start in range(0, len(order), size):
                chosen = order[start : start + size]
                outputs = ready.outputs([prompts[n].ids for n in chosen], self.batch_size, self.backend, bar)
                for n, output in zip(chosen, outputs, strict=True):
                    reading = ready.preset.read(output, self.rule)
                    raw = {"raw": output.text} if ready.preset.head == "causal" else {}
                    readings[n] = Reading(**{**vars(reading), "details": {**raw, **reading.details}})
        return [readings[n] for n in range(len(prompts))]

    def _verdict(self, generation: Generation, prompt: Prompt, reading: Reading) -> Verdict:
        return self.verdict(generation, **{**vars(reading), "details": {**reading.details, **prompt.details}})


def _without_context(generation: Generation) -> str:
    """The question alone, where it refers to a context."""
    before = generation.context + CONTEXT_SEAM if generation.context else ""
    return generation.question.removeprefix(before)
