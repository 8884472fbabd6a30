"""``ptst_pl export``: a run as a folder that plain Transformers loads."""

from __future__ import annotations

import argparse
import dataclasses
import glob
import os
import shutil
import socket
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers.utils import logging as transformers_logging

from ptst_pl import InputError
from ptst_pl.defences import Defence, build_defence
from ptst_pl.generation import Decoding, stop_ids
from ptst_pl.results.arguments import Parser
from ptst_pl.results.records import write_text
from ptst_pl.ship.export.card import Facts, model_card
from ptst_pl.ship.export.measured_rates import Choice, Measured, decisive, measurements, safest
from ptst_pl.ship.export.merge import Merged, merge, trained_model
from ptst_pl.ship.export.serving_code import (
    Prompting,
    generation_config,
    give_chat_template,
    prompting,
)
from ptst_pl.ship.export.source import Source, find_source
from ptst_pl.templates import PromptTemplate, find_template
from ptst_pl.tokenization import ChatOptions, TemplateTokenizer, known_options, load_tokenizer, save_tokenizer


def main(argv: Sequence[str]) -> None:
    """Write the folder, whole or not at all."""
    options = _options(argv[1:])
    _check_free(options.output)
    transformers_logging.disable_progress_bar()
    # peft asks by the old name; a user can do nothing about it.
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing. is deprecated.*")
    source = find_source(options.run)
    found = measurements(source)
    deciding = decisive(found)
    choice = safest(deciding) if deciding else None
    encoder = TemplateTokenizer(
        load_tokenizer(source.tokenizer),
        str(source.config["chat_format"]),
        known_options(source.config.get("chat_options")),
    )
    train, serve = _templates(source, choice)
    give_chat_template(encoder)
    merged = merge(trained_model(source), options.dtype)
    stops = {stop for template in (train, serve) for stop in stop_ids(merged.model, encoder.end_id(template))}
    merged.model.generation_config = generation_config(_decoding(source, deciding), sorted(stops), encoder.pad_id)

    def write(folder: Path) -> None:
        merged.model.save_pretrained(str(folder))
        way = prompting(encoder, serve, save_tokenizer(encoder.tokenizer, folder))
        card = model_card(_facts(source, options.dtype, (train, serve), way, choice, found, merged))
        write_text(folder / "README.md", card)

    write_folder(options.output, write)
    print(_summary(options.output, source, options.dtype, choice, merged))


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="ptst_pl export",
        description="A run as a standard Hugging Face folder: merged weights, tokenizer, model card.",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder (checkpoints/NAME: its newest) or .ckpt file")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="new or empty folder")
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="type of the written weights (%(default)s); bfloat16 is half the size and rounds training away",
    )
    return parser.parse_args(argv)


def _check_free(output: Path) -> None:
    if output.is_dir() and any(output.iterdir()):
        raise InputError(f"export: --output {output} is not empty; nothing is overwritten, give a new folder")
    if output.exists() and not output.is_dir():
        raise InputError(f"export: --output {output} is a file; give a new folder")


def _templates(source: Source, choice: Choice | None) -> tuple[PromptTemplate, PromptTemplate]:
    """The training template, and the one to serve with: the safest measured, else the training template."""
    own = source.config.get("templates") or {}
    own = {**own, **_defence(source).templates(own)}
    train = find_template(source.train_template, own)
    return train, find_template(choice.template, own) if choice else train


def _decoding(source: Source, deciding: Measured | None) -> Decoding:
    """As measured; without a measurement, as the run's config says."""
    safety = source.config.get("safety") or {}
    given: dict[str, Any] = (deciding.meta.get("decoding") if deciding else safety.get("decoding")) or {}
    known = {field.name for field in dataclasses.fields(Decoding)}
    return Decoding(**{name: value for name, value in given.items() if name in known})


def _facts(
    source: Source,
    dtype: str,
    templates: tuple[PromptTemplate, PromptTemplate],
    way: Prompting,
    choice: Choice | None,
    found: list[Measured],
    merged: Merged,
) -> Facts:
    precision = (source.config.get("trainer") or {}).get("precision") or "32-true"
    return Facts(
        name=str(source.config.get("name") or source.folder.name),
        base=str(source.model["pretrained"]),
        adapter=str(source.model.get("adapter") or ""),
        method=str(source.model["method"]),
        step=source.step,
        chat_format=_format(source),
        train=templates[0],
        serve=templates[1],
        prompting=way,
        choice=choice,
        measured=found,
        dtype=dtype,
        trained_in=f"{precision} over {source.model.get('dtype') or 'float32'} weights",
        difference=merged.difference,
        rounding=merged.rounding,
        quantized=str(source.model.get("quantize") or "none"),
        defence=_defence(source).describe(),
    )


def _defence(source: Source) -> Defence:
    return build_defence(source.config.get("defence"))


def _format(source: Source) -> str:
    options = known_options(source.config.get("chat_options")).record()
    told = [f"{name} {value}" for name, value in options.items() if value != getattr(ChatOptions, name)]
    return ", ".join([str(source.config["chat_format"]), *told])


def write_folder(target: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a folder beside ``target``, then rename it: it is there whole or not at all.

    Raises:
        InputError: ``target`` has been filled by someone else in the meantime, or cannot be written.
    """
    host = socket.gethostname()
    temporary = target.with_name(f".{target.name}.{host}-{os.getpid()}.tmp")
    try:
        _clear_left(target, host)
        temporary.mkdir(parents=True)
        write(temporary)
        os.rename(temporary, target)  # onto nothing or an empty folder; never onto a full one
    except OSError as error:
        raise InputError(f"export: --output {target} cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _clear_left(target: Path, host: str) -> None:
    """Remove what processes of this machine that are no more were writing beside ``target``."""
    before, after = f".{target.name}.{host}-", ".tmp"
    for folder in target.parent.glob(f"{glob.escape(before)}*{after}") if target.parent.is_dir() else ():
        process = folder.name.removeprefix(before).removesuffix(after)
        if process == str(os.getpid()) or (process.isdigit() and not _lives(int(process))):
            shutil.rmtree(folder, ignore_errors=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _summary(output: Path, source: Source, dtype: str, choice: Choice | None, merged: Merged) -> str:
    lines = [f"wrote {output} ({source.checkpoint}, step {source.step}, {dtype}); README.md says how to serve it"]
    if merged.rounding is not None:
        lines.append(f"rounding to {dtype} took {100 * merged.rounding:.1f} % of the update away; float32 keeps it")
    if choice is None:
        lines.append(f"no attack success rate at step {source.step}: how safe the model is was not measured")
    else:
        rate = f"{100 * float(choice.worst['rate']):.1f} %"
        lines.append(f"serve under {choice.template}: its highest attack success rate is {rate}")
    return "\n".join(lines)
