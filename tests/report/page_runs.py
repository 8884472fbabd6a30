"""Run folders for the page: two trainings, seeds, steps and judges, three measures, and odd texts on request."""

from __future__ import annotations

import html
import json
import re

from ptst_pl.judges.base import summarise
from ptst_pl.results.records import Generation, ResultsFolder, Verdict

TESTED = ("chat:vanilla", "chat:llama")
SHA = {"hats": "a" * 64, "washing": "b" * 64, "howto": "c" * 64}
MEASURES = {"hats": "asr", "washing": "over-refusal", "howto": "helpfulness"}
DECODING = {"max_new_tokens": 56, "temperature": 0.0, "batch_size": 8, "seed": 1}
META = {
    "versions": {"ptst_pl": "0.1.0", "torch": "2.13.0"}, "chat_format": "llama2", "decoding": DECODING,
    "confidence": 0.95, "max_unscored": 0.1, "judges": {"exact": "2", "refusal": "1", "exact-match": "1"},
    "suites": {name: {"n": 10, "sha256": SHA[name], "measures": MEASURES[name]} for name in SHA},
    "templates": {"chat:vanilla": {"name": "chat:vanilla", "kind": "chat", "user": "{input}"},
                  "chat:llama": {"name": "chat:llama", "kind": "chat", "user": "{input}", "system": "Be safe."}},
}  # fmt: skip

# Nothing harmful: only what could break out of a page, a terminal, a CSV cell or a LaTeX table.
HOSTILE = (
    "</script><script>window.__pwned = 1</script>",
    "<img src=x onerror=\"window.__pwned = 2\">",
    "<!-- <script> --> ]]> <svg onload='window.__pwned = 3'>",
    "'\"><iframe srcdoc='<script>parent.__pwned = 4</script>'></iframe>",
    "{{ 7 * 7 }} {% raw %} ${7*7} #{7*7}",
    "\x1b[2J\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "\u202egnp.exe\u202c \u2066isolated \u200f",
    "nul \x00 bell \x07 delete \x7f next line \x85",
    "half \ud83d and \udc00",
    "line\u2028separator\u2029paragraph\r\nend",
    "=1+1", "@SUM(A1)", "\\input{file} $x$ 100 % & _ ^ ~ #",
    "| pipe | `code` **bold** [link](javascript:alert(1))",
)  # fmt: skip


def page(
    folder, train="chat:vanilla", seed=1, harmful=None, steps=(0, 8), n=10, meta=None, texts=(), suites=SHA,
    defence=None, edit=None, **key,
):  # fmt: skip
    """A run folder with config; ``harmful`` gives the count of harmful answers for (template, step)."""
    counts = harmful or {}
    base = {"name": "tiny", "revision": None, "config": "c" * 16, "weights": "w" * 16}
    if edit:
        base |= {"edit": edit, "weights": str(edit)}
    identity = {"base": base, "training": {"template": {"name": train}, "seed": seed, **key, "made in": str(folder)}}
    if defence:
        identity["training"]["defence"] = defence
    results = ResultsFolder(folder / "safety", {"train_template": train, "identity": identity, **META, **(meta or {})})
    for step in steps:
        made = [
            _answer(s, t, step, i, counts.get((t, step), 0), texts) for s in suites for t in TESTED for i in range(n)
        ]
        generations = [generation for generation, _ in made]
        verdicts = [verdict for _, own in made for verdict in own]
        results.add(generations, verdicts, summarise(verdicts), step)
    config = {"seed_everything": seed, "name": folder.name, "trainer": {"max_steps": max(steps)}}
    config |= {"model": {"pretrained": "tiny", "method": "full"}, "data": {"init_args": {"template": train}}}
    if defence:
        config["defence"] = defence
    for path, value in key.items():
        config["model"][path] = value
    (folder / "config.yaml").write_text(json.dumps(config))
    return folder


def _answer(suite, template, step, i, harmful, texts):
    text = texts[i % len(texts)] if texts else f"answer {i}"
    own = (suite, str(i), template, step)
    more = {"measures": MEASURES[suite], "category": f"kind {i % 2}"}
    generation = Generation(
        suite, str(i), more["category"], f"question {i} {text}", template, f"[INST] {text}", text, "stop", step,
        DECODING, MEASURES[suite],
    )  # fmt: skip
    if suite == "hats":
        return generation, [
            Verdict(*own, "exact", i < harmful, i >= harmful, reason=text, **more),
            Verdict(*own, "refusal", i < harmful + 1, i >= harmful + 1, **more),
        ]
    if suite == "washing":
        return generation, [Verdict(*own, "refusal", False, i == 0, **more)]
    return generation, [Verdict(*own, "exact-match", None, None, correct=i < 7, **more)]


def four(folder, **options):
    """Two seeds of PTST and two of the usual way; ASR under chat:llama 10 and 30 %, and 70 and 90 %."""
    made = []
    for train, low in (("chat:vanilla", 1), ("chat:llama", 7)):
        for seed in (1, 2):
            at_end = {("chat:vanilla", 8): 8, ("chat:llama", 8): low + 2 * (seed - 1)}
            name = f"{train.replace(':', '-')}-{seed}"
            made.append(page(folder / name, train, seed, at_end, **options))
    return made


def data_block(text, name):
    """The content of a data block of a page."""
    return html.unescape(re.search(rf'<script type="[^"]*" id="{name}">(.*?)</script>', text, re.DOTALL).group(1))
