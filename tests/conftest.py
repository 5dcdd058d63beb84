"""Fixtures and rules for all tests."""

from __future__ import annotations

import functools
import gc
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from tests.helpers import offline  # noqa: F401 - before anything that could ask the internet
from tests.helpers.browser import browser  # noqa: F401 - a fixture for all
from tests.helpers.requirements import ROOT, lacking

if TYPE_CHECKING:  # the process that only hands out tests to others would load torch for nothing
    import numpy as np
    from torch import Tensor, nn

STARTS_PROCESSES = {"gloo", "slurm", "browser", "interrupt", "memcached"}
LONG = {"slurm", "browser"}
POLICY = os.sched_getscheduler(0) if hasattr(os, "sched_getscheduler") else 0  # of this process, as it was started
SLOW_SECONDS = 7200  # within which a slow test ends, where it sets no limit itself


def pytest_configure() -> None:
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup, all processes of the tests would ignore it
    slow = [hypothesis.HealthCheck.too_slow]  # a busy machine is no mistake in the code
    hypothesis.settings.register_profile("any machine", deadline=None, suppress_health_check=slow)
    hypothesis.settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests that `make quick` leaves out as `whole`, and those of `make long` as `long`."""
    begun: set[str] = set()
    for item in items:
        function = item.nodeid.partition("[")[0]
        one_of_many = item.get_closest_marker("alike") is not None and function in begun
        begun.add(function)
        whole_runs = item.path.is_relative_to(ROOT / "tests" / "integration")
        if whole_runs or one_of_many or any(item.get_closest_marker(mark) for mark in STARTS_PROCESSES):
            item.add_marker("whole")
        if any(item.get_closest_marker(mark) for mark in LONG):
            item.add_marker("long")
        if any(item.get_closest_marker(mark) for mark in ("long", "slow")):
            item.add_marker("whole")
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_SECONDS))


def pytest_runtest_logstart(nodeid: str) -> None:
    """Says for .ci/run which test this process is at: one that stops a whole run is known by its name."""
    if folder := os.environ.get("RUNNING_TESTS"):
        Path(folder, os.environ.get("PYTEST_XDIST_WORKER", "main")).write_text(nodeid)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("need"):
        if not mark.kwargs["present"]:
            lacking(mark.kwargs["how"])
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Two workers on two cores: more threads only fight, and sums depend on their number.

    Of the session, so that it comes before the fixtures of a module, which train too.
    """
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(0)


@pytest.fixture(autouse=True, scope="session")
def _torch_logs_to_the_root() -> None:
    """Saves 3 ms per phase of a test, in which pytest would attach itself to the 60 loggers that torch keeps apart."""
    import torch  # noqa: F401 - makes them

    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.propagate = True


@pytest.fixture(autouse=True, scope="session")
def _no_made_up_gpu() -> None:
    """Keeps torch.export from registering a CUDA device that does not exist.

    Autograd would start a thread for it, and forked processes (tests/helpers/ranks.py) could compute no gradients.
    """
    import torch

    torch._C._ensureCUDADeviceGuardSet = lambda: None


@pytest.fixture(autouse=True, scope="session")
def _workers_of_tools_are_forked() -> None:
    """Forks the workers of tools/dumping/pool.py from a server that has loaded torch, which takes three seconds.

    The server starts with the first worker. tests/tools/dumping/test_pool.py gives each worker a fresh interpreter.
    """
    from tools.dumping import pool

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "datasets.videos.video"])  # tools.dumping.video asks who its parent is
    pool._CONTEXT = context


@pytest.fixture(autouse=True, scope="session")
def _networks_are_looked_at_once() -> None:
    """Keeps what a run finds out about its network and clips: most runs have those of tests/helpers/experiment.py."""
    from networks.temporal import insert
    from utils.run import fit, summary
    from utils.training import folding

    summary.multiply_adds = _kept(summary.multiply_adds)
    fit.refusal = _kept(fit.refusal)
    folding.foldable = _kept(folding.foldable)
    insert.residual_branches = _kept(insert.residual_branches)


def _kept(find_out: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps a function of a network and a shape, a tensor or a name: it looks at each kind of network once."""
    known: dict[Any, Any] = {}

    @functools.wraps(find_out)
    def found(module: nn.Module, about: Sequence[int] | Tensor | str) -> Any:
        about_it = about if isinstance(about, str) else tuple(getattr(about, "shape", about))
        key = (repr(module), about_it, *(part.training for part in module.modules()))
        if key not in known:
            known[key] = find_out(module, about)
        return known[key]

    return found


def pytest_collection_finish() -> None:
    """Takes what collecting has made out of the garbage collector's sight, which saves a twentieth of all tests."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Fails a test that leaves this process a real-time one: those that it starts may then stop the whole machine."""
    if hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) != POLICY:
        os.sched_setscheduler(0, POLICY, os.sched_param(0))
        pytest.fail("the test has changed this process's scheduling policy")


@pytest.fixture(autouse=True, scope="module")
def _random_weights_repeat(request: pytest.FixtureRequest) -> Iterator[None]:
    """Makes networks in less time where nothing is compared with a process that draws its own weights."""
    if request.path.relative_to(ROOT / "tests").parts[0] not in ("networks", "methods", "tools"):
        yield
        return
    from tests.helpers.random_weights import repeated_blocks

    with repeated_blocks():
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    import numpy as np

    return np.random.default_rng(0)
