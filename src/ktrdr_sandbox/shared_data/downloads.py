"""Fetches a pack over HTTP: with progress, resumed where it broke off, checked before it is used.

A file that is still coming lies in the cache with what is needed to go on with it: its validator,
so that a server's other file is never glued to the first half of this one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import cannot_write, make_folder, replace_file
from ktrdr_sandbox.shared_data.placing import no_room
from ktrdr_sandbox.shared_data.unpacked import HEAD, compression_of, not_an_archive

if TYPE_CHECKING:
    import httpx

_ATTEMPTS: Final = 4
"""Tries in a row that bring nothing, before it is given up."""
_FIRST_PAUSE: Final = 0.25
"""Seconds before the second try; each further one waits twice as long."""
_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that may be other ones a moment later."""

DownloadObserver = Callable[[int, int | None], None]
"""Told the bytes there are, and how many there will be if the server said so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackRequest:
    """What to fetch. `stall` is how long nothing may come, in seconds.

    `known` are the facts of an earlier run; with them, and when `may_skip`, an unchanged pack is
    not fetched again.
    """

    url: str
    sha256: str | None
    stall: float
    known: dict[str, Any] = field(default_factory=dict)
    may_skip: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """A pack that is there as a file; `path` is None when the server says it has not changed."""

    path: Path | None
    facts: dict[str, Any]


class _BrokenError(Exception):
    """The connection failed; trying again may help."""


def shown_url(url: str) -> str:
    """The address without what may be secret in it: user, password, query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def identity_of(url: str) -> str:
    """Short text that tells addresses apart, secrets included, without giving them away."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


class Download:
    """One pack on its way into the cache folder."""

    def __init__(self, request: PackRequest, cache: Path, observe: DownloadObserver) -> None:
        self._request = request
        self._observe = observe
        self._name = shown_url(request.url)
        stem = identity_of(request.url)
        self._part = cache / f"{stem}.part"
        self._note = cache / f"{stem}.json"
        self._total: int | None = None

    def fetch(self) -> Pack:
        """Get it whole. Raises `download-failed`, `checksum-mismatch`, `source-unusable`,
        `cannot-write`."""
        make_folder(self._part.parent, mode=0o700)
        facts = self._attempts()
        if facts is None:
            return Pack(path=None, facts=self._request.known)
        return Pack(path=self._part, facts=facts | {"sha256": self._checked()})

    def forget(self) -> None:
        """Remove it from the cache."""
        for path in (self._part, self._note):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _attempts(self) -> dict[str, Any] | None:
        """Try until it is there; facts of it, or None when there is nothing new."""
        import httpx

        pause, left = _FIRST_PAUSE, _ATTEMPTS
        timeout = httpx.Timeout(self._request.stall)
        with httpx.Client(timeout=timeout, follow_redirects=True) as client:
            while True:
                before = self._size()
                try:
                    return self._attempt(client)
                except (_BrokenError, httpx.TransportError) as error:
                    progress = self._size() > before
                    left = _ATTEMPTS - 1 if progress else left - 1
                    pause = _FIRST_PAUSE if progress else pause
                    if left <= 0:
                        raise self._failed(_told(error, self._request.stall)) from error
                except (httpx.InvalidURL, httpx.TooManyRedirects, UnicodeError) as error:
                    raise self._failed(str(error).rstrip(".")) from error
                time.sleep(pause)
                pause *= 2

    def _attempt(self, client: httpx.Client) -> dict[str, Any] | None:
        have = self._size()
        noted = self._noted() if have else {}
        headers = {"Accept-Encoding": "identity", **self._conditions(have, noted)}
        with client.stream("GET", self._request.url, headers=headers) as response:
            status = response.status_code
            self._refuse_downgrade(response)
            if status == 304 and self._request.may_skip and not have:
                return None
            if status == 416:
                return self._out_of_range(response, have, noted)
            if status in _AGAIN:
                raise _BrokenError(f"the server answers {status} {response.reason_phrase}")
            if status not in (200, 206):
                raise self._failed(f"the server answers {status} {response.reason_phrase}".strip())
            if status == 206 and not _begins_at(response, have):
                self.forget()
                raise _BrokenError("the server sent another part than was asked for")
            facts = _facts(response)
            self._receive(response, have if status == 206 else 0, facts)
            return facts

    def _conditions(self, have: int, noted: dict[str, Any]) -> dict[str, str]:
        if have:
            validator = noted.get("etag") or noted.get("modified")
            if validator:
                return {"Range": f"bytes={have}-", "If-Range": str(validator)}
            if self._request.sha256 is not None:  # which will show whether the halves fit
                return {"Range": f"bytes={have}-"}
            return {}
        known = self._request.known
        if not self._request.may_skip:
            return {}
        if known.get("etag"):
            return {"If-None-Match": str(known["etag"])}
        return {"If-Modified-Since": str(known["modified"])} if known.get("modified") else {}

    def _refuse_downgrade(self, response: httpx.Response) -> None:
        secure = self._request.url.lower().startswith("https:")
        if secure and response.url.scheme != "https" and self._request.sha256 is None:
            raise self._failed(
                f"it redirects to {shown_url(str(response.url))}, which is not encrypted",
                hint="Give its checksum, and it may come from anywhere: --sha256",
            )

    def _out_of_range(
        self, response: httpx.Response, have: int, noted: dict[str, Any]
    ) -> dict[str, Any]:
        """All of it is there already, or what is there belongs to something else."""
        total = response.headers.get("Content-Range", "").rpartition("/")[2]
        if have and total == str(have):
            return noted
        self.forget()
        raise _BrokenError("the server has another file now")

    def _receive(self, response: httpx.Response, at: int, facts: dict[str, Any]) -> None:
        length = response.headers.get("Content-Length")
        self._total = at + int(length) if length and length.isdecimal() else None
        self._check_room(at)
        replace_file(self._note, json.dumps(facts), mode=0o600)
        try:
            with self._opened(at) as file:
                self._write_all(response, file, at)
        except OSError as error:
            raise cannot_write(self._part, error) from error
        if self._total is not None and self._size() != self._total:
            raise _BrokenError("the connection broke off")

    def _write_all(self, response: httpx.Response, file: int, at: int) -> None:
        head = b""
        for block in response.iter_raw():  # as it comes: what has come is kept if it breaks off
            data = block
            if at == 0:
                # Nothing is written before it is clear that this is no page saying "not found".
                head += block
                if len(head) < HEAD and head.lstrip()[:1] != b"<":
                    continue
                self._refuse_page(head, response)
                data, head = head, b""
            self._write(file, data)
            at += len(data)
            self._observe(at, self._total)
        if at == 0:
            self._refuse_page(head, response)
            self._write(file, head)

    def _refuse_page(self, head: bytes, response: httpx.Response) -> None:
        if compression_of(head) is None:
            kind = response.headers.get("Content-Type", "").partition(";")[0]
            raise not_an_archive(self._name, why=f" (the server sent {kind or 'something else'})")

    @staticmethod
    def _write(file: int, data: bytes) -> None:
        while data:
            data = data[os.write(file, data) :]

    @contextmanager
    def _opened(self, at: int) -> Iterator[int]:
        file = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(file, at)
            os.lseek(file, at, os.SEEK_SET)
            yield file
        finally:
            os.close(file)

    def _check_room(self, at: int) -> None:
        if self._total is None:
            return
        info = os.statvfs(self._part.parent)
        free = info.f_bavail * info.f_frsize
        if self._total - at > free:
            raise no_room(self._part.parent, needed=self._total - at, free=free)

    def _size(self) -> int:
        try:
            return self._part.stat().st_size
        except OSError:
            return 0

    def _noted(self) -> dict[str, Any]:
        try:
            found = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _checked(self) -> str:
        """The checksum; one that is not the given one removes the file."""
        found = sha256_of(self._part)
        if self._request.sha256 not in (None, found):
            self.forget()
            raise wrong_checksum(self._name, expected=str(self._request.sha256), found=found)
        return found

    def _failed(self, why: str, *, hint: str = "") -> SandboxError:
        have = self._size()
        goes_on = f"The same command goes on after the {have:,} bytes that are there."
        hints = [hint] if hint else []
        return SandboxError(
            "download-failed",
            f"Cannot fetch {self._name}: {why}.",
            hints=[*hints, *([goes_on] if have else [])],
            details={"url": self._name, "bytes": have},
        )


def _told(error: Exception, stall: float) -> str:
    import httpx

    if isinstance(error, httpx.TimeoutException):
        return f"nothing came for {stall:g} s"
    return str(error).rstrip(".") or "the connection broke off"


def _begins_at(response: httpx.Response, have: int) -> bool:
    given: str = response.headers.get("Content-Range", "")
    return given.startswith(f"bytes {have}-")


def _facts(response: httpx.Response) -> dict[str, Any]:
    """What identifies the server's file. Weak validators are of no use for ranges."""
    etag = response.headers.get("ETag")
    found = {
        "etag": etag if etag and not etag.startswith("W/") else None,
        "modified": response.headers.get("Last-Modified"),
    }
    return {name: value for name, value in found.items() if value}


def sha256_of(path: Path) -> str:
    """The checksum of a file. Raises `source-missing`."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SandboxError(
            "source-missing",
            f"Cannot read {path}: {error.strerror}.",
            details={"source": str(path)},
        ) from error


def wrong_checksum(name: str, *, expected: str, found: str) -> SandboxError:
    """The error for a file that is not the one that was meant."""
    return SandboxError(
        "checksum-mismatch",
        f"{name} is not the file that was expected: its SHA-256 is {found}, not {expected}.",
        hints=("Nothing was unpacked. Check the address and the checksum.",),
        details={"source": name, "expected": expected, "found": found},
    )
