"""The equations of the papers, on tensors and on whole fits."""

import json
from types import SimpleNamespace

import pytest
import torch
from defence_cases import CASES, HARM, PREFERENCE, SAFE, UNLEARNING, options
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy
from training_fixtures import World, assert_same, weights

from ptst_pl.defences import Step, build_defence
from ptst_pl.defences.constrained import ConstrainedSFT
from ptst_pl.defences.kl import KLToReference
from ptst_pl.defences.loss_terms import Tokens
from ptst_pl.defences.objectives import Preference, Unlearning
from ptst_pl.defences.panacea import Panacea
from ptst_pl.defences.salora import outside, safety_basis
from ptst_pl.model import LoraSettings, load_model, to_train
from ptst_pl.model.hidden_states import last_token_states
from ptst_pl.tasks import JsonLines

SHORT = ("--trainer.max_epochs", "-1", "--trainer.max_steps", "4")


def tokens(seed: int, same: bool = False) -> Tokens:
    made = torch.Generator().manual_seed(seed)
    logits = torch.randn(12, 7, generator=made, dtype=torch.float64).requires_grad_()
    reference = logits.detach().clone() if same else torch.randn(12, 7, generator=made, dtype=torch.float64)
    targets = torch.randint(0, 7, (12,), generator=made)
    nll = cross_entropy(logits, targets, reduction="none")
    return Tokens(logits, nll, targets, torch.arange(1, 13), reference)


@given(st.integers(0, 50))
def test_constrained_sft_is_cross_entropy_with_weights(seed):
    found, defence = tokens(seed), ConstrainedSFT()
    (gradient,) = torch.autograd.grad(defence.loss(found), found.logits)
    again = tokens(seed)
    delta = (again.reference_nll - again.nll).detach()
    weight = 2 * (1 - torch.sigmoid(defence.betas(again.places) * delta))
    (expected,) = torch.autograd.grad((weight * again.nll).sum(), again.logits)
    assert torch.allclose(gradient, expected, atol=1e-10)


def test_constrained_sft_at_the_reference_and_without_beta():
    for found, defence, bound in ((tokens(1, same=True), ConstrainedSFT(), 1e-12),
                                  (tokens(1), ConstrainedSFT(1e-6, 1e-6, 5, 1e-6), 1e-5)):  # fmt: skip
        (gradient,) = torch.autograd.grad(defence.loss(found), found.logits, retain_graph=True)
        (plain,) = torch.autograd.grad(found.nll.sum(), found.logits)
        assert torch.allclose(gradient, plain, atol=bound)
    assert ConstrainedSFT().betas(torch.tensor([1, 2, 5, 6])).tolist() == pytest.approx([0.5, 2.0, 2.0, 0.1])


def test_kl_is_none_at_the_reference_and_positive_elsewhere():
    same, other = tokens(2, same=True), tokens(2)
    assert KLToReference(weight=3.0).loss(same).item() == pytest.approx(same.nll.sum().item())
    kl = (KLToReference(weight=1.0).loss(other) - other.nll.sum()).item()
    p, q = other.reference.softmax(-1), other.logits.softmax(-1)
    assert kl == pytest.approx((p * (p.log() - q.log())).sum().item())
    assert kl > 0


@given(st.integers(0, 30), st.integers(1, 5))
def test_the_projector_of_salora(seed, rank):
    outputs = torch.randn(20, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    basis = safety_basis(outputs, rank)
    eye = torch.eye(8, dtype=torch.float64)
    c = outside(basis, eye)
    assert torch.allclose(c @ c, c, atol=1e-12)
    assert torch.allclose(basis.T @ c, torch.zeros(rank, 8, dtype=torch.float64), atol=1e-12)
    assert float(c.trace()) == pytest.approx(8 - rank)  # of a projector, its rank


# name -> (a defence that does nothing with these arguments)
NEUTRAL = {
    "kl": {"name": "kl", "weight": 0.0},
    "lookahead": {"name": "lookahead", "tokens": 0},
    "mixing": {"name": "mixing", "safety": SAFE, "share": 0.0},
    "low-rate": {"name": "low-rate", "factor": 1.0},
    "ema": {"name": "ema", "decay": 0.0},
    "lisa": {"name": "lisa", "guide": SAFE, "guide_steps": 0, "rho": 0.0},
    "panacea": {"name": "panacea", "harmful": HARM, "weight": 0.0, "rho": 0.0},
    "steering": {"name": "steering", "unsafe": SAFE, "strength": 0.0},
    "unlearning": {"class_path": UNLEARNING, "init_args": {"unsafe": HARM, "weight": 0.0}},
    "preference": {"class_path": PREFERENCE, "init_args": {"safe": SAFE, "unsafe": HARM, "scale": 0.0}},
}


@pytest.fixture(scope="module")
def plain(world: World):
    return world.fit("plain", *SHORT, "--model.lora.dropout", "0.1")


@pytest.mark.parametrize("name", NEUTRAL)
def test_with_these_arguments_it_is_plain_fine_tuning(world: World, plain, name):
    """Bit for bit, dropout and all; only KL takes another way to the same loss."""
    given = ("--defence", json.dumps(NEUTRAL[name]), "--model.lora.dropout", "0.1")
    found, expected = net(world.fit(f"neutral-{name}", *SHORT, *given)), net(plain)
    if name == "kl":
        assert max(float((found[k] - expected[k]).abs().max()) for k in expected) < 1e-5
    else:
        assert_same(found, expected)


def net(run):
    return {name: value for name, value in weights(run).items() if name.startswith("net.")}


def test_without_decay_the_average_stays_where_training_starts(world: World):
    run = world.fit("ema-1", *SHORT, "--defence", '{"name": "ema", "decay": 1.0}')
    found = weights(run)
    assert not any(value.any() for name, value in found.items() if name.startswith("net.") and "lora_B" in name)
    assert any(value.any() for name, value in found.items() if name.startswith("defence.") and "lora_B" in name)


def test_panacea_ships_a_perturbation_of_norm_rho_and_can_take_it_back(world: World, plain):
    """With lambda 0 the trained weights are plain fine-tuning's, and what is shipped is rho away from them."""
    given = {**CASES["panacea"][0], "weight": 0.0, "rho": 0.25}
    run = world.fit("rho", *SHORT, "--defence", json.dumps(given), "--model.lora.dropout", "0.1")
    found = weights(run)
    before = {name.replace("defence.", "net."): value for name, value in found.items() if name.startswith("defence.")}
    assert_same(before, net(plain))
    moved = torch.cat([(net(run)[name] - before[name]).flatten() for name in before])
    assert float(moved.norm()) == pytest.approx(0.25, rel=1e-4)


def test_frozen_layers_stay_as_they_are(world: World):
    full = ("--model.method", "full")
    start = weights(world.fit("sppft-0", *options("sppft"), *full, *SHORT, "--model.learning_rate", "0"))
    end = weights(world.fit("sppft-1", *options("sppft"), *full, *SHORT))
    for name, value in start.items():
        assert torch.equal(value, end[name]) == (".layers.1." in name), name


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing")
def test_nothing_of_an_adapter_lies_in_the_safety_subspace(world: World):
    """The directions are found again here, from the layers' outputs on the safety rows."""
    run = world.fit("salora", *options("salora"), *SHORT)
    settings = world.settings()["data"]["init_args"]
    task = JsonLines(**settings, tokenizer=str(world.folder / "model"), seed=1)
    net_ = to_train(load_model(str(world.folder / "model"), "float32"), "lora", LoraSettings(dropout=0.0))
    arguments = dict(CASES["salora"][0])
    arguments["safety"] = {**SAFE, "init_args": {**SAFE["init_args"], "train_file": str(world.folder / "safe.jsonl")}}
    defence = build_defence(arguments)
    defence.prepare(net_, task)
    assert len(defence._bases) == 4
    for name, basis in defence._bases.items():
        b = weights(run)[f"net.{name}"]
        assert b.any()
        assert float((basis.T @ b).abs().max()) < 1e-6 * float(b.abs().max())


def by_name(batches):
    """Rows whose batches say which kind they are."""
    return SimpleNamespace(batch=lambda number, net: batches)


class KindsOfRows(Step):
    """A step on one parameter; the loss of a batch is the function that it is."""

    def backward(self, batch, limit=None):
        w = self.parameters["w"]
        loss = batch(w)
        (grad,) = torch.autograd.grad(loss.clamp(max=limit) if limit else loss, w)
        self.put({"w": grad})
        return loss.detach()


def objective_setting():
    """A parameter with a user's gradient in place, and three losses of it with curvature."""
    made = torch.Generator().manual_seed(3)
    w = torch.nn.Parameter(torch.randn(6, generator=made, dtype=torch.float64))
    a, b, c = (torch.randn(6, generator=made, dtype=torch.float64) for _ in range(3))
    user, safe, unsafe = (lambda x: ((x - a) ** 2).sum(), lambda x: ((x - b) ** 4).sum() / 50,
                          lambda x: ((x - c) ** 2).mean())  # fmt: skip
    (w.grad,) = torch.autograd.grad(user(w), w)
    return w, KindsOfRows(1, 9, torch.nn.Module(), {"w": w}, None, None, None, None), user, safe, unsafe


@pytest.mark.parametrize("limit", [100.0, 1e-6])
def test_unlearning_subtracts_a_part_of_the_unsafe_gradient_up_to_its_limit(limit):
    w, step, user, _, unsafe = objective_setting()
    defence = Unlearning(unsafe="x", weight=0.3, limit=limit)
    defence._rows = by_name(unsafe)
    defence.before_step(step)
    (expected,) = torch.autograd.grad(user(w) - 0.3 * unsafe(w).clamp(max=limit), w)
    assert torch.allclose(w.grad, expected, atol=1e-12)


def test_preferences_gradient_is_that_of_its_objective(monkeypatch):
    """Against autograd of L - s log sigmoid(b (R_safe - L_safe) - c (R_unsafe - L_unsafe))."""
    w, step, user, safe, unsafe = objective_setting()
    before = {safe: torch.tensor(2.5, dtype=torch.float64), unsafe: torch.tensor(0.25, dtype=torch.float64)}
    defence = Preference(safe="x", unsafe="x", scale=2.0, beta_safe=0.4, beta_unsafe=0.7)
    defence._rows = [by_name(safe), by_name(unsafe)]
    monkeypatch.setattr(Preference, "_reference", lambda self, step, batch: before[batch])
    defence.before_step(step)
    margin = 0.4 * (before[safe] - safe(w)) - 0.7 * (before[unsafe] - unsafe(w))
    (expected,) = torch.autograd.grad(user(w) - 2.0 * torch.nn.functional.logsigmoid(margin), w)
    assert torch.allclose(w.grad, expected, atol=1e-12)


def test_panaceas_gradient_is_that_of_its_objective():
    """Against autograd of g(w) - lambda (h(w + eps) - h(w)) with eps held fixed, on losses with curvature."""
    made = torch.Generator().manual_seed(1)
    w = torch.nn.Parameter(torch.randn(6, generator=made, dtype=torch.float64))
    a, b = (torch.randn(6, generator=made, dtype=torch.float64) for _ in range(2))

    def user(x):
        return ((x - a) ** 2).sum()

    def harm(x):
        return ((x - b) ** 4).sum() / 50

    class OneParameter(Step):
        def backward(self, batch, limit=None):
            loss = harm(w)
            self.put(dict(zip(["w"], torch.autograd.grad(loss.clamp(max=limit) if limit else loss, w), strict=True)))
            return loss.detach()

    step = OneParameter(1, 9, torch.nn.Module(), {"w": w}, None, None, None, None)
    (w.grad,) = torch.autograd.grad(user(w), w)
    defence = Panacea(harmful="x", rho=0.7, weight=0.3)
    defence._rows = SimpleNamespace(batch=lambda number, net: None)
    before = w.detach().clone()
    defence.before_step(step)
    assert torch.equal(w, before)
    eps = defence.kept["w"]
    assert float(eps.norm()) == pytest.approx(0.7, rel=1e-6)
    assert harm(w + eps) > harm(w)
    (expected,) = torch.autograd.grad(user(w) - 0.3 * (harm(w + eps) - harm(w)), w)
    assert torch.allclose(w.grad, expected, atol=1e-12)


def test_lisas_pull_keeps_weights_nearer_to_where_they_were(world: World):
    """Without guide steps, so that nothing but the proximal term differs."""
    steps = ("--trainer.max_epochs", "-1", "--trainer.max_steps", "12", "--model.method", "full")
    start = weights(world.fit("lisa-start", *steps, "--model.learning_rate", "0"))
    far, near = (
        net(world.fit(f"lisa-{rho:g}", *steps, "--defence", json.dumps({**NEUTRAL["lisa"], "rho": rho})))
        for rho in (0.0, 100.0)
    )

    def moved(found):
        return float(torch.cat([(found[name] - start[name]).flatten() for name in start]).norm())

    assert moved(near) < 0.8 * moved(far)


def test_steering_moves_the_layers_output_by_its_vector_and_only_in_training(world: World, monkeypatch):
    monkeypatch.chdir(world.folder)
    task = JsonLines(**world.settings()["data"]["init_args"], tokenizer=str(world.folder / "model"), seed=1)
    model = load_model(str(world.folder / "model"), "float32")
    defence = build_defence({"name": "steering", "unsafe": SAFE, "strength": 0.5, "rows": 5, "layer": 1})
    defence.prepare(model, task)
    prompts = [row.input_ids for row in task.rows("train")[:3]]
    bare = last_token_states(model, prompts, 0)
    with defence.training():
        pushed = last_token_states(model, prompts, 0)
    assert torch.equal(pushed[:, 0], bare[:, 0])
    assert torch.allclose(pushed[:, 1] - bare[:, 1], defence.vector.expand(3, -1), atol=1e-5)
    direction = defence.vector / defence.vector.norm()
    along = ((pushed - bare)[:, 1] @ direction).tolist()
    assert along == pytest.approx([float(defence.vector.norm())] * 3, rel=1e-4)
    assert torch.equal(last_token_states(model, prompts, 0), bare)
