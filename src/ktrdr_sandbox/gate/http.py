"""HTTP questions to published ports.

httpx is imported when the first one is asked: it is slow to import, and commands that only show an
address load this module too.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ktrdr_sandbox.models import PublishedPort

if TYPE_CHECKING:
    import httpx

_EVERYWHERE: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
BODY_LIMIT: Final = 4 * 1024 * 1024  # bytes read of an answer at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back. `status` is None when no HTTP answer did, and `trouble` then says why.

    `silent`: the connection was accepted, and time ran out over it.
    """

    shown: str
    status: int | None = None
    body: bytes = b""
    trouble: str = ""
    silent: bool = False

    @property
    def fact(self) -> str:
        """For the report: `GET http://localhost:8002/health returned 500`."""
        outcome = self.trouble if self.status is None else f"returned {self.status}"
        return f"GET {self.shown} {outcome}"


def published_address(port: PublishedPort) -> str:
    """Give the address of this machine at which a port can be reached."""
    return _EVERYWHERE.get(port.host_ip, port.host_ip)


def shown_url(port: PublishedPort, path: str) -> str:
    """Give the address as people type it."""
    if published_address(port) in ("127.0.0.1", "::1"):
        return f"http://localhost:{port.published}{path}"
    return asked_url(port, path)


def asked_url(port: PublishedPort, path: str) -> str:
    """Give the address that is connected to: exactly the one published on, never a name."""
    host = published_address(port)
    return f"http://{f'[{host}]' if ':' in host else host}:{port.published}{path}"


def load() -> None:
    """Import what the first question needs: for a thread, while the command waits for Docker."""
    import anyio  # noqa: F401  httpx's transport loads it with the first connection
    import httpx  # noqa: F401


class Http:
    """One client for a gate. `timeout`: seconds to connect, and for each wait on an answer."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._client: httpx.AsyncClient | None = None

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def get(  # noqa: C901  one handler for each kind of failure
        self, port: PublishedPort, path: str, *, body: bool = False, host: str | None = None
    ) -> Answer:
        """Ask once. Never raises for what the other side does.

        `body`: read the answer's too. `host` is whom the question is for, as its header says.
        """
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(
                # A proxy from the environment could answer for a stack that does not.
                trust_env=False,
                timeout=self._timeout,
                # Each question a new connection: the listener of now answers, not one of before.
                limits=httpx.Limits(max_keepalive_connections=0),
                # Everything is plain HTTP; loading the certificate store takes 20 ms for nothing.
                verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            )
        shown, content, limit = shown_url(port, path), b"", f"{self._timeout:g} s"
        asked = self._client.stream(
            "GET", asked_url(port, path), headers={"Host": host} if host else {}
        )
        try:
            # Bounds an answer that comes in drops, each in time; the client's limits do not.
            async with asyncio.timeout(2 * self._timeout), asked as response:
                if body:
                    async for part in response.aiter_bytes():
                        content += part
                        if len(content) > BODY_LIMIT:
                            break
        except httpx.ConnectTimeout:
            return Answer(shown=shown, trouble=f"found nobody within {limit}")
        except (httpx.TimeoutException, TimeoutError):
            trouble = f"accepted the connection and did not answer within {limit}"
            return Answer(shown=shown, trouble=trouble, silent=True)
        except httpx.ConnectError:
            return Answer(shown=shown, trouble="could not connect: nobody listens")
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            return Answer(shown=shown, trouble="closed the connection without an answer")
        except (httpx.TransportError, httpx.DecodingError) as error:
            return Answer(shown=shown, trouble=f"failed: {error}")
        return Answer(shown=shown, status=response.status_code, body=content)
