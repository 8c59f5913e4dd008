"""Which API address a command in a directory means, why, and what was passed over.

Product contract, "Instance targeting": `--url`, `--port`, the `.env.sandbox` file of the current
directory's tree, KTRDR_API_URL or KTRDR_API_PORT, http://localhost:8000. Where a file is, another
address is never taken silently: one that cannot be read or names no port is an error.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit

from ktrdr_sandbox import env_file, own_commands
from ktrdr_sandbox.errors import ErrorCode, SandboxError
from ktrdr_sandbox.models import HOST_VARIABLES, ID_PREFIX
from ktrdr_sandbox.paths import ENV_FILE_NAME, Home, checkout_root

URL_VARIABLE: Final = "KTRDR_API_URL"
PORT_VARIABLE: Final = "KTRDR_API_PORT"
MAIN_URL: Final = "http://localhost:8000"
"""The main environment's: slot 0."""

_WAY_OUT: Final = "To aim elsewhere meanwhile: --port or --url."
_LOCAL: Final = re.compile(r"localhost|127(?:\.\d+){3}|\[::1\]|0\.0\.0\.0")
_DEFAULT_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}

Source = Literal["--url", "--port", "file", "variable", "default"]


class ApiAddress(NamedTuple):
    """Where to, and why. `url` has no `/` at its end and no `/api/v1`; `tools` are the variables
    that aim a program at the other tools of the instance, where a file tells of one."""

    url: str
    source: Source
    why: str
    warnings: tuple[str, ...] = ()
    tools: Mapping[str, str] = {}

    @property
    def environment(self) -> dict[str, str]:
        """The variables that aim a program at the API."""
        parts = urlsplit(self.url)
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
        return {URL_VARIABLE: self.url, PORT_VARIABLE: str(port)}


def local_url(port: int) -> str:
    """The address of something that is published on this machine."""
    return f"http://localhost:{port}"


def api_url(path: Path, values: Mapping[str, str]) -> str:
    """The API's address by an `.env.sandbox`. Raises `env-file-damaged` when it names no port."""
    text = values.get(PORT_VARIABLE, "")
    try:
        return local_url(_port(text))
    except ValueError as problem:
        what = f"{PORT_VARIABLE}={text} {problem}"
        raise SandboxError(
            "env-file-damaged",
            f"{path} does not tell the API's port: "
            f"{what if PORT_VARIABLE in values else f'it has no {PORT_VARIABLE}'}.",
            hints=("To have it written anew: remove that file, then run 'ktrdr-sandbox env'.",),
            details={"path": str(path)},
        ) from None


def tool_addresses(values: Mapping[str, str]) -> dict[str, str]:
    """What programs on this machine need to reach the tools of an instance, by its file."""
    return {
        variable: local_url(int(values[port]))
        for variable, port in HOST_VARIABLES.items()
        if values.get(port, "").isdecimal()
    }


def address_in(
    directory: Path,
    *,
    url: str | None,
    port: str | None,
    environment: Mapping[str, str],
    home: Home,
) -> ApiAddress:
    """By the order above. `port` is as typed; variables that are empty count as not set.

    Raises `usage`, `bad-settings`, and `env-file-damaged`, also in the directory of an instance
    that has lost its file: the default would be somebody else's stack.
    """
    if url is not None:
        hint = f"It is written like {MAIN_URL} or http://[::1]:8000."
        given = _parsed(url, is_url=True, code="usage", place="--url", hints=(hint,))
        return ApiAddress(given, "--url", "--url says so")
    if port is not None:
        given = _parsed(port, is_url=False, code="usage", place="--port")
        return ApiAddress(given, "--port", "--port says so")
    path = env_file.find(directory)
    if path is not None:
        return _by_file(path, environment)
    for name in (URL_VARIABLE, PORT_VARIABLE):
        if text := environment.get(name):
            return ApiAddress(_by_variable(name, text), "variable", f"{name} says so")
    _refuse_without_file(directory, home)
    why = f"neither {ENV_FILE_NAME} nor a variable says otherwise: the main environment"
    return ApiAddress(MAIN_URL, "default", why)


def normal_url(text: str) -> str:
    """One spelling of an API's base address. Raises ValueError with what is wrong, as a clause."""
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
    path = parts.path.rstrip("/").removesuffix("/api/v1").rstrip("/")
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{path}"


def _host(name: str, *, bracketed: bool) -> str:
    if not name:
        raise ValueError("has no host")
    if bracketed:
        try:
            return f"[{ipaddress.IPv6Address(name)}]"
        except ValueError:
            name = f"[{name}]"
    if not re.fullmatch(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?", name):
        raise ValueError(f"has a host that is none: {name}")
    return name


def _port(text: str) -> int:
    """Raises ValueError with what is wrong, as a clause."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) <= 65535:
        raise ValueError("is no port (1 to 65535)")
    return int(text)


def _parsed(
    text: str, *, is_url: bool, code: ErrorCode, place: str, hints: tuple[str, ...] = ()
) -> str:
    try:
        return normal_url(text) if is_url else local_url(_port(text))
    except ValueError as problem:
        raise SandboxError(code, f"{place}: '{text}' {problem}.", hints=hints) from None


def _by_variable(name: str, text: str) -> str:
    return _parsed(
        text.strip(),
        is_url=name == URL_VARIABLE,
        code="bad-settings",
        place=f"The variable {name}",
        hints=(f"unset {name}",),
    )


def _by_file(path: Path, environment: Mapping[str, str]) -> ApiAddress:
    values = env_file.read(path)
    try:
        url = api_url(path, values)
    except SandboxError as error:
        error.hints = (*error.hints, _WAY_OUT)
        raise
    given = {name: environment.get(name) for name in (URL_VARIABLE, PORT_VARIABLE)}
    other = [
        f"{name}={text}" for name, text in given.items() if text and not _agrees(name, text, url)
    ]
    verb = "is" if len(other) == 1 else "are"
    warning = f"{' and '.join(other)} {verb} ignored: {path} says {url}."
    return ApiAddress(
        url, "file", f"{path} says so", (warning,) if other else (), tool_addresses(values)
    )


def _agrees(name: str, text: str, url: str) -> bool:
    try:
        return _place(_by_variable(name, text)) == _place(url)
    except SandboxError:
        return False


def _place(url: str) -> tuple[str, str, int, str]:
    """What two spellings of one address have in common."""
    parts = urlsplit(url)
    host = parts.netloc.removesuffix(f":{parts.port}")
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    return parts.scheme, "localhost" if _LOCAL.fullmatch(host) else host, port, parts.path


def _refuse_without_file(directory: Path, home: Home) -> None:
    """Raises `env-file-damaged` where the registry has the checkout and its file is missing."""
    root = checkout_root(directory)
    try:
        known = json.loads(home.registry.read_text(encoding="utf-8"))["instances"]
        names = [name for name, entry in known.items() if Path(entry["path"]).resolve() == root]
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return  # damaged: the commands that need the registry tell, and mend it
    if names:
        write_anew = own_commands.on(names[0].removeprefix(ID_PREFIX), "env")
        raise SandboxError(
            "env-file-damaged",
            f"{root} is the instance {names[0]}, but its {ENV_FILE_NAME} is missing.",
            hints=(f"To have it written anew: {write_anew}", _WAY_OUT),
            details={"instance": names[0], "path": str(root)},
        )
