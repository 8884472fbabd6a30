"""Batches: every row once, the same for any number of ranks, resumable anywhere, pads never trained on."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ptst_pl import InputError
from ptst_pl.tasks.loading import ResumableLoader, Rows
from ptst_pl.tasks.order import EpochBatches, EpochOrder
from ptst_pl.tokenization import IGNORED, Encoded
from ptst_pl.tokenization.batches import PadRight, pad_left

sizes = st.integers(1, 40)
batch_sizes = st.integers(1, 7)
PAD = 9  # also an ordinary token of some rows


def row(prompt: list[int], answer: list[int]) -> Encoded:
    return Encoded(prompt + answer, [IGNORED] * len(prompt) + answer, len(prompt))


def some_rows(count: int) -> list[Encoded]:
    return [row([1] * (1 + n % 3), [n, PAD][: 1 + n % 2]) for n in range(count)]


def loader(rows: int, batch_size: int, epoch: int = 0, **options) -> ResumableLoader:
    order = EpochOrder(rows, seed=3)
    order.set_epoch(epoch)
    return ResumableLoader(Rows(some_rows(rows)), EpochBatches(order, batch_size), collate_fn=PadRight(PAD), **options)


def seen(batches) -> list[list[int]]:
    return [batch.rows for batch in batches]


# ---- order ------------------------------------------------------------------------------------


@given(sizes, batch_sizes, st.integers(1, 4), st.integers(0, 5))
def test_every_row_once_per_epoch_over_all_ranks(rows, batch_size, ranks, epoch):
    order = EpochOrder(rows, seed=3)
    order.set_epoch(epoch)
    parts = [list(EpochBatches(order, batch_size, rank, ranks)) for rank in range(ranks)]
    assert {len(part) for part in parts} == {len(EpochBatches(order, batch_size, 0, ranks))}
    assert Counter(index for part in parts for batch in part for index in batch) == Counter(range(rows))
    assert all(len(batch) <= batch_size for part in parts for batch in part)


@given(sizes, batch_sizes, st.integers(2, 4))
def test_any_number_of_ranks_sees_the_same_global_batches(rows, batch_size, ranks):
    order = EpochOrder(rows, seed=3)
    one = list(EpochBatches(order, batch_size * ranks))
    many = zip(*(EpochBatches(order, batch_size, rank, ranks) for rank in range(ranks)), strict=True)
    together = [Counter(index for part in parts for index in part) for parts in many]
    assert together == [Counter(batch) for batch in one]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), batch_sizes, st.integers(1, 3), st.integers(1, 4))
def test_sorting_by_length_changes_no_optimiser_step(lengths, batch_size, ranks, window):
    order = EpochOrder(len(lengths), seed=3)

    def steps(**options) -> list[Counter]:
        parts = [list(EpochBatches(order, batch_size, rank, ranks, **options)) for rank in range(ranks)]
        starts = range(0, len(parts[0]), window)
        return [Counter(i for part in parts for b in part[s : s + window] for i in b) for s in starts]

    assert steps(lengths=lengths, window=window) == steps()
    whole = list(EpochBatches(order, batch_size * ranks, lengths=lengths, window=window))
    for start in range(0, len(whole), window):
        rows = [lengths[index] for batch in whole[start : start + window] for index in batch]
        assert rows == sorted(rows)


def test_epochs_differ_and_repeat_exactly():
    order = EpochOrder(30, seed=3)
    first, again = list(order), list(EpochOrder(30, seed=3))
    order.set_epoch(1)
    assert first == again != list(order)
    assert first != list(EpochOrder(30, seed=4))
    assert list(EpochOrder(4, seed=3, shuffle=False)) == [0, 1, 2, 3]


# ---- resuming ---------------------------------------------------------------------------------


def stop_and_resume(rows: int, batch_size: int, stop: int, **options) -> list[list[int]]:
    """Rows per batch of an epoch that is left after ``stop`` batches and resumed in a new loader."""
    first = loader(rows, batch_size, epoch=2, **options)
    iterator = iter(first)
    before = seen(next(iterator) for _ in range(stop))
    second = loader(rows, batch_size, epoch=2, **options)
    second.load_state_dict(first.state_dict())
    return before + seen(second)


@given(st.data(), sizes, batch_sizes)
def test_resuming_anywhere_goes_on_with_the_next_batch(data, rows, batch_size):
    whole = seen(loader(rows, batch_size, epoch=2))
    stop = data.draw(st.integers(0, len(whole) - 1))
    assert stop_and_resume(rows, batch_size, stop) == whole


def test_resuming_with_worker_processes():
    # Workers read ahead: what they have prepared but not handed out must come again.
    options = {"num_workers": 2, "persistent_workers": True}
    assert stop_and_resume(11, 2, 3, **options) == seen(loader(11, 2, epoch=2))


def test_after_a_finished_epoch_the_next_starts_at_its_beginning():
    first = loader(10, 4)
    list(first)
    again = loader(10, 4)
    again.load_state_dict(first.state_dict())
    assert seen(again) == seen(loader(10, 4))


def test_after_an_epoch_cut_short_the_next_starts_at_its_beginning():
    first = loader(10, 2)
    next(iter(first))
    later = loader(10, 2, epoch=1)
    later.load_state_dict(first.state_dict())
    assert seen(later) == seen(loader(10, 2, epoch=1))


def test_a_resumed_loader_is_resumed_once():
    first = loader(10, 4)
    next(iter(first))
    second = loader(10, 4)
    second.load_state_dict(first.state_dict())
    assert [len(seen(second)), len(seen(second))] == [2, 3]


def test_resuming_with_another_batch_size_is_refused():
    with pytest.raises(
        InputError, match="4 rows per batch over all devices and 1 batches per optimiser step, now there are 2 and 1"
    ):
        loader(10, 2).load_state_dict(loader(10, 4).state_dict())


# ---- padding ----------------------------------------------------------------------------------

tokens = st.lists(st.integers(0, PAD), min_size=1, max_size=6)


@settings(max_examples=50)
@given(st.lists(st.tuples(tokens, st.lists(st.integers(0, PAD), max_size=6)), max_size=5))
def test_targets_are_exactly_the_supervised_tokens(pairs):
    rows = [row(prompt, answer) for prompt, answer in pairs]
    batch = PadRight(PAD)(list(enumerate(rows)))
    assert batch.targets.tolist() == [token for _, answer in pairs for token in answer]
    assert batch.input_ids.flatten()[batch.positions + 1].tolist() == batch.targets.tolist()
    # Neither a target nor the position that predicts it is padding.
    assert batch.attention_mask.flatten()[batch.positions].all()
    assert batch.attention_mask.flatten()[batch.positions + 1].all()
    for place, (prompt, answer) in enumerate(pairs):
        kept = batch.attention_mask[place].bool()
        assert batch.input_ids[place][kept].tolist() == prompt + answer


def test_no_rows_give_a_batch_with_nothing_supervised():
    batch = PadRight(PAD)([])
    assert batch.input_ids.shape == (1, 1)
    assert batch.targets.numel() == batch.positions.numel() == 0
    assert batch.rows == []


def test_a_first_token_cannot_be_a_target():
    batch = PadRight(PAD)([(0, Encoded([5, 6], [5, 6], 0))])
    assert batch.targets.tolist() == [6]


def test_moving_a_batch_keeps_everything():
    batch = PadRight(PAD)(list(enumerate(some_rows(3))))
    moved = batch.to(torch.device("meta"))
    assert {t.device.type for t in (moved.input_ids, moved.attention_mask, moved.positions, moved.targets)} == {"meta"}
    assert moved.rows == [0, 1, 2]


def test_pad_left():
    ids, mask = pad_left([[5, 6, 7], [8]], PAD)
    assert ids.tolist() == [[5, 6, 7], [PAD, PAD, 8]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]
