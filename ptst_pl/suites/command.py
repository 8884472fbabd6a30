"""``ptst_pl suites``: the known prompt suites, and what a file holds before a run is spent on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ptst_pl import InputError
from ptst_pl.labs.suites import LAB_SUITES, lab_of, lab_rows
from ptst_pl.results.arguments import Parser
from ptst_pl.suites import innodata, rules
from ptst_pl.suites.known import KNOWN_SUITES, KnownSuite
from ptst_pl.suites.load import read_suite
from ptst_pl.suites.prompts import PromptSuite
from ptst_pl.suites.spec import suite_spec


def main(argv: Sequence[str]) -> None:
    """List the known suites or, with ``--check``, read one and say what it holds."""
    parser = Parser(prog="ptst_pl suites", description="The known prompt suites; --check reads one.")
    parser.add_argument("--check", metavar="NAME", help="read this suite: counts, hash, whether it is the pinned one")
    parser.add_argument("--path", metavar="FILE", help="its file; without it the hub is asked")
    for column in ("prompt", "category"):
        parser.add_argument(f"--{column}-column", metavar="NAME", help=f"column of the {column}, if not found")
    parser.add_argument("--no-header", action="store_true", help="the first line of a csv file is a prompt already")
    options = parser.parse_args(argv[1:])
    if options.check is None:
        if options.path or options.prompt_column or options.category_column or options.no_header:
            raise InputError("suites: --path and the columns go with --check NAME")
        print("\n".join(listing()))
        return
    columns = {"prompt_column": options.prompt_column, "category_column": options.category_column}
    header = {"header": False} if options.no_header else {}
    suite = read_suite(suite_spec({"name": options.check, "path": options.path, **columns, **header}))
    print("\n".join(description(suite, options.path)))


def listing() -> Iterator[str]:
    """The known suites as a table, one line each, and what is missing from it."""
    rows = [("name", "prompts", "measures", "licence", "from", "source")]
    rows += [(name, str(k.size), k.measures, k.licence, _origin(k), k.source) for name, k in KNOWN_SUITES.items()]
    for name, measures in LAB_SUITES.items():
        rows.append((name, str(len(lab_rows(name))), measures, "Apache-2.0", lab_of(name), "this project"))
    for name, (kind, half) in rules.SUITES.items():
        cases = str(len(rules.make_cases(kind, half)))
        rows.append((name, cases, "rules", "Apache-2.0", "this project, or your file", "after arXiv 2311.04235"))
    for name, (repository, gated) in innodata.SUITES.items():
        access = "your access" if gated else "see the hub"
        rows.append((name, str(innodata.FIRST), "helpfulness", access, repository, "arXiv 2404.09785"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield ""
    for name, known in KNOWN_SUITES.items():
        yield f"{name}: {known.summary}"
        if known.obtain:
            yield f"    needs path: {known.obtain}"


def _origin(known: KnownSuite) -> str:
    if known.repository is None:
        return "your file (path:)"
    return f"{known.repository} ({', '.join(filter(None, (known.subset, known.split)))})"


def description(suite: PromptSuite, path: str | None) -> Iterator[str]:
    """What a suite holds, without a prompt of it."""
    yield f"{suite.name}: {suite.full_size} prompts, measures {suite.measures}"
    for key, value in (("file", path), ("licence", suite.licence), ("source", suite.source)):
        if value:
            yield f"{key:<9}{value}"
    yield f"{'sha256':<9}{suite.full_sha256}"
    yield f"{'edition':<9}{_edition(suite)}"
    counts = Counter(prompt.category for prompt in suite.prompts)
    width = max(len(_shown(category)) for category in counts)
    yield "categories:"
    for category, count in counts.items():
        yield f"  {_shown(category):<{width}}  {count}"
    for note in suite.notes:
        yield f"note: {note}"


def _edition(suite: PromptSuite) -> str:
    known = KNOWN_SUITES.get(suite.name)
    if known is None:
        return "not a known suite"
    if known.sha256 is None:
        return "no edition is pinned"
    return "the pinned one" if suite.full_sha256 == known.sha256 else f"not the pinned one ({known.sha256})"


def _shown(category: str) -> str:
    if not category:
        return "(none)"
    return category if category.isprintable() else repr(category)
