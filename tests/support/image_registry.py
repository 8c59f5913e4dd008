"""An image registry on localhost that has one image and hands its layer out slowly."""

from __future__ import annotations

import contextlib
import functools
import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG: Final = "application/vnd.docker.container.image.v1+json"
LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"
CHUNKS: Final = 20
SMALL: Final = 2**16
"""Bytes that are handed out at once."""


@dataclass(frozen=True)
class _Store:
    """What is handed out. `pause`: seconds between two parts of a blob that is not small."""

    manifest: bytes
    blobs: Mapping[str, bytes]
    pause: float


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments: Any, store: _Store) -> None:
        self._store = store
        super().__init__(*arguments)

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        if "/manifests/" in self.path:
            self._say(self._store.manifest, MANIFEST)
        elif name in self._store.blobs:
            self._say(self._store.blobs[name], "application/octet-stream")
        else:
            self._say(b"{}", "application/json")  # /v2/: it speaks this version

    def do_HEAD(self) -> None:
        self.do_GET()

    def _say(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Docker-Content-Digest", _digest(body))
        self.end_headers()
        if self.command == "HEAD":
            return
        size = max(1, len(body) // CHUNKS)
        with contextlib.suppress(ConnectionError):  # a client that only wanted the headers
            for start in range(0, len(body), size):
                self.wfile.write(body[start : start + size])
                time.sleep(self._store.pause if len(body) > SMALL else 0.0)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base's name
        """Quiet."""


@contextmanager
def image_registry(image: str, *, seconds: float) -> Iterator[str]:
    """Gives the reference under which a copy of a local image can be pulled.

    `seconds`: how long a large layer takes. The engine keeps no name of it afterwards.
    """
    blobs, manifest = _contents(image)
    store = _Store(manifest, blobs, seconds / CHUNKS)
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, store=store)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        reference = f"localhost:{server.server_address[1]}/pulled:1"
        try:
            yield reference
        finally:
            server.shutdown()
            thread.join()
            subprocess.run(["docker", "image", "rm", reference], capture_output=True, check=False)


def _contents(image: str) -> tuple[dict[str, bytes], bytes]:
    """Blobs by digest, and the manifest, of a copy that no engine has a layer of yet."""
    saved = subprocess.run(["docker", "save", image], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(saved)) as archive:
        (listed,) = json.loads(_file(archive, "manifest.json"))
        config = json.loads(_file(archive, listed["Config"]))
        layers = [_file(archive, name) for name in listed["Layers"]]
    layers.append(_padding())
    config["rootfs"]["diff_ids"] = [_digest(layer) for layer in layers]
    config.pop("history", None)
    packed = [gzip.compress(layer, 1) for layer in layers]
    described = json.dumps(config).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _entry(described, CONFIG),
        "layers": [_entry(layer, LAYER) for layer in packed],
    }
    blobs = {_digest(blob): blob for blob in (described, *packed)}
    return blobs, json.dumps(manifest).encode()


def _padding() -> bytes:
    """A layer of a megabyte that is new each time and does not get smaller."""
    content = os.urandom(2**20)
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        entry = tarfile.TarInfo("padding")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return whole.getvalue()


def _file(archive: tarfile.TarFile, name: str) -> bytes:
    opened = archive.extractfile(name)
    assert opened is not None
    return opened.read()


def _entry(blob: bytes, kind: str) -> dict[str, Any]:
    return {"mediaType": kind, "size": len(blob), "digest": _digest(blob)}


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"
