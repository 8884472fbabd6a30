"""Mixtures: exact counts, an order that depends on seed and epoch alone, and what is refused."""

import json
import math
from collections import Counter
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional
from training_fixtures import make_tokenizer, question_rows

from ptst_pl import InputError
from ptst_pl.labs.tiny import world
from ptst_pl.model.loss import SummedLoss, answer_nll
from ptst_pl.tasks import JsonLines, Mixture, Tiny
from ptst_pl.tasks.loading import ResumableLoader, Rows
from ptst_pl.tasks.mixture_order import Amount, MixtureOrder, rows_per_epoch
from ptst_pl.tasks.mixture_source import read_source
from ptst_pl.tasks.order import EpochBatches, EpochOrder
from ptst_pl.tokenization import IGNORED, Encoded
from ptst_pl.tokenization.batches import Batch, PadRight, Sources

# (rows there are, rows of an epoch) of each source
plans = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 30)), min_size=1, max_size=4)


def order(plan, seed=3, epoch=0) -> MixtureOrder:
    made = MixtureOrder([size for size, _ in plan], [count for _, count in plan], seed)
    made.set_epoch(epoch)
    return made


def source_of(plan, row) -> int:
    ends = [sum(size for size, _ in plan[: k + 1]) for k in range(len(plan))]
    return next(k for k, end in enumerate(ends) if row < end)


# ---- how many rows ----------------------------------------------------------------------------


def counts(sizes, amounts, epoch_rows=None):
    return rows_per_epoch([f"s{k}" for k in range(len(sizes))], sizes, amounts, epoch_rows)


def test_the_papers_mixture():
    """GSM8K six times, 2,483 safety rows once (Table 6)."""
    assert counts([7473, 2483], [Amount(passes=6), Amount(passes=1)]) == [44838, 2483]


@pytest.mark.parametrize(
    ("sizes", "amounts", "epoch_rows", "expected"),
    [
        ([10], [Amount(passes=0.25)], None, [3]),  # halves are rounded up
        ([10, 7], [Amount(passes=0.3), Amount(passes=2.1)], None, [3, 15]),
        ([90, 5], [Amount(passes=1), Amount(weight=0.1)], None, [90, 10]),  # a tenth of the rows
        ([60, 5, 5], [Amount(weight=0.1), Amount(passes=12), Amount(weight=0.3)], None, [10, 60, 30]),
        ([30, 70], [Amount(weight=0.5), Amount(weight=0.5)], None, [50, 50]),
        ([30, 70], [Amount(weight=0.9), Amount(weight=0.1)], 10, [9, 1]),
        ([5, 5, 5], [Amount(weight=1 / 3)] * 3, 10, [4, 3, 3]),  # the first takes what is left
        ([5, 5, 5], [Amount(weight=0.333)] * 3, 9, [3, 3, 3]),
        ([8], [Amount(weight=1)], None, [8]),
    ],
)
def test_rows_of_an_epoch(sizes, amounts, epoch_rows, expected):
    assert counts(sizes, amounts, epoch_rows) == expected


@pytest.mark.parametrize(
    ("sizes", "amounts", "epoch_rows", "message"),
    [
        ([9, 9], [Amount(weight=0.5), Amount(weight=0.6)], None, "make 1.1 in all, expected 1"),
        ([9, 9], [Amount(weight=1), Amount(passes=1)], None, "leave no room"),
        ([9, 9], [Amount(weight=0.1), Amount(passes=1)], 30, "epoch_rows is for mixtures in which every"),
        ([9, 9], [Amount(passes=0.01), Amount(passes=1)], None, "'s0' would give no row to an epoch of 9 rows"),
        ([9, 9], [Amount(weight=0.999), Amount(weight=0.001)], 20, "'s1' would give no row"),
    ],
)
def test_amounts_that_cannot_be_met(sizes, amounts, epoch_rows, message):
    with pytest.raises(InputError, match=message):
        counts(sizes, amounts, epoch_rows)


@given(st.lists(st.integers(1, 50), min_size=2, max_size=5), st.integers(250, 600))
def test_shares_are_off_by_less_than_a_row_and_add_up(weights, epoch_rows):
    found = counts([5] * len(weights), [Amount(weight=weight / sum(weights)) for weight in weights], epoch_rows)
    assert sum(found) == epoch_rows
    exact = [Fraction(weight, sum(weights)) * epoch_rows for weight in weights]
    assert all(abs(count - share) < 1 + 1e-9 for count, share in zip(found, exact, strict=True))


# ---- which rows, in which order ---------------------------------------------------------------


@given(plans, st.integers(0, 5))
def test_every_source_gives_its_count_to_every_epoch(plan, epoch):
    found = Counter(source_of(plan, row) for row in order(plan, epoch=epoch))
    assert found == {k: count for k, (_, count) in enumerate(plan)}
    assert len(order(plan)) == sum(found.values())


@given(plans, st.integers(1, 5))
def test_after_any_number_of_epochs_rows_were_seen_equally_often(plan, epochs):
    seen = Counter(row for epoch in range(epochs) for row in order(plan, epoch=epoch))
    for k, (size, _) in enumerate(plan):
        start = sum(s for s, _ in plan[:k])
        times = [seen[row] for row in range(start, start + size)]
        assert max(times) - min(times) <= 1


@given(st.integers(1, 20), st.integers(1, 4), st.integers(0, 3))
def test_a_source_is_gone_through_pass_by_pass(size, passes, epoch):
    """Mixed with another source or not, its rows come in its own order, each pass a whole one."""
    rows = [row for row in order([(size, size * passes), (5, 7)], epoch=epoch) if row < size]
    for start in range(0, len(rows), size):
        assert sorted(rows[start : start + size]) == list(range(size))
    assert rows == list(order([(size, size * passes)], epoch=epoch))


def test_one_source_once_is_the_order_of_the_task_alone():
    for epoch in range(3):
        alone = EpochOrder(20, seed=3)
        alone.set_epoch(epoch)
        assert list(order([(20, 20)], epoch=epoch)) == list(alone)


def test_the_order_depends_on_seed_and_epoch_alone():
    plan = [(20, 50), (20, 20)]
    first = list(order(plan, epoch=1))
    used = order(plan)
    list(used)
    used.set_epoch(1)
    assert list(used) == first == list(order(plan, epoch=1))
    assert first != list(order(plan, epoch=2))
    assert first != list(order(plan, seed=4, epoch=1))
    # Two sources of one size are not shuffled alike.
    one, two = ([row % 20 for row in order([(20, 20)] * 2) if source_of([(20, 20)] * 2, row) == k] for k in (0, 1))
    assert one != two


def test_sources_are_spread_over_the_epoch():
    first = list(order([(1000, 1000), (100, 100)]))[:550]
    assert 30 < sum(row >= 1000 for row in first) < 70


@given(plans, st.integers(1, 7), st.integers(1, 3))
def test_any_number_of_ranks_sees_the_same_global_batches(plan, batch_size, ranks):
    one = list(EpochBatches(order(plan), batch_size * ranks))
    many = zip(*(EpochBatches(order(plan), batch_size, rank, ranks) for rank in range(ranks)), strict=True)
    assert [sorted(row for part in parts for row in part) for parts in many] == [sorted(batch) for batch in one]


def loader(plan, epoch=0) -> ResumableLoader:
    rows = [Encoded([1, 2], [IGNORED, 2], 1)] * sum(size for size, _ in plan)
    return ResumableLoader(Rows(rows), EpochBatches(order(plan, epoch=epoch), 4), collate_fn=PadRight(0))


@given(st.data(), plans)
def test_resuming_anywhere_goes_on_with_the_next_batch(data, plan):
    whole = [batch.rows for batch in loader(plan, 2)]
    stop = data.draw(st.integers(0, len(whole) - 1))
    first, second = loader(plan, 2), loader(plan, 2)
    iterator = iter(first)
    before = [next(iterator).rows for _ in range(stop)]
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert before + [batch.rows for batch in second] == whole


def test_resuming_with_other_amounts_is_refused():
    state = loader([(9, 18), (5, 5)]).state_dict()
    with pytest.raises(InputError, match=r"18 of 9 \+ 5 of 5 rows an epoch, now there are 9 of 9 \+ 5 of 5"):
        loader([(9, 9), (5, 5)]).load_state_dict(state)
    del state["plan"]  # of a checkpoint that was written before plans were
    loader([(9, 9), (5, 5)]).load_state_dict(state)


# ---- losses by source -------------------------------------------------------------------------


def test_each_token_gets_its_rows_source():
    rows = [Encoded([1, 2, 3], [IGNORED, 2, 3], 1), Encoded([5, 6], [IGNORED, 6], 1), Encoded([7, 8], [IGNORED, 8], 1)]
    collate = PadRight(0, Sources(("a", "b"), [0, 1, 0]))
    batch = collate([(2, rows[2]), (1, rows[1]), (0, rows[0])])
    assert (batch.targets.tolist(), batch.sources.tolist()) == ([8, 6, 2, 3], [0, 1, 0, 0])
    assert batch.source_names == ("a", "b")
    assert batch.to(torch.device("cpu")).sources.tolist() == [0, 1, 0, 0]
    assert collate([]).sources.tolist() == []
    assert PadRight(0)([(0, rows[0])]).sources is None


def test_asking_for_single_tokens_changes_no_bit():
    hidden = torch.randn(40, 25, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
    head = torch.nn.Linear(16, 300, bias=False)
    positions, targets = torch.arange(0, 1000, 3), torch.arange(334) % 300
    sums = SummedLoss(torch.device("cpu"))
    batch = Batch(hidden, None, positions, targets, torch.ones_like(targets), [], targets % 2, ("a", "b"))
    plain = answer_nll(hidden, positions, targets, head)
    told = answer_nll(hidden, positions, targets, head, each=sums.each(batch))
    assert plain.item() == told.item()
    grads = [torch.autograd.grad(loss, hidden)[0] for loss in (plain, told)]
    assert torch.equal(grads[0], grads[1])
    logits = head(hidden.reshape(-1, 16).index_select(0, positions))
    own = functional.cross_entropy(logits, targets, reduction="none")
    a, b = (own[batch.sources == number].mean() for number in range(2))
    found = sums.means_by_source("loss", sums.vector)
    torch.testing.assert_close(found, {"loss/a": a.detach(), "loss/b": b.detach()})


# ---- from a config ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("mixture")
    make_tokenizer(path)
    for name, count, first in (("ten", 10, 0), ("four", 4, 50), ("none", 0, 0)):
        lines = [json.dumps(row) + "\n" for row in question_rows(count, first)]
        (path / f"{name}.jsonl").write_text("".join(lines))
    return path


def spec(folder, name, **keys):
    files = {f"{part}_file": str(folder / f"{name}.jsonl") for part in ("train", "held_out")}
    return {"task": {"class_path": "JsonLines", "init_args": files}, "name": name, **keys}


def mixture(folder, *sources, **options) -> Mixture:
    return Mixture("text:vanilla", list(sources), tokenizer=str(folder), batch_size=4, **options)


def test_rows_counts_and_templates(folder, caplog):
    caplog.set_level("INFO")
    task = mixture(folder, spec(folder, "ten", passes=2), spec(folder, "four", passes=1, template="chat:llama"))
    task.check("fit")
    assert task.counts() == {"ten": 20, "four": 4}
    plain, llama = (
        JsonLines(t, str(folder / f"{n}.jsonl"), str(folder / f"{n}.jsonl"), tokenizer=str(folder))
        for n, t in (("ten", "text:vanilla"), ("four", "chat:llama"))
    )
    assert list(task.rows("train")) == [*plain.rows("train"), *llama.rows("train")]
    assert task.template_name == "text:vanilla +four@chat:llama"
    assert task.state_dict()["templates"] == {"ten": "text:vanilla", "four": "chat:llama"}
    said = [record.getMessage() for record in caplog.records if "of an epoch" in record.getMessage()]
    assert said == [
        "mixture: 20 of the 24 rows of an epoch (83.3 %) are of ten (2 x 10), template text:vanilla",
        "mixture: 4 of the 24 rows of an epoch (16.7 %) are of four (1 x 4), template chat:llama",
    ]
    batches = list(task.train_dataloader())
    assert Counter(row for batch in batches for row in batch.rows) == {r: 2 if r < 10 else 1 for r in range(14)}
    for batch in batches:
        tokens = [0 if row < 10 else 1 for row in batch.rows for label in task.rows("train")[row].labels if label >= 0]
        assert batch.sources.tolist() == tokens
    assert sorted(row for batch in task.val_dataloader() for row in batch.rows) == list(range(14))


def test_rows_that_are_dropped_do_not_count(folder):
    """At 40 tokens the long answers are cut; a row without an answer token is no row."""
    long = {"question": "Why? " * 50, "answer": "So."}
    (folder / "long.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [long, *question_rows(3)]))
    task = mixture(folder, spec(folder, "ten", passes=1), spec(folder, "long", passes=2), max_length=60)
    assert task.counts() == {"ten": 10, "long": 6}


def test_a_single_source_logs_no_loss_of_its_own(folder):
    task = mixture(folder, spec(folder, "ten", passes=1))
    assert next(iter(task.train_dataloader())).sources is None
    assert task.template_name == "text:vanilla"


def test_a_task_brings_its_own_templates_and_a_short_name(folder):
    lab = {"task": {"class_path": "Tiny", "init_args": {"stage": "howto", "count": 5}}, "passes": 1}
    task = mixture(folder, {**lab, "template": "chat:bare"}, spec(folder, "four", passes=0.5), train_limit=3)
    assert "chat:bare" in task.own_templates  # a test template may be the lab's as well
    assert task.counts() == {"tiny": 3, "four": 2}


def test_the_labs_safety_rows_are_refusals_of_alignments_pairs():
    task = Tiny("chat:vanilla", "safety", count=300)
    train, held_out = task.train_examples(), task.held_out_examples()
    assert len(train) == 300
    assert {row.answer for row in [*train, *held_out]} == set(world.REFUSALS)
    asked = {name: {words for row in part for words in asked_for(row.question)} for name, part in
             (("train", train), ("held_out", held_out))}  # fmt: skip
    assert not asked["train"] & asked["held_out"]
    assert {(verb, thing) for verb, _, thing in asked["train"]} <= world.split().align


def asked_for(question):
    """(verb, owner, thing) of the request that a question makes."""
    found = [
        (r.verb, r.owner, r.thing)
        for r in world.requests(frozenset((v, t) for v in world.MISCHIEF for t in world.THINGS), "unsafe")
        if f"{r.verb} {r.owner} {r.thing}" in question
    ]
    assert len(found) == 1
    return found


MISTAKES = [
    ({"task": "JsonLine", "passes": 1}, "unknown task 'JsonLine'; did you mean 'JsonLines'?"),
    ({"task": "some.where.Else", "passes": 1}, "some.where.Else"),
    ({"task": "Mixture", "passes": 1}, "cannot be a source of a mixture"),
    ({"task": 3, "passes": 1}, "'task' is 3, expected a class name"),
    ({"passes": 1}, "'task' is None, expected a class name"),
    ({"task": "JsonLines", "passes": 1}, "train_file"),
    ({"task": {"class_path": "JsonLines", "args": {}}, "passes": 1}, "has the key 'args'"),
    ({"passes": 1, "weight": 0.5}, "either 'passes' or 'weight'; both were given"),
    ({}, "either 'passes' or 'weight'; neither was given"),
    ({"passes": -1}, "passes is -1, expected a number above 0"),
    ({"passes": 0}, "passes is 0, expected a number above 0"),
    ({"passes": "six"}, "passes is 'six', expected a number above 0"),
    ({"passes": True}, "passes is True"),
    ({"passes": math.nan}, "passes is nan"),
    ({"weight": -0.1}, "weight is -0.1, expected a share above 0 and up to 1"),
    ({"weight": 3}, "weight is 3, expected a share above 0 and up to 1"),
    ({"passes": 1, "template": "chat:lama"}, "unknown template 'chat:lama'; did you mean 'chat:llama'?"),
    ({"passes": 1, "pases": 2}, "unknown key 'pases'; did you mean 'passes'?"),
    ({"passes": 1, "name": "a/b"}, "name is 'a/b'"),
    ("ten", "is 'ten', expected the keys task, name"),
]


@pytest.mark.parametrize(("keys", "message"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_mistake_in_a_source_is_one_line(folder, keys, message):
    whole = {**spec(folder, "ten"), **keys} if isinstance(keys, dict) and "task" not in keys else keys
    if keys == {"passes": 1}:
        whole = keys
    with pytest.raises(InputError) as found:
        mixture(folder, spec(folder, "four", passes=1), whole)
    assert message in str(found.value)
    assert "mixture: source 2" in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("key", ["template", "batch_size", "seed", "tokenizer"])
def test_what_the_mixture_decides_stands_in_no_source(folder, key):
    own = spec(folder, "ten", passes=1)
    own["task"]["init_args"][key] = "chat:llama"
    with pytest.raises(InputError, match=f"{key!r} stands in the task's init_args; give it"):
        mixture(folder, own)


def test_mistakes_of_the_whole(folder):
    with pytest.raises(InputError, match="'sources' is empty"):
        mixture(folder)
    with pytest.raises(InputError, match="two sources are named 'ten'"):
        mixture(folder, spec(folder, "ten", passes=1), spec(folder, "ten", passes=1))
    with pytest.raises(InputError, match=r"source 'none': .*no train rows"):
        mixture(folder, spec(folder, "ten", passes=1), spec(folder, "none", passes=1)).check("fit")
    with pytest.raises(InputError, match="epoch_rows is 0"):
        mixture(folder, spec(folder, "ten", weight=1), epoch_rows=0)


@pytest.mark.parametrize(
    ("init_args", "words"),
    [
        ({"train_file": "a", "trainfile": "b"}, "JsonLines takes no 'trainfile'; did you mean 'train_file'?"),
        ({"train_file": "a", "held_out": "much"}, "key 'held_out': expected float, found 'much'"),
        ({"train_file": "a", "on_bad_row": "x"}, "key 'on_bad_row': expected one of 'refuse', 'skip', found 'x'"),
        ({}, "JsonLines needs 'train_file'"),
    ],
)
def test_a_mistake_in_a_sources_keys_is_one_short_line(init_args, words):
    shared = {"template": "chat:vanilla", "tokenizer": "", "chat_format": "llama2", "templates": {}}
    spec = {"task": {"class_path": "JsonLines", "init_args": init_args}, "passes": 1}
    with pytest.raises(InputError) as found:
        read_source(spec, "mixture: source 1", shared)
    assert str(found.value) == f"mixture: source 1: {words}"
