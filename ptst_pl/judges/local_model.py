"""A judge model on this machine: loaded whole or not at all, prompts in, outputs out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ptst_pl import InputError
from ptst_pl.generation import Backend, Decoding, generate, stop_ids
from ptst_pl.generation.answers_bar import AnswersBar
from ptst_pl.judges.presets import Output
from ptst_pl.tokenization.batches import pad_left

_LOADING_ERRORS = (OSError, ValueError, ImportError, RuntimeError, KeyError, SafetensorError)


def load_tokenizer(judge: str, source: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a judge model, from a folder or the hub.

    Raises:
        InputError: there is none.
    """
    try:
        return AutoTokenizer.from_pretrained(source)
    except _LOADING_ERRORS as error:
        raise cannot_load(judge, source, error) from error


def load_model(
    judge: str,
    source: str,
    head: str,
    dtype: torch.dtype,
    attention: str,
    adapter: str | None = None,
    adapter_revision: str | None = None,
) -> PreTrainedModel:
    """A judge model in evaluation mode, with every weight from its files.

    Raises:
        InputError: it cannot be loaded, or some weights were not in its files and would be random.
    """
    kind = AutoModelForSequenceClassification if head == "classes" else AutoModelForCausalLM
    try:
        model, report = kind.from_pretrained(
            source, dtype=dtype, attn_implementation=attention, output_loading_info=True
        )
    except _LOADING_ERRORS as error:
        raise cannot_load(judge, source, error) from error
    if missing := sorted(report["missing_keys"]):
        raise InputError(
            f"judge {judge}: {source} has no weights for {len(missing)} tensors, such as {missing[0]}; "
            "they would be random and so would the verdicts: check that it is the folder of the right model"
        )
    if adapter:
        model = _with_adapter(judge, model, adapter, adapter_revision)
    return model.eval()  # type: ignore[no-any-return]


def _with_adapter(judge: str, model: PreTrainedModel, adapter: str, revision: str | None) -> PreTrainedModel:
    """The model with its layers adapted in place."""
    options = {} if Path(adapter).is_dir() else {"revision": revision}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*missing adapter keys")
            warnings.filterwarnings("ignore", message=".is_gradient_checkpointing")  # peft asks by the old name
            return PeftModel.from_pretrained(model, adapter, **options).get_base_model()
    except UserWarning as error:
        raise InputError(f"judge {judge}: {adapter} does not fit the model: {str(error)[:200]}") from error
    except _LOADING_ERRORS as error:
        raise cannot_load(judge, adapter, error) from error


def cannot_load(judge: str, source: str, error: Exception) -> InputError:
    """One line on what could not be loaded, why, and what to do."""
    reason = (" ".join(str(error).split()) or type(error).__name__)[:200]
    if Path(source).is_dir():
        return InputError(f"judge {judge}: {source} cannot be loaded: {reason}")
    return InputError(
        f"judge {judge}: {source!r} cannot be loaded from the Hugging Face hub or its cache: {reason} -- give "
        f"path/adapter as local folders, or check the network and, for a gated model, accept its terms at "
        f"https://huggingface.co/{source} and run: hf auth login"
    )


class LocalModel:
    """A judge model and its tokenizer on one device.

    Args:
        model: causal or with a class head.
        tokenizer: its tokenizer.
        device: where it runs.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, device: str) -> None:
        self.model, self.tokenizer = model.to(device), tokenizer  # type: ignore[arg-type]
        self.device = device
        # Masked out, so that any id will do.
        self.pad_id = next((i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id) if i is not None), 0)

    @property
    def context(self) -> int:
        """Most tokens that the model takes."""
        return int(getattr(self.model.config.get_text_config(), "max_position_embeddings", 0) or 1 << 30)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of a class head's labels."""
        return tuple(name for _, name in sorted(self.model.config.id2label.items()))

    def encode(self, text: str) -> list[int]:
        """Token ids with BOS exactly once in front, whether the text or the tokenizer brings it or not."""
        ids = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        bos = self.tokenizer.bos_token_id
        return ids if bos is None or ids[:1] == [bos] else [bos, *ids]

    def replies(
        self, prompts: Sequence[Sequence[int]], new_tokens: int, batch_size: int, backend: Backend, bar: AnswersBar
    ) -> list[Output]:
        """Greedy replies to N prompts, without logits, by whatever generates fastest for this model."""
        decoding = Decoding(max_new_tokens=new_tokens, batch_size=batch_size, backend=backend)
        answers = generate(self.model, prompts, self._stops(), self.pad_id, decoding, bar.done, made=bar.made)
        return [self._reply(answer.ids, torch.zeros(0, 1), set()) for answer in answers]

    def _stops(self) -> list[int]:
        end = self.tokenizer.eos_token_id
        return stop_ids(self.model, self.pad_id if end is None else int(end))

    def replies_with_logits(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> list[Output]:
        """Greedy replies to B prompts, left-padded, with the float32 logits of every step."""
        input_ids, mask = pad_left(prompts, self.pad_id)
        stops = self._stops()
        # The model's own defaults (temperature, penalties) must not touch a verdict.
        self.model.generation_config = GenerationConfig(
            max_new_tokens=new_tokens,
            do_sample=False,
            eos_token_id=stops,
            pad_token_id=self.pad_id,
            output_logits=True,
            return_dict_in_generate=True,
        )
        result: Any = self.model.generate(  # type: ignore[operator]
            input_ids=input_ids.to(self.device), attention_mask=mask.to(self.device)
        )
        new = result.sequences[:, input_ids.shape[1] :].tolist()
        logits = torch.stack(result.logits, 1).float().cpu()
        return [self._reply(ids, rows, set(stops)) for ids, rows in zip(new, logits, strict=True)]

    def _reply(self, ids: list[int], logits: Tensor, stops: set[int]) -> Output:
        length = next((place for place, token in enumerate(ids) if token in stops), len(ids))
        text = str(self.tokenizer.decode(ids[:length], skip_special_tokens=True))
        return Output(text, ids[:length], logits)

    def classify(self, prompts: Sequence[Sequence[int]]) -> list[Output]:
        """Class logits at the last token of B prompts, right-padded.

        The last token is found by length, not by the padding id: an end token that also pads would
        otherwise be taken for padding.
        """
        input_ids, mask = _pad_right(prompts, self.pad_id)
        model: Any = self.model
        hidden = model.base_model(
            input_ids=input_ids.to(self.device), attention_mask=mask.to(self.device), use_cache=False
        ).last_hidden_state
        last = mask.sum(1).to(hidden.device) - 1
        logits = model.score(hidden[torch.arange(len(prompts), device=hidden.device), last])
        return [Output("", [], row, self.labels) for row in logits.float().cpu()]


def _pad_right(prompts: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Prompt ids as (B, T) with padding on the right, and their attention mask."""
    length = max(len(prompt) for prompt in prompts)
    rows = [[*prompt, *[pad_id] * (length - len(prompt))] for prompt in prompts]
    masks = [[1] * len(prompt) + [0] * (length - len(prompt)) for prompt in prompts]
    return torch.tensor(rows), torch.tensor(masks)
