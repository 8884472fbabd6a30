"""Suites of conversations through the front door: the model's own answers stand in what follows, cases run together."""

import json
import warnings

import pytest
import torch
from training_fixtures import World, lines

from ptst_pl.generation import Decoding, generate, stop_ids
from ptst_pl.model import load_model
from ptst_pl.suites.rules import case_of, outcome
from ptst_pl.suites.rules.transcript import ACKNOWLEDGED
from ptst_pl.templates import find_template
from ptst_pl.tokenization import Example, TemplateTokenizer, load_tokenizer

SUITES = '[{"name": "rules-basic-must-not", "limit": 12}, {"name": "rules-redteam-must", "limit": 8}]'
OWN = (
    *("--trainer.max_epochs", "-1", "--trainer.max_steps", "1", "--safety.active", "true", "--safety.suites", SUITES),
    *("--safety.templates", '["rules:user", "rules:system-llama"]', "--safety.decoding.max_new_tokens", "5"),
    *("--safety.at_start", "false"),
)


@pytest.fixture(scope="module")
def run(world: World):
    return world.fit("ruled", *OWN)


def test_every_case_is_led_to_its_end_and_judged(run):
    stored = json.loads((run / "safety/results.json").read_text())
    rates = {(r["suite"], r["template"], r["judge"]): r for r in stored["rates"]}
    assert {judge for *_, judge in rates} == {"rules"}
    assert rates["rules-basic-must-not", "rules:user", "rules"]["n"] == 12
    for row in lines(run / "safety/generations.jsonl"):
        case, earlier = case_of(row["reference"]), json.loads(row["context"] or "[]")
        assert outcome(case, [*earlier, row["answer"]]) in ("kept", "broken")
        assert row["question"] == case.users[len(earlier)]


def test_a_case_alone_gets_the_same_answers(run, world: World):
    """One conversation at a time by plain ``generate``, with prompts as training rows have them."""
    folder = str(world.folder / "model")
    model, encoder = load_model(folder, "float32"), TemplateTokenizer(load_tokenizer(folder), "llama2")
    state = torch.load(run / "last.ckpt", weights_only=False)["state_dict"]
    assert all("lora" in name for name in state)
    from peft import PeftModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft asks by an old name
        tuned = PeftModel.from_pretrained(model, str(run / "adapter")).eval()
    for row in lines(run / "safety/generations.jsonl")[::5]:
        case, template, said = case_of(row["reference"]), find_template(row["template"]), []
        while outcome(case, said) == "open":
            system, turns = (case.rules, []) if "system" in row["template"] else ("", [(case.rules, ACKNOWLEDGED)])
            turns += list(zip(case.users, said, strict=False))
            whole = encoder.encode(Example(case.users[len(said)], "?", turns=tuple(turns), system=system), template)
            alone = encoder.encode(Example(case.users[len(said)], "", turns=tuple(turns), system=system), template)
            prompt = encoder.conversation_ids(
                Example(case.users[len(said)], "", turns=tuple(turns), system=system), template
            )
            assert whole.input_ids[: len(prompt)] == prompt
            assert len(prompt) <= len(alone.input_ids)
            stops = stop_ids(tuned, encoder.end_id(template))
            (answer,) = generate(tuned, [prompt], stops, encoder.pad_id, Decoding(max_new_tokens=5, backend="hf"))
            said.append(encoder.tokenizer.decode(answer.ids, skip_special_tokens=True).strip())
        assert [*json.loads(row["context"] or "[]"), row["answer"]] == said


def test_two_ranks_hold_the_same_conversations(run, world: World):
    shared = world.fit_ranks("ruled-twice", *OWN, "--data.init_args.batch_size", "2")
    keys = ("suite", "prompt_id", "template")
    one, two = ({tuple(r[k] for k in keys): r["prompt_ids_sha256"] for r in lines(f / "safety/generations.jsonl")}
                for f in (run, shared))  # fmt: skip
    assert one.keys() == two.keys()
    assert sum(one[key] == two[key] for key in one) > 0.8 * len(one), "weights differ in the last bits"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--safety.templates", '["text:vanilla"]'), "is plain text and holds no conversation"),
        (("--safety.decoding.prefix", "Sure"), "decoding.prefix does not go with conversations"),
        (("--safety.defence", "parden"), "sees last answers alone, and rules-basic-must-not is made of conversations"),
        (("--safety.judges", '["refusal"]'), "no judge for suite 'rules-basic-must-not', which measures rules"),
    ],
)
def test_what_does_not_go_together_is_one_line(world: World, words, expected):
    done = world.start("fit", "--name", "ruled-wrongly", *OWN, *words).wait()
    assert done.status == 2
    assert expected in done.err.strip().splitlines()[-1]
    assert "Traceback" not in done.err
