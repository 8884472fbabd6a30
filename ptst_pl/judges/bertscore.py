"""Helpfulness by likeness in meaning to a reference answer: BERTScore (Zhang et al. 2020, arXiv 1904.09675).

As Lyu et al. (arXiv 2402.18540, appendix F.1) measure it on ChatDoctor: the F score over layer 17 of
RoBERTa-large, without idf weights and without rescaling (the paper names model and layer only).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptst_pl import InputError
from ptst_pl.judges.base import Judge
from ptst_pl.results.records import Generation, Verdict

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class BertScoreJudge(Judge):
    """Gives each answer its BERTScore F; no answer is right or wrong, so there is a mean and no rate.

    The model (1.4 GB) is loaded when it is first needed and kept. An empty answer scores 0.

    Args:
        path: a local folder, or a name on the hub.
        num_layers: which layer's states are compared; 0 is the embeddings.
        max_length: longest text in tokens, special ones included; longer ones are cut, which ``details`` says.
        device: ``auto`` is the first GPU, or the CPU where there is none.

    Raises:
        InputError: a path that is no folder with a model, or a number that cannot be.
    """

    name = "bertscore"
    measures = ("helpfulness",)

    def __init__(
        self, path: str = "roberta-large", num_layers: int = 17, max_length: int = 512, device: str = "auto"
    ) -> None:
        self.path, self.num_layers, self.max_length, self.device = path, num_layers, max_length, device
        self.version = f"1, {Path(path).name}, layer {num_layers}, max_length={max_length}"
        looks_local = path.startswith((".", "/", "~")) or path.count("/") > 1 or Path(path).exists()
        if looks_local and not (Path(path) / "config.json").is_file():
            raise InputError(f"judge bertscore: path {path!r} is no folder with a config.json")
        if num_layers < 0 or max_length < 3:
            raise InputError(
                f"judge bertscore: num_layers is {num_layers} and max_length {max_length}, "
                "expected at least 0 and 3 (two special tokens and one of the text)"
            )
        self._ready: tuple[PreTrainedModel, PreTrainedTokenizerBase, str] | None = None

    def settings(self) -> dict[str, Any]:
        """Model, layer and length."""
        return {"path": self.path, "num_layers": self.num_layers, "max_length": self.max_length, "idf": False}

    def judge(self, generations: Sequence[Generation]) -> list[Verdict]:
        """One verdict per generation, in the same order; unscored where there is no reference.

        Raises:
            InputError: the model cannot be loaded, or has fewer layers.
        """
        if not generations:
            return []
        import torch

        from ptst_pl.generation import random_state_kept

        with random_state_kept(), torch.no_grad():
            return [self._one(generation) for generation in generations]

    def _one(self, generation: Generation) -> Verdict:
        reference = generation.reference or ""
        _, tokenizer, _ = self._loaded()
        lengths = [
            len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in (generation.answer, reference)
        ]
        if not lengths[1]:
            return self.verdict(generation, reason="no reference, or one without a token")
        if not lengths[0]:
            return self.verdict(generation, score=0.0, reason="empty answer")
        score = self.score(generation.answer, reference)
        if not math.isfinite(score):
            return self.verdict(generation, reason=f"the judge failed: BERTScore is {score}")
        cut = max(lengths) + 2 > self.max_length
        return self.verdict(generation, score=score, details={"cut": True} if cut else {})

    def score(self, answer: str, reference: str) -> float:
        """The F score of one pair, -1 to 1, in practice above 0.

        One pair a call on purpose: torchmetrics (1.9) sorts a batch's answers and references by length and
        takes the sorting for its own inverse, so that in a batch of three or more answers meet the
        references of other rows.
        """
        import torch
        from torchmetrics.functional.text.bert import bert_score

        model, tokenizer, device = self._loaded()
        found = bert_score(
            [answer], [reference], model=model, user_tokenizer=tokenizer, num_layers=self.num_layers,
            max_length=self.max_length, truncation=True, device=device,
        )  # fmt: skip
        return float(torch.as_tensor(found["f1"]).reshape(()))

    def _loaded(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, str]:
        if self._ready is None:
            self._ready = self._load()
        return self._ready

    def _load(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, str]:
        import torch
        from transformers import AutoModel, AutoTokenizer

        device = ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
        # The report of unused weights (heads, pooler) reads like a fault; what is used is checked below.
        loading = logging.getLogger("transformers.modeling_utils")
        level = loading.level
        loading.setLevel(logging.ERROR)
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.path)
            model, report = AutoModel.from_pretrained(self.path, dtype=torch.float32, output_loading_info=True)
        except (OSError, ValueError, ImportError, RuntimeError, KeyError) as error:
            reason = (" ".join(str(error).split()) or type(error).__name__)[:200]
            raise InputError(
                f"judge bertscore: {self.path!r} cannot be loaded ({reason}); give path: a local folder with the "
                "model and its tokenizer, downloaded where there is a network with: hf download roberta-large"
            ) from error
        finally:
            loading.setLevel(level)
        self._check(model, sorted(report["missing_keys"]))
        return model.to(device).eval(), tokenizer, device

    def _check(self, model: PreTrainedModel, missing: Sequence[str]) -> None:
        layers = int(model.config.num_hidden_layers)
        if self.num_layers > layers:
            raise InputError(
                f"judge bertscore: {self.path} has {layers} layers, num_layers is {self.num_layers}; "
                "17 is for roberta-large, another model has a best layer of its own"
            )
        # The pooler is not used, and masked language models come without one.
        if used := [name for name in missing if not name.startswith("pooler.")]:
            raise InputError(f"judge bertscore: {self.path} has no weights for {len(used)} tensors, such as {used[0]}")
