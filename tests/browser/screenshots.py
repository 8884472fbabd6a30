"""``make screenshots``: the pictures of docs/, of real runs on the tiny lab and nothing else.

Trains under three templates, each tested under all three while it trains (about five minutes on two cores; runs
that are there already are taken as they are), then photographs the report's page and TensorBoard.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from chromium import Browser, Page, find_chromium
from PIL import Image
from tensorboard_server import tensorboard

from ptst_pl.training.callbacks.tensorboard import LINK_QUERY

ROOT = Path(__file__).resolve().parents[2]
RUNS = Path("checkpoints/screenshots")
TEMPLATES = ("chat:vanilla", "chat:alpaca", "chat:llama")
SUITES = "[{name: tiny-hard, limit: 48}, {name: tiny-lookalike, limit: 48, measures: over-refusal}, " + (
    "{name: tiny-howto, limit: 48, measures: helpfulness}]"
)
MOST_BYTES = 300_000


def command(*arguments: str) -> None:
    """Run ``ptst_pl`` in the repository."""
    subprocess.run([sys.executable, "-m", "ptst_pl", *arguments], cwd=ROOT, check=True)


def train() -> list[str]:
    """The runs, trained where they are missing; their folders."""
    folders = []
    for template in TEMPLATES:
        name = f"tiny-{template.replace(':', '-')}"
        folders.append(str(RUNS / name))
        if not (ROOT / RUNS / name / "version_0" / "final").exists():
            command(
                "fit", "--config", "configs/tiny/ptst.yaml", "--runs", str(RUNS), "--name", name,
                "--data.template", template, "--safety.templates", f"[{', '.join(TEMPLATES)}]",
                "--safety.suites", SUITES, "--safety.every_n_steps", "10",
            )  # fmt: skip
    return folders


def save(page: Page, name: str) -> None:
    """A picture with 256 colours, small enough for a repository."""
    path = page.screenshot(ROOT / "docs" / name)
    with Image.open(path) as image:
        small = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    size = path.stat().st_size
    assert size < MOST_BYTES, f"{path}: {size} bytes"
    print(f"docs/{name}: {size // 1000} kB")


def photograph_report(browser: Browser, html: Path) -> None:
    """The page on a desk in light, on a desk in dark, on a phone."""
    for name, width, height, dark, section in (
        ("report-light.png", 1280, 960, False, ""),
        ("report-dark.png", 1280, 960, True, "curves"),
        ("report-phone.png", 375, 812, True, "matrix"),
    ):
        page = browser.page()
        page.size(width, height, mobile=width < 600)
        page.dark(dark)
        page.open(html.as_uri())
        page.wait("document.documentElement.dataset.ready === 'yes'")
        if section:
            page.run(f"document.getElementById('{section}').scrollIntoView()")
        page.settle(0.5)
        save(page, name)
        page.close()


def photograph_tensorboard(browser: Browser, logdir: Path, log: Path) -> None:
    """The curves of one training template, the address as in the README."""
    with tensorboard(logdir, log) as board:
        page = browser.page(1500, 900)
        query = re.sub("runFilter=[^&]*", "runFilter=train%3Dchat-llama%2Ftest%3D", LINK_QUERY)
        page.open(f"{board.url}{query}&tagFilter=%5E%28asr%7Chelpfulness%29%2Fexact#timeseries")
        page.wait("document.querySelectorAll('scalar-card svg, scalar-card canvas').length >= 2", 60)
        page.settle(8)  # charts are drawn late and move
        save(page, "tensorboard.png")


def main() -> None:
    """All of them."""
    binary = find_chromium()
    if binary is None:
        raise SystemExit("screenshots need Chromium: apt-get install --no-install-recommends chromium")
    folders = train()
    with tempfile.TemporaryDirectory() as scratch, Browser(binary, Path(scratch) / "profile") as browser:
        html = Path(scratch) / "report.html"
        command("report", *folders, "--html", str(html))
        photograph_report(browser, html)
        photograph_tensorboard(browser, ROOT / RUNS, Path(scratch) / "log")


if __name__ == "__main__":
    main()
