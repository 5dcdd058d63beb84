"""Makes the pictures of docs/: a small experiment on motion8 and its report, a contact sheet, the page of tools.start.

    python -m tools.docs_pictures

It works in build/docs and needs Chromium, and the weights that tests/README.md tells how to get. It takes five minutes
on two cores. A second run continues where the first one was interrupted.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

if not __package__:  # started as `python tools/docs_pictures.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import yaml
from PIL import Image

from tools.demo import ROOT, Step, run_step
from tools.documenting.blocks import SETUPS
from utils.cli import Parser, run_cli
from utils.errors import UserError
from utils.files import atomic_write

IMAGES = ROOT / "docs" / "images"
WORK = Path("build/docs")  # below ROOT and relative, so that pictures show no paths of a machine
EXPERIMENT, FIRST = WORK / "tsm", WORK / "first"
LARGEST = 150_000  # bytes per picture
WIDTH, HEIGHT = 1200, 900  # pixels of the browser's window
COLOURS = 128  # enough for pages and textures


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the experiment and writes the pictures. Raises: UserError without Chromium, or if a picture is too large."""
    Parser(prog="docs_pictures.py", description=(__doc__ or "").split("\n\n")[0]).parse_args(argv)
    if importlib.util.find_spec("playwright") is None:
        raise UserError("playwright opens the report and is missing: pip install -r requirements-dev.txt")
    if shutil.which("chromium") is None:
        raise UserError("Chromium shows the report and is missing: apt-get install chromium")
    write_config(ROOT / EXPERIMENT)
    set_up_first_day(ROOT / FIRST)
    for step in steps():
        run_step(step)
    IMAGES.mkdir(exist_ok=True)
    for name, image in pictures():
        print(f"{write_small(image, IMAGES / name)} bytes: {IMAGES / name}")
    return 0


def write_config(folder: Path) -> None:
    """Writes the demo's config with fewer steps, so that there are errors to show."""
    config = yaml.safe_load((ROOT / "exps/motion8/tsm_resnet18/config.yaml").read_text(encoding="utf-8"))
    common = config["common"]
    common["lr_scheduler"] |= {"max_iter": 121, "warmup_steps": 60}
    common |= {"val_freq": 20, "print_freq": 5}
    common |= {key: str(WORK / "data") for key in ("train_root", "val_root")}
    common |= {f"{name}_source": str(WORK / f"data/lists/{name}.txt") for name in ("train", "val")}
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / "config.yaml", "w") as file:
        yaml.safe_dump(config, file, sort_keys=False)


def set_up_first_day(folder: Path) -> None:
    """Makes the videos and the weights that docs/first_day.md assumes, unless they are there."""
    if folder.is_dir():
        return
    script, partial = ROOT / SETUPS / "first_day.sh", folder.with_name("first_partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "pretrained").mkdir(parents=True)
    paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": paths, "PYTHONPATH": str(ROOT)}
    subprocess.run(["bash", "-e", str(script)], cwd=partial, env=environment, check=True)
    partial.rename(folder)


def steps() -> list[Step]:
    """Returns the commands in order."""
    videos, config = str(WORK / "data/videos"), str(EXPERIMENT / "config.yaml")
    weights = next((ROOT / FIRST / "pretrained").iterdir()).relative_to(ROOT)
    first = (str(FIRST / "videos"), "--weights", str(weights), "--out", str(FIRST / "videos_out"))
    return [
        Step("make clips", ("-m", "tools.make_motion8", videos)),
        Step("dump frames", ("-m", "tools.dump_frames", videos, str(WORK / "data"), "--size", "72")),
        Step("write lists", ("-m", "tools.make_lists", str(WORK / "data"), "--split", f"{videos}/splits")),
        Step("train", ("main.py", "--config", config)),
        Step("evaluate", ("main.py", "--config", config, "--evaluate")),
        Step("analyse", ("-m", "anal_tools.analyze", "-e", str(EXPERIMENT))),
        Step("report", ("-m", "anal_tools.report", "-e", str(EXPERIMENT))),
        Step("first day", ("-m", "tools.start", *first)),
        Step("sheet", ("-m", "tools.browse_data", config, "--count", "6", "--out", str(WORK / "sheet.png"))),
    ]


def pictures() -> Iterator[tuple[str, Image.Image]]:
    """Yields the file name and the content of each picture."""
    analysis = ROOT / EXPERIMENT / "analysis"
    yield "confusion.png", Image.open(analysis / "confusion.png")
    yield "sheet.png", Image.open(ROOT / WORK / "sheet.png")
    yield from screenshots(analysis / "report.html")
    with opened(ROOT / FIRST / "videos_out/report.html") as page:
        yield "first_day.png", Image.open(io.BytesIO(page.screenshot()))


@contextlib.contextmanager
def opened(report: Path) -> Iterator[Any]:
    """Opens a report in Chromium, and yields playwright's page."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, offline=True)
        page.goto(report.as_uri())
        page.wait_for_selector("body[data-ready]")
        yield page
        browser.close()


def screenshots(report: Path) -> Iterator[tuple[str, Image.Image]]:
    """Yields the top of the report in light and dark, and parts of it."""
    with opened(report) as page:
        yield "report.png", Image.open(io.BytesIO(page.screenshot()))
        page.add_style_tag(content="nav { position: static !important; }")  # otherwise it covers parts of the pictures
        for section in ("matrix", "classes", "errors", "calibration"):
            image = Image.open(io.BytesIO(page.locator(f"#{section}").screenshot()))
            yield f"report_{section}.png", image.crop((0, 0, image.width, min(image.height, HEIGHT)))
        page.evaluate("scrollTo(0, 0)")
        page.emulate_media(color_scheme="dark")
        yield "report_dark.png", Image.open(io.BytesIO(page.screenshot()))


def write_small(image: Image.Image, path: Path) -> int:
    """Writes a PNG with COLOURS colours and returns its size. Raises: UserError if it is larger than LARGEST bytes."""
    content = io.BytesIO()
    image.convert("RGB").quantize(COLOURS).save(content, format="PNG", optimize=True)
    size = len(content.getvalue())
    if size > LARGEST:
        raise UserError(f"{path}: {size} bytes, but pictures in docs/ have at most {LARGEST}; show less in it")
    with atomic_write(path) as file:
        file.write(content.getvalue())
    return size


if __name__ == "__main__":
    run_cli(main)
