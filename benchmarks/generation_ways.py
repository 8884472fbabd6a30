"""Ways of answering many prompts: the authors', transformers' continuous batching, ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from transformers import ContinuousBatchingConfig, GenerationConfig, PreTrainedModel

from ptst_pl.generation.decoding import Decoding
from ptst_pl.generation.engine import run
from ptst_pl.generation.hf import plain
from ptst_pl.generation.request import Request
from ptst_pl.tokenization.batches import pad_left

PAD = 0
Answers = list[list[int]]
Way = Callable[[PreTrainedModel, Sequence[Request], Sequence[int]], Answers]


@dataclass(frozen=True)
class Entry:
    """A row of the table.

    Attributes:
        name: what it is called.
        way: answers requests, each up to the first of the stop ids.
        first: it gets so many requests only, the first; None: all.
    """

    name: str
    way: Way
    first: int | None = None


def entries(large: bool, device: str, settings: bool) -> list[Entry]:
    """The ways of one table; the first is what the others are compared with.

    Args:
        large: a model with which the authors' way takes ten minutes: it gets the first 48 prompts only.
        device: type of the device.
        settings: ``generate_batch`` with other settings too, and on a GPU ours without CUDA graphs.
    """
    authors, usual = "authors' way: batches of 8, generate", in_batches(8, by_length=False)
    found = [Entry(f"{authors} (first 48)", usual, 48) if large else Entry(authors, usual)]
    if not large:
        found.append(Entry("batches of 64 by length, generate", in_batches(64, by_length=True)))
    if device == "cuda":
        found.append(Entry("generate_batch, its own settings", continuous(None, None)))
    else:
        found.append(Entry("generate_batch, 32 rows", continuous(32, 32)))
    found.append(Entry("ours", ours()))
    others = {"cpu": ((16, 32), (64, 32), (32, 16), (32, 128)), "cuda": ((64, 256), (128, 256), (256, 256), (128, 32))}
    for rows, page in others[device] if settings else ():
        found.append(Entry(f"generate_batch, {rows} rows, pages of {page}", continuous(rows, page)))
    if settings and device == "cuda":
        found.append(Entry("generate_batch, its own settings, no warm-up", continuous(None, None, warmup=False)))
        found.append(Entry("without CUDA graphs, ours", ours(graphs=False)))
    return found


def up_to_stop(ids: Sequence[int], stops: Sequence[int]) -> list[int]:
    """The answer without its stop id, and without what came after it."""
    end = next((place for place, token in enumerate(ids) if token in stops), len(ids))
    return list(ids[:end])


def in_batches(size: int, by_length: bool) -> Way:
    """``generate`` on padded batches, which run until their longest answer is finished."""

    def way(model: PreTrainedModel, wanted: Sequence[Request], stops: Sequence[int]) -> Answers:
        order = list(range(len(wanted)))
        if by_length:
            order.sort(key=lambda number: len(wanted[number].ids))
        answers: Answers = [[] for _ in wanted]
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            for number, row in zip(chosen, _batch(model, [wanted[n] for n in chosen], stops), strict=True):
                answers[number] = up_to_stop(row[: wanted[number].max_new_tokens], stops)
        return answers

    return way


def _batch(model: PreTrainedModel, batch: Sequence[Request], stops: Sequence[int]) -> Answers:
    ids, mask = (part.to(model.device) for part in pad_left([one.ids for one in batch], PAD))
    with plain(model, _config(batch, list(stops) or None)) as inner:
        made = inner.generate(input_ids=ids, attention_mask=mask, generation_config=inner.generation_config)
    rows: Answers = made[:, ids.shape[1] :].tolist()
    return rows


def _config(wanted: Sequence[Request], end: list[int] | int | None) -> GenerationConfig:
    longest = max(one.max_new_tokens for one in wanted)
    return GenerationConfig(max_new_tokens=longest, do_sample=False, pad_token_id=PAD, eos_token_id=end)


def continuous(rows: int | None, page: int | None, warmup: bool = True) -> Way:
    """transformers' continuous batching, every request with its own length.

    Args:
        rows: answers at once; None: what transformers finds for a GPU's memory.
        page: tokens of a page, likewise.
        warmup: record its CUDA graphs before it begins, and not as they are needed; in its time either way.
    """

    def way(model: PreTrainedModel, wanted: Sequence[Request], stops: Sequence[int]) -> Answers:
        settings = _settings(model, wanted, rows, page)
        own = model.config._attn_implementation
        try:
            with plain(model, _config(wanted, list(stops) or -1)) as inner:
                return _served(inner, wanted, stops, settings, warmup)
        finally:
            model.set_attn_implementation(own)

    return way


def _settings(
    model: PreTrainedModel, wanted: Sequence[Request], rows: int | None, page: int | None
) -> ContinuousBatchingConfig:
    """On a CPU transformers would fill half of the memory with an empty cache."""
    if rows is None or page is None:
        return ContinuousBatchingConfig()
    if model.device.type == "cuda":
        return ContinuousBatchingConfig(page_size=page, max_requests_per_batch=rows)
    longest = max(len(one.ids) + one.max_new_tokens for one in wanted)
    return ContinuousBatchingConfig(
        page_size=page,
        num_blocks=rows * -(-longest // page) + 8,
        max_batch_tokens=rows + 512,
        max_requests_per_batch=rows,
    )


def _served(
    model: PreTrainedModel,
    wanted: Sequence[Request],
    stops: Sequence[int],
    settings: ContinuousBatchingConfig,
    warmup: bool,
) -> Answers:
    answers: Answers = [[] for _ in wanted]
    config = model.generation_config
    with model.continuous_batching_context_manager(
        generation_config=config, continuous_batching_config=settings, block=True, timeout=60, warmup=warmup
    ) as manager:
        for number, one in enumerate(wanted):
            manager.add_request(one.ids, request_id=str(number), max_new_tokens=one.max_new_tokens)
        left = len(wanted)
        while left:
            found = manager.get_result(timeout=1)
            if found is None and not manager.is_running():
                raise RuntimeError("the thread of generate_batch ended before all answers were there")
            if found is not None and found.is_finished():
                if found.error is not None:
                    raise RuntimeError(f"generate_batch: {found.error}")
                answers[int(found.request_id)] = up_to_stop(found.generated_tokens, stops)
                left -= 1
    return answers


def ours(slots: int | None = None, graphs: bool = True) -> Way:
    """The engine.

    Args:
        slots: rows at once; None: as many as it takes by itself.
        graphs: whether it may replay steps as CUDA graphs.
    """

    def way(model: PreTrainedModel, wanted: Sequence[Request], stops: Sequence[int]) -> Answers:
        answers: Answers = [[] for _ in wanted]

        def done(number: int, answer: object) -> None:
            answers[number] = list(answer.ids)  # type: ignore[attr-defined]

        run(model, wanted, stops, Decoding(slots=slots), done, graphs=graphs)
        return answers

    return way
