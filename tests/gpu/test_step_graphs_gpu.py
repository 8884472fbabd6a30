"""Decode steps as CUDA graphs: the plain steps' answers, sooner, and a device that works after a failed capture."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from ptst_pl.generation.decoding import Decoding
from ptst_pl.generation.engine import obstacle, release
from ptst_pl.generation.engine.recorder import recorder_for
from ptst_pl.generation.request import Request
from ptst_pl.model import LoraSettings, add_lora

sys.path.insert(0, str(Path(__file__).parents[1] / "generation"))
from engine_models import LASTING, differences, model_of, ours, prompts_of, requests_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning"),  # peft asks by the old name
]


@pytest.mark.parametrize("kind", LASTING)
def test_answers_are_those_of_plain_steps(kind, soon, caplog):
    model, requests = model_of(kind).cuda(), requests_of(prompts_of(16, 21), longest=24)
    expected = ours(model, requests, stops=[1], graphs=False)
    assert not soon
    found = [
        ours(model, requests, Decoding(slots=slots), stops=[1], every=every)
        for slots, every in ((64, 8), (3, 4), (1, 8), (5, 1))
    ]
    assert "no CUDA graphs" not in caplog.text
    assert len(soon) > 4
    model.cpu()
    for answers in found:
        assert differences(model, requests, answers, expected) == []


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_sampled_answers_too(kind, soon):
    model, requests = model_of(kind).cuda(), requests_of(prompts_of(16, 21), longest=24)
    decoding = {"temperature": 1.3, "top_p": 0.95, "top_k": 50}
    expected = ours(model, requests, Decoding(**decoding), stops=[], graphs=False)
    found = ours(model, requests, Decoding(slots=5, **decoding), stops=[], every=4)
    assert soon
    same = sum(one == other for one, other in zip(found, expected, strict=True))
    print(f"{same} of {len(found)} sampled answers are the same to the token")
    assert same >= len(found) - 1  # a sum that rounds otherwise may move one draw


def test_weights_and_adapters_are_those_of_each_run(soon):
    model = add_lora(model_of("llama"), LoraSettings()).cuda()
    requests, answers = requests_of(prompts_of(8, 21), longest=24), []
    for seed in (0, 1):
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                draw = torch.Generator().manual_seed(seed)
                parameter.data = torch.randn(parameter.shape, generator=draw).cuda()  # at another address
        answers.append(ours(model, requests))
        assert answers[-1] == ours(model, requests, graphs=False)
    with model.disable_adapter():
        answers.append(ours(model, requests))
        assert answers[-1] == ours(model, requests, graphs=False)
    assert answers[0] != answers[1] != answers[2]


def test_the_device_works_after_a_failed_capture():
    """A number that is asked for breaks the capture itself; what rehearses notices such steps before."""
    device, state = torch.device("cuda", torch.cuda.current_device()), torch.cuda.get_rng_state()
    recorder, values = recorder_for(device), torch.arange(4.0, device=device)
    stream = torch.cuda.current_stream()
    with pytest.raises(RuntimeError):
        recorder.rehearse(lambda: values * values.sum().item())
    with pytest.raises(RuntimeError):
        recorder.record(lambda: values * values.sum().item())
    assert torch.cuda.current_stream() == stream
    torch.cuda.empty_cache()
    assert torch.equal(torch.cuda.get_rng_state(), state)
    assert torch.rand(3, device=device).numel() == 3
    recorder.rehearse(lambda: values + 1)
    found = recorder.record(lambda: values + 1)
    values.fill_(5)
    found.replay()
    assert found.logits.tolist() == [6, 6, 6, 6]


def seconds(model, requests, graphs: bool) -> tuple[float, list[list[int]]]:
    torch.cuda.synchronize()
    start = time.perf_counter()
    found = ours(model, requests, stops=[], graphs=graphs)
    torch.cuda.synchronize()
    return time.perf_counter() - start, [answer.ids for answer in found]


@pytest.mark.parametrize("rows", [1, 16, 64])
def test_a_step_is_faster_as_a_graph(rows, caplog, capsys):
    """A model of a billion random weights in bf16; prints the time of a step with and without."""
    config = LlamaConfig(
        vocab_size=32000, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32,
        num_key_value_heads=8, max_position_embeddings=1024,
    )  # fmt: skip
    with torch.device("cuda"):
        model = LlamaForCausalLM(config).bfloat16().eval()
    assert obstacle(model) == ""
    draw = torch.Generator().manual_seed(0)
    requests = [Request(torch.randint(3, 32000, (60,), generator=draw).tolist(), 0, 257) for _ in range(rows)]
    seconds(model, requests[:1], graphs=False)
    (plain, first), (graphs, second) = (seconds(model, requests, graphs=kind) for kind in (False, True))
    alike = sum(one == other for one, other in zip(first, second, strict=True))
    release(model)
    with capsys.disabled():
        print(
            f"\n{torch.cuda.get_device_name()}, 1B shape, {rows} rows: a step takes {1000 * plain / 256:.1f} ms, "
            f"with graphs {1000 * graphs / 256:.1f} ms (recording included); {alike} of {rows} rows the same in bf16"
        )
    assert "CUDA graphs" not in caplog.text
    assert graphs < plain
