"""The `ktrdr` command as a process: where it finds the real one, and how it becomes it."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

import pytest

import ktrdr_sandbox
from tests.support.processes import run_to_end
from tests.support.real_ktrdr import (
    STATUS,
    TOOLS,
    RealKtrdr,
    environment,
    own_ktrdr,
    real_ktrdr,
    script,
)
from tests.support.repositories import git
from tests.support.terminal import terminal

PYPROJECT = '[project]\nname = "KTRDR"\nversion = "1"\n'


class Machine:
    """A checkout, and our own command somewhere."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkout = folder / "ktrdr"
        (self.checkout / ".git").mkdir(parents=True)
        (self.checkout / "src").mkdir()
        self.own = own_ktrdr(folder / "own" / "ktrdr")
        self.bin = folder / "bin"

    def run(
        self,
        *arguments: str | bytes,
        cwd: Path | None = None,
        own: Path | None = None,
        env: Mapping[str, str | None] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        path = {"PATH": f"{self.bin}:{TOOLS}"}
        done = run_to_end(
            [str(own or self.own), *arguments],
            cwd=cwd or self.checkout,
            environment=environment(self.folder, path | dict(env or {})),
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def shown(self, text: str) -> str:
        return text.replace(str(self.folder), "<folder>")

    def mark(self, text: str = "KTRDR_API_PORT=8002\n") -> None:
        (self.checkout / ".env.sandbox").write_text(text, encoding="utf-8")

    def in_venv(self) -> RealKtrdr:
        return real_ktrdr(self.checkout / ".venv" / "bin" / "ktrdr")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# -- where it is found ---------------------------------------------------------------------------


def test_in_the_checkouts_own_environment(machine: Machine) -> None:
    found, other = machine.in_venv(), real_ktrdr(machine.bin / "ktrdr")
    done = machine.run("data", "list", cwd=machine.checkout / "src")
    assert (done.returncode, done.stdout, done.stderr) == (STATUS, "", "")
    assert found.arguments == [b"data", b"list"]
    assert found.cwd == machine.checkout / "src"
    assert not other.started


def fake_uv(machine: Machine, target: Path) -> Path:
    """A `uv` that notes its arguments and, like the real one, waits for what it starts."""
    note, start = shlex.quote(str(machine.folder / "uv.argv")), shlex.quote(str(target))
    text = f'printf \'%s\\n\' "$@" > {note}\nwhile [ "$1" != -- ]; do shift; done\nshift 2\n'
    return script(machine.bin / "uv", f'{text}{start} "$@"')


def test_by_uv_in_a_checkout_of_ktrdr(machine: Machine) -> None:
    found = real_ktrdr(machine.folder / "elsewhere" / "ktrdr")
    other = real_ktrdr(machine.bin / "ktrdr")
    fake_uv(machine, found.path)
    (machine.checkout / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    done = machine.run("data", "--", "-x", cwd=machine.checkout / "src")
    assert done.returncode == STATUS, done
    lines = (machine.folder / "uv.argv").read_text().splitlines()
    assert lines == ["run", "--project", str(machine.checkout), "--", "ktrdr", "data", "--", "-x"]
    assert found.arguments == [b"data", b"--", b"-x"]
    assert found.cwd == machine.checkout / "src"
    assert not other.started


@pytest.mark.parametrize("text", [None, "[", '[project]\nname = "other"\n', "[tool]\n"])
def test_uv_is_for_checkouts_of_ktrdr_alone(machine: Machine, text: str | None) -> None:
    other = real_ktrdr(machine.bin / "ktrdr")
    fake_uv(machine, Path("/nowhere"))
    if text is not None:
        (machine.checkout / "pyproject.toml").write_text(text, encoding="utf-8")
    assert machine.run("x").returncode == STATUS
    assert other.started
    assert not (machine.folder / "uv.argv").exists()


def test_on_the_path_past_every_one_of_ours(machine: Machine) -> None:
    """A link as pipx makes it, another installation's script, our own file, no program at all."""
    shims = [machine.folder / f"path{number}" for number in range(6)]
    own_ktrdr(machine.folder / "pipx" / "venv" / "bin" / "ktrdr", python="/another/python")
    for shim in shims[:5]:
        shim.mkdir()
    (shims[0] / "ktrdr").symlink_to(machine.folder / "pipx" / "venv" / "bin" / "ktrdr")
    (shims[1] / "ktrdr").symlink_to(machine.own)
    (shims[2] / "ktrdr").mkdir()
    (shims[3] / "ktrdr").write_text("not executable")
    script(shims[4] / "ktrdr", 'exec python3 -m ktrdr_sandbox.alias "$@"')
    found = real_ktrdr(shims[5] / "ktrdr")
    path = ":".join(["", ".", "relative", *map(str, shims), TOOLS])
    script(machine.folder / "ktrdr.here" / "ktrdr", "exit 99")
    done = machine.run("x", cwd=machine.folder / "ktrdr.here", env={"PATH": path})
    assert done.returncode == STATUS, done
    assert found.arguments == [b"x"]


def test_a_folder_that_has_our_name_is_not_us(machine: Machine) -> None:
    found = real_ktrdr(machine.folder / "ktrdr_sandbox" / "ktrdr")
    text = found.path.read_text(encoding="utf-8")
    found.path.write_text(f"{text}# not ktrdr_sandbox, though it speaks of it\n", encoding="utf-8")
    done = machine.run("x", env={"PATH": f"{found.path.parent}:{TOOLS}"})
    assert done.returncode == STATUS, done


@pytest.fixture(scope="module")
def shared_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that has a KTRDR and this package, whose script took the other's name."""
    root = tmp_path_factory.mktemp("venv")
    venv.create(root, with_pip=False, symlinks=True)
    (packages,) = root.glob("lib/python*/site-packages")
    source = Path(ktrdr_sandbox.__file__).parents[1]
    others = Path(pytest.__file__).parents[1]
    (packages / "ours.pth").write_text(f"{source}\n{others}\n", encoding="utf-8")
    information = packages / "KTRDR-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: KTRDR\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[console_scripts]\nktrdr = ktrdr.cli:Cli.main\n")
    (packages / "ktrdr").mkdir()
    (packages / "ktrdr" / "__init__.py").touch()
    (packages / "ktrdr" / "cli.py").write_text(
        "import os, sys\nclass Cli:\n    @staticmethod\n    def main():\n"
        "        print(sys.argv, os.environ['KTRDR_API_URL'], os.getpid())\n        return 9\n",
    )
    return root


def test_the_package_beside_us_whose_script_is_ours(machine: Machine, shared_venv: Path) -> None:
    own = own_ktrdr(shared_venv / "bin" / "ktrdr", python=str(shared_venv / "bin" / "python"))
    (machine.checkout / ".venv").symlink_to(shared_venv)
    shadow = machine.checkout / "ktrdr"  # as every checkout of KTRDR has it
    shadow.mkdir()
    (shadow / "__init__.py").write_text("raise SystemExit('the checkout, not the package')")
    path = {"PATH": f"{shared_venv / 'bin'}:{TOOLS}"}
    done = machine.run("data", "a b", own=own, env=path)
    assert (done.returncode, done.stderr) == (9, ""), done
    assert done.stdout.startswith("['ktrdr', 'data', 'a b'] http://localhost:8000 ")


# -- named by a setting --------------------------------------------------------------------------


def test_a_setting_comes_first_and_may_have_arguments(machine: Machine) -> None:
    other, found = machine.in_venv(), real_ktrdr(machine.folder / "else" / "any name")
    value = f'["{found.path}", "--first"]'
    done = machine.run("x", env={"KTRDR_SANDBOX_KTRDR_COMMAND": value})
    assert done.returncode == STATUS, done
    assert found.arguments == [b"--first", b"x"]
    assert not other.started


def test_a_path_in_the_checkouts_file_starts_at_the_checkout(machine: Machine) -> None:
    found = real_ktrdr(machine.checkout / "tools" / "ktrdr")
    file = machine.checkout / ".ktrdr-sandbox.toml"
    file.write_text('ktrdr_command = ["tools/ktrdr"]\n', encoding="utf-8")
    usual = machine.in_venv()
    assert machine.run("x", cwd=machine.checkout / "src").returncode == STATUS
    assert usual.arguments == [b"x"]
    assert not found.started, "a branch does not choose what runs here"
    git(machine.checkout, "init", "--quiet")  # an approval is for a repository
    approved = machine.run("sandbox", "config", "approve", "--yes")
    assert approved.returncode == 0, approved
    assert machine.run("x", cwd=machine.checkout / "src").returncode == STATUS
    assert found.arguments == [b"x"]


def test_a_name_in_the_homes_file_is_looked_up(machine: Machine) -> None:
    found = real_ktrdr(machine.bin / "ktrdr-2")
    file = machine.folder / "home" / "sandbox" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('ktrdr_command = ["ktrdr-2"]\n', encoding="utf-8")
    assert machine.run("x").returncode == STATUS
    assert found.started


@pytest.mark.parametrize("value", ["ktrdr-2", "ktrdr-2,--quiet"])
def test_a_variable_may_name_it_without_brackets(machine: Machine, value: str) -> None:
    found, other = real_ktrdr(machine.bin / "ktrdr-2"), machine.in_venv()
    done = machine.run("x", env={"KTRDR_SANDBOX_KTRDR_COMMAND": value})
    assert done.returncode == STATUS, done
    assert found.arguments == [*(word.encode() for word in value.split(",")[1:]), b"x"]
    assert not other.started


@pytest.mark.parametrize("value", ["[]", "{}"])
def test_a_setting_that_is_none(machine: Machine, value: str) -> None:
    machine.in_venv()
    done = machine.run("x", env={"KTRDR_SANDBOX_KTRDR_COMMAND": value})
    assert done.returncode == 78, done
    assert "ktrdr_command" in done.stderr


def test_a_setting_that_names_ourselves(machine: Machine) -> None:
    other = machine.in_venv()
    done = machine.run("x", env={"KTRDR_SANDBOX_KTRDR_COMMAND": f'["{machine.own}"]'})
    assert done.returncode == 78
    assert machine.shown(done.stderr) == (
        "error: The setting ktrdr_command names this very program: <folder>/own/ktrdr.\n"
        "hint: Name the real ktrdr command, or remove the setting to have it looked for.\n"
    )
    assert not other.started


def test_a_setting_that_cannot_be_started_is_not_passed_over(machine: Machine) -> None:
    other = machine.in_venv()
    done = machine.run("x", env={"KTRDR_SANDBOX_KTRDR_COMMAND": '["/gone/ktrdr"]'})
    assert done.returncode == 69
    assert done.stderr.startswith(
        "error: The ktrdr CLI was not found. /gone/ktrdr of the setting ktrdr_command cannot be "
        "started: No such file or directory.\n"
    )
    assert not other.started


# -- not found, and never ourselves again ---------------------------------------------------------


def test_nowhere(machine: Machine) -> None:
    done = machine.run("data", "list")
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr == (
        "error: The ktrdr CLI was not found.\n"
        "hint: In a KTRDR checkout: 'uv sync' makes its .venv/bin/ktrdr.\n"
        "hint: Or name it: KTRDR_SANDBOX_KTRDR_COMMAND='[\"/path/to/ktrdr\"]'\n"
        "hint: 'ktrdr sandbox' works without it.\n"
    )


def test_a_broken_environment_is_passed_over(machine: Machine) -> None:
    """As after a move of the checkout: the script names a Python that is gone."""
    broken = machine.checkout / ".venv" / "bin" / "ktrdr"
    broken.parent.mkdir(parents=True)
    broken.write_text("#!/gone/python\n", encoding="utf-8")
    broken.chmod(0o755)
    done = machine.run("x")
    assert done.returncode == 69
    assert machine.shown(done.stderr).startswith(
        "error: The ktrdr CLI was not found. <folder>/ktrdr/.venv/bin/ktrdr cannot be started: "
        "No such file or directory.\n"
    )
    found = real_ktrdr(machine.bin / "ktrdr")
    assert machine.run("x").returncode == STATUS
    assert found.started


@pytest.mark.parametrize("start", ["exec ", ""], ids=["replaced", "waited for"])
def test_wrappers_that_lead_back_to_us(machine: Machine, start: str) -> None:
    own = shlex.quote(str(machine.own))
    first, second = machine.folder / "path1", machine.folder / "path2"
    for folder in (first, second):
        script(folder / "ktrdr", f'{start}{own} "$@"')
    path = f"{first}:{second}:{TOOLS}"
    lost = machine.run("x", env={"PATH": path})
    assert lost.returncode == 69
    assert machine.shown(lost.stderr).startswith(
        "error: The ktrdr CLI was not found. <folder>/path1/ktrdr leads back to ktrdr-sandbox. "
        "<folder>/path2/ktrdr leads back to ktrdr-sandbox.\n"
    )
    found = real_ktrdr(machine.bin / "ktrdr")
    done = machine.run("x", env={"PATH": f"{first}:{second}:{machine.bin}:{TOOLS}"})
    assert done.returncode == STATUS, done
    assert found.arguments == [b"x"]


def test_uv_that_leads_back_to_us(machine: Machine) -> None:
    (machine.checkout / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    fake_uv(machine, machine.own)
    found = real_ktrdr(machine.bin / "ktrdr")
    assert machine.run("-p", "8002", "x").returncode == STATUS
    assert found.environment["KTRDR_API_URL"] == "http://localhost:8002"


def test_what_the_real_one_starts_is_no_loop(machine: Machine) -> None:
    """It may call `ktrdr` itself, and means the same real one."""
    own = shlex.quote(str(machine.own))
    script(
        machine.checkout / ".venv" / "bin" / "ktrdr",
        f'[ "$1" = inner ] && exit 5\n{own} inner; exit $(($? + 1))',
    )
    assert machine.run("outer").returncode == 6


# -- how it is started ---------------------------------------------------------------------------


def test_arguments_arrive_byte_for_byte(machine: Machine) -> None:
    found = machine.in_venv()
    tail = [b"data", b"-p", b"1", b"", b" a  b ", b"\xff\xfe", "é".encode(), b"$x'\"", b"l\nl"]
    assert machine.run("--verbose", "-p8002", *tail).returncode == STATUS
    assert found.arguments == [b"--verbose", *tail]
    assert found.environment["KTRDR_API_URL"] == "http://localhost:8002"


def test_it_is_the_same_process(machine: Machine) -> None:
    found = machine.in_venv()
    argv = [str(machine.own), "x"]
    given = environment(machine.folder, {})
    with subprocess.Popen(argv, cwd=machine.checkout, env=given) as process:
        assert process.wait(timeout=60) == STATUS
    assert found.pid == process.pid


def test_no_signal_is_ignored_for_it(machine: Machine) -> None:
    """Python ignores SIGPIPE for itself; `ktrdr data list | head` must end the real one quietly."""
    found = machine.in_venv()
    machine.run("x")
    assert found.ignored_signals == set()


def test_streams_that_are_closed_are_no_hindrance(machine: Machine) -> None:
    found = machine.in_venv()
    argv: list[str | bytes] = ["sh", "-c", 'exec "$0" x >&- 2>&-', str(machine.own)]
    done = run_to_end(argv, cwd=machine.checkout, environment=environment(machine.folder, {}))
    assert done.returncode == STATUS
    assert found.arguments == [b"x"]


WAITING = """\
import signal, sys, time
signal.signal(signal.SIGINT, lambda *_: sys.exit(42))
print("ready", flush=True)
time.sleep(60)
"""


def test_an_interrupt_is_its_own(machine: Machine) -> None:
    waiting = machine.folder / "waiting.py"
    waiting.write_text(WAITING, encoding="utf-8")
    python = shlex.join([sys.executable, str(waiting)])
    script(machine.checkout / ".venv" / "bin" / "ktrdr", f"exec {python}")
    with subprocess.Popen(
        [str(machine.own), "x"],
        cwd=machine.checkout,
        env=environment(machine.folder, {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 42
        assert process.stderr.read() == ""


def test_the_terminal_is_its_own(machine: Machine) -> None:
    text = "test -t 0 && test -t 1 && test -t 2 && stty size && exit 3"
    script(machine.checkout / ".venv" / "bin" / "ktrdr", text)
    given = environment(machine.folder, {})
    with terminal([str(machine.own)], cwd=machine.checkout, environment=given) as shown:
        status, _ = shown.end()
    assert (status, shown.text) == (3, "40 100\n")


def test_nothing_slow_is_imported_on_the_way(machine: Machine) -> None:
    machine.in_venv()
    machine.mark("# A file as this program writes it\n\nKTRDR_API_PORT=8002\nDB_PASSWORD=a-b\n")
    (machine.checkout / ".ktrdr-sandbox.toml").write_text("gate_timeout = 1\n", encoding="utf-8")
    done = machine.run("x", env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert done.returncode == STATUS
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "ktrdr_sandbox.api_address" in loaded
    slow = {"pydantic", "typer", "rich", "httpx", "dotenv", "subprocess"}
    assert loaded & slow == set()


# -- where it is aimed -----------------------------------------------------------------------------


def test_telemetry_goes_to_the_instances_own_tools(machine: Machine) -> None:
    machine.mark(
        "KTRDR_API_PORT=8002\nKTRDR_JAEGER_OTLP_PORT=4319\nOTLP_ENDPOINT=http://jaeger:1\n"
    )
    found = machine.in_venv()
    assert machine.run("x").returncode == STATUS
    assert found.environment["OTLP_ENDPOINT"] == "http://localhost:4319"
    assert found.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://localhost:4319"
    assert "JAEGER_URL" not in found.environment


@pytest.mark.parametrize(
    ("arguments", "variables", "url"),
    [
        ([], {}, "http://localhost:8002"),
        (["-p", "8003"], {}, "http://localhost:8003"),
        (["--url=https://far/api/v1/"], {}, "https://far"),
        ([], {"KTRDR_API_URL": "http://localhost:8002/api/v1"}, "http://localhost:8002"),
    ],
)
def test_it_is_aimed(
    machine: Machine, arguments: list[str], variables: dict[str, str], url: str
) -> None:
    machine.mark()
    found = machine.in_venv()
    done = machine.run(*arguments, "x", cwd=machine.checkout / "src", env=variables)
    assert (done.returncode, done.stderr) == (STATUS, "")
    assert found.environment["KTRDR_API_URL"] == url
    assert "KTRDR_API_PORT" not in found.environment


def test_a_variable_of_another_shell_is_ignored_with_one_line(machine: Machine) -> None:
    machine.mark()
    found = machine.in_venv()
    old = {"KTRDR_API_URL": "http://localhost:8009", "KTRDR_API_PORT": "8009"}
    done = machine.run("x", env=old)
    assert machine.shown(done.stderr) == (
        "KTRDR_API_URL=http://localhost:8009 and KTRDR_API_PORT=8009 are ignored: "
        "<folder>/ktrdr/.env.sandbox says http://localhost:8002.\n"
    )
    assert done.returncode == STATUS
    assert found.environment["KTRDR_API_URL"] == "http://localhost:8002"
    assert found.environment["KTRDR_API_PORT"] == "8002"


def test_a_damaged_file_starts_nothing(machine: Machine) -> None:
    machine.mark("INSTANCE_ID=ktrdr--feat-x\n")
    found = machine.in_venv()
    done = machine.run("x")
    assert (done.returncode, done.stdout) == (78, "")
    assert machine.shown(done.stderr) == (
        "error: <folder>/ktrdr/.env.sandbox does not tell the API's port: it has no "
        "KTRDR_API_PORT.\n"
        "hint: To have it written anew: remove that file, then run 'ktrdr-sandbox env'.\n"
        "hint: To aim elsewhere meanwhile: --port or --url.\n"
    )
    assert not found.started


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-p", "80000", "x"], "error: --port: '80000' is no port (1 to 65535).\n"),
        (["-p"], "error: Option '-p' requires an argument.\n"),
        (["--url", "localhost:8002", "x"], "error: --url: 'localhost:8002' does not begin with"),
    ],
)
def test_wrong_usage(machine: Machine, arguments: list[str], told: str) -> None:
    found = machine.in_venv()
    done = machine.run(*arguments)
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr.startswith(told)
    assert not found.started


# -- ktrdr sandbox ---------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [("list",), ("--version",), ("status", "feat-x"), ("env",)])
def test_ktrdr_sandbox_is_this_program(machine: Machine, arguments: tuple[str, ...]) -> None:
    found = machine.in_venv()
    given = environment(machine.folder, {})
    plain = [sys.executable, "-m", "ktrdr_sandbox", *arguments]
    expected = run_to_end([*plain], cwd=machine.checkout, environment=given)
    done = machine.run("sandbox", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (
        expected.returncode,
        expected.stdout,
        expected.stderr,
    )
    assert not found.started


def test_ktrdr_sandbox_calls_itself_by_that_name(machine: Machine) -> None:
    shown = machine.run("sandbox", "url", "--help").stdout
    assert shown.startswith("Usage: ktrdr sandbox url [OPTIONS]\n")
    wrong = machine.run("sandbox", "create", "--no-such", "--json")
    assert wrong.returncode == 64
    assert '"command": "create"' in wrong.stdout
    assert "Run 'ktrdr sandbox create --help'." in wrong.stdout
    assert machine.run("sandbox", "no-such").returncode == 64


MOUNTING = """
import sys, typer
from importlib.metadata import entry_points
cli = typer.Typer()
@cli.command()
def data() -> None: print("data")
{mount}
cli(prog_name="ktrdr")
"""


def test_another_command_line_can_mount_it(machine: Machine) -> None:
    """Help, usage and statuses are ours there as well."""
    mount = "from ktrdr_sandbox.cli.mount import sandbox; cli.add_typer(sandbox, name='sandbox')"
    code = MOUNTING.format(mount=mount)

    def mounted(*arguments: str) -> subprocess.CompletedProcess[str]:
        given = environment(machine.folder, {})
        argv: list[str | bytes] = [sys.executable, "-c", code, *arguments]
        return run_to_end(argv, cwd=machine.checkout, environment=given)

    assert mounted("data").stdout == "data\n"
    assert mounted("sandbox", "url").stdout == "http://localhost:8000\n"
    assert mounted("sandbox", "url", "--port=0").returncode == 64
    wrong = mounted("sandbox", "list", "--no-such")
    assert wrong.returncode == 64
    assert wrong.stderr.endswith("hint: Run 'ktrdr sandbox list --help'.\n")
    assert mounted("sandbox", "status", "nobody").returncode == 66
    assert mounted("sandbox", "--help").stdout.startswith("Usage: ktrdr sandbox [OPTIONS]")
    assert "sandbox" in mounted("--help").stdout
