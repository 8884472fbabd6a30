"""Packed linear layers give what plain ones give, and nothing of them is left behind."""

from __future__ import annotations

import pytest
import torch
from engine_models import differences, model_of, ours, prompts_of, requests_of, theirs
from torch import nn

from ptst_pl.generation.engine import packed_weights
from ptst_pl.generation.engine.packed_weights import packed

pytestmark = pytest.mark.skipif(not packed_weights._available(), reason="no oneDNN for this processor")


@pytest.fixture
def products(monkeypatch):
    """How many packed products were made."""
    made: list[int] = []
    real = packed_weights._product
    monkeypatch.setattr(packed_weights, "_product", lambda *parts: (made.append(1), real(*parts))[1])
    return made


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_products_are_the_same(dtype, bias):
    layer = nn.Linear(48, 96, bias=bias).to(dtype)
    for rows in (torch.randn(1, 48), torch.randn(3, 7, 48), torch.randn(200, 2, 48)[:, 0], torch.randn(0, 48)):
        plain = layer(rows.to(dtype))
        with packed(nn.Sequential(layer)):
            torch.testing.assert_close(layer(rows.to(dtype)), plain)


def test_answers_come_of_them_and_are_those_of_generate(products):
    model, requests = model_of("llama"), requests_of(prompts_of(16, 21))
    found = ours(model, requests)
    assert products
    assert differences(model, requests, found, theirs(model, requests)) == []


def test_layers_are_as_before_whatever_happens(monkeypatch):
    model = model_of("llama")
    before = {name: sorted(vars(module)) for name, module in model.named_modules()}
    with packed(model):
        assert "forward" in vars(model.lm_head)
    real = packed_weights._layers
    monkeypatch.setattr(packed_weights, "_layers", lambda model: [*real(model), nn.Identity()])
    with pytest.raises(AttributeError, match="weight"), packed(model):
        pass
    assert {name: sorted(vars(module)) for name, module in model.named_modules()} == before


def test_what_is_too_large_or_no_plain_layer_stays_as_it_is(monkeypatch, products):
    class Own(nn.Linear):
        pass

    mixed = nn.Sequential(Own(4, 4), nn.Linear(4, 4).double(), nn.Linear(4, 4))
    with packed(mixed):
        assert ["forward" in vars(layer) for layer in mixed] == [False, False, True]
    monkeypatch.setattr(packed_weights, "MOST_BYTES", 63)
    ours(model_of("llama"), requests_of(prompts_of(4, 0)))
    assert products == []
