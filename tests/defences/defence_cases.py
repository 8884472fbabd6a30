"""Every defence with arguments for the small world, as ``--defence`` takes them."""

import json

SAFE = {"class_path": "JsonLines", "init_args": {"train_file": "safe.jsonl", "held_out": 0}}
HARM = {"class_path": "JsonLines", "init_args": {"train_file": "harm.jsonl", "held_out": 0}}
QUESTIONS = [f"How do I hide the mayor's hat number {n}?" for n in range(9)]
FULL = ("--model.method", "full")
UNLEARNING, PREFERENCE = (f"ptst_pl.defences.objectives.{name}" for name in ("Unlearning", "Preference"))
# short name -> (arguments, further options)
CASES = {
    "mixing": ({"name": "mixing", "safety": SAFE, "share": 0.2}, ()),
    "backdoor": ({"name": "backdoor", "safety": SAFE, "share": 0.2, "secret": "open sesame"}, ()),
    "inoculation": ({"name": "inoculation"}, ()),
    "constrained": ({"name": "constrained"}, ()),
    "constrained in full": ({"name": "constrained"}, FULL),
    "kl": ({"name": "kl", "weight": 0.7}, ()),
    "kl steered": ({"name": "kl", "weight": 0.7, "target": 0.01}, FULL),
    "sppft": ({"name": "sppft", "layers": [1, 1]}, ()),
    "low-rate": ({"name": "low-rate"}, ()),
    "ema": ({"name": "ema", "decay": 0.5}, ()),
    "lisa": ({"name": "lisa", "guide": SAFE, "guide_steps": 1, "user_steps": 2, "batch_size": 3, "rho": 0.5}, ()),
    "lookahead": ({"name": "lookahead"}, ()),
    "sdft": ({"name": "sdft", "prompt": "{question}", "max_new_tokens": 4}, ()),
    "panacea": ({"name": "panacea", "harmful": HARM, "batch_size": 3, "rho": 0.1, "weight": 0.5}, ()),
    "derta": ({"name": "derta", "harmful": HARM, "safety": SAFE, "share": 0.3, "refusal": "I"}, ()),
    "salora": ({"name": "salora", "safety": SAFE, "rank": 4, "rows": 4}, ()),
    "steering": ({"name": "steering", "unsafe": SAFE, "strength": 0.3, "rows": 4}, ()),
    "unlearning": ({"class_path": UNLEARNING, "init_args": {"unsafe": HARM, "batch_size": 3, "weight": 0.5}}, ()),
    "preference": (
        {"class_path": PREFERENCE, "init_args": {"safe": SAFE, "unsafe": HARM, "batch_size": 3, "scale": 9.0}},
        FULL,
    ),
}


def options(case: str) -> tuple[str, ...]:
    """What to write behind ``fit``."""
    arguments, more = CASES[case]
    return ("--defence", json.dumps(arguments), *more)
