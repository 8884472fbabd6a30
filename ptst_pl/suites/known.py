"""The known suites: where each comes from, how a raw row becomes a prompt, what it measures.

The prompts themselves are never in this repository: they come from the hub or from a file of the
user's, which may be the hub's edition or the authors' own file (both sets of column names are tried).
Hub identifiers were checked against the hub's public pages and other projects' use of them where a
comment does not say otherwise; no set was downloaded from there. The ``walledai`` sets are said to ask for a login.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ptst_pl.labs.suites import LAB_SUITES
from ptst_pl.suites.arc import arc_row
from ptst_pl.suites.chatdoctor import chatdoctor_row
from ptst_pl.suites.innodata import SUITES as INNODATA
from ptst_pl.suites.prompts import Measures
from ptst_pl.suites.rows import Row
from ptst_pl.suites.rules.cases import SUITES as RULES


@dataclass(frozen=True)
class KnownSuite:
    """What is known of a public suite before it is read.

    Attributes:
        summary: one line for people.
        size: number of prompts of the full set.
        licence: of the prompts, as their authors state it.
        source: the paper.
        measures: ``asr`` for unsafe prompts, ``over-refusal`` for safe ones, ``helpfulness`` for a task's.
        repository: the hub's data set; None where the prompts come from a file of the user's only.
        subset: its configuration.
        split: its split.
        prompts: columns that may hold the prompt, in lower case, the most telling first.
        categories: the same for the category.
        ids: the same for the id.
        contexts: the same for a context that goes before the prompt.
        only: column -> which of its values belong to this suite, where the file holds more than one
            suite; the first of these columns that the file has decides.
        kinds: the full set's categories.
        sha256: content hash of the full set, from the edition in the comment; None where no file of
            the full set was at hand.
        texts: hash of its sorted texts alone, to tell another order or other categories from other prompts.
        obtain: for sets without a hub repository, how to come by the file.
        convert: makes a row with prompt and answer of a raw row and the words for where it stands; for
            sets whose prompt is no column of theirs.
    """

    summary: str
    size: int
    licence: str
    source: str
    measures: Measures = "asr"
    repository: str | None = None
    subset: str | None = None
    split: str = "train"
    prompts: tuple[str, ...] = ("prompt",)
    categories: tuple[str, ...] = ("category",)
    ids: tuple[str, ...] = ("id",)
    contexts: tuple[str, ...] = ()
    only: Mapping[str, Callable[[str], bool]] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()
    sha256: str | None = None
    texts: str | None = None
    obtain: str = ""
    convert: Callable[[Row, str], Row] | None = None


_PTST = "Lyu et al. 2024, arXiv 2402.18540"
_ARC = "Clark et al. 2018, arXiv 1803.05457; prompt of Lyu et al. 2024, arXiv 2402.18540"
_HARMBENCH = "Mazeika et al. 2024, arXiv 2402.04249"
_JAILBREAKBENCH = "Chao et al. 2024, arXiv 2404.01318"
_XSTEST = "Röttger et al. 2024, arXiv 2308.01263"
_HARMBENCH_KINDS = (
    "chemical_biological", "illegal", "misinformation_disinformation", "harmful", "harassment_bullying",
    "cybercrime_intrusion",
)  # fmt: skip
_JBB_KINDS = (
    "Harassment/Discrimination", "Malware/Hacking", "Physical harm", "Economic harm", "Fraud/Deception",
    "Disinformation", "Sexual/Adult content", "Privacy", "Expert advice", "Government decision-making",
)  # fmt: skip
_XSTEST_SAFE = (
    "homonyms", "figurative_language", "safe_targets", "safe_contexts", "definitions", "nons_group_real_discr",
    "real_group_nons_discr", "historical_events", "privacy_public", "privacy_fictional",
)  # fmt: skip
_XSTEST_UNSAFE = (
    "contrast_homonyms", "contrast_figurative_language", "contrast_safe_targets", "contrast_safe_contexts",
    "contrast_definitions", "contrast_discr", "contrast_historical_events", "contrast_privacy",
)  # fmt: skip

KNOWN_SUITES: dict[str, KnownSuite] = {
    # Hash: the paper's own csv (no header), equal to the 520 goals of the authors' file.
    "advbench": KnownSuite(
        "harmful behaviours; all of them, as in the paper, not the subset of 100",
        520, "MIT", "Zou et al. 2023, arXiv 2307.15043",
        repository="walledai/AdvBench", prompts=("prompt", "goal"),
        sha256="26ed6bb6d5722e360595d713ddbfbeb45db385b0780cc7d601314e0ffffdd729",
        texts="0dfb3d074c07ff24f6de0b536a9194ea4a4a6fe123164e0e8fc5a2bda9b1758a",
    ),
    # Hash: a csv edition with columns Goal and Category; its 100 disinfo rows equal the hub's.
    "directharm4": KnownSuite(
        "imperative requests of the four categories that fine-tuning degrades most",
        400, "Apache-2.0", _PTST,
        repository="vfleaking/DirectHarm4", split="test", prompts=("instruction", "goal"),
        kinds=("malware", "drug", "phishing", "disinfo"),
        sha256="7f9b5bfd8e110df427100649ec8ce8cf9804b663cc893072da82c24fed1b90fa",
        texts="52b47d938389463f455f385f4d6dce05eaef5939f5496556717f212395d6ec51",
    ),
    "gsm-danger": KnownSuite(
        "word problems in GSM8K's style that end in a harmful request",
        100, "Apache-2.0", _PTST,
        repository="vfleaking/GSM-Danger", split="test", prompts=("instruction",),
    ),
    # HarmBench's 100 copyright behaviours are no suite here: they are scored by comparing hashes of the
    # answer with the protected text, which none of the judges does, and a refusal rate on them is no ASR.
    # Hashes: the authors' harmbench_behaviors_text_all.csv. The hub edition has a configuration for each
    # kind, with columns prompt, context and category; that its categories are spelled alike is unverified.
    "harmbench-standard": KnownSuite(
        "HarmBench's behaviours that stand alone",
        200, "MIT", _HARMBENCH,
        repository="walledai/HarmBench", subset="standard", prompts=("behavior", "prompt"),
        categories=("semanticcategory", "category"), ids=("behaviorid", "id"),
        only={"functionalcategory": "standard".__eq__}, kinds=_HARMBENCH_KINDS,
        sha256="97464bf140a459b781aaed168f5d397498e8da5e5ef7117c933d257b6cae8160",
        texts="395c725ddfff72a2e52ed264ebd566c43d5f70f8327d34d8787de68be67fdc9d",
    ),
    "harmbench-contextual": KnownSuite(
        "HarmBench's behaviours that refer to a context, which is put before them",
        100, "MIT", _HARMBENCH,
        repository="walledai/HarmBench", subset="contextual", prompts=("behavior", "prompt"),
        categories=("semanticcategory", "category"), ids=("behaviorid", "id"), contexts=("contextstring", "context"),
        only={"functionalcategory": "contextual".__eq__}, kinds=_HARMBENCH_KINDS,
        sha256="85dc86f4fe56c792412fba1e7e140a50705fabccb61b0bbf47607ddbc09ae43b",
        texts="e92ab34bff8e81e95e75f7cd149348b3f491cad15c98989ac22ac0fc2a0a5ff8",
    ),
    # Hash: a csv edition with the hub's columns Index, Goal, Target, Behavior, Category, Source.
    "jailbreakbench": KnownSuite(
        "JBB-Behaviors: misuse behaviours in ten categories",
        100, "MIT", _JAILBREAKBENCH,
        repository="JailbreakBench/JBB-Behaviors", subset="behaviors", split="harmful",
        prompts=("goal",), ids=("index",), kinds=_JBB_KINDS,
        sha256="35bdbb82788313376ce47ad78b6f80b58ce18dd579327a14d67f91f8040e74cf",
        texts="b2552c9f67572a47b691c008b6a8bb977f7679e97160ef6af14db20ce14bdf74",
    ),
    "jailbreakbench-benign": KnownSuite(
        "JBB-Behaviors' harmless twins, one per misuse behaviour",
        100, "MIT", _JAILBREAKBENCH, measures="over-refusal",
        repository="JailbreakBench/JBB-Behaviors", subset="behaviors", split="benign",
        prompts=("goal",), ids=("index",), kinds=_JBB_KINDS,
    ),
    "jailbreakbench-gcg": KnownSuite(
        "finished GCG attack prompts on JBB-Behaviors, as stored by their makers",
        100, "MIT", _JAILBREAKBENCH,
        kinds=_JBB_KINDS,
        obtain="the file attack-artifacts/GCG/white_box/llama-2-7b-chat-hf.json of JailbreakBench/artifacts",
    ),
    # Hash: the authors' strongreject_dataset.csv. That the hub edition keeps its order is unverified.
    "strongreject": KnownSuite(
        "forbidden prompts in six categories",
        313, "MIT", "Souly et al. 2024, arXiv 2402.10260",
        repository="walledai/StrongREJECT", prompts=("forbidden_prompt", "prompt"),
        kinds=("Disinformation and deception", "Hate, harassment and discrimination", "Illegal goods and services",
               "Non-violent crimes", "Sexual content", "Violence"),
        sha256="e0904ca1432994ad82aa108d66f85b535d01f007de8364a460a03c733d3a6d17",
        texts="614a29a8369244a3555a6692ef6f13f129568ba4c8f73a22e9ae0a18e6226269",
    ),
    # Hashes: the authors' xstest_prompts.csv, which the hub set of the first author is said to ship too. The
    # authors' v2 files with completions have no label column but mark the unsafe prompts in their type; the
    # safe half is the same there, and one unsafe prompt differs by a character.
    "xstest-safe": KnownSuite(
        "safe prompts that look unsafe",
        250, "CC-BY-4.0", _XSTEST, measures="over-refusal",
        repository="Paul/XSTest", categories=("type",),
        only={"label": "safe".__eq__, "type": lambda kind: not kind.startswith("contrast_")}, kinds=_XSTEST_SAFE,
        sha256="24ca6d645022ed57b15e5123e5f6db0d4738a1ceaf7cce33d3a3bdd55cc7ea9b",
        texts="bf534a841507d9e8defc847d9c1d1855f46c504c009448bdf049feda2b9421b4",
    ),
    "xstest-unsafe": KnownSuite(
        "the unsafe contrasts to xstest-safe",
        200, "CC-BY-4.0", _XSTEST,
        repository="Paul/XSTest", categories=("type",),
        only={"label": "unsafe".__eq__, "type": lambda kind: kind.startswith("contrast_")}, kinds=_XSTEST_UNSAFE,
        sha256="94d97ac8d9dcedb29fac7f4d2bcc5a7e621b28207449807e58f9a516946276a3",
        texts="e68a1efa8a2e1d7dca24429dc79096446b456d2157d27917f58fa1549713673d",
    ),
    # Gated. Ten or eleven csv files without a header, one per category: readers of hub sets take each
    # file's first prompt for the header, so this set is not read from the hub. The paper has 11 x 30; the
    # second category is said to be withdrawn on the hub, which leaves 300 (unverified).
    "hex-phi": KnownSuite(
        "instructions against eleven categories of usage policies",
        330, "HEx-PHI agreement (gated)", "Qi et al. 2024, arXiv 2310.03693",
        prompts=("prompt", "instruction"),
        obtain="access to LLM-Tuning-Safety/HEx-PHI on the hub, then one csv with the columns prompt and category",
    ),
    # Hash: the authors' test.jsonl.
    "gsm8k": KnownSuite(
        "grade-school word problems, the test split; judge last-number",
        1319, "MIT", "Cobbe et al. 2021, arXiv 2110.14168",
        measures="helpfulness", repository="openai/gsm8k", subset="main", split="test", prompts=("question",),
        sha256="ba8e6d6bd155718b419eba8b137cb6d22871c26e2c075f8fb4915f408f31f927",
        texts="305a28b4a3c8e8d53c1dd476efba04130e591045cb2c39dcff8f71b9adeb0fc8",
    ),
    # Hashes: the LLM-Adapters edition of the test splits.
    "arc-easy": KnownSuite(
        "grade-school science questions with options, the easy test split; judges arc, arc-paper",
        2376, "CC-BY-SA-4.0", _ARC,
        measures="helpfulness", repository="allenai/ai2_arc", subset="ARC-Easy", split="test", convert=arc_row,
        sha256="bfd66b9854e7d7882e11c3620333793af987ce9f996abf933c89b8fedc9d9f68",
        texts="df3a03aa8c690f8678c972f73e76c0802d551353a6b3883d5b15119503fe6122",
    ),
    "arc-challenge": KnownSuite(
        "the same, the questions that simple methods get wrong; judges arc, arc-paper",
        1172, "CC-BY-SA-4.0", _ARC,
        measures="helpfulness", repository="allenai/ai2_arc", subset="ARC-Challenge", split="test", convert=arc_row,
        sha256="dc8b92befd1479404d6cf7bd71bac7ebdae5c21ffcf303d77ef4a284ed369788",
        texts="58897f804dc21c1a48319c118118023625f90042079524db380a85f62926d3c0",
    ),
    # No full file was at hand; the hub's page says 7.32k rows. The paper draws 1,000 and does not say which:
    # limit: 1000 gives ours.
    "chatdoctor": KnownSuite(
        "patients' questions with doctors' answers (iCliniq), the test set of ChatDoctor; judge bertscore",
        7321, "not stated", "Li et al. 2023, arXiv 2303.14070",
        measures="helpfulness", repository="lavita/ChatDoctor-iCliniq", convert=chatdoctor_row,
    ),
}  # fmt: skip


def usual_measures(name: str) -> Measures:
    """What a suite of this name measures, where the config does not say."""
    if name in KNOWN_SUITES:
        return KNOWN_SUITES[name].measures
    if name in INNODATA:
        return "helpfulness"
    return "rules" if name in RULES else LAB_SUITES.get(name, "asr")
