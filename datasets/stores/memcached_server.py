"""Talks to one memcached server in single round trips, and leaves it alone for a while after a failure."""

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
_OVERHEAD = 1024  # bytes of an item that key, flags and header may take
_MOST_DIGITS = 19  # a number of 64 bits
_FIRST_PAUSE = 0.5
_WHOLE_ANSWER = 4  # timeouts until the answer must be complete: a large clip over a busy network needs some
_ADDRESS = re.compile(r"(?:\[(?P<v6>[^]]+)\]|(?P<host>[^:/\s]+))(?::(?P<port>\d+))?")
_log = logging.getLogger(__name__)


class _Client(Client):
    """A client that gives up on a server which keeps sending its answer in tiny pieces.

    answer_by: time (time.monotonic) at which the whole answer must have arrived; later it raises TimeoutError.
    """

    answer_by = math.inf

    def _connect(self) -> None:
        super()._connect()
        self.sock = _Socket(self)


class _Socket:
    """Wraps the client's socket for pymemcache and checks the time before every read."""

    def __init__(self, client: _Client) -> None:
        self._client, self._socket = client, client.sock

    def recv(self, size: int) -> bytes:
        if time.monotonic() > self._client.answer_by:
            raise TimeoutError("its answer takes too long")
        return self._socket.recv(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


class Server:
    """Connects to a server when a process first needs it; every process has its own connection.

    address: "host:port", "host", "[v6 address]:port", or the path of a Unix socket.
    timeout: seconds for a connection and for each read; the whole answer must arrive within four times that.
    longest_pause: longest pause in seconds after failures. The first pause is half a second, and each further one is
        twice as long: a stalled server costs a few percent, and one that comes back is used again.
    expire: seconds until a stored value expires; 0 keeps it.

    No method raises for anything the server does: a failure returns None, which the caller counts.
    """

    def __init__(self, address: str, *, timeout: float, longest_pause: float, expire: int = 0) -> None:
        self.address = address
        self.target = parse_address(address)
        self.timeout, self.longest_pause, self.expire = timeout, longest_pause, expire
        self._client: _Client | None = None
        self._forget()

    def _forget(self) -> None:
        """Sets the state of a process that has not asked the server yet."""
        self.close()
        self._process = -1
        self._pause = 0.0
        self._asleep_until = 0.0
        self._limit: int | None = None

    def close(self) -> None:
        """Closes this process's connection; the next request opens another one."""
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
        """Returns the stored values of `keys` in one round trip; None if the server cannot be reached."""
        return self._ask(lambda client: client.get_many(keys))

    def set_many(self, values: Mapping[str, bytes], *, wait: bool = False) -> list[str] | None:
        """Stores values and returns the keys that the server refused, which are known only with `wait`.

        Returns None if the server cannot be reached.
        """
        return self._ask(lambda client: client.set_many(values, expire=self.expire, noreply=not wait))

    def statistics(self) -> dict[str, int] | None:
        """Returns the numbers in the server's own statistics; None if it cannot be reached."""
        return self._ask(lambda client: _numbers(client.stats()))

    def largest_value(self) -> int:
        """Returns how many bytes fit into one item of the server; it is asked once per connection."""
        if self._limit is None:
            settings = self._ask(_settings)
            if settings is None:
                return _DEFAULT_LIMIT - _OVERHEAD  # not remembered: the server may answer next time
            self._limit = settings.get("item_size_max", _DEFAULT_LIMIT) - _OVERHEAD
        return self._limit

    def _ask(self, question: Any) -> Any:
        if self._process != os.getpid():  # a forked process must not use its parent's connection
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
        except Exception as error:  # a server may answer anything, and the frames are on the disk anyway
            self.close()
            self._limit = None
            if not self._pause:
                _log.warning(
                    "memcached %s: %s; its frames are read from the disk until it is back", self.address, error
                )
            self._pause = min(max(_FIRST_PAUSE, 2 * self._pause), self.longest_pause)
            self._asleep_until = time.monotonic() + self._pause
            return None
        if self._pause:
            _log.warning("memcached %s: is back", self.address)
            self._pause = 0.0
        return answer


def _numbers(answer: Mapping[bytes, Any]) -> dict[str, int]:
    """Returns the entries of an answer that are whole numbers: a server may say anything, such as item_size_max abc."""
    texts = {
        key.decode(errors="replace"): value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        for key, value in answer.items()
    }
    return {key: int(text) for key, text in texts.items() if text.isdecimal() and len(text) < _MOST_DIGITS}


def _settings(client: Client) -> dict[str, int]:
    try:
        return _numbers(client.stats("settings"))
    except MemcacheError:  # a proxy may not know this command; a server that is down fails at the next one, too
        return {}


def parse_address(address: str) -> str | tuple[str, int]:
    """Returns an address as pymemcache takes it: the path of a Unix socket, or (host, port). Raises ConfigError."""
    text = str(address).removeprefix("unix:")
    if text.startswith("/"):
        return text
    match = _ADDRESS.fullmatch(text)
    if match is None or not 0 < int(match["port"] or _DEFAULT_PORT) < 65536:
        raise ConfigError(
            f"common.data.store.servers: {address!r} is neither host:port nor the absolute path of a Unix socket"
        )
    return match["v6"] or match["host"], int(match["port"] or _DEFAULT_PORT)


def choose(servers: Sequence[Server], name: bytes) -> Server:
    """Chooses the server of a name by rendezvous hashing, so that a new or removed server moves only its own share."""
    if len(servers) == 1:
        return servers[0]
    return max(servers, key=lambda server: hashlib.sha1(server.address.encode() + b"\0" + name).digest())
