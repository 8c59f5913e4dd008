"""Which API address a command in a directory means, why, and what was passed over.

Product contract, "Instance targeting": `--url`, `--port`, the `.env.sandbox` file of the current
directory's tree, KTRDR_API_URL or KTRDR_API_PORT, http://localhost:8000. Where a file is, another
address is never taken silently: one that cannot be read or names no port is an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

from ktrdr_sandbox import env_file, own_commands
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.paths import ENV_FILE_NAME, Home, checkout_root

URL_VARIABLE: Final = "KTRDR_API_URL"
PORT_VARIABLE: Final = "KTRDR_API_PORT"
MAIN_URL: Final = "http://localhost:8000"
"""The main environment's: slot 0."""

_WAY_OUT: Final = "To aim elsewhere meanwhile: --port or --url."
_HIGHEST_PORT: Final = 65535
_API_PATH: Final = "/api/v1"
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_LOCAL: Final = re.compile(r"localhost|127(?:\.\d+){3}|\[::1\]|0\.0\.0\.0")
_DEFAULT_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}

Source = Literal["--url", "--port", "file", "variable", "default"]


class ApiAddress(NamedTuple):
    """Where to, and why. `url` has no `/` at its end and no `/api/v1`."""

    url: str
    source: Source
    why: str
    warnings: tuple[str, ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that aim a program there."""
        scheme, _, rest = self.url.partition("://")
        port = re.search(r":(\d+)$", rest.partition("/")[0])
        number = port[1] if port else str(_DEFAULT_PORTS[scheme])
        return {URL_VARIABLE: self.url, PORT_VARIABLE: number}


class EnvFile(NamedTuple):
    """One `.env.sandbox` and what it says."""

    path: Path
    values: Mapping[str, str]

    @property
    def url(self) -> str:
        """Raises `env-file-damaged` when it names no port."""
        text = self.values.get(PORT_VARIABLE, "")
        try:
            return local_url(_port(text))
        except ValueError as problem:
            raise SandboxError(
                "env-file-damaged",
                f"{self.path} does not tell the API's port: {PORT_VARIABLE}={text} {problem}."
                if PORT_VARIABLE in self.values
                else f"{self.path} does not tell the API's port: it has no {PORT_VARIABLE}.",
                hints=("To have it written anew: remove that file, then run 'ktrdr-sandbox env'.",),
                details={"path": str(self.path)},
            ) from None


def local_url(port: int) -> str:
    """The address of an API that is published on this machine."""
    return f"http://localhost:{port}"


def address_in(
    directory: Path,
    *,
    url: str | None,
    port: str | None,
    environment: Mapping[str, str],
    home: Home,
) -> ApiAddress:
    """By the order above, reading the directory's file when it comes to that.

    Raises `usage`, `bad-settings`, and `env-file-damaged`, also in the directory of an instance
    that has lost its file: the default would be somebody else's stack.
    """
    file = None
    if url is None and port is None:
        path = env_file.find(directory)
        file = EnvFile(path, env_file.read(path)) if path is not None else None
    found = decide(url=url, port=port, file=file, environment=environment)
    if found.source == "default":
        _refuse_without_file(directory, home)
    return found


def decide(
    *, url: str | None, port: str | None, file: EnvFile | None, environment: Mapping[str, str]
) -> ApiAddress:
    """By the order above, from what is known. Raises `usage`, `bad-settings`, `env-file-damaged`.

    `port` is as typed. Variables that are empty count as not set.
    """
    if url is not None:
        return ApiAddress(_given_url(url), "--url", "--url says so")
    if port is not None:
        return ApiAddress(_given_port(port), "--port", "--port says so")
    if file is not None:
        return _by_file(file, environment)
    if text := environment.get(URL_VARIABLE):
        return ApiAddress(_by_variable(URL_VARIABLE, text), "variable", f"{URL_VARIABLE} says so")
    if text := environment.get(PORT_VARIABLE):
        return ApiAddress(_by_variable(PORT_VARIABLE, text), "variable", f"{PORT_VARIABLE} says so")
    why = f"neither {ENV_FILE_NAME} nor a variable says otherwise: the main environment"
    return ApiAddress(MAIN_URL, "default", why)


def normal_url(text: str) -> str:
    """One spelling of an API's base address. Raises ValueError with what is wrong, as a clause."""
    from urllib.parse import urlsplit

    text = text.strip()
    if re.search(r"[\s\\\x00-\x1f\x7f]", text):
        raise ValueError("has a blank or a sign that no address has")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"cannot be read ({error})") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise ValueError("does not begin with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("has a user or a password in it")
    if parts.query or parts.fragment or text.endswith(("?", "#")):
        raise ValueError("has a query or a fragment")
    if port == 0:
        raise ValueError("has port 0")
    host = _host(parts.hostname or "", bracketed=parts.netloc.startswith("["))
    path = parts.path.rstrip("/").removesuffix(_API_PATH).rstrip("/")
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{path}"


def _host(name: str, *, bracketed: bool) -> str:
    if not bracketed:
        if not _HOST_NAME.fullmatch(name):
            raise ValueError("has no host" if not name else f"has a host that is none: {name}")
        return name
    from ipaddress import AddressValueError, IPv6Address

    try:
        return f"[{IPv6Address(name)}]"
    except AddressValueError:
        raise ValueError(f"has a host that is none: [{name}]") from None


def _port(text: str) -> int:
    """Raises ValueError with what is wrong, as a clause."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) <= _HIGHEST_PORT:
        raise ValueError(f"is no port (1 to {_HIGHEST_PORT})")
    return int(text)


def _given_url(text: str) -> str:
    try:
        return normal_url(text)
    except ValueError as problem:
        raise SandboxError(
            "usage",
            f"--url: '{text}' {problem}.",
            hints=(f"It is written like {MAIN_URL} or http://[::1]:8000.",),
        ) from None


def _given_port(text: str) -> str:
    try:
        return local_url(_port(text))
    except ValueError as problem:
        raise SandboxError("usage", f"--port: '{text}' {problem}.") from None


def _by_file(file: EnvFile, environment: Mapping[str, str]) -> ApiAddress:
    try:
        url = file.url
    except SandboxError as error:
        error.hints = (*error.hints, _WAY_OUT)
        raise
    return ApiAddress(url, "file", f"{file.path} says so", _passed_over(file, environment))


def _by_variable(name: str, text: str) -> str:
    try:
        return normal_url(text) if name == URL_VARIABLE else local_url(_port(text.strip()))
    except ValueError as problem:
        raise SandboxError(
            "bad-settings", f"The variable {name}: '{text}' {problem}.", hints=(f"unset {name}",)
        ) from None


def _passed_over(file: EnvFile, environment: Mapping[str, str]) -> tuple[str, ...]:
    """One sentence on the variables that say otherwise than the file, if any does."""
    given = {name: environment.get(name) for name in (URL_VARIABLE, PORT_VARIABLE)}
    other = [
        f"{name}={text}" for name, text in given.items() if text and not _agrees(name, text, file)
    ]
    if not other:
        return ()
    verb = "is" if len(other) == 1 else "are"
    return (f"{' and '.join(other)} {verb} ignored: {file.path} says {file.url}.",)


def _agrees(name: str, text: str, file: EnvFile) -> bool:
    try:
        return _place(_by_variable(name, text)) == _place(file.url)
    except SandboxError:
        return False


def _place(url: str) -> tuple[str, str, int, str]:
    """What two spellings of one address have in common."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    host = parts.netloc.removesuffix(f":{parts.port}")
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    return parts.scheme, "localhost" if _LOCAL.fullmatch(host) else host, port, parts.path


def _refuse_without_file(directory: Path, home: Home) -> None:
    """Raises `env-file-damaged` where the registry has the checkout and its file is missing."""
    root = checkout_root(directory)
    try:
        text = home.registry.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return
    if root is None or (root.name.isascii() and root.name not in text):
        return  # without importing json
    import json

    try:
        known = json.loads(text).get("instances", {})
        names = [name for name, entry in known.items() if Path(entry["path"]).resolve() == root]
    except (ValueError, AttributeError, KeyError, TypeError):
        return  # damaged: the commands that need the registry tell, and mend it
    if names:
        from ktrdr_sandbox.models import ID_PREFIX

        write_anew = own_commands.on(names[0].removeprefix(ID_PREFIX), "env")
        raise SandboxError(
            "env-file-damaged",
            f"{root} is the instance {names[0]}, but its {ENV_FILE_NAME} is missing.",
            hints=(f"To have it written anew: {write_anew}", _WAY_OUT),
            details={"instance": names[0], "path": str(root)},
        )
