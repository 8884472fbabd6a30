"""What the paper's experiments cost on one A100: ``python -m ptst_pl.planning.paper_cost`` prints the estimates.

Training: 6 operations per parameter and token in full fine-tuning (2 forward, 4 backward: Kaplan et al. 2020, arXiv
2001.08361, section 2.1), 4 with LoRA, whose frozen weights need no gradient of their own; attention is left out.
Generation: every batch of answers is taken to run to its last token at a fixed time per token, since one long answer
keeps a batch alive. Nothing here was measured on a GPU: figures within a factor of two are what it can give.
"""

from __future__ import annotations

from dataclasses import dataclass

from ptst_pl.planning.devices import DEVICES
from ptst_pl.planning.hours import PER_PARAMETER, batches_of, computing_hours, decoding_hours

LLAMA_7B, MISTRAL_7B = 6.74e9, 7.24e9  # parameters

# Tokens of one pass over all rows under the Llama 2 tokenizer.
GSM8K_TOKENS = 1_830_000  # counted, 7,473 rows: the mean of the five templates (chat:vanilla 1.54, chat:llama 2.49 M)
DEFENCE_TOKENS = 1_980_000  # counted: the mean of CV, CA, CL, Self-Reminder and In-context Defense
SAFETY_TOKENS = 2_483 * 130  # counted: 95 a row, and about 35 of template
ORCA_TOKENS = 600_000 * 470  # 425 a row in 284 rows of a derived set, cut at 1,024; and about 45 of template
DOCTOR_TOKENS = 111_165 * 330  # assumed: no row of the real set was at hand

ADVBENCH, DIRECTHARM4, DANGER, GCG, GSM8K, ARC, DOCTOR = 520, 400, 100, 100, 1319, 2376 + 1172, 1000


@dataclass(frozen=True)
class Experiment:
    """One training run with its evaluations.

    Attributes:
        name: as in the table.
        tokens: of all passes together.
        answers: generated in one evaluation, over all templates.
        evaluations: how many there are in a run.
        runs: of the whole table: rows times seeds.
    """

    name: str
    tokens: int
    answers: int
    evaluations: int
    runs: int
    parameters: float = LLAMA_7B
    method: str = "lora"


EXPERIMENTS = (
    Experiment("Table 1a-1c", 6 * GSM8K_TOKENS, 5 * (ADVBENCH + DIRECTHARM4 + GSM8K), 2, 15),
    Experiment("Table 1a-1c, full", 6 * GSM8K_TOKENS, 5 * (ADVBENCH + DIRECTHARM4 + GSM8K), 2, 15, method="full"),
    Experiment("Table 1d (tests)", 0, 5 * GCG, 1, 16),
    Experiment("Table 2", 6 * DEFENCE_TOKENS, 5 * (DIRECTHARM4 + GSM8K), 2, 15),
    Experiment("Table 4", 3 * DOCTOR_TOKENS, 3 * (ADVBENCH + DIRECTHARM4 + DOCTOR), 6, 3),
    Experiment("Table 5", ORCA_TOKENS, 3 * (ADVBENCH + DIRECTHARM4 + ARC), 2, 3),
    Experiment(
        "Table 6, +safety", 6 * GSM8K_TOKENS + SAFETY_TOKENS, 3 * (ADVBENCH + DIRECTHARM4 + DANGER + GSM8K), 2, 3
    ),
    Experiment("Table 7", 6 * GSM8K_TOKENS, 5 * (ADVBENCH + DIRECTHARM4 + GSM8K), 2, 5, MISTRAL_7B),
    Experiment("Figure 2a", 6 * GSM8K_TOKENS, 2 * (DIRECTHARM4 + GSM8K), 7, 2),
    Experiment("Figure 3a", 6 * GSM8K_TOKENS, 4 * DIRECTHARM4, 2, 4),
)


def training_hours(parameters: float, tokens: float, method: str) -> float:
    """Hours on one A100 to train on ``tokens`` tokens in all; ``method`` is lora or full."""
    return computing_hours(PER_PARAMETER[method] * parameters * tokens, DEVICES["a100-80"].bf16)


def generation_hours(answers: int, max_new_tokens: int = 512, batch_size: int = 64) -> float:
    """Hours on one A100 to generate ``answers`` answers."""
    return decoding_hours(batches_of(answers, batch_size) * max_new_tokens)


def hours(experiment: Experiment) -> tuple[float, float]:
    """Hours of one run on one A100: training, and all its evaluations."""
    training = training_hours(experiment.parameters, experiment.tokens, experiment.method)
    return training, experiment.evaluations * generation_hours(experiment.answers)


def table() -> str:
    """The estimates as a Markdown table."""
    lines = ["| what | training, h | evaluations, h | runs | all runs, A100-hours |", "|---|---|---|---|---|"]
    for experiment in EXPERIMENTS:
        train, test = hours(experiment)
        total = experiment.runs * (train + test)
        lines.append(f"| {experiment.name} | {train:.1f} | {test:.1f} | {experiment.runs} | {total:.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
