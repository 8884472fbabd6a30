"""The token that ends an answer, where a chat template does not write it behind the last one."""

from __future__ import annotations

from transformers import GenerationConfig, PreTrainedTokenizerBase


def first_marker(tokenizer: PreTrainedTokenizerBase, text: str) -> int | None:
    """The first special or added token in a text, None where there is none.

    Added tokens that are white space only (Gemma has runs of line breaks) end nothing.
    """
    added = tokenizer.added_tokens_decoder
    markers = set(tokenizer.all_special_ids) | {i for i, token in added.items() if token.content.strip()}
    ids = [int(i) for i in tokenizer(text, add_special_tokens=False)["input_ids"]]
    return next((i for i in ids if i in markers), None)


def next_roles_token(tokenizer: PreTrainedTokenizerBase, between: str) -> int:
    """The token of the next role, which ends a turn by itself (GLM 4), else EOS.

    Where a generation config lies beside the tokenizer, it has to stop there too.

    Args:
        tokenizer: it has an EOS.
        between: what stands between an answer and the next question. A BOS in it ends nothing.
    """
    eos = tokenizer.eos_token_id
    assert isinstance(eos, int)
    role = first_marker(tokenizer, between.replace(str(tokenizer.bos_token), "") if tokenizer.bos_token else between)
    if role is None:
        return eos
    stops = _stored_stops(tokenizer)
    return role if not stops or role in stops else eos


def _stored_stops(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """The tokens at which the generation config beside the tokenizer stops; none where there is no such file."""
    try:
        found = GenerationConfig.from_pretrained(str(tokenizer.name_or_path)).eos_token_id
    except (OSError, ValueError):
        return set()
    return set(found) if isinstance(found, list) else set() if found is None else {found}
