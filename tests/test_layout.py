"""Packed batches: nothing lost, nothing supervised twice, prefixes shared where that saves tokens."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from ptst_pl.tokenization import IGNORED, Encoded
from ptst_pl.tokenization.batches import PackRows, PadRight, Sources
from ptst_pl.tokenization.batches.layout import Group, group_rows

LONG = list(range(100, 140))


def row(prompt, answer):
    return Encoded([*prompt, *answer], [IGNORED] * len(prompt) + list(answer), len(prompt))


@st.composite
def batches(draw):
    """Rows that begin with one of a few prefixes, some of them inside each other, with any mask behind."""
    prefixes = [[], LONG, LONG[:25], [*LONG[:25], 7, 7], [9] * 30]
    rows = []
    for _ in range(draw(st.integers(0, 7))):
        own = draw(st.lists(st.integers(0, 5), max_size=12))
        ids = draw(st.sampled_from(prefixes)) + own
        mask = draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids)))
        rows.append(Encoded(ids, [i if on else IGNORED for i, on in zip(ids, mask, strict=True)], 0))
    return rows


def seen_by(batch):
    """For every supervised position all that its token may look at, and what it has to predict."""
    ids, layout = batch.input_ids[0].tolist(), batch.layout
    found = Counter()
    for position, target in zip(batch.positions.tolist(), batch.targets.tolist(), strict=True):
        number = next(n for n, s in enumerate(layout.segments) if s.start <= position < s.start + s.size)
        segment = layout.segments[number]
        before = [] if segment.prefix is None else list(range(*_span(layout.segments[segment.prefix])))
        looked = before + list(range(segment.start, position + 1))
        assert [batch.position_ids[0, place].item() for place in looked] == list(range(len(looked)))
        found[tuple(ids[place] for place in looked), target] += 1
    return found


def _span(segment):
    assert segment.prefix is None  # one level only
    return segment.start, segment.start + segment.size


def of_rows(rows):
    found = Counter()
    for r in rows:
        found.update(
            (tuple(r.input_ids[:place]), r.labels[place])
            for place in range(1, len(r.labels))
            if r.labels[place] != IGNORED
        )
    return found


@given(batches(), st.booleans())
@settings(deadline=None, max_examples=150)
def test_every_supervised_token_is_predicted_once_from_its_own_row(rows, sharing):
    batch = PackRows(0, sharing=sharing)(list(enumerate(rows)))
    assert seen_by(batch) == of_rows(rows)
    assert len(set(batch.positions.tolist())) == len(batch.positions)
    sizes = [segment.size for segment in batch.layout.segments]
    assert [s.start for s in batch.layout.segments] == [sum(sizes[:n]) for n in range(len(sizes))]
    assert batch.layout.tokens == batch.input_ids.shape[1] <= max(1, sum(len(r.input_ids) for r in rows))
    assert batch.layout.query_ends.tolist() == [sum(sizes[:n]) for n in range(len(sizes) + 1)]
    padded = PadRight(0)(list(enumerate(rows)))
    assert sorted(padded.targets.tolist()) == sorted(batch.targets.tolist())


@given(batches())
@settings(deadline=None, max_examples=50)
def test_tokens_keep_their_sources(rows):
    sources = Sources(("a", "b"), [number % 2 for number in range(len(rows))])
    batch = PackRows(0, sources)(list(enumerate(rows)))
    expected = Counter(
        (label, number % 2) for number, r in enumerate(rows) for label in r.labels[1:] if label != IGNORED
    )
    assert Counter(zip(batch.targets.tolist(), batch.sources.tolist(), strict=True)) == expected


def test_a_common_prefix_is_there_once():
    rows = [row([*LONG, n], [n, 3]) for n in range(4)]
    batch = PackRows(0)(list(enumerate(rows)))
    assert batch.input_ids.shape[1] == len(LONG) + 4 * 3
    assert [s.prefix for s in batch.layout.segments] == [None, 0, 0, 0, 0]
    assert batch.layout.key_ends.diff().tolist() == [40, 43, 43, 43, 43]


def test_rows_of_two_templates_share_two_prefixes():
    other = [5] * 30
    rows = [row([*LONG, 1], [1]), row([*other, 2], [1]), row([*LONG, 3], [1]), row([*other, 4], [1])]
    groups = group_rows([r.input_ids for r in rows], [len(r.input_ids) - 2 for r in rows])
    assert groups == [Group([0, 2], 40), Group([1, 3], 30)]


def test_a_prefix_inside_a_prefix_is_not_taken_where_it_saves_less():
    rows = [[*LONG, n] for n in range(3)] + [[*LONG[:30], 200 + n] for n in range(2)]
    assert group_rows(rows, [50] * 5) == [Group([0, 1, 2, 3, 4], 30)]
    rows = [[*LONG, n] for n in range(6)] + [[*LONG[:20], 200]]
    assert [sorted(group.rows) for group in group_rows(rows, [50] * 7)] == [[0, 1, 2, 3, 4, 5], [6]]
    rows = [[1, 2, *[3] * 20, n] for n in range(4)] + [[1, 2, *[4] * 20, n] for n in range(4)]
    assert [group.shared for group in group_rows(rows, [22] * 8)] == [22, 22]
    assert [group.shared for group in group_rows(rows, [22] * 8, cost=2 * 3 * 22 - 7 * 2)] == [0] * 8
    assert [group.shared for group in group_rows(rows, [22] * 8, cost=2 * 3 * 22 - 7 * 2 - 1)] == [22, 22]


def test_rows_with_little_in_common_lie_alone():
    assert group_rows([[1, 2, 3, 4], [1, 2, 3, 5]], [3, 3]) == [Group([0], 0), Group([1], 0)]


def test_a_prefix_ends_before_the_first_supervised_token_is_predicted():
    rows = [row(LONG, [1, 2]), row(LONG, [1, 2])]
    batch = PackRows(0)(list(enumerate(rows)))
    assert [s.size for s in batch.layout.segments] == [len(LONG) - 1, 3, 3]


def test_no_rows_give_one_token_and_nothing_supervised():
    batch = PackRows(7)([])
    assert batch.input_ids.tolist() == [[7]]
    assert batch.targets.numel() == 0
