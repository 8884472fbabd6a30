"""The loss: Hugging Face's own, TRL's and a hand-computed one agree with ours; nothing supervised is no error."""

import pytest
import torch
from training_fixtures import llama_config, save_random
from transformers import AutoModelForCausalLM, CohereConfig, Gemma2Config, GraniteConfig

from ptst_pl import InputError
from ptst_pl.model import batch_nll, load_model
from ptst_pl.model.loss import answer_nll
from ptst_pl.tokenization import IGNORED, Encoded
from ptst_pl.tokenization.batches import PadRight

PAD = 1


def row(prompt: list[int], answer: list[int]) -> Encoded:
    return Encoded(prompt + answer, [IGNORED] * len(prompt) + answer, len(prompt))


# Unequal prompts and answers; the end token is also the pad token.
ROWS = [row([0, 7, 8, 9], [20, 21, 1]), row([0, 5], [30, 31, 32, 33, 34, 1]), row([0, 6, 7], [1])]
TINY = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "pad_token_id": None,
}


def batch_of(rows):
    return PadRight(PAD)(list(enumerate(rows)))


def random_model(config):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():  # logits far from uniform
        torch.nn.init.normal_(parameter.data, std=0.3)
    return model


@pytest.fixture
def model():
    return random_model(llama_config(64))


def labels_of(rows, batch):
    labels = torch.full_like(batch.input_ids, IGNORED)
    for number, r in enumerate(rows):
        labels[number, : len(r.labels)] = torch.tensor(r.labels)
    return labels


def hugging_face_sum(model, rows):
    batch = batch_of(rows)
    labels = labels_of(rows, batch)
    mean = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=labels).loss
    return mean * (labels[:, 1:] != IGNORED).sum()


@pytest.mark.parametrize("rows", [ROWS[:1], ROWS[1:2], ROWS], ids=["one row", "another row", "padded rows"])
def test_equals_hugging_faces_own_loss(model, rows):
    torch.testing.assert_close(batch_nll(model, batch_of(rows)), hugging_face_sum(model, rows))


def test_equals_the_loss_computed_by_hand(model):
    total = 0.0
    for r in ROWS:
        logits = model(input_ids=torch.tensor([r.input_ids])).logits[0].detach().log_softmax(-1)
        for place in range(r.prompt_length, len(r.input_ids)):
            total -= float(logits[place - 1, r.input_ids[place]])
    assert batch_nll(model, batch_of(ROWS)).item() == pytest.approx(total, rel=1e-5)


def test_is_the_sum_over_rows(model):
    alone = sum(batch_nll(model, batch_of([r])) for r in ROWS)
    torch.testing.assert_close(batch_nll(model, batch_of(ROWS)), alone)


@pytest.mark.parametrize("rows", [[], [Encoded([0, 5, 6], [IGNORED] * 3, 3)]], ids=["no row", "no answer"])
def test_nothing_supervised_gives_zero_with_a_backward_pass(model, rows):
    loss = batch_nll(model, batch_of(rows))
    loss.backward()
    assert loss == 0
    # Zero and not None: every rank of a distributed run takes part in the reduction.
    assert all(p.grad is not None and p.grad.count_nonzero() == 0 for p in model.parameters())


def test_only_supervised_positions_go_through_the_head(model):
    seen = []
    head = torch.nn.Linear(32, 64)
    head.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape))
    answer_nll(torch.randn(2, 5, 32), torch.tensor([1, 7]), torch.tensor([3, 4]), head)
    assert seen == [(2, 32)]


def test_a_final_soft_cap_is_applied():
    settings = TINY | {"head_dim": 16, "final_logit_softcapping": 2.0, "attn_implementation": "eager"}
    model = random_model(Gemma2Config(**settings))
    expected = hugging_face_sum(model, ROWS)
    torch.testing.assert_close(batch_nll(model, batch_of(ROWS)), expected)
    model.config.final_logit_softcapping = None
    assert abs(batch_nll(model, batch_of(ROWS)) - expected) > 1


@pytest.mark.parametrize(
    "config",
    [GraniteConfig(**TINY, logits_scaling=8.0), CohereConfig(**TINY, logit_scale=0.0625)],
    ids=lambda c: c.model_type,
)
def test_a_model_that_scales_its_logits_behind_the_head_is_refused(config, tmp_path):
    config.architectures = [{"granite": "GraniteForCausalLM", "cohere": "CohereForCausalLM"}[config.model_type]]
    save_random(config, tmp_path)
    with pytest.raises(InputError, match=f"'{config.model_type}' changes its logits"):
        load_model(str(tmp_path), "float32")


@pytest.mark.filterwarnings("ignore::FutureWarning:transformers")  # TRL still uses an old option name
def test_equals_trls_completion_only_loss(model, tmp_path):
    """On a batch of equal token counts, where TRL's mean over the batch is no mean of means."""
    datasets, trl = pytest.importorskip("datasets"), pytest.importorskip("trl")
    from training_fixtures import make_tokenizer

    rows = [row([0, 7, 8, 9], [20, 21, 1]), row([0, 5], [30, 31, 1]), row([0, 6, 7], [40, 41, 1])]
    columns = {
        "input_ids": [r.input_ids for r in rows],
        "completion_mask": [[int(label != IGNORED) for label in r.labels] for r in rows],
    }
    settings = trl.SFTConfig(str(tmp_path), completion_only_loss=True, use_cpu=True, bf16=False, report_to=[])
    trainer = trl.SFTTrainer(
        model=model,
        args=settings,
        train_dataset=datasets.Dataset.from_dict(columns),
        processing_class=make_tokenizer(tmp_path / "tokenizer"),
    )
    inputs = trainer.data_collator([trainer.train_dataset[n] for n in range(3)])
    count = (inputs["labels"] != IGNORED).sum()
    model.eval()
    theirs = trainer.compute_loss(model, inputs)
    assert count == 9
    torch.testing.assert_close(batch_nll(model, batch_of(rows)) / count, theirs)
