"""Small random models of each family, prompts of very unequal length, and their answers by transformers itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from ptst_pl.generation.decoding import Answer, Decoding
from ptst_pl.generation.engine import run
from ptst_pl.generation.request import Request

STOPS, PAD, VOCABULARY, WINDOW = [1, 10, 20, 30], 2, 64, 16
COMMON = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128,
    "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": PAD, "tie_word_embeddings": False,
}  # fmt: skip
TIED = {"tie_word_embeddings": True}
# model type -> what its config needs besides
FAMILIES = {
    "llama": {},
    "mistral": {"sliding_window": WINDOW},
    "qwen2": {"sliding_window": WINDOW, "use_sliding_window": True, "max_window_layers": 1},
    "qwen3": {},
    "gemma": TIED,
    "gemma2": {**TIED, "query_pre_attn_scalar": 8, "sliding_window": WINDOW, "attn_logit_softcapping": 2.0},
    "gemma3_text": {**TIED, "query_pre_attn_scalar": 8, "sliding_window": WINDOW, "sliding_window_pattern": 2},
    "phi3": {"sliding_window": WINDOW, "pad_token_id": None},
    "phi": {},
    "mixtral": {},
    "gpt_neox": {"rotary_pct": 0.5},
}


# The others' answers end before a step is worth recording.
LASTING = [kind for kind in FAMILIES if kind != "mixtral"]


def model_of(kind: str, **changes: object) -> PreTrainedModel:
    """A model with weights so large that its answers differ from prompt to prompt; in training mode."""
    config = AutoConfig.for_model(kind, **COMMON | FAMILIES[kind] | changes)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter.data, std=0.3)
    return model.train()


def prompts_of(count: int, prefix: int, seed: int = 0) -> list[list[int]]:
    """Prompts of 1 to 30 own tokens behind ``prefix`` common ones; every fifth is its predecessor again."""
    draw = torch.Generator().manual_seed(seed)
    common = torch.randint(3, VOCABULARY, (prefix,), generator=draw).tolist()
    found: list[list[int]] = []
    for number in range(count):
        own = torch.randint(3, VOCABULARY, (1 + 7 * number % 30,), generator=draw).tolist()
        found.append(found[-1] if number % 5 == 4 else common + own)
    return found


def requests_of(prompts: Sequence[list[int]], longest: int = 12) -> list[Request]:
    """Answers of unequal length, some of one token."""
    return [Request(ids, 100 + number, 1 + 5 * number % longest) for number, ids in enumerate(prompts)]


def ours(
    model: torch.nn.Module,
    requests: Sequence[Request],
    decoding: Decoding | None = None,
    stops: Sequence[int] = tuple(STOPS),
    **options: object,
) -> list[Answer]:
    """The engine's answers; each request is answered once."""
    found: dict[int, Answer] = {}

    def done(index: int, answer: Answer) -> None:
        assert index not in found
        found[index] = answer

    run(model, requests, stops, decoding or Decoding(), done, **options)  # type: ignore[arg-type]
    assert sorted(found) == list(range(len(requests)))
    return [found[index] for index in range(len(requests))]


def theirs(model: PreTrainedModel, requests: Sequence[Request]) -> list[Answer]:
    """``generate``, one prompt at a time."""
    training = model.training
    model.eval()
    found = []
    for request in requests:
        ids = torch.tensor([request.ids])
        made = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=request.max_new_tokens,
            do_sample=False,
            eos_token_id=STOPS,
            pad_token_id=PAD,
        )[0, len(request.ids) :].tolist()
        end = next((place for place, token in enumerate(made) if token in STOPS), None)
        found.append(Answer(made, "length") if end is None else Answer(made[:end], "stop"))
    model.train(training)
    return found


@torch.no_grad()
def differences(
    model: PreTrainedModel, requests: Sequence[Request], one: Sequence[Answer], other: Sequence[Answer]
) -> list[str]:
    """Where answers differ although the two best logits are further apart than 1e-4; near ties are printed."""
    found = []
    for number, (request, left, right) in enumerate(zip(requests, one, other, strict=True)):
        if left == right:
            continue
        alike = sum(1 for _ in iter_alike(left.ids, right.ids))
        ids = torch.tensor([[*request.ids, *left.ids[:alike]]])
        best = model.eval()(input_ids=ids, use_cache=False).logits[0, -1].float().topk(2).values
        text = f"row {number}, token {alike}: the two best logits are {float(best[0] - best[1]):.2g} apart"
        print(text)
        if float(best[0] - best[1]) > 1e-4:
            found.append(text)
    return found


def iter_alike(one: Sequence[int], other: Sequence[int]):
    """The tokens that both begin with."""
    for left, right in zip(one, other, strict=False):
        if left != right:
            return
        yield left


def recorded_case(kind: str = "llama", prefix: int = 21, count: int = 16):
    """A model, requests, and their answers by plain steps; one id ends answers, so that there are steps to record."""
    model, requests = model_of(kind), requests_of(prompts_of(count, prefix), longest=24)
    return model, requests, ours(model, requests, stops=[1], graphs=False)
