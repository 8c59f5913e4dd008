"""The images of the lab: one folder each, and a tag that names the content of that folder."""

import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
BASE_FOLDER = FOLDER / "base"
TINY_FOLDER = FOLDER / "tiny"
DIGITS = 12


@dataclass(frozen=True)
class Recipe:
    """An image built from the base image by the Dockerfile of `folder`."""

    name: str

    @property
    def folder(self) -> Path:
        return FOLDER / self.name.replace("-", "_")

    def tag(self, base: str) -> str:
        return f"ktrdr-lab/{self.name}:{digest(self.folder, base)}"

    def context(self) -> bytes:
        """The build context as a tar archive, the same whatever umask the checkout has."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for path in files(self.folder):
                entry = tarfile.TarInfo(path.relative_to(self.folder).as_posix())
                data = path.read_bytes()
                entry.size, entry.mode = len(data), 0o644
                tar.addfile(entry, io.BytesIO(data))
        return archive.getvalue()


DATABASE = Recipe("timescaledb-standin")
PYTHON = Recipe("python")
PROMETHEUS = Recipe("prometheus")
GRAFANA = Recipe("grafana-standin")
JAEGER = Recipe("jaeger-standin")
DERIVED = (DATABASE, PROMETHEUS, PYTHON, GRAFANA, JAEGER)


def base_tag(architecture: str) -> str:
    return f"ktrdr-lab/base:{digest(BASE_FOLDER, architecture)}"


def tiny_tag(architecture: str) -> str:
    return f"ktrdr-lab/tiny:{digest(TINY_FOLDER, architecture)}"


def digest(folder: Path, *inputs: str) -> str:
    """The first digits of the SHA-256 over names and contents of a folder's files, and `inputs`."""
    total = hashlib.sha256()
    for text in inputs:
        total.update(_field(text.encode()))
    for path in files(folder):
        total.update(_field(path.relative_to(folder).as_posix().encode()))
        total.update(_field(path.read_bytes()))
    return total.hexdigest()[:DIGITS]


def _field(data: bytes) -> bytes:
    return len(data).to_bytes(8, "big") + data


def files(folder: Path) -> Iterator[Path]:
    """What belongs to a recipe: no bytecode that an import left behind."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            yield path


def lines(path: Path) -> list[str]:
    """The lines of a list file, without comments and empty lines."""
    texts = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [text for text in texts if text]
