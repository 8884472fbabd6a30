"""States of prompts' last tokens: the same ones alone, padded, packed and with a prefix read once."""

import pytest
import torch
from training_fixtures import llama_config
from transformers import AutoModelForCausalLM

from ptst_pl.model.attention import use_row_attention
from ptst_pl.model.hidden_states import last_token_states

COMMON = list(range(5, 45))
PROMPTS = [[*COMMON, *range(3, 3 + size)] for size in (4, 1, 9, 4)] + [[7, 8], [9], [*COMMON[:20], 2, 2]]


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("batch_size", [1, 3, 128])
def test_they_are_those_of_each_prompt_alone(packed, batch_size):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(llama_config()).train()
    with torch.no_grad():
        alone = [model(torch.tensor([ids]), output_hidden_states=True).hidden_states for ids in PROMPTS]
    last = len(alone[0]) - 1
    expected = torch.stack([torch.stack([layer[0, -1] for layer in states[1:]]) for states in alone])
    before = hooks(model)
    if packed:
        use_row_attention(model)
    found = last_token_states(model, PROMPTS, 0, batch_size)
    assert found.shape == expected.shape
    # The last of transformers' states has gone through the final norm.
    torch.testing.assert_close(found[:, : last - 1], expected[:, : last - 1], atol=1e-5, rtol=1e-4)
    assert model.training
    assert hooks(model) == before, "none is left behind"


def hooks(model):
    """How many there are; transformers keeps some of its own."""
    return sum(len(module._forward_hooks) for module in model.modules())
