"""One memcached server as a worker sees it: asked in single round trips, left alone for a while after it failed."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheError

from utils.errors import ConfigError

_DEFAULT_PORT = 11211
_DEFAULT_LIMIT = 1 << 20
_OVERHEAD = 1024  # what memcached needs of an item's limit for key, flags and header, generously
_FIRST_PAUSE = 0.5
_WHOLE_ANSWER = 4  # timeouts; a large clip over a busy network needs more than one
_ADDRESS = re.compile(r"(?:\[(?P<v6>[^]]+)\]|(?P<host>[^:/\s]+))(?::(?P<port>\d+))?")
_log = logging.getLogger(__name__)


class _Client(Client):
    """A client that does not wait for ever for a server which sends its answer in drops.

    answer_by: when (time.monotonic) the whole answer must be there. Raises TimeoutError.
    """

    answer_by = math.inf

    def _connect(self) -> None:
        super()._connect()
        self.sock = _Socket(self)


class _Socket:
    """The client's socket as pymemcache uses it."""

    def __init__(self, client: _Client) -> None:
        self._client, self._socket = client, client.sock

    def recv(self, size: int) -> bytes:
        if time.monotonic() > self._client.answer_by:
            raise TimeoutError("its answer takes too long")
        return self._socket.recv(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


class Server:
    """A connection that is opened when it is first needed, in the process that needs it.

    address: "host:port", "host", "[v6 address]:port", or the path of a Unix socket. timeout: seconds for a connection
    and for each sign of an answer, which has to be whole within four times that. longest_pause: after a failure the
    server is not asked for half a second, then for twice as long each time, up to this many seconds: a stalled server
    costs a few percent, and one that returns is used again.

    Nothing here raises for what the server does: whatever goes wrong is a None, which the caller counts.
    """

    def __init__(self, address: str, *, timeout: float, longest_pause: float, expire: int = 0) -> None:
        self.address = address
        self.target = parse_address(address)
        self.timeout, self.longest_pause, self.expire = timeout, longest_pause, expire
        self._client: _Client | None = None
        self._forget()

    def _forget(self) -> None:
        """The state of a process that has not asked yet."""
        self.close()
        self._process = -1
        self._pause = 0.0
        self._asleep_until = 0.0
        self._limit: int | None = None

    def close(self) -> None:
        """Closes this process's connection; the next question opens another."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def __del__(self) -> None:
        if getattr(self, "_client", None) is not None:
            self.close()

    def __getstate__(self) -> dict[str, Any]:
        kept = ("address", "target", "timeout", "longest_pause", "expire")
        return {name: getattr(self, name) for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._client = None
        self._forget()

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes] | None:
        """The values that are there, in one round trip; None if the server cannot be asked."""
        return self._ask(lambda client: client.get_many(keys))

    def set_many(self, values: Mapping[str, bytes], *, wait: bool = False) -> list[str] | None:
        """Stores values; None if the server cannot be asked, else the keys it refused (known only with `wait`)."""
        return self._ask(lambda client: client.set_many(values, expire=self.expire, noreply=not wait))

    def statistics(self) -> dict[str, Any] | None:
        """What the server says about itself."""
        return self._ask(lambda client: {key.decode(): value for key, value in client.stats().items()})

    def largest_value(self) -> int:
        """Bytes that fit into one item, as the server is set up; asked once per connection."""
        if self._limit is None:
            settings = self._ask(_settings)
            if settings is None:
                return _DEFAULT_LIMIT - _OVERHEAD  # not kept: it may answer next time
            self._limit = int(settings.get(b"item_size_max", _DEFAULT_LIMIT)) - _OVERHEAD
        return self._limit

    def _ask(self, question: Any) -> Any:
        if self._process != os.getpid():  # after a fork the parent's connection is not ours to use
            self._forget()
            self._process = os.getpid()
        if self._pause and time.monotonic() < self._asleep_until:
            return None
        if self._client is None:
            # no_delay: without it a set followed by a get waits 40 ms for a delayed acknowledgement
            self._client = _Client(self.target, connect_timeout=self.timeout, timeout=self.timeout, no_delay=True)
        self._client.answer_by = time.monotonic() + _WHOLE_ANSWER * self.timeout
        try:
            answer = question(self._client)
        except Exception as error:  # a server may say anything at all; the frames are on the disk
            self.close()
            self._limit = None
            if not self._pause:
                _log.warning("memcached %s: %s; its frames come from the disk until it is back", self.address, error)
            self._pause = min(max(_FIRST_PAUSE, 2 * self._pause), self.longest_pause)
            self._asleep_until = time.monotonic() + self._pause
            return None
        if self._pause:
            _log.warning("memcached %s: is back", self.address)
            self._pause = 0.0
        return answer


def _settings(client: Client) -> dict[bytes, Any]:
    try:
        return client.stats("settings")
    except MemcacheError:  # a proxy may not know the question; one that is down will not answer the next one either
        return {}


def parse_address(address: str) -> str | tuple[str, int]:
    """What pymemcache wants: the path of a Unix socket, or (host, port). Raises ConfigError."""
    text = str(address).removeprefix("unix:")
    if text.startswith("/"):
        return text
    match = _ADDRESS.fullmatch(text)
    if match is None or not 0 < int(match["port"] or _DEFAULT_PORT) < 65536:
        raise ConfigError(
            f"common.data.store.servers: {address!r} is not host:port nor the absolute path of a Unix socket"
        )
    return match["v6"] or match["host"], int(match["port"] or _DEFAULT_PORT)


def choose(servers: Sequence[Server], name: bytes) -> Server:
    """The server of a name by rendezvous hashing: one more or one fewer moves only that server's share."""
    if len(servers) == 1:
        return servers[0]
    return max(servers, key=lambda server: hashlib.sha1(server.address.encode() + b"\0" + name).digest())
