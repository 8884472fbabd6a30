"""Float32 weights answer in the type that training computes in, and are afterwards what they were."""

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from ptst_pl.model.rounded import rounded


@pytest.fixture
def model():
    torch.manual_seed(0)
    sizes = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    return AutoModelForCausalLM.from_config(LlamaConfig(**sizes, num_attention_heads=2, tie_word_embeddings=True))


def held(model):
    return {name: (p, p.data_ptr(), p.dtype, p.detach().clone()) for name, p in model.named_parameters()}


def test_weights_are_rounded_inside_and_the_same_tensors_afterwards(model):
    before = held(model)
    with rounded(model, "bf16-mixed"):
        assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
        for name, parameter in model.named_parameters():
            assert torch.equal(parameter, before[name][3].bfloat16())
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
        assert model(torch.tensor([[1, 2]])).logits.dtype == torch.bfloat16
    after = held(model)
    for name, (parameter, place, kind, value) in before.items():
        assert after[name][:3] == (parameter, place, kind)
        assert torch.equal(after[name][3], value)


def test_weights_come_back_after_an_error(model):
    before = held(model)
    with pytest.raises(RuntimeError, match="no more"), rounded(model, "bf16-mixed"):
        raise RuntimeError("no more")
    assert [entry[1:3] for entry in held(model).values()] == [entry[1:3] for entry in before.values()]


@pytest.mark.parametrize("precision", ["32-true", "16-mixed", "bf16-true"])
def test_other_precisions_leave_the_weights_alone(model, precision):
    with rounded(model, precision):
        assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_weights_in_another_type_stay_as_they_are(model):
    model.bfloat16()
    places = {p.data_ptr() for p in model.parameters()}
    with rounded(model, "bf16-mixed"):
        assert {p.data_ptr() for p in model.parameters()} == places


def test_training_goes_on_from_the_exact_weights(model):
    """Gradients and the optimiser's state are of the float32 weights, before and after."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    steps = []
    for between in (False, True):
        torch.manual_seed(1)
        model.load_state_dict({k: torch.ones_like(v) * 0.01 for k, v in model.state_dict().items()})
        optimiser.state.clear()
        for _ in range(3):
            model(torch.tensor([[1, 2, 3]]), labels=torch.tensor([[1, 2, 3]])).loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            if between:
                with rounded(model, "bf16-mixed"):
                    model(torch.tensor([[1, 2, 3]]))
        steps.append({k: v.clone() for k, v in model.state_dict().items()})
    assert all(torch.equal(steps[0][name], steps[1][name]) for name in steps[0])
