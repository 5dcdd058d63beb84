"""Makes the pictures of docs/: a small experiment on motion8, its report in a browser, its matrix, a contact sheet.

    python -m tools.docs_pictures

It works in build/docs and needs Chromium. Training takes three minutes on two cores. A second run continues where the
first one was interrupted.
"""

from __future__ import annotations

import importlib.util
import io
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

if not __package__:  # started as `python tools/docs_pictures.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import yaml
from PIL import Image

from tools.demo import ROOT, Step, run_step
from utils.cli import Parser, run_cli
from utils.errors import UserError
from utils.files import atomic_write

IMAGES = ROOT / "docs" / "images"
WORK = Path("build/docs")  # below ROOT and relative, so that pictures show no paths of a machine
EXPERIMENT = WORK / "tsm"
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


def steps() -> list[Step]:
    """Returns the commands in order."""
    videos, config = str(WORK / "data/videos"), str(EXPERIMENT / "config.yaml")
    return [
        Step("make clips", ("-m", "tools.make_motion8", videos)),
        Step("dump frames", ("-m", "tools.dump_frames", videos, str(WORK / "data"), "--size", "72")),
        Step("write lists", ("-m", "tools.make_lists", str(WORK / "data"), "--split", f"{videos}/splits")),
        Step("train", ("main.py", "--config", config)),
        Step("evaluate", ("main.py", "--config", config, "--evaluate")),
        Step("analyse", ("-m", "anal_tools.analyze", "-e", str(EXPERIMENT))),
        Step("report", ("-m", "anal_tools.report", "-e", str(EXPERIMENT))),
        Step("sheet", ("-m", "tools.browse_data", config, "--count", "6", "--out", str(WORK / "sheet.png"))),
    ]


def pictures() -> Iterator[tuple[str, Image.Image]]:
    """Yields the file name and the content of each picture."""
    analysis = ROOT / EXPERIMENT / "analysis"
    yield "confusion.png", Image.open(analysis / "confusion.png")
    yield "sheet.png", Image.open(ROOT / WORK / "sheet.png")
    yield from screenshots(analysis / "report.html")


def screenshots(report: Path) -> Iterator[tuple[str, Image.Image]]:
    """Yields the top of the report in light and dark, and parts of it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, offline=True)
        page.goto(report.as_uri())
        page.wait_for_selector("body[data-ready]")
        yield "report.png", Image.open(io.BytesIO(page.screenshot()))
        page.add_style_tag(content="nav { position: static !important; }")  # otherwise it covers parts of the pictures
        for section in ("matrix", "classes", "errors", "calibration"):
            image = Image.open(io.BytesIO(page.locator(f"#{section}").screenshot()))
            yield f"report_{section}.png", image.crop((0, 0, image.width, min(image.height, HEIGHT)))
        page.evaluate("scrollTo(0, 0)")
        page.emulate_media(color_scheme="dark")
        yield "report_dark.png", Image.open(io.BytesIO(page.screenshot()))
        browser.close()


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
