"""HTTP questions: where they go, and how every kind of answer is told."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import aclosing

import pytest

from ktrdr_sandbox.gate.http import Answer, Http, asked_url, shown_url
from ktrdr_sandbox.models import PublishedPort
from tests.support.gate_engine import published
from tests.support.http_server import DROP, HANG, HttpServer, Reply, closed_port


def port(number: int, *, host_ip: str = "127.0.0.1") -> PublishedPort:
    return published("backend", 8000, number, "backend", host_ip=host_ip)


def ask(number: int, path: str = "/x", *, timeout: float = 0.3, body: bool = False) -> Answer:
    async def once() -> Answer:
        async with aclosing(Http(timeout)) as http:
            return await http.get(port(number), path, body=body)

    return asyncio.run(once())


@pytest.mark.parametrize(
    ("host_ip", "asked", "shown"),
    [
        ("127.0.0.1", "http://127.0.0.1:8002/x", "http://localhost:8002/x"),
        ("0.0.0.0", "http://127.0.0.1:8002/x", "http://localhost:8002/x"),
        ("", "http://127.0.0.1:8002/x", "http://localhost:8002/x"),
        ("::", "http://[::1]:8002/x", "http://localhost:8002/x"),
        ("192.168.1.5", "http://192.168.1.5:8002/x", "http://192.168.1.5:8002/x"),
        ("fd00::5", "http://[fd00::5]:8002/x", "http://[fd00::5]:8002/x"),
    ],
)
def test_the_address_published_on_is_the_one_asked(host_ip: str, asked: str, shown: str) -> None:
    place = port(8002, host_ip=host_ip)
    assert (asked_url(place, "/x"), shown_url(place, "/x")) == (asked, shown)


def test_status_and_body() -> None:
    with HttpServer({"/x": Reply(status=503, body=b"[1]")}) as server:
        answer = ask(server.port, body=True)
        assert (answer.status, answer.body) == (503, b"[1]")
        assert answer.fact == f"GET http://localhost:{server.port}/x returned 503"
        assert ask(server.port).body == b""


def test_silence_refusal_and_hanging_up() -> None:
    with HttpServer({"/hang": HANG, "/drop": DROP}) as server:
        hung, dropped = ask(server.port, "/hang"), ask(server.port, "/drop")
    assert hung.trouble == "accepted the connection and did not answer within 0.3 s"
    assert dropped.trouble == "closed the connection without an answer"
    assert ask(closed_port()).trouble == "could not connect: nobody listens"


def test_what_is_no_http_is_no_answer() -> None:
    async def scene() -> Answer:
        async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"SSH-2.0-OpenSSH_9\r\n")
            writer.close()

        server = await asyncio.start_server(shout, "127.0.0.1", 0)
        async with server, aclosing(Http(0.3)) as http:
            return await http.get(port(server.sockets[0].getsockname()[1]), "/")

    answer = asyncio.run(scene())
    assert (answer.status, answer.trouble) == (None, "closed the connection without an answer")


def test_an_answer_in_drops_is_not_waited_for_without_end() -> None:
    async def scene() -> Answer:
        ended = asyncio.Event()

        async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while not reader.at_eof():
                writer.write(b".")
                await asyncio.sleep(0.05)
                with contextlib.suppress(TimeoutError, ConnectionError):
                    async with asyncio.timeout(0.001):
                        await reader.read(1)
            writer.close()
            ended.set()

        server = await asyncio.start_server(drip, "127.0.0.1", 0)
        async with server, aclosing(Http(0.2)) as http:
            answer = await http.get(port(server.sockets[0].getsockname()[1]), "/", body=True)
            await ended.wait()
        return answer

    assert asyncio.run(scene()).status is None


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with HttpServer({"/x": Reply(status=200)}) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert ask(closed_port()).status is None
        assert proxy.asked == []
