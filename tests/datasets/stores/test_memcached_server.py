"""Tests addresses and the choice of a server; test_memcached.py tests what servers do wrong."""

from __future__ import annotations

import pytest

from datasets import MemcachedStore
from datasets.stores import memcached_server
from datasets.stores.memcached_server import Server, choose, parse_address
from utils.errors import ConfigError


def test_a_server_more_takes_its_share_and_moves_nothing_else():
    few = [Server(f"host{i}:1", timeout=1, longest_pause=1) for i in range(4)]
    names = [f"video {i}".encode() for i in range(400)]
    before = [choose(few[:3], name).address for name in names]
    after = [choose(few, name).address for name in names]
    assert {new for old, new in zip(before, after, strict=True) if new != old} == {"host3:1"}
    assert min(after.count(server.address) for server in few) > 60


def test_addresses():
    assert parse_address("host") == ("host", 11211)
    assert parse_address("10.0.0.1:5") == ("10.0.0.1", 5)
    assert parse_address("[::1]:5") == ("::1", 5)
    assert parse_address("/run/mc.sock") == parse_address("unix:/run/mc.sock") == "/run/mc.sock"
    for wrong in ("", "host:", "host:99999", "a b", "relative/mc.sock", "host:x"):
        with pytest.raises(ConfigError, match=r"is neither host:port"):
            parse_address(wrong)
    with pytest.raises(ConfigError, match="each only once"):
        MemcachedStore("/", servers=["a:1", "a:1"])
    with pytest.raises(ConfigError, match="must be above 0 seconds"):
        MemcachedStore("/", servers=["a:1"], timeout=0)
    assert len(MemcachedStore("/", servers="a:1, b:2").servers) == 2


@pytest.mark.parametrize("said", [b"abc", b"", b"-5", b"1e9", b"9" * 5000, b"\xff\xfe", True, 1.5])
def test_whatever_a_server_says_about_itself_is_a_number_or_nothing(
    said: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {b"item_size_max": said, b"limit_maxbytes": 64, b"\xff": b"7"}
    monkeypatch.setattr(memcached_server._Client, "stats", lambda self, *_: answers)
    server = Server("nowhere:1", timeout=0.1, longest_pause=1.0)
    assert server.largest_value() == (1 << 20) - 1024
    assert server.statistics() == {"limit_maxbytes": 64, "\N{REPLACEMENT CHARACTER}": 7}
    answers[b"item_size_max"] = b"2097152"
    assert Server("nowhere:1", timeout=0.1, longest_pause=1.0).largest_value() == (2 << 20) - 1024
