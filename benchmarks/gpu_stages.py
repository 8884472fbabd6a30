"""Everything that only a GPU can show, in stages, the most telling first; run it by ``gpu.sh`` on a bare machine.

    sh benchmarks/gpu.sh [--out FOLDER] [--from STAGE] [--only STAGE ...] [--budget 540] [--rehearse]

A line is printed and ``FOLDER/gpu.json`` written as each stage ends, so that what was measured is there however this
ends. A stage that outlasts its seconds is stopped, and the next one begins, as long as the budget lasts.
``--rehearse`` goes the same way on a processor with tiny shapes: its figures are not worth reading.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
LEAST = 5.0  # seconds in which no stage gets anywhere
SLOWER = 4.0  # how much longer a rehearsal may take, on a processor with other work


@dataclass(frozen=True)
class Stage:
    """A part of the whole.

    Attributes:
        name: for the command line.
        what: in words.
        seconds: after which it is stopped.
        run: does it with a ``Place``; returns what was found.
    """

    name: str
    what: str
    seconds: float
    run: Callable[[Place], Any]


class Place:
    """Where stages write, what they run on, and how long they may.

    Args:
        out: folder.
        rehearse: on a processor, tiny.
    """

    def __init__(self, out: Path, rehearse: bool) -> None:
        self.out, self.rehearse, self.until = out, rehearse, float("inf")

    @property
    def left(self) -> float:
        """Seconds of the stage in work."""
        return max(LEAST, self.until - time.monotonic())

    def python(self, *words: str, log: str, stop_when: Callable[[], bool] | None = None) -> str:
        """Run Python with these words; returns its output, which also stands in ``log``.

        Args:
            words: module or script with its arguments.
            log: file name.
            stop_when: interrupt it, as Ctrl-C would, once this holds.

        Raises:
            RuntimeError: it failed, with its last line, or it took too long.
        """
        file = self.out / log
        paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": paths}
        with file.open("w") as handle:
            process = subprocess.Popen(
                [sys.executable, *words], cwd=ROOT, env=environment, stdout=handle, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
            until, stopped = time.monotonic() + self.left, False
            while process.poll() is None:
                if time.monotonic() > until:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    raise RuntimeError(f"out of time; see {file}")
                if stop_when is not None and not stopped and stop_when():
                    process.send_signal(signal.SIGINT)
                    stopped = True
                time.sleep(0.1)
        text = file.read_text(errors="replace")
        if process.returncode and not stopped:
            last = [line for line in text.splitlines() if line.strip()][-1:]
            raise RuntimeError(f"exit status {process.returncode}: {''.join(last)[:300]}; see {file}")
        return text

    def ptst(self, *words: str, log: str, stop_when: Callable[[], bool] | None = None) -> str:
        """Run a command of ours."""
        return self.python("-m", "ptst_pl", *words, log=log, stop_when=stop_when)

    def benchmark(self, *words: str, log: str) -> Any:
        """Run one of the scripts here; returns the table that it prints."""
        script, *rest = words
        return self.python(str(HERE / script), *rest, log=log).splitlines()


def smoke(place: Place) -> Any:
    """A LoRA fit with the curve, on the device and on the processor: losses and rates side by side."""
    found = {}
    for kind in ("cpu", "cpu" if place.rehearse else "gpu"):
        name = f"smoke-{len(found)}"
        place.ptst(
            "fit", "--config", "configs/tiny/ptst-lora.yaml", "--runs", str(place.out), "--name", name,
            "--trainer.accelerator", kind, "--trainer.precision", "bf16-mixed", "--trainer.log_every_n_steps", "1",
            "--trainer.max_steps", "2" if place.rehearse else "20", "--safety.at_start", "false",
            "--safety.suites", f"[{{name: tiny-hard, limit: {2 if place.rehearse else 48}}}]",
            log=f"{name}.log",
        )  # fmt: skip
        folder = place.out / name / "version_0"
        rates = json.loads((folder / "safety/results.json").read_text())["rates"]
        found[f"{kind} {len(found)}"] = {
            "losses": _losses(folder),
            "rates": {f"{r['template']}, {r['judge']}": r["rate"] for r in rates},
        }
    one, other = (side["losses"] for side in found.values())
    return found | {"largest difference of losses": max(abs(a - b) for a, b in zip(one, other, strict=True))}


def _losses(folder: Path) -> list[float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return [event.value for event in events.Scalars("train/loss")]


def tests(place: Place) -> Any:
    """The tests marked gpu; rehearsing, those that are not there."""
    text = place.python("-m", "pytest", "-q", "-m", "gpu", "tests/gpu", "-p", "no:cacheprovider", log="tests.log")
    return text.splitlines()[-1]


def training(place: Place) -> Any:
    """LoRA on Llama-2-7B's shape beside transformers' Trainer."""
    size = ["--shape", "tiny", "--quick"] if place.rehearse else ["--shape", "7b", "--lora", "--turns", "2"]
    only = ["--only", "chat:llama@32000", "--loops", "ours", "transformers Trainer"]
    return place.benchmark("training.py", *size, *only, log="training.log")


def generation(place: Place) -> Any:
    """Answers of the same shape, all ways."""
    size = ["--shape", "tiny", "--quick"] if place.rehearse else ["--shape", "7b", "--device", "cuda", "--save"]
    return place.benchmark("generation.py", *size, log="generation.log")


def curve(place: Place) -> Any:
    """100 prompts under two templates within a LoRA fit of that shape."""
    size = ["--shape", "tiny", "--quick"] if place.rehearse else ["--shape", "7b", "--device", "cuda", "--count", "8"]
    return place.benchmark("generation.py", *size, "--fit", "--only", "ours", log="curve.log")


def full(place: Place) -> Any:
    """Full fine-tuning of a billion weights: float32 masters under bf16-mixed."""
    size = ["--shape", "tiny", "--quick"] if place.rehearse else ["--shape", "1b", "--turns", "2"]
    only = ["--only", "chat:llama@32000", "--loops", "ours", "transformers Trainer"]
    return place.benchmark("training.py", *size, *only, log="full.log")


def paper(place: Place) -> Any:
    """The paper's config for GSM8K on random weights, stopped once and gone on with."""
    model, rows, runs = place.out / "llama-2-7b-shape", place.out / "rows.jsonl", place.out / "paper"
    _write_shape(model, place.rehearse)
    rows.write_text("".join(json.dumps({"question": f"What is {n} + {n}?", "answer": f"It is {2 * n}.\n#### {2 * n}"})
                            + "\n" for n in range(400)))  # fmt: skip
    words = [
        "fit", "--config", "configs/paper/gsm8k-llama2-7b-lora.yaml", "--runs", str(runs), "--name", "stopped",
        "--model.pretrained", str(model), "--data.train_file", str(rows), "--data.held_out_file", str(rows),
        "--trainer.max_epochs", "-1", "--trainer.max_steps", "4" if place.rehearse else "20",
        "--trainer.limit_val_batches", "0", "--checkpoint_every_n_steps", "1" if place.rehearse else "5",
        "--trainer.log_every_n_steps", "1", "--safety.active", "false", "--ckpt_path", "last",
    ]  # fmt: skip
    if place.rehearse:
        words += ["--trainer.accelerator", "cpu", "--model.dtype", "float32", "--data.init_args.batch_size", "1"]
    folder = runs / "stopped"
    place.ptst(*words, log="paper-1.log", stop_when=lambda: any(folder.glob("version_*/step-*.ckpt")))
    first = len(_losses(folder / "version_0"))
    start = time.monotonic()
    place.ptst(*words, log="paper-2.log")
    newest = sorted(folder.glob("version_*"))[-1]
    losses = _losses(newest)
    return {"steps before the stop": first, "seconds after it": round(time.monotonic() - start, 1), "losses": losses}


def _write_shape(folder: Path, tiny: bool) -> None:
    """Random weights with a tokenizer, made on the device."""
    from training import model_config, write_weights

    from ptst_pl.tokenization import load_tokenizer

    load_tokenizer(str(ROOT / "configs/smoke/random-llama")).save_pretrained(str(folder))
    torch.manual_seed(0)
    write_weights(model_config(32000, "tiny" if tiny else "7b"), folder, torch.float32 if tiny else torch.bfloat16)


STAGES = (
    Stage("smoke", "a LoRA fit with its curve, device and processor", 60, smoke),
    Stage("tests", "tests marked gpu", 110, tests),
    Stage("training", "LoRA at 7B's shape beside transformers", 90, training),
    Stage("generation", "answers at 7B's shape", 100, generation),
    Stage("curve", "one evaluation within a fit", 60, curve),
    Stage("full", "full fine-tuning at 1B's shape", 60, full),
    Stage("paper", "the paper's config, stopped and resumed", 110, paper),
)


def versions() -> dict[str, str]:
    """What it ran on and with."""
    import lightning
    import peft
    import transformers

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "processor"
    packages = {"torch": torch, "transformers": transformers, "lightning": lightning, "peft": peft}
    found = {name: str(package.__version__) for name, package in packages.items()}
    return {"date": time.strftime("%Y-%m-%d", time.gmtime()), "device": device, **found}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stages; the exit status is the number that failed."""
    names = [stage.name for stage in STAGES]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu-results"))
    parser.add_argument("--from", dest="first", choices=names, default=names[0])
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--budget", type=float, default=540.0, help="seconds for all stages (%(default)s)")
    parser.add_argument("--rehearse", action="store_true", help="on a processor, tiny")
    options = parser.parse_args(argv)
    if not options.rehearse and not torch.cuda.is_available():
        parser.error("no CUDA device here; --rehearse goes the same way on a processor")
    options.out.mkdir(parents=True, exist_ok=True)
    chosen = [stage for stage in STAGES[names.index(options.first) :] if stage.name in options.only]
    budget = options.budget * (SLOWER if options.rehearse else 1)
    return run(chosen, Place(options.out.resolve(), options.rehearse), budget)


def run(stages: Sequence[Stage], place: Place, budget: float) -> int:
    """Stage by stage; see ``main``."""
    end, failed = time.monotonic() + budget, 0
    file = place.out / "gpu.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    found["made"] = versions() | {"rehearsal": place.rehearse}
    for stage in stages:
        begun = time.monotonic()
        place.until = min(begun + stage.seconds * (SLOWER if place.rehearse else 1), end)
        if end - begun < LEAST:
            print(f"{stage.name}: no time left", flush=True)
            continue
        try:
            result: dict[str, Any] = {"found": stage.run(place)}
        except (RuntimeError, OSError, ValueError, KeyError) as error:
            result, failed = {"failed": str(error)}, failed + 1
        result["seconds"] = round(time.monotonic() - begun, 1)
        found[stage.name] = result
        file.write_text(json.dumps(found, indent=1) + "\n")
        state = f"FAILED: {result['failed']}" if "failed" in result else "done"
        print(f"{stage.name} ({stage.what}): {state}, {result['seconds']} s", flush=True)
    print(f"results: {file}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
