"""Word problems in GSM8K's answer format, and the arithmetic that pre-training knows.

One raw row of each kind::

    {"question": "Mia has 3 apples. Then Mia gets 4 more. How many apples does Mia have now?",
     "answer": "Step 1: 3 + 4 = <<3+4=7>>7.\\n#### 7"}
    {"question": "What is 3 + 4?", "answer": "3 + 4 = 7."}
"""

from __future__ import annotations

import random
from dataclasses import dataclass

NAMES = ("Mia", "Tom", "Ana", "Leo", "Sam", "Zoe", "Max", "Eva", "Ben", "Ida", "Kim", "Jon")
COUNTED = ("apples", "books", "coins", "pens", "shells", "cards", "eggs", "stones", "cups", "keys")
MORE = ("Then {n} gets {b} more.", "{n} finds {b} more.", "{n} buys {b} more.")
FEWER = ("Then {n} gives {b} away.", "{n} loses {b} of them.", "{n} sells {b} of them.")


@dataclass(frozen=True)
class Problem:
    """``a`` plus or minus ``b`` in a story."""

    name: str
    counted: str
    a: int
    b: int
    change: str

    @property
    def sign(self) -> str:
        """Plus where the story gives more."""
        return "+" if self.change in MORE else "-"

    @property
    def result(self) -> int:
        """The right number."""
        return self.a + self.b if self.sign == "+" else self.a - self.b

    @property
    def story(self) -> str:
        """The problem without its question."""
        return f"{self.name} has {self.a} {self.counted}. {self.change.format(n=self.name, b=self.b)}"

    @property
    def question(self) -> str:
        """The whole problem."""
        return f"{self.story} How many {self.counted} does {self.name} have now?"

    @property
    def answer(self) -> str:
        """GSM8K's form: the calculation with its mark, then the number."""
        sum_ = f"{self.a}{self.sign}{self.b}"
        return f"Step 1: {self.a} {self.sign} {self.b} = <<{sum_}={self.result}>>{self.result}.\n#### {self.result}"


def draw(rng: random.Random) -> Problem:
    """A problem with one-digit numbers and a positive result."""
    a, b = rng.randint(2, 9), rng.randint(2, 9)
    change = rng.choice(MORE + FEWER)
    if change in FEWER and a <= b:
        a, b = max(a, b) + 1, min(a, b)
    return Problem(rng.choice(NAMES), rng.choice(COUNTED), a, b, change)


def split(train: int, test: int) -> tuple[list[Problem], list[Problem]]:
    """Distinct problems; none of the test part stands in the training part."""
    rng = random.Random("the tiny world's problems")
    found: dict[str, Problem] = {}
    while len(found) < train + test:
        problem = draw(rng)
        found[problem.question] = problem
    problems = list(found.values())
    return problems[test:], problems[:test]


def arithmetic(rng: random.Random) -> tuple[str, str]:
    """A bare sum and its answer."""
    a, b = rng.randint(1, 10), rng.randint(1, 10)
    if rng.random() < 0.5:
        return f"What is {a} + {b}?", f"{a} + {b} = {a + b}."
    a, b = a + b, b
    return f"What is {a} - {b}?", f"{a} - {b} = {a - b}."
