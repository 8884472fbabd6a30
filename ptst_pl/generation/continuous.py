"""Transformers' continuous batching (``generate_batch``): a paged cache, common prefixes computed once; greedy only."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from torch import nn
from transformers import ContinuousBatchingConfig, GenerationConfig

from ptst_pl import InputError
from ptst_pl.generation.decoding import Answer, Decoding, cut
from ptst_pl.generation.hf import plain
from ptst_pl.generation.request import Request

# On a CPU transformers would fill half of the memory with an empty cache.
_CPU_PAGE, _CPU_TOKENS = 32, 512


def run(
    model: nn.Module,
    requests: Sequence[Request],
    stops: Sequence[int],
    pad_id: int,
    decoding: Decoding,
    known: Collection[int],
    done: Callable[[int, Answer], object],
    stop_text: Callable[[list[int]], bool] | None = None,
    made: Callable[[int], object] = lambda tokens: None,
) -> None:
    """Answer all requests that are not ``known``; see ``hf.run``. Stop texts are cut afterwards: they save no time.

    Raises:
        InputError: transformers gave up on a request.
    """
    wanted = [index for index in range(len(requests)) if index not in known]
    if not wanted:
        return
    config = GenerationConfig(
        max_new_tokens=max(request.max_new_tokens for request in requests),
        do_sample=False,
        eos_token_id=list(stops) or -1,
        pad_token_id=pad_id,
    )
    with plain(model, config) as inner:
        settings = _settings(inner.device.type, [requests[index] for index in wanted], decoding.batch_size)
        try:
            _serve(inner, config, settings, requests, wanted, set(stops), done, made)
        except (ValueError, AttributeError, TypeError, RuntimeError) as error:
            raise _refused(inner, error) from error


def _settings(device: str, requests: Sequence[Request], at_once: int) -> ContinuousBatchingConfig:
    if device != "cpu":
        return ContinuousBatchingConfig(max_requests_per_batch=at_once)
    longest = max(len(request.ids) + request.max_new_tokens for request in requests)
    blocks = (min(at_once, len(requests)) + 1) * (-(-longest // _CPU_PAGE) + 1)
    return ContinuousBatchingConfig(
        page_size=_CPU_PAGE, num_blocks=blocks, max_batch_tokens=_CPU_TOKENS, max_requests_per_batch=at_once
    )


def _serve(
    model: Any,
    config: GenerationConfig,
    settings: ContinuousBatchingConfig,
    requests: Sequence[Request],
    wanted: Sequence[int],
    stops: set[int],
    done: Callable[[int, Answer], object],
    made: Callable[[int], object],
) -> None:
    options = {"generation_config": config, "continuous_batching_config": settings}
    with model.continuous_batching_context_manager(**options, block=True, timeout=60, warmup=False) as manager:
        index_of = {
            manager.add_request(requests[index].ids, max_new_tokens=requests[index].max_new_tokens): index
            for index in wanted
        }
        while index_of:
            result = manager.get_result(timeout=1)
            if result is None and not manager.is_running():
                raise RuntimeError("its thread ended")
            if result is None or not result.is_finished():
                continue
            if result.error is not None:
                raise RuntimeError(result.error)
            answer = cut(list(result.generated_tokens), stops)
            made(len(answer.ids))
            done(index_of.pop(result.request_id), answer)


def _refused(model: Any, error: Exception) -> InputError:
    reason = (" ".join(str(error).split()) or type(error).__name__)[:200]
    return InputError(
        f"decoding.backend is 'continuous', which transformers cannot do for model type "
        f"{model.config.model_type!r}: {reason}; use auto or hf"
    )
