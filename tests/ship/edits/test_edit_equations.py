"""What the papers' equations say of single layers: ends, projectors, least squares."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ptst_pl.ship.edits.base import Layer, cosine
from ptst_pl.ship.edits.build import EDITS, build_edit
from ptst_pl.ship.edits.command import NAMES
from ptst_pl.ship.edits.mixing_weights import dare
from ptst_pl.ship.edits.projectors import Projector, project, top_k
from ptst_pl.ship.edits.with_rows import SafeDelta, choose, compensated, inverse_factor

seeds = st.integers(0, 40)


def layer(seed: int, rows: int = 6, size: int = 8, inputs: bool = True) -> tuple[Layer, torch.Tensor]:
    """A layer with all its models, and (n, size) inputs that are correlated."""
    made = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=made)  # noqa: E731
    x = draw(64, size) @ draw(size, size)
    aligned = draw(rows, size)
    others = {name: aligned + 0.3 * draw(rows, size) for name in ("base", "unaligned", "safety")}
    found = Layer("m.weight", aligned, aligned + 0.5 * draw(rows, size), others, x.T @ x / len(x) if inputs else None)
    return found, x


def test_the_commands_help_names_them_all():
    assert tuple(EDITS) == NAMES


@given(seeds)
def test_interpolation_is_exact_at_its_ends_and_linear_between(seed):
    found, _ = layer(seed)
    assert build_edit("interpolate", {"alpha": 0}).apply(found) is found.aligned
    assert build_edit("interpolate", {"alpha": 1}).apply(found) is found.tuned
    third = build_edit("interpolate", {"alpha": 0.3}).apply(found)
    assert torch.allclose(third - found.aligned, 0.3 * found.update, atol=1e-6)


@given(seeds, st.floats(0.05, 0.9))
def test_dare_keeps_the_mean_and_resta_adds_the_safety_vector(seed, dropout):
    found, _ = layer(seed, 200, 300)
    dropped = dare(found.update, dropout, "a")
    kept = dropped != 0
    assert torch.allclose(dropped[kept], found.update[kept] / (1 - dropout), rtol=1e-5)
    assert float(kept.float().mean()) == pytest.approx(1 - dropout, abs=0.02)
    assert torch.equal(dropped, dare(found.update, dropout, "a"))
    assert not torch.equal(dropped, dare(found.update, dropout, "b"))
    plain = build_edit("resta", {"weight": 0.0}).apply(found)
    assert torch.equal(plain, found.tuned)
    added = build_edit("resta", {"weight": 0.7}).apply(found)
    assert torch.allclose(added, found.tuned + 0.7 * (found.aligned - found.others["unaligned"]), atol=1e-6)


@given(seeds)
def test_the_published_matrix_is_no_projector_and_the_other_one_is(seed):
    found, _ = layer(seed, 16, 16)
    change = found.aligned - found.others["base"]
    eye = torch.eye(16)
    published = project(Projector.official(change), eye)
    assert float(published.trace()) == pytest.approx(float(change.norm()), rel=1e-4)
    assert float((published @ published - published).norm() / published.norm()) > 0.1
    assert torch.allclose(project(Projector.official(10 * change), eye), 10 * published, rtol=1e-4, atol=1e-4)
    true = project(Projector.orthogonal(change, 0.9), eye)
    assert torch.allclose(true @ true, true, atol=1e-4)
    assert torch.allclose(project(Projector.orthogonal(change, 1.0), eye) @ change, change, atol=1e-3)


def test_safe_lora_by_threshold_and_by_number():
    layers = [layer(seed)[0] for seed in range(5)]
    layers = [Layer(f"l{n}.weight", x.aligned, x.tuned, x.others, None) for n, x in enumerate(layers)]
    none = build_edit("safe-lora", {"threshold": -1.0})
    assert all(none.apply(x) is x.tuned for x in layers)
    everything = build_edit("safe-lora", {"threshold": 1.0, "projector": "orthogonal", "energy": 0.5})
    for x in layers:
        moved = everything.apply(x) - x.aligned
        assert float(moved.norm()) < float(x.update.norm())
    two = build_edit("safe-lora", {"layers": 2})
    for x in layers:
        two.look(x)
    changed = [x.name for x in layers if two.apply(x) is not x.tuned]
    by_hand = {}
    for x in layers:
        c = Projector.official(x.aligned - x.others["base"])
        by_hand[x.name] = cosine(project(c, x.update), x.update)
    assert changed == sorted(sorted(by_hand, key=by_hand.get)[:2])
    assert two.notes() == {"layers projected": 2}


def test_vectors_are_left_alone():
    norm = Layer("norm.weight", torch.ones(4), torch.full((4,), 2.0), {"base": torch.ones(4)}, None, linear=False)
    assert build_edit("safe-lora", {"threshold": 1.0}).apply(norm) is norm.tuned
    assert build_edit("lox", {}).apply(norm) is norm.aligned
    assert build_edit("antidote", {"ratio": 0.5}).apply(norm) is norm.tuned


@given(seeds, st.integers(1, 5))
def test_top_k_has_its_rank_and_all_of_it_is_the_matrix(seed, rank):
    found, _ = layer(seed)
    assert int(torch.linalg.matrix_rank(top_k(found.update, rank), rtol=1e-4)) == rank
    assert torch.equal(top_k(found.update, 0), found.update)
    grown = build_edit("lox", {"rank": 0, "weight": 1.0}).apply(found)
    assert torch.allclose(grown, 2 * found.aligned - found.others["base"], atol=1e-6)


@given(seeds)
@settings(deadline=None)
def test_safe_delta_at_its_ends(seed):
    found, _ = layer(seed)
    assert torch.equal(SafeDelta(scale=0.0).apply(found), found.aligned)
    assert torch.equal(SafeDelta(scale=float("inf"), excluded=0.0).apply(found), found.tuned)
    accepted = choose(found.update, inverse_factor(2 * found.inputs, 0.01).diagonal(), float("inf"), 0.25)
    assert float(accepted.float().mean()) == 0.75


@given(seeds)
@settings(deadline=None)
def test_the_compensation_is_the_least_squares_optimum(seed):
    """One accepted column: the columns behind it change so that the outputs change as little as they can."""
    found, x = layer(seed)
    x = x.double()
    factor = inverse_factor(2 * x.T @ x / len(x), 0.0)
    accepted = torch.zeros_like(found.update, dtype=torch.bool)
    accepted[:, 0] = True
    got = compensated(found.aligned.double(), found.tuned.double(), accepted, factor) - found.aligned.double()
    step = found.update[:, :1].double()
    best = torch.linalg.lstsq(x[:, 1:], -(x[:, :1] @ step.T)).solution.T
    assert torch.allclose(got, torch.cat([step, best], 1), atol=1e-5)


@given(seeds, st.sampled_from([1.0, 30.0, 1000.0]))
@settings(deadline=None)
def test_compensated_is_nearer_to_the_aligned_outputs_than_not_compensated(seed, scale):
    found, x = layer(seed, 32, 24)

    def error(weights: torch.Tensor) -> float:
        return float(((weights - found.aligned) @ x.T).norm())

    with_, without = (SafeDelta(scale=scale, compensate=c).apply(found) for c in (True, False))
    assert error(with_) <= error(without) * 1.0001 + 1e-6
    assert error(with_) <= error(found.tuned)


def test_antidote_zeroes_what_weighs_most_on_the_rows():
    found, x = layer(3)
    pruned = build_edit("antidote", {"ratio": 0.25}).apply(found)
    scores = found.tuned.abs() * x.square().mean(0).sqrt()
    zero = pruned == 0
    assert int(zero.sum()) == 12
    assert scores[zero].min() >= scores[~zero].max()
    assert torch.equal(pruned[~zero], found.tuned[~zero])


def test_safe_merge_merges_what_leaves_the_subspace():
    found, _ = layer(5)
    assert build_edit("safe-merge", {"threshold": -1.0}).apply(found) is found.tuned
    merged = build_edit("safe-merge", {"threshold": 1.0}).apply(found)
    expected = found.aligned + 0.8 * found.update + 0.2 * (found.others["safety"] - found.aligned)
    assert torch.allclose(merged, expected, atol=1e-6)
