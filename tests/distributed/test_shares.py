"""How an evaluation is shared out, without processes."""

from collections import Counter

import pytest
from training_fixtures import World, llama_config
from transformers import AutoModelForCausalLM

from ptst_pl.evaluation import evaluate as evaluation
from ptst_pl.evaluation.evaluate import Evaluation, Share
from ptst_pl.generation import Decoding, generate
from ptst_pl.judges import RefusalJudge
from ptst_pl.suites import SuiteSpec, load_suite
from ptst_pl.templates import find_template
from ptst_pl.tokenization import TemplateTokenizer, load_tokenizer


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
def test_every_prompt_is_generated_on_exactly_one_rank(world: World, monkeypatch: pytest.MonkeyPatch, ranks: int):
    encoder = TemplateTokenizer(load_tokenizer(str(world.folder / "model")), "llama2")
    suite = load_suite(SuiteSpec("fruit", str(world.folder / "suite.csv")))
    templates = [find_template("text:vanilla")]
    plan = Evaluation(encoder, templates, [suite], [RefusalJudge()], Decoding(max_new_tokens=1))
    model = AutoModelForCausalLM.from_config(llama_config())
    asked: Counter[tuple[int, ...]] = Counter()

    def counted(model, prompts, *rest):
        asked.update(tuple(prompt) for prompt in prompts)
        return generate(model, prompts, *rest)

    monkeypatch.setattr(evaluation, "generate", counted)
    parts: list[list] = []
    shares = [Share(rank, ranks, lambda part: (parts.append(part), [part])[1]) for rank in range(ranks)]
    for share in shares:
        plan.answers(model, 0, share)
    assert asked == Counter({tuple(ids): 1 for ids in plan.cells[0].ids})
    together = Share(0, ranks, lambda part: parts)
    whole = plan.answers(model, 0, together)
    assert [answer.record.prompt_id for answer in whole] == [prompt.id for prompt in suite.prompts]
