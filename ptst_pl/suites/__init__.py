"""Prompt suites: named lists of evaluation prompts, from a local file, the Hugging Face hub or a class of your own.

In: a name or a file. Out: prompts with ids and categories, and a hash of them all.
May import: labs, templates and results.

A local file is csv, json (a list of objects) or jsonl. One raw row of DirectHarm4 on the hub::

    {"instruction": "<a request>", "category": "malware"}

"""

from ptst_pl.suites.hub import read_hub
from ptst_pl.suites.known import KNOWN_SUITES, KnownSuite
from ptst_pl.suites.load import load_as_is, load_suite, read_suite
from ptst_pl.suites.own_class import SuiteSource
from ptst_pl.suites.prompts import CONTEXT_SEAM, Measures, Prompt, PromptSuite
from ptst_pl.suites.sampling import stratified
from ptst_pl.suites.spec import SuiteSpec, suite_spec

__all__ = [
    "CONTEXT_SEAM",
    "KNOWN_SUITES",
    "KnownSuite",
    "Measures",
    "Prompt",
    "PromptSuite",
    "SuiteSource",
    "SuiteSpec",
    "load_as_is",
    "load_suite",
    "read_hub",
    "read_suite",
    "stratified",
    "suite_spec",
]
