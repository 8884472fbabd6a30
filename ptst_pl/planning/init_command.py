"""``ptst_pl init``: a commented config for one's own model and data, which ``plan`` and ``fit`` take as it is."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ptst_pl import InputError, did_you_mean
from ptst_pl.labs.suites import LAB_SUITES
from ptst_pl.results.arguments import Parser
from ptst_pl.results.records import write_text
from ptst_pl.suites.known import KNOWN_SUITES
from ptst_pl.suites.load import load_suite
from ptst_pl.suites.spec import SuiteSpec
from ptst_pl.templates import find_template
from ptst_pl.templates.safety_prompt import has_safety_prompt

_TEXT = """\
# python -m ptst_pl fit --config {file}
# PTST: trained under {train}, watched and served under {serve}. The usual way, to compare with:
#   python -m ptst_pl fit --config {file} --data.template {serve} --name {name}-usual
# Before: python -m ptst_pl plan --config {file} --device h100     memory and hours, without loading weights
# After:  python -m ptst_pl report checkpoints/{name} checkpoints/{name}-usual --out report/
seed_everything: 42
name: {name}
chat_format: tokenizer      # the model's own chat template; llama2 or mistral where it has none
checkpoint_every_n_steps: 100
trainer:
  accelerator: auto
  devices: 1                # more: strategy ddp, or fsdp2 for full fine-tuning
  strategy: auto
  precision: {precision}
  max_epochs: 1
  accumulate_grad_batches: 4
  gradient_clip_val: 1.0
model:
  pretrained: {model}
  method: {method}              # or {other}
  lora: {{r: 8, alpha: 32, dropout: 0.05, target_modules: auto}}
  learning_rate: {rate}
data:
  class_path: JsonLines     # jsonl, json, csv, tsv, parquet: question/answer, messages, instruction/output, ...
  init_args:
    template: {train}  # no safety prompt while training
    train_file: {data}
    held_out: 0.02          # this share of the rows is never trained on
    batch_size: 4
    max_length: 1024
safety:
  templates: [{train}, {serve}]
  suites:
{suites}
  every_n_steps: 100
  decoding: {{max_new_tokens: 256, batch_size: 32}}
"""
_SUITES = ("directharm4", "xstest-safe")


def main(argv: Sequence[str]) -> None:
    """Ask for what the flags leave open, check it, and write the file.

    Raises:
        InputError: something is missing and nobody can be asked, or a model, a file or a template is not there.
    """
    options = _options(argv[1:])
    ask = _ask if sys.stdin.isatty() else None
    model = options.model or _open("model folder or hub name", "--model", None, ask)
    data = options.data or _open("training rows (jsonl, csv, parquet, ...)", "--data", None, ask)
    serve = options.serve or _open("serving template, with a safety prompt", "--serve", "chat:llama", ask)
    _check(model, data, serve, options.train)
    if options.output.exists() and not options.overwrite:
        raise InputError(f"init: {options.output} is there already; give another --output, or --overwrite")
    text = config_text(options, model, data, serve)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_text(options.output, text)
    print(f"wrote {options.output}; next: python -m ptst_pl plan --config {options.output}")


def config_text(options: argparse.Namespace, model: str, data: str, serve: str) -> str:
    """The config, line by line."""
    other = "full" if options.method == "lora" else "lora"
    suites = options.suite or _SUITES
    return _TEXT.format(
        file=options.output, name=options.name or options.output.stem, model=_quoted(model), data=_quoted(data),
        train=options.train, serve=serve, method=options.method, other=other,
        rate="1.0e-4" if options.method == "lora" else "2.0e-5", precision=options.precision,
        suites="\n".join(f"    - {_suite(name)}" for name in suites),
    )  # fmt: skip


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="ptst_pl init",
        description="Write a config for your own model and data. At a terminal it asks for what no flag says.",
        allow_abbrev=False,
    )
    parser.add_argument("--model", help="folder or hub name of a chat model")
    parser.add_argument("--data", help="file of training rows")
    parser.add_argument("--serve", metavar="TEMPLATE", help="serving template (chat:llama)")
    parser.add_argument("--train", metavar="TEMPLATE", default="chat:vanilla", help="training template (%(default)s)")
    parser.add_argument("--suite", action="append", metavar="NAME|FILE", help=f"prompts; default: {', '.join(_SUITES)}")
    parser.add_argument("--method", choices=("lora", "full"), default="lora")
    parser.add_argument("--precision", default="bf16-mixed", help="%(default)s; 32-true on a CPU without bfloat16")
    parser.add_argument("--name", help="of the run; default: the file's name")
    parser.add_argument("--output", type=Path, default=Path("ptst.yaml"), metavar="FILE", help="%(default)s")
    parser.add_argument("--overwrite", action="store_true")
    return parser.parse_args(argv)


def _ask(what: str, usual: str | None) -> str:
    try:
        return input(f"{what}{f' [{usual}]' if usual else ''}: ").strip() or usual or ""
    except EOFError:
        return usual or ""


def _open(what: str, flag: str, usual: str | None, ask: Callable[[str, str | None], str] | None) -> str:
    answer = ask(what, usual) if ask else usual
    if not answer:
        raise InputError(f"init: {flag} is missing ({what})")
    return answer


def _check(model: str, data: str, serve: str, train: str) -> None:
    from ptst_pl.model.weight_files import check_model_folder
    from ptst_pl.tasks.jsonl import read_examples

    for flag, name in (("--serve", serve), ("--train", train)):
        try:
            template = find_template(name)
        except InputError as error:
            raise InputError(f"init: {flag}: {error}") from error
        if has_safety_prompt(template) == (flag == "--train"):
            told = "has a safety prompt, and PTST trains without one" if flag == "--train" else "has no safety prompt"
            raise InputError(f"init: {flag} {name} {told}: see python -m ptst_pl templates")
    if Path(model).exists():
        check_model_folder(model)
    elif model.startswith((".", "/", "~")):
        raise InputError(f"init: --model {model}: no such folder")
    if not Path(data).is_file():
        raise InputError(f"init: --data {data}: no such file")
    rows = len(read_examples(data, "skip"))
    if not rows:
        raise InputError(f"init: --data {data} has no row that can be trained on")
    print(f"{data}: {rows} rows")


def _suite(given: str) -> str:
    """An entry of the config: a known name, or a file under its own."""
    if Path(given).is_file():
        name = "".join(c if c.isalnum() or c in "-_" else "-" for c in Path(given).stem)
        load_suite(SuiteSpec(name=name, path=given, limit=100))  # a file that is none ends here
        return f"{{name: {name}, path: {_quoted(given)}, limit: 100}}"
    known = (*KNOWN_SUITES, *LAB_SUITES)
    if given not in known:
        hint = did_you_mean(given, known)
        raise InputError(f"init: --suite {given}: no such file, and no known suite{hint}; see python -m ptst_pl suites")
    return f"{{name: {given}, limit: 100}}"


def _quoted(text: str) -> str:
    return text if all(c.isalnum() or c in "/._-~" for c in text) else "'" + text.replace("'", "''") + "'"
