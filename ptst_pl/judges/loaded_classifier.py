"""A safety classifier in memory: its model, its preset, and the control tokens that judged text must not bring."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ptst_pl.generation import Backend
from ptst_pl.generation.answers_bar import AnswersBar
from ptst_pl.judges.local_model import LocalModel
from ptst_pl.judges.neutral import control_tokens
from ptst_pl.judges.presets import Output, Preset


class Ready:
    """A loaded model with its preset."""

    def __init__(self, local: LocalModel, preset: Preset) -> None:
        self.local, self.preset = local, preset
        tokens = control_tokens(local.tokenizer)
        self.markers = [*tokens, *preset.markers]
        # An unknown character is no control token, though it has a special id in some tokenizers.
        self.control_ids = set(tokens.values()) - {local.tokenizer.unk_token_id}
        self.usual_controls = self.controls(local.encode(preset.render("question", "answer")))

    def controls(self, ids: Sequence[int]) -> Counter[int]:
        """How often each control token stands in a prompt."""
        return Counter(token for token in ids if token in self.control_ids)

    @property
    def words_only(self) -> bool:
        """Whether the verdict is read from generated words, without their probabilities."""
        return self.preset.head == "causal" and not self.preset.keeps_logits

    def outputs(self, prompts: Sequence[list[int]], batch_size: int, backend: Backend, bar: AnswersBar) -> list[Output]:
        """What the model gives for a batch, which ``bar`` counts."""
        if self.words_only:
            return self.local.replies(prompts, self.preset.new_tokens, batch_size, backend, bar)
        classes = self.preset.head == "classes"
        found = (
            self.local.classify(prompts) if classes else self.local.replies_with_logits(prompts, self.preset.new_tokens)
        )
        bar.done(len(found))
        return found
