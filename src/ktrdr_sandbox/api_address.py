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
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import HOST_VARIABLES, ID_PREFIX
from ktrdr_sandbox.paths import ENV_FILE_NAME, Home, checkout_root

URL_VARIABLE: Final = "KTRDR_API_URL"
PORT_VARIABLE: Final = "KTRDR_API_PORT"
MAIN_URL: Final = "http://localhost:8000"  # the main environment's: slot 0

_WAY_OUT: Final = "To aim elsewhere meanwhile: --port or --url."
_LOCAL: Final = re.compile(r"localhost|127(?:\.\d+){3}|\[::1\]|0\.0\.0\.0")
_HOST: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
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
    def port(self) -> int:
        return _place(self.url)[2]


def local_url(port: int) -> str:
    """The address of something that is published on this machine."""
    return f"http://localhost:{port}"


def api_url(path: Path, values: Mapping[str, str]) -> str:
    """The API's address by an `.env.sandbox`. Raises `env-file-damaged` when it names no port."""
    text = values.get(PORT_VARIABLE)
    try:
        return _local_of(text or "")
    except ValueError as problem:
        what = f"{PORT_VARIABLE}={text} {problem}"
        if text is None:
            what = f"it has no {PORT_VARIABLE}"
        raise SandboxError(
            "env-file-damaged",
            f"{path} does not tell the API's port: {what}.",
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
    try:
        if url is not None:
            return ApiAddress(normal_url(url), "--url", "--url says so")
        if port is not None:
            return ApiAddress(_local_of(port), "--port", "--port says so")
    except ValueError as problem:
        hint = f"It is written like {MAIN_URL} or http://[::1]:8000."
        given, hints = ("--port", ()) if url is None else ("--url", (hint,))
        raise SandboxError(
            "usage", f"{given}: '{port if url is None else url}' {problem}.", hints=hints
        ) from None
    path = env_file.find(directory)
    if path is not None:
        return _by_file(path, environment)
    for name in (URL_VARIABLE, PORT_VARIABLE):
        if text := environment.get(name):
            try:
                return ApiAddress(_by_variable(name, text), "variable", f"{name} says so")
            except ValueError as problem:
                message = f"The variable {name}: '{text.strip()}' {problem}."
                raise SandboxError("bad-settings", message, hints=(f"unset {name}",)) from None
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
    faults = {
        "does not begin with http:// or https://": parts.scheme not in _DEFAULT_PORTS,
        "has a user or a password in it": "@" in parts.netloc,
        "has a query or a fragment": parts.query or parts.fragment or text.endswith(("?", "#")),
        "has port 0": port == 0,
        "has no host": not parts.hostname,
    }
    for fault, is_there in faults.items():
        if is_there:
            raise ValueError(fault)
    host = parts.hostname or ""
    try:
        host = f"[{ipaddress.IPv6Address(host)}]" if parts.netloc.startswith("[") else host
    except ValueError:
        raise ValueError(f"has a host that is none: [{host}]") from None
    if host[0] != "[" and not _HOST.fullmatch(host):
        raise ValueError(f"has a host that is none: {host}")
    path = parts.path.rstrip("/").removesuffix("/api/v1").rstrip("/")
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{path}"


def _local_of(port: str) -> str:
    """Raises ValueError with what is wrong, as a clause."""
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) <= 65535:
        raise ValueError("is no port (1 to 65535)")
    return local_url(int(port))


def _by_variable(name: str, text: str) -> str:
    return normal_url(text) if name == URL_VARIABLE else _local_of(text.strip())


def _by_file(path: Path, environment: Mapping[str, str]) -> ApiAddress:
    values = env_file.read(path)
    try:
        url = api_url(path, values)
    except SandboxError as error:
        error.hints = (*error.hints, _WAY_OUT)
        raise
    other = []
    for name in (URL_VARIABLE, PORT_VARIABLE):
        text = environment.get(name)
        try:
            agrees = not text or _place(_by_variable(name, text)) == _place(url)
        except ValueError:
            agrees = False
        if not agrees:
            other.append(f"{name}={text}")
    verb = "is" if len(other) == 1 else "are"
    warning = f"{' and '.join(other)} {verb} ignored: {path} says {url}."
    warnings = (warning,) if other else ()
    return ApiAddress(url, "file", f"{path} says so", warnings, tool_addresses(values))


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
