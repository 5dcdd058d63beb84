"""A camera that speaks RTSP on the loopback: MPEG-TS in RTP packets, over the connection that asks for them."""

from __future__ import annotations

import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

TS_PACKET, PER_PACKET = 188, 7
KIND = 33  # of an MPEG transport stream, in RTP
CLOCK = 90_000
SDP = "\r\n".join(
    ["v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=door", "c=IN IP4 0.0.0.0", "t=0 0", f"m=video 0 RTP/AVP {KIND}",
     "a=control:track", ""]
)  # fmt: skip


@contextmanager
def camera(content: bytes, *, seconds: float, asked: list[str] | None = None) -> Iterator[str]:
    """Yields the address of a camera that sends an MPEG-TS file once to whoever plays it, and hangs up.

    seconds: that it takes to send the file. asked: collects the methods of all requests.
    """
    handler = _handler(content, seconds, [] if asked is None else asked)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"rtsp://127.0.0.1:{server.server_address[1]}/door"
        finally:
            server.shutdown()


def _handler(content: bytes, seconds: float, asked: list[str]) -> type[socketserver.StreamRequestHandler]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while line := self.rfile.readline().decode():
                headers = {}
                while header := self.rfile.readline().decode().strip():
                    name, _, value = header.partition(":")
                    headers[name.lower()] = value.strip()
                asked.append(line.partition(" ")[0])
                if not self._answer(asked[-1], headers):
                    return

        def _answer(self, method: str, headers: dict[str, str]) -> bool:
            """Answers a request; returns whether another may follow."""
            status, more, body = "200 OK", {}, ""
            if method == "OPTIONS":
                more = {"Public": "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"}
            elif method == "DESCRIBE":
                more, body = {"Content-Type": "application/sdp"}, SDP
            elif method == "SETUP" and "interleaved" not in headers["transport"]:
                status = "461 Unsupported Transport"
            elif method == "SETUP":
                more = {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1", "Session": "1"}
            fields = {"CSeq": headers["cseq"], **more, **({"Content-Length": str(len(body))} if body else {})}
            head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            self.wfile.write(f"RTSP/1.0 {status}\r\n{head}\r\n{body}".encode())
            if method == "PLAY":
                self._send()
            return method not in ("PLAY", "TEARDOWN")

        def _send(self) -> None:
            size = TS_PACKET * PER_PACKET
            count = -(-len(content) // size)
            for number in range(count):
                part = content[number * size : (number + 1) * size]
                stamp = round(number / count * seconds * CLOCK)
                packet = struct.pack("!BBHII", 0x80, KIND, number & 0xFFFF, stamp, 1) + part
                try:
                    self.wfile.write(struct.pack("!cBH", b"$", 0, len(packet)) + packet)
                except OSError:  # whoever watched has left
                    return
                time.sleep(seconds / count)

    return Handler
