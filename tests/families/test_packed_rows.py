"""Every family gives packed rows, with and without a shared prefix, the loss and gradients that they have alone."""

import random

import pytest
import torch
from test_models import COMMON, FAMILIES
from transformers import AutoConfig, AutoModelForCausalLM

from ptst_pl.model import LoraSettings, add_lora, batch_nll, causal_lm
from ptst_pl.model.attention import attention_name, own_attention, use_row_attention
from ptst_pl.model.attention.segments import by_segment
from ptst_pl.model.batch_paths import choose_path
from ptst_pl.tokenization import IGNORED, Encoded
from ptst_pl.tokenization.batches import PackRows, PadRight, Segment, lay_out

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks by the old name
PACKING = [name for name in FAMILIES if name != "falcon"]


def build(kind, **changes):
    settings = COMMON | FAMILIES[kind][0] | changes
    if kind == "falcon":
        del settings["head_dim"]
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings))


def rows():
    """Longer than the window of 16 and shorter, two common prefixes, an answer of one token, a row alone."""
    draw = random.Random(0)

    def some(count):
        return [draw.randrange(3, 64) for _ in range(count)]

    first, second = some(24), some(20)
    found = []
    for before, own, answer in (
        (first, 5, 4),
        (first, 2, 9),
        (second, 3, 1),
        (second, 4, 7),
        ([], 2, 1),
        (first, 1, 0),
    ):
        prompt, reply = [0, *before, *some(own)], [*some(answer), 1]
        found.append(Encoded(prompt + reply, [IGNORED] * len(prompt) + reply, len(prompt)))
    return list(enumerate(found))


def loss_and_gradients(model, batch):
    model.zero_grad()
    loss = batch_nll(model, batch)
    loss.backward()
    return loss.item(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def assert_equal(found, expected):
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    assert found[1].keys() == expected[1].keys()
    for name, grad in expected[1].items():
        assert (found[1][name] - grad).norm() <= 1e-5 * grad.norm() + 1e-9, name


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("kind", [*PACKING, "mixtral", "phi"])
def test_packed_is_padded(kind, lora):
    FAMILIES.setdefault(kind, ({}, None))
    model = build(kind)
    if lora:
        model = add_lora(model, LoraSettings(dropout=0.0, target_modules="attention"))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
    expected = loss_and_gradients(model, PadRight(2)(rows()))
    use_row_attention(causal_lm(model))
    for sharing in (False, True):
        assert_equal(loss_and_gradients(model, PackRows(2, sharing=sharing)(rows())), expected)
    # Padded rows on the same attention, which needs no mask for padding on the right.
    assert_equal(loss_and_gradients(model, PadRight(2)(rows())), expected)


def test_the_window_matters_in_these_rows():
    """The comparison above can fail: without the window the loss is another one."""
    narrow, wide = build("mistral"), build("mistral", sliding_window=None)
    for model in (narrow, wide):
        use_row_attention(model)
    batch = PackRows(2)(rows())
    assert abs(batch_nll(narrow, batch).item() - batch_nll(wide, batch).item()) > 1e-4


@pytest.mark.parametrize("sharing", [False, True])
def test_no_row_sees_another(sharing):
    """Change one row behind the prefix: the losses of all others stay as they are, to the bit (pitfall B1)."""
    model = build("llama")
    use_row_attention(model)
    before, after = rows(), rows()
    after[1][1].input_ids[27] = 5 if after[1][1].input_ids[27] != 5 else 6
    losses = []
    for items in (before, after):
        batch, kept = PackRows(2, sharing=sharing)(items), []
        batch_nll(model, batch, kept.append)
        losses.append(dict(zip(batch.positions.tolist(), kept[0].tolist(), strict=True)))
    assert losses[0].keys() == losses[1].keys()
    changed = [place for place in losses[0] if losses[0][place] != losses[1][place]]
    answer = len(before[1][1].input_ids) - before[1][1].prompt_length
    assert 0 < len(changed) <= answer
    assert max(changed) - min(changed) < answer


def test_a_packed_batch_on_another_attention_is_refused():
    model = build("llama")
    with pytest.raises(RuntimeError, match="packed rows need use_row_attention"):
        batch_nll(model, PackRows(2)(rows()))
    use_row_attention(model)
    with own_attention(model), pytest.raises(RuntimeError, match="packed rows need"):
        batch_nll(model, PackRows(2)(rows()))


def test_the_switch_is_not_saved_with_the_model(tmp_path):
    model = build("llama")
    assert choose_path(model, "auto")[0] == "prefix"
    assert attention_name(model) == "sdpa"
    model.save_pretrained(tmp_path)
    assert "ptst" not in (tmp_path / "config.json").read_text()


@pytest.mark.parametrize("kind", FAMILIES)
def test_what_auto_takes(kind):
    path, why = choose_path(build(kind), "auto")
    assert path == ("padded" if kind == "falcon" else "prefix"), why
    assert choose_path(build(kind), "padded")[0] == "padded"


def test_a_model_that_ignores_the_layout_is_found_out(monkeypatch):
    """Packed rows that see each other change the loss, and that is noticed before training."""

    def leaking(query, key, value, rows, *rest):
        return by_segment(query, key, value, lay_out([Segment(0, rows.tokens)]), *rest)

    monkeypatch.setattr("ptst_pl.model.attention.rows.by_segment", leaking)
    path, why = choose_path(build("llama"), "auto")
    assert path == "padded"
    assert "gives packed rows another loss" in why
