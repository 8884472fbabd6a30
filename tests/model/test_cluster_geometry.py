"""Clusters of hidden states: what is apart is told apart, what is mixed is not; directions turn with the data."""

import pytest
import torch

from ptst_pl.model.cluster_geometry import geometry, local_lipschitz, place_between, refusal_direction, separation


def clouds(apart, count=60, layers=3, width=8, seed=0):
    draw = torch.Generator().manual_seed(seed)
    safe, unsafe = (torch.randn(count, layers, width, generator=draw) for _ in range(2))
    unsafe[..., 2] += apart
    return safe, unsafe


def test_separation_grows_with_the_distance_and_is_nothing_for_one_cloud():
    found = [float(separation(*clouds(apart)).mean()) for apart in (0.0, 2.0, 8.0, 100.0)]
    assert found == sorted(found)
    assert abs(float(separation(clouds(0)[0], clouds(0)[0]).abs().max())) < 1e-5
    assert found[-1] == pytest.approx(1.0, abs=0.05)


def test_the_direction_is_where_the_kinds_differ_and_projection_is_along_it():
    safe, unsafe = clouds(50.0)
    direction = refusal_direction(safe, unsafe)
    assert torch.allclose(direction.norm(dim=-1), torch.ones(3))
    assert float(direction[:, 2].min()) > 0.99
    found = geometry(safe, unsafe)
    assert float(found.projection.min()) > 0.95
    across = torch.nn.functional.one_hot(torch.tensor([0, 0, 0]), 8).float()
    assert float(geometry(safe, unsafe, across).projection.abs().max()) < 0.1
    assert torch.allclose(geometry(unsafe, safe).direction, -direction)


def test_a_place_is_nought_among_safe_states_and_one_among_unsafe_ones():
    safe, unsafe = clouds(50.0)
    for states, place in ((safe, 0.0), (unsafe, 1.0), ((safe + unsafe) / 2, 0.5), (2 * unsafe - safe, 2.0)):
        assert torch.allclose(place_between(states, safe, unsafe), torch.full((3,), place), atol=1e-4)


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_a_block_that_stretches_has_that_constant(factor):
    states = clouds(0)[0][:, :1]
    stacked = torch.cat([states, factor * states], 1)
    found = local_lipschitz(stacked)
    assert torch.isnan(found[0])
    assert float(found[1]) == pytest.approx(factor, rel=1e-4)
    assert torch.isnan(local_lipschitz(stacked[:1])).all()
