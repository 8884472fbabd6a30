"""From a suite's spec to its prompts: read, choose, check, compare with what is known, cut."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path

from ptst_pl import InputError, did_you_mean
from ptst_pl.labs.suites import LAB_SUITES, lab_rows
from ptst_pl.results.records import read_lines
from ptst_pl.suites import innodata, rules
from ptst_pl.suites.files import read_file
from ptst_pl.suites.hub import read_hub
from ptst_pl.suites.known import KNOWN_SUITES, KnownSuite
from ptst_pl.suites.overlap_score import best_overlap
from ptst_pl.suites.own_class import checked_prompts, class_path_of
from ptst_pl.suites.prompts import Prompt, PromptSuite, content_hash, texts_hash
from ptst_pl.suites.rows import (
    CATEGORY_COLUMNS,
    ID_COLUMNS,
    PROMPT_COLUMNS,
    Row,
    RowFile,
    Wanted,
    column_names,
    find_column,
    numbered,
    to_prompts,
)
from ptst_pl.suites.sampling import in_categories, stratified
from ptst_pl.suites.spec import SuiteSpec

log = logging.getLogger(__name__)


def load_suite(spec: SuiteSpec) -> PromptSuite:
    """Read, check and cut a suite; its notes are logged as warnings.

    Raises:
        InputError: unknown name, missing or unreadable file or column, empty prompt, duplicate id,
            unknown category, or no prompt at all.
    """
    return _with_warnings(read_suite(spec))


def load_as_is(name: str, path: str) -> PromptSuite:
    """A file's prompts whatever its name: nothing that is known of a suite of that name is applied.

    Raises:
        InputError: as for ``load_suite``.
    """
    raw = read_file(Path(path), _header_names(None))
    whole = to_prompts(raw.rows, Wanted(), name, path)
    return _with_warnings(_cut(SuiteSpec(name, path, measures="asr"), whole, raw.notes, "", raw.statement, path))


def _with_warnings(suite: PromptSuite) -> PromptSuite:
    for note in suite.notes:
        log.warning("suite %s: %s", suite.name, note)
    return suite


def read_suite(spec: SuiteSpec) -> PromptSuite:
    """``load_suite`` without a word in the log."""
    if spec.provider is not None:
        source = spec.provider
        whole = checked_prompts(source, spec.measures or source.measures)
        return _cut(spec, whole, (), source.licence, source.source or class_path_of(source), class_path_of(source))
    if spec.name in rules.SUITES:
        return _rules(spec)
    if spec.name in innodata.SUITES:
        return _innodata(spec)
    known = KNOWN_SUITES.get(spec.name)
    raw, where = _read(spec)
    rows = _of_this_suite(raw.rows, known, spec, where) if known else raw.rows
    if known and known.convert and not spec.prompt_column:
        rows = [(number, known.convert(row, f"{where} row {number}")) for number, row in rows]
    whole = to_prompts(rows, _wanted(spec, known), spec.name, where)
    licence, source_text = _origin(spec, known)
    notes = raw.notes + (_differences(spec.name, known, whole, raw.left_out) if known else ())
    return _cut(spec, whole, notes, licence, "; ".join(filter(None, (source_text, raw.statement))), where)


def _rules(spec: SuiteSpec) -> PromptSuite:
    """RuLES: cases of ours with a seed, or of a file of the data set's."""
    kind, half = rules.SUITES[spec.name]
    cases = rules.read_cases(Path(spec.path), half) if spec.path else rules.make_cases(kind, half)
    whole = [
        Prompt(f"{case.scenario}-{number}", case.users[0], case.scenario, case.as_text())
        for number, case in enumerate(cases, 1)
    ]
    source = (
        "Mu et al. 2023, arXiv 2311.04235" if spec.path else f"this project, after arXiv 2311.04235; {rules.WORDING}"
    )
    return _cut(spec, whole, (), "Apache-2.0", source, spec.path or spec.name)


def _innodata(spec: SuiteSpec) -> PromptSuite:
    """Innodata's sets, from a file or the hub; what a model scores that always says the same is noted."""
    repository, gated = innodata.SUITES[spec.name]
    rows = read_lines(Path(spec.path)) if spec.path else read_hub(repository, None, "test")
    where = spec.path or repository
    whole = innodata.innodata_prompts(enumerate(rows, 1), where)
    if not whole:
        raise InputError(f"suite {spec.name!r}: {where} holds no prompt")
    answer, mean = innodata.canned(whole, best_overlap)
    notes = (f"a model that always says {answer[:60]!r} has a score of {mean:.3f} here",)
    licence = "the hub's terms, behind a form" if gated else "as on the hub"
    return _cut(spec, whole, notes, licence, f"arXiv 2404.09785, {repository}", where)


def _cut(
    spec: SuiteSpec, whole: list[Prompt], notes: tuple[str, ...], licence: str, source: str, where: str
) -> PromptSuite:
    if not whole:
        raise InputError(f"suite {spec.name!r}: {where} holds no prompt" + "".join(f" ({note})" for note in notes))
    used = whole if spec.categories is None else in_categories(whole, spec.categories, spec.name)
    used = used if spec.limit is None else stratified(used, spec.limit)
    assert spec.measures is not None
    return PromptSuite(spec.name, tuple(used), spec.measures, licence, source, notes, len(whole), content_hash(whole))


# ---- where the rows come from -------------------------------------------------------------------


def _read(spec: SuiteSpec) -> tuple[RowFile, str]:
    if parts := [name for name in KNOWN_SUITES if spec.name in ("harmbench", "xstest") and name.startswith(spec.name)]:
        # Their files hold rows of several kinds, which make one number of no meaning together.
        where = f"{spec.path}: " if spec.path else ""
        raise InputError(f"{where}suite {spec.name!r} is two suites here: {' and '.join(parts)}")
    if spec.path:
        return _read_file(Path(spec.path), spec), spec.path
    if spec.name in LAB_SUITES:
        return numbered(lab_rows(spec.name)), spec.name
    if spec.name not in KNOWN_SUITES:
        names = [*KNOWN_SUITES, *LAB_SUITES, *rules.SUITES, *innodata.SUITES]
        raise InputError(
            f"unknown suite {spec.name!r}{did_you_mean(spec.name, names)} (known: {', '.join(names)}); "
            "for a file of your own give its path"
        )
    known = KNOWN_SUITES[spec.name]
    if known.repository is None:
        raise InputError(f"suite {spec.name!r} is read from a file of yours: give its path ({known.obtain})")
    return numbered(read_hub(known.repository, known.subset, known.split)), spec.name


def _read_file(path: Path, spec: SuiteSpec) -> RowFile:
    """The paper's AdvBench file has no header and is known by its prompts; another such file needs the user's word."""
    known = KNOWN_SUITES.get(spec.name)
    if spec.header is None and known is not None and known.texts is not None and path.suffix.lower() == ".csv":
        with contextlib.suppress(InputError):
            raw = read_file(path, header=False)
            if texts_hash(Prompt(str(number), row["prompt"]) for number, row in raw.rows) == known.texts:
                return raw
    return read_file(path, _header_names(spec.prompt_column), spec.header is not False)


def _header_names(own: str | None) -> tuple[str, ...]:
    return (own.strip().lower(),) if own else PROMPT_COLUMNS


def _origin(spec: SuiteSpec, known: KnownSuite | None) -> tuple[str, str]:
    """Licence and source."""
    if known:
        return known.licence, known.source
    return ("Apache-2.0", "made by this project") if spec.name in LAB_SUITES and not spec.path else ("", "")


# ---- what is known of a suite -------------------------------------------------------------------


def _wanted(spec: SuiteSpec, known: KnownSuite | None) -> Wanted:
    own = (spec.prompt_column, spec.category_column, spec.reference_column, spec.measures == "helpfulness")
    if known is None:
        return Wanted(*own)
    return Wanted(
        *own,
        prompts=_first(known.prompts, PROMPT_COLUMNS),
        categories=_first(known.categories, CATEGORY_COLUMNS),
        ids=_first(known.ids, ID_COLUMNS),
        contexts=known.contexts,
        needs_context=bool(known.contexts),
    )


def _first(own: Sequence[str], usual: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*own, *usual)))


def _of_this_suite(
    rows: Sequence[tuple[int, Row]], known: KnownSuite, spec: SuiteSpec, where: str
) -> Sequence[tuple[int, Row]]:
    """The rows of this suite, where a file holds several."""
    column = find_column(column_names(rows), tuple(known.only))
    if column is not None:
        belongs = known.only[column.strip().lower()]
        mine = [(number, row) for number, row in rows if belongs(str(row.get(column)).strip().lower())]
        if not mine:
            raise InputError(f"{where}: column {column!r} gives none of its {len(rows)} rows to {spec.name!r}")
        return mine
    # The hub keeps HarmBench's kinds in configurations, without a column; a file of that size is taken whole too.
    if known.only and rows and len(rows) != known.size:
        names = " or ".join(known.only)
        raise InputError(
            f"{where}: no column {names} to tell the rows of {spec.name!r} by, and {len(rows)} rows, "
            f"expected {known.size}; give the authors' file, or another name to take it as it is"
        )
    return rows


def _differences(name: str, known: KnownSuite, whole: Sequence[Prompt], left_out: int) -> tuple[str, ...]:
    """What makes this full set another one than the published."""
    found, size = content_hash(whole), len(whole) + left_out
    if found == known.sha256:
        return ()
    texts = texts_hash(whole)
    if whole and known.texts == texts:
        return (
            "the pinned edition's prompts, but in another order or with other categories: with limit or categories "
            "other prompts may be taken than from the pinned edition",
        )
    for other, suite in KNOWN_SUITES.items():
        if suite.texts == texts:
            raise InputError(f"suite {name!r}: these are the prompts of {other!r}; name it so")
    if known.sha256:
        return (
            f"not the pinned edition: the full set has {size} prompts with sha256 {found[:16]}..., expected "
            f"{known.size} with {known.sha256[:16]}...; numbers on it are not comparable with those on the pinned one",
        )
    if size != known.size:
        return (
            f"the full set has {size} prompts, expected {known.size} ({known.source}); "
            "numbers on it are not comparable with published ones",
        )
    return ()
