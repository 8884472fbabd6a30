"""Whether the engine gives a model's own logits; asked before the model is served by it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ptst_pl.generation.decoding import Decoding
from ptst_pl.generation.engine.agreement import disagreement
from ptst_pl.generation.engine.attention import NAME, Form, Pass
from ptst_pl.generation.engine.cache import CacheShape, LayerShape, SlotCache
from ptst_pl.generation.engine.decode_pass import DecodePass
from ptst_pl.generation.engine.model_runner import ModelRunner
from ptst_pl.generation.engine.packed_weights import packed
from ptst_pl.model import causal_lm, evaluating
from ptst_pl.model.attention import attending_with, own_attention
from ptst_pl.model.sharding import in_root


class _Look(Pass):
    """Notes what the layers hand over; their answers are nonsense."""

    def __init__(self) -> None:
        self.layers: dict[int, LayerShape] = {}
        self.windows: set[int] = set()
        self.kinds: set[tuple[torch.dtype, torch.device]] = set()

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, form: Form) -> Tensor:
        """See ``Pass``."""
        if layer in self.layers:
            raise RuntimeError(f"two attentions call themselves layer {layer}")
        self.layers[layer] = LayerShape(key.shape[1], key.shape[-1], value.shape[-1])
        self.kinds.add((key.dtype, key.device))
        if form.window is not None:
            self.windows.add(form.window)
        return value.repeat_interleave(query.shape[1] // key.shape[1], 1).transpose(1, 2)


@contextlib.contextmanager
def serving(model: nn.Module) -> Iterator[PreTrainedModel]:
    """The model below any adapter, in evaluation mode, attending by slots, without autocast."""
    inner = causal_lm(model)
    device = next(inner.parameters()).device.type
    with evaluating(model), torch.autocast(device, enabled=False), attending_with(inner, NAME):
        yield inner


def cache_shape(model: nn.Module) -> CacheShape:
    """What the model's layers keep of a token; found by one token.

    Asked before every run: sharded parameters change their type while they are gathered.

    Raises:
        RuntimeError: its attention does not come by here, or its layers are on several devices.
    """
    device, look = next(model.parameters()).device, _Look()
    with serving(model) as inner:
        token = torch.zeros((1, 1), dtype=torch.long, device=device)
        in_root(_look, inner, token, look)
    if not look.layers:
        raise RuntimeError("its attention cannot be replaced")
    if len(look.kinds) > 1:
        raise RuntimeError("its layers are on several devices or of several types")
    dtype, device = look.kinds.pop()
    return CacheShape(look.layers, dtype, device, frozenset(look.windows))


def _look(model: nn.Module, token: Tensor, look: _Look) -> None:
    causal_lm(model).get_decoder()(input_ids=token, position_ids=token, use_cache=False, slots=look)


def obstacle(model: nn.Module, longest: int = 0) -> str:
    """Why the engine cannot serve this model; empty if it can.

    Some 40 tokens go through the model's own forward pass and through the engine: a common prefix, two
    prompts behind it, and a step of each; the logits must agree.

    Args:
        model: a causal language model, with or without adapters.
        longest: tokens of the longest prompt with its answer, if known.
    """
    inner = causal_lm(model)
    kind = f"model type {inner.config.model_type!r}"
    try:
        shape = cache_shape(model)
        reason = unsuited(inner, shape, longest)
        if reason:
            return f"{kind} {reason}"
        ours, theirs = _ours(model, shape), _theirs(model)
    except (TypeError, RuntimeError, AttributeError, ValueError, KeyError, IndexError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        return f"{kind} cannot be decoded by slots ({(str(error).splitlines() or [type(error).__name__])[0]})"
    difference = disagreement(ours, theirs, shape.dtype)
    return f"{kind} gives other logits when decoded by slots ({difference})" if difference else ""


def unsuited(inner: PreTrainedModel, shape: CacheShape, longest: int) -> str:
    """Why the engine cannot serve a model of this config, which a few tokens cannot show; empty if nothing is known.

    Args:
        inner: the model, whose config is read.
        shape: what its layers keep.
        longest: tokens of the longest prompt with its answer; 0: not known.
    """
    config = inner.config.get_text_config()
    kinds = getattr(config, "layer_types", None) or []
    sliding = "sliding_attention" in kinds if kinds else getattr(config, "use_sliding_window", True)
    window = getattr(config, "sliding_window", None)
    # Some families ignore a window in their config, but transformers' own cache does not.
    if window and sliding and window not in shape.windows and not 0 < longest <= window:
        return f"does not tell its attention about its sliding window ({window})"
    if strange := sorted({*kinds} - {"full_attention", "sliding_attention"}):
        return f"has layers of type {strange[0]}"
    return _rotation(config, longest)


def _rotation(config: object, longest: int) -> str:
    """Frequencies that follow the longest row of a batch would tie rows to each other."""
    given = getattr(config, "rope_parameters", None) or {}
    for rope in [given, *(part for part in given.values() if isinstance(part, dict))]:
        kind = rope.get("rope_type", "default")
        if kind == "dynamic":
            return "rotates positions by the length of the batch (rope_type dynamic)"
        limit = rope.get("original_max_position_embeddings") or getattr(config, "max_position_embeddings", None)
        if kind == "longrope" and limit and longest > limit:
            return f"rotates positions in another way beyond {limit} tokens (rope_type longrope), here {longest}"
    return ""


def _probe(vocabulary: int) -> tuple[list[int], list[list[int]], list[int]]:
    """A prefix, two prompts that begin with it, and the first tokens of their answers, by a fixed rule."""
    prefix = [(7 * place + 3) % vocabulary for place in range(9)]
    behind = [[(11 * place + 5 * row + 2) % vocabulary for place in range(size)] for row, size in enumerate((7, 2))]
    return prefix, [prefix + ids for ids in behind], [5 % vocabulary, 8 % vocabulary]


def _ours(model: nn.Module, shape: CacheShape) -> Tensor:
    """(4, V): behind both prompts, then behind both with one token more."""
    with serving(model) as inner, packed(inner), torch.no_grad():
        prefix, prompts, answers = _probe(inner.config.get_text_config().vocab_size)
        runner = ModelRunner(inner, SlotCache(shape, 2, 16), Decoding(), prefix)
        read = runner.prompt_logits(0, prompts)
        held = [len(prompt) - len(prefix) for prompt in prompts]
        places = torch.tensor(held, device=shape.device)
        ids = torch.tensor(answers, device=shape.device)
        step = runner.next_logits(ids, places, DecodePass(runner.cache, places, max(held)))
        return torch.cat([read, step]).float()


def _theirs(model: nn.Module) -> Tensor:
    inner = causal_lm(model)
    device = next(inner.parameters()).device
    found = []
    with evaluating(model), torch.autocast(device.type, enabled=False), own_attention(inner):
        _, prompts, answers = _probe(inner.config.get_text_config().vocab_size)
        for prompt, token in zip(prompts, answers, strict=True):
            ids = torch.tensor([[*prompt, token]], device=device)
            found.append(inner(input_ids=ids, use_cache=False).logits[0, -2:])
    both = torch.stack(found, 1)  # (2, rows, V): behind the prompt, behind the token
    return both.flatten(0, 1).float()
