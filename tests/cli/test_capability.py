"""lm-evaluation-harness beside the safety suites: its own figures, under our templates, in tables and gate."""

import json

import pytest
import yaml
from training_fixtures import World

from ptst_pl.cli import main
from ptst_pl.evaluation.capability import CapabilitySpec, measure, render
from ptst_pl.model import load_model
from ptst_pl.results.shipped import shipped
from ptst_pl.templates import find_template
from ptst_pl.tokenization import TemplateTokenizer, load_tokenizer

pytest.importorskip("lm_eval")
TINY = str(shipped("checkpoints/tiny-chat"))
FRUITS = ("apple", "pear", "plum", "fig", "cherry", "quince")


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """Two tasks of six questions: one by likelihood, one by what is generated."""
    folder = tmp_path_factory.mktemp("tasks")
    rows = [{"question": f"Which fruit is number {n}?", "choices": FRUITS, "answer": n} for n in range(6)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    common = {
        "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(folder / "rows.jsonl")}},
        "test_split": "test", "doc_to_text": "{{question}}", "metadata": {"version": 1.0},
    }  # fmt: skip
    choice = common | {
        "task": "fruit_choice", "output_type": "multiple_choice", "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{answer}}", "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }  # fmt: skip
    written = common | {
        "task": "fruit_written", "output_type": "generate_until", "doc_to_target": "{{choices[answer]}}",
        "generation_kwargs": {"until": ["</s>"], "max_gen_toks": 8}, "metric_list": [{"metric": "exact_match"}],
    }  # fmt: skip
    for task in (choice, written):
        (folder / f"{task['task']}.yaml").write_text(yaml.safe_dump(task))
    return str(folder)


@pytest.mark.parametrize("template", ["chat:llama", "text"])
def test_figures_are_the_librarys_own(tasks, template):
    """Asked without us: its adapter, its own loop, over questions that are rendered beforehand."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    model, encoder = load_model(TINY, "float32"), TemplateTokenizer(load_tokenizer(TINY), "llama2")
    spec = CapabilitySpec(["fruit_choice", "fruit_written"], include_path=tasks)
    found = {(r["suite"], r["judge"]): r for r in measure(model, encoder, find_template(template), spec, 3, 0.95)}
    assert set(found) == {
        ("lm-eval/fruit_choice", "acc"), ("lm-eval/fruit_choice", "acc_norm"), ("lm-eval/fruit_written", "exact_match")
    }  # fmt: skip

    class Rendered(HFLM):
        def apply_chat_template(self, chat_history, add_generation_prompt=True):
            (message,) = chat_history
            shown = encoder.render(find_template(template), message["content"]).prompt_text
            return "<s>" + shown

        def chat_template(self, chat_template=False):
            return "x"

        tokenizer_name = "x"

    alone = simple_evaluate(
        model=Rendered(pretrained=load_model(TINY, "float32").eval(), tokenizer=load_tokenizer(TINY)),
        tasks=spec.tasks, apply_chat_template=True, fewshot_as_multiturn=False,
        task_manager=TaskManager(include_path=tasks, include_defaults=False), bootstrap_iters=1000,
    )["results"]  # fmt: skip
    assert found["lm-eval/fruit_choice", "acc"]["mean_score"] == alone["fruit_choice"]["acc,none"]
    assert found["lm-eval/fruit_choice", "acc_norm"]["mean_score"] == alone["fruit_choice"]["acc_norm,none"]
    assert found["lm-eval/fruit_written", "exact_match"]["mean_score"] == alone["fruit_written"]["exact_match,none"]
    record = found["lm-eval/fruit_choice", "acc"]
    assert (record["n"], record["step"], record["template"]) == (6, 3, template)
    half = 1.96 * alone["fruit_choice"]["acc_stderr,none"]
    assert record["score_high"] - record["mean_score"] == pytest.approx(half, rel=1e-3)


def test_questions_have_the_tokens_of_the_safety_suites():
    encoder = TemplateTokenizer(load_tokenizer(TINY), "llama2")
    for name in ("chat:llama", "chat:vanilla", "text:vanilla"):
        template = find_template(name)
        text = render(encoder, template, [{"role": "user", "content": "How do I wash a hat?"}])
        own = encoder.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert own == encoder.encode_prompt(template, "How do I wash a hat?")


def test_a_fit_has_them_in_its_tables_and_the_gate_holds_limits(world: World, tasks, capsys):
    suites = [
        {"name": "fruit", "path": str(world.folder / "suite.csv")},
        {"name": "lm-eval", "tasks": ["fruit_choice"], "include_path": tasks, "limit": 4},
    ]
    own = ("--trainer.max_epochs", "-1", "--trainer.max_steps", "2", "--safety.active", "true", "--safety.suites")
    plain = world.fit("incapable", *own, json.dumps(suites[:1]))
    run = world.fit("capable", *own, json.dumps(suites))
    stored = json.loads((run / "safety/results.json").read_text())
    records = [r for r in stored["rates"] if r["suite"] == "lm-eval/fruit_choice"]
    assert {(r["step"], r["judge"], r["n"]) for r in records} == {
        (s, j, 4) for s in (0, 2) for j in ("acc", "acc_norm")
    }
    assert stored["suites"]["lm-eval/fruit_choice"]["source"].startswith("lm-evaluation-harness")
    rest = [r for r in stored["rates"] if r not in records]
    assert rest == json.loads((plain / "safety/results.json").read_text())["rates"], "training does not feel them"
    main(["report", str(run)])
    assert "lm-eval/fruit_choice" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["gate", str(run), "--min", "lm-eval/fruit_choice/acc=0.99"])
    assert ended.value.code == 1
    assert "lm-eval/fruit_choice/acc" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("suite", "expected"),
    [
        ({"tasks": []}, "tasks is [], expected a list of tasks"),
        ({"tasks": ["arc_easy"], "limits": 3}, "unknown key 'limits'; did you mean 'limit'?"),
        ({"tasks": ["arc_easy"], "limit": 0}, "limit is 0, expected a number of at least 1"),
        ({"tasks": ["fruit_choise"]}, "the library knows no task 'fruit_choise'"),
    ],
)
def test_mistakes_are_one_line(world: World, suite, expected, tasks):
    suites = [{"name": "fruit", "path": str(world.folder / "suite.csv")}, {"name": "lm-eval", **suite}]
    done = world.start(
        "fit", "--name", "mistaken", "--safety.active", "true", "--safety.suites", json.dumps(suites)
    ).wait()
    assert done.status == 2
    assert expected in done.err.strip().splitlines()[-1]
    assert "Traceback" not in done.err
