"""Fetches a pack over HTTP: with progress, resumed where it broke off.

A file that is still coming lies in the cache with its validator, so that a server's other file is
never glued to the first half of this one.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import httpx

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import cannot_write, replace_file
from ktrdr_sandbox.shared.apply import check_room
from ktrdr_sandbox.shared.results import Observer, Progress

_ATTEMPTS: Final = 4
"""Tries in a row that bring nothing, before it is given up."""
_FIRST_PAUSE: Final = 0.25
"""Seconds before the second try; each further one waits twice as long."""
_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that may be other ones a moment later."""


class _BrokenError(Exception):
    """The connection failed; trying again may help."""


def shown_url(url: str) -> str:
    """Return the address without what may be secret in it: user, password, query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def identity_of(url: str) -> str:
    """Return a text that tells addresses apart, secrets included, without giving them away."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


@dataclass(slots=True)
class Download:
    """One pack on its way into the cache folder. `stall`: seconds in which nothing may come."""

    url: str
    sha256: str | None
    stall: float
    cache: Path
    observe: Observer

    @property
    def path(self) -> Path:
        """Where the pack is when it has been fetched."""
        return self.cache / f"{identity_of(self.url)}.part"

    @property
    def _validator_path(self) -> Path:
        return self.path.with_suffix(".json")

    def forget(self) -> None:
        """Remove it from the cache."""
        self.path.unlink(missing_ok=True)
        self._validator_path.unlink(missing_ok=True)

    def fetch(self) -> None:
        """Get it whole. Raises `download-failed`, `cannot-write`."""
        failures = 0
        with httpx.Client(timeout=self.stall, follow_redirects=True) as client:
            while True:
                before = self._size()
                try:
                    self._try_once(client, before)
                    return
                except (_BrokenError, httpx.TransportError) as error:
                    failures = 1 if self._size() > before else failures + 1
                    if failures == _ATTEMPTS:
                        is_stalled = isinstance(error, httpx.TimeoutException)
                        why = f"nothing came for {self.stall:g} s" if is_stalled else str(error)
                        raise self._failed(why or "the connection broke off") from error
                except (httpx.InvalidURL, httpx.TooManyRedirects, UnicodeError) as error:
                    raise self._failed(str(error)) from error
                except OSError as error:
                    raise cannot_write(self.path, error) from error
                time.sleep(_FIRST_PAUSE * 2 ** (failures - 1))

    def _try_once(self, client: httpx.Client, have: int) -> None:
        headers = {"Accept-Encoding": "identity"}
        if have:
            validator = self._validator()
            if validator or self.sha256 is not None:  # a checksum shows whether the halves fit
                headers["Range"] = f"bytes={have}-"
            if validator:
                headers["If-Range"] = validator
        with client.stream("GET", self.url, headers=headers) as response:
            status = response.status_code
            sent = response.headers.get("Content-Range", "")
            is_secure = self.url.lower().startswith("https:")
            if is_secure and response.url.scheme != "https" and self.sha256 is None:
                raise self._failed(
                    f"it redirects to {shown_url(str(response.url))}, which is not encrypted",
                    "Give its checksum, and it may come from anywhere: --sha256",
                )
            if status == 416 and have and sent.rpartition("/")[2] == str(have):
                return  # all of it is there already
            if status == 416 or (status == 206 and not sent.startswith(f"bytes {have}-")):
                self.forget()
                raise _BrokenError("the server has another file now")
            if status not in (200, 206):
                why = f"the server answers {status} {response.reason_phrase}".strip()
                raise _BrokenError(why) if status in _AGAIN else self._failed(why)
            self._receive(response, have if status == 206 else 0)

    def _receive(self, response: httpx.Response, at: int) -> None:
        length = response.headers.get("Content-Length", "")
        total = at + int(length) if length.isdecimal() else None
        check_room(self.cache, (total or at) - at)
        etag = response.headers.get("ETag", "W/")
        # A weak one is of no use for ranges.
        validator = response.headers.get("Last-Modified", "") if etag.startswith("W/") else etag
        replace_file(self._validator_path, json.dumps(validator), mode=0o600)
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.truncate(at)
            file.seek(at)
            for block in response.iter_raw():  # as it comes: what came is kept if it breaks off
                file.write(block)
                at += len(block)
                self.observe(Progress("downloading", at, total))
        if total is not None and at != total:
            raise _BrokenError("the connection broke off")

    def _size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def _validator(self) -> str:
        try:
            found = json.loads(self._validator_path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return ""
        return found if isinstance(found, str) else ""

    def _failed(self, why: str, hint: str = "") -> SandboxError:
        have, name = self._size(), shown_url(self.url)
        goes_on = f"The same command goes on after the {have:,} bytes that are there."
        return SandboxError(
            "download-failed",
            f"Cannot fetch {name}: {why.rstrip('.')}.",
            hints=[text for text in (hint, goes_on if have else "") if text],
            details={"url": name, "bytes": have},
        )
