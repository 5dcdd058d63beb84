"""Finds the file of published weights on this machine, or fetches it.

A file in pretrained/ goes before every other. Fetched files lie where torch.hub and huggingface_hub keep theirs.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from utils.cli import Progress
from utils.errors import CheckpointError
from utils.files import ROOT
from utils.published.download import check_reachable, download, mirrored
from utils.published.registry import Published, entry, has_own_name, registry

PRETRAINED = ROOT / "pretrained"
SUFFIXES = (".pth", ".pth.tar", ".pt", ".pyth", ".pkl", ".safetensors")  # of files in which networks are published
MB = 1e6
NAME_PARTS = 2  # data set and weights
MOST_MEANT = 3  # names in one message
HASH_DIGITS = 8  # of the names that torch.hub gives files, so that it can compare them


def checkpoint_file(name: str | os.PathLike[str]) -> Path:
    """Returns the file that a path or the name of published weights means, and fetches it if it is not here.

    Raises: CheckpointError for a name that nobody knows, and for a file that cannot be fetched.
    """
    found = named(name)
    if found is not None:
        return fetch(found)
    if Path(name).as_posix() in registry():
        _tell(f"{name}: is a path here; the published weights of the same name are not meant")
    return Path(name)


def named(name: str | os.PathLike[str]) -> Published | None:
    """Returns the published weights that a text names, None if it is a path: the one place that decides this.

    A path that exists goes before a name, and so does a text that ends as checkpoints do.

    Raises: CheckpointError with the nearest names for a text that begins like a name and is unknown.
    """
    path, text = Path(name), os.fspath(name)
    if path.exists() or path.is_absolute() or text.endswith((*SUFFIXES, ".bin", ".npz")):
        return None
    if len(path.parts) != NAME_PARTS or path.parts[0] not in {known.partition("/")[0] for known in registry()}:
        return None  # whoever reads it says that it is not there
    return entry(path.as_posix())


def meant_names(name: str | os.PathLike[str]) -> str:
    """Returns `; did you mean the published weights x, y?` to be put behind a message about a path that is not there.

    It is "" unless the path may be a name whose data set is misspelt or missing.
    """
    path, known = Path(name), registry()
    if path.is_absolute() or len(path.parts) > NAME_PARTS or path.name.endswith(SUFFIXES):
        return ""
    near = [one for one in known if one.rpartition("/")[2] == path.name]
    near = near or difflib.get_close_matches(path.as_posix(), known, n=MOST_MEANT, cutoff=0.7)
    return f"; did you mean the published weights {', '.join(near[:MOST_MEANT])}?" if near else ""


def local_file(found: Published, folder: Path = PRETRAINED) -> Path | None:
    """Returns the file of published weights, if it is on this machine."""
    places = [folder / found.id / found.name, _in_cache(found)]
    if has_own_name(found):
        places.insert(0, folder / found.name)
    here = next((place for place in places if found.name and place.is_file()), None)
    return here or (_in_hub_cache(found) if found.hub else None)


def fetch(
    found: Published,
    *,
    folder: Path = PRETRAINED,
    tell: Callable[[str], None] | None = None,
    progress: bool = True,
) -> Path:
    """Returns the file of published weights, and downloads it first if it is not here.

    Its licence is said before. Of several processes that ask for it at once, one downloads and the others wait.

    tell: takes each line for the user; default: printed to the standard error.
    progress: show a bar of what has come.
    Raises: CheckpointError in one line, which says where to put the file that is got in another way.
    """
    here = local_file(found, folder)
    if here is not None:
        return here
    with _saying_where(found, folder):
        return _from_hub(found, tell) if found.hub else _from_address(found, tell, progress)


def check_fetchable(found: Published, *, folder: Path = PRETRAINED) -> None:
    """Looks for the file of published weights or a server that answers, before long work that needs the file.

    Raises: CheckpointError as `fetch` does, if there is neither.
    """
    if local_file(found, folder) is None:
        with _saying_where(found, folder):
            check_reachable(_hub_address(found) if found.hub else mirrored(found.url))


@contextlib.contextmanager
def _saying_where(found: Published, folder: Path) -> Iterator[None]:
    """Adds to an error where to put the file that is got in another way; raises one if there is no other way."""
    place = _shown(folder / (found.name if has_own_name(found) else f"{found.id}/{found.name}"))
    if not found.url and not found.hub:
        then = f"put the file here as {place}" if found.name else "use the path of the file instead of the name"
        raise CheckpointError(f"{found.id}: comes by hand only: open {found.page}, and {then}")
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{error}; or put the file here as {place}") from None


def _from_address(found: Published, tell: Callable[[str], None] | None, progress: bool) -> Path:
    target = _in_cache(found)
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:  # another process is at it, and shows how far it is
        lock.acquire()
    try:
        if not target.is_file():
            with _Shown(found, tell) as shown:
                report = shown.report if progress else lambda done, total: None
                download(found.url, target, sha256=found.sha256, report=report)
    finally:
        lock.release()
    return target


class _Shown:
    """Shows what is downloaded, what its licence says, and how far it is."""

    def __init__(self, found: Published, tell: Callable[[str], None] | None) -> None:
        size = f", about {found.mb:g} MB" if found.mb else ""
        for text in [*found.cautions, f"{found.id}: downloading {found.url or found.hub}{size}"]:
            (tell or _tell)(text)
        self._bar: Progress | None = None
        self._done = 0

    def __enter__(self) -> _Shown:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.__exit__(*error)

    def report(self, done: int, total: int) -> None:
        """Moves the bar to where a transfer is."""
        if self._bar is None:
            self._bar = Progress(round(total / MB), unit="MB").__enter__()
        self._bar.advance(round(done / MB) - self._done)
        self._done = round(done / MB)


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _from_hub(found: Published, tell: Callable[[str], None] | None) -> Path:
    hub = _hub_address(found)
    check_reachable(hub)  # the package would try for half a minute
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

    page = f"{hub}/{found.hub}"
    with _Shown(found, tell):
        try:
            return Path(hf_hub_download(found.hub, found.file))
        except GatedRepoError:
            raise CheckpointError(
                f"{found.id}: its authors ask for consent: open {page}, agree, and set HF_TOKEN to your token"
            ) from None
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise CheckpointError(f"{found.id}: {page}: {_first_line(error)}") from None


def _hub_address(found: Published) -> str:
    """Returns the address of the Hugging Face Hub. Raises: CheckpointError without the package that fetches from it."""
    try:
        from huggingface_hub import constants
    except ImportError:
        raise CheckpointError(
            f"{found.id}: is on the Hugging Face Hub: pip install huggingface_hub fetches it by itself"
        ) from None
    return str(constants.ENDPOINT)


def _in_cache(found: Published) -> Path:
    """Returns where a downloaded file lies: where torch.hub looks for it, if its name ends with its hash."""
    folder = _torch_hub() / "checkpoints"
    digits = found.sha256[:HASH_DIGITS]
    return folder / found.name if digits and f"-{digits}." in found.name else folder / found.id / found.name


def _torch_hub() -> Path:
    """Returns the folder of torch.hub, by its rules if torch is not loaded, which takes seconds."""
    if "torch" in sys.modules:
        return Path(sys.modules["torch"].hub.get_dir())
    caches = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"))
    return Path(os.environ.get("TORCH_HOME", caches / "torch")).expanduser() / "hub"


def _in_hub_cache(found: Published) -> Path | None:
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    here = try_to_load_from_cache(found.hub, found.file)
    return Path(here) if isinstance(here, str) else None


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
