"""Cuts every test off from the internet: an address that is not this machine cannot be reached, which fails at once.

The processes that tests start inherit it. tests/conftest.py imports this before anything else of ours.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile

NOWHERE = "http://127.0.0.1:9"  # the port where nobody listens
_PROXIES = [name for scheme in ("http", "https", "all") for name in (f"{scheme}_proxy", f"{scheme.upper()}_PROXY")]
_NAMES = (*_PROXIES, "no_proxy", "NO_PROXY")
_BEFORE = "PROXIES_BEFORE_TESTS"  # pytest's workers inherit what the first process has set
os.environ.setdefault(_BEFORE, json.dumps({name: os.environ[name] for name in _NAMES if name in os.environ}))

os.environ |= dict.fromkeys(_PROXIES, NOWHERE) | dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost,::1")
os.environ["TORCH_HOME"] = os.environ["HF_HOME"] = f"{tempfile.gettempdir()}/no_weights_{os.getpid()}"
atexit.register(shutil.rmtree, os.environ["TORCH_HOME"], ignore_errors=True)


def online() -> dict[str, str]:
    """Returns the environment as it was, for the few programs that fetch packages."""
    ours = {name: value for name, value in os.environ.items() if name not in _NAMES}
    return ours | json.loads(os.environ[_BEFORE])
