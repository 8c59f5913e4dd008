"""Hooks and copied files as a user sees them: the whole output, and what stands afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from tests.cli.docker_scripts import empty_engine
from tests.cli.test_create import links
from tests.support.processes import has_ended, is_alive
from tests.support.world import World

IGNORED = (
    "<world>/ktrdr/.ktrdr-sandbox.toml sets hooks.after_create: ignored, because a checkout may do "
    "so only with your approval. To see it and decide, run there: ktrdr-sandbox config approve"
)


def configure(world: World, text: str) -> None:
    folder = world.home / "sandbox"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(text, encoding="utf-8")


def created(slot: int, copied: str = "") -> str:
    return (
        f"Created ktrdr--feat-x (slot {slot})\n"
        "  Directory   <world>/ktrdr--feat-x\n"
        "  Branch      feat-x (new)\n"
        f"{copied}{links(slot)}"
        "Next: ktrdr-sandbox up feat-x\n"
    )


def test_files_that_git_ignores(world: World, slot: int) -> None:
    world.repository.commit({".gitignore": ".env*\n", ".worktreeinclude": ".env*\n"})
    world.repository.write({".env": "A=1\n", ".env.local": "B=1\n"})
    (world.repository.root / ".env.away").symlink_to("/etc/passwd")
    outcome = world.run("create", "feat-x", "--slot", str(slot))
    assert outcome.exit_code == 0, outcome
    assert (
        outcome.err == "Not copied: .env.away (it is a link to /etc/passwd, out of the checkout).\n"
    )
    assert outcome.out == created(slot, "  Copied      .env, .env.local\n")
    assert (world.path_of("feat-x") / ".env").read_text() == "A=1\n"
    gone = world.run("destroy", "feat-x", "--yes", env=empty_engine(world))
    assert gone.exit_code == 0, gone


def test_files_that_a_setting_names(world: World) -> None:
    world.repository.commit({".gitignore": ".env*\n", ".worktreeinclude": ".env*\n"})
    world.repository.write({".env": "A=1\n", ".env.local": "B=1\n"})
    variables = {"KTRDR_SANDBOX_COPY_FILES": "!.env.local"}
    outcome = world.run("create", "feat-x", "--json", env=variables)
    assert outcome.data["copied"] == [".env"]
    assert outcome.data["not_copied"] == []


def test_the_new_branch_does_not_choose_what_it_gets(world: World) -> None:
    world.repository.commit({".gitignore": ".env\n"})
    world.repository.git("switch", "--quiet", "-c", "theirs")
    world.repository.commit(
        {".worktreeinclude": ".env\n", ".ktrdr-sandbox.toml": 'copy_files = [".env"]\n'}
    )
    world.repository.git("switch", "--quiet", "main")
    world.repository.write({".env": "SECRET=1\n"})
    assert world.run("create", "x", "--branch", "theirs", "--json").data["copied"] == []


def test_a_hook_after_create(world: World, slot: int) -> None:
    configure(world, '[hooks]\nafter_create = ["sh", "-c", "pwd; echo $INSTANCE_ID >&2"]\n')
    outcome = world.run("create", "feat-x", "--slot", str(slot))
    assert outcome.exit_code == 0, outcome
    assert outcome.err == (
        "after_create: sh -c 'pwd; echo $INSTANCE_ID >&2'\n<world>/ktrdr--feat-x\nktrdr--feat-x\n"
    )
    assert outcome.out == created(slot)


def test_json_stays_clean(world: World) -> None:
    configure(world, '[hooks]\nafter_create = ["sh", "-c", "echo noise; echo more >&2"]\n')
    messages = world.run("create", "feat-x", "--json").document["messages"]
    assert [text for text in messages if " skipped: " not in text] == []


def test_a_hook_that_fails_undoes_nothing(world: World, slot: int) -> None:
    configure(world, '[hooks]\nafter_create = ["sh", "-c", "echo no; exit 3"]\n')
    outcome = world.run("create", "feat-x", "--slot", str(slot))
    assert outcome.exit_code == 79, outcome
    assert outcome.out == created(slot)
    assert outcome.err == (
        "after_create: sh -c 'echo no; exit 3'\n"
        "no\n"
        "error: The hook after_create failed: sh -c 'echo no; exit 3' ended with exit status 3.\n"
        "  no\n"
        "ktrdr--feat-x was created all the same.\n"
    )
    assert world.registered()["ktrdr--feat-x"]["state"] == "created"


def test_its_failure_as_json(world: World) -> None:
    configure(world, '[hooks]\nafter_create = ["no-such-program"]\n')
    outcome = world.run("create", "feat-x", "--json")
    assert outcome.exit_code == 79, outcome
    assert outcome.error["code"] == "hook-failed"
    assert outcome.error["details"] == {
        "hook": "after_create",
        "argv": ["no-such-program"],
        "exit_code": 127,
        "output": ["no-such-program: No such file or directory"],
    }
    assert outcome.document["data"]["instance"]["id"] == "ktrdr--feat-x"


def test_a_hook_before_destroy_may_stop_it(world: World) -> None:
    world.run("create", "feat-x")
    configure(world, '[hooks]\nbefore_destroy = ["false"]\n')
    engine = empty_engine(world)
    stopped = world.run("destroy", "feat-x", "--yes", env=engine)
    assert (stopped.exit_code, stopped.out) == (79, ""), stopped
    assert stopped.err == (
        "before_destroy: false\n"
        "error: The hook before_destroy failed: false ended with exit status 1.\n"
        "Nothing was removed.\n"
        "hint: With --force it is destroyed all the same.\n"
    )
    assert world.path_of("feat-x").is_dir()
    forced = world.run("destroy", "feat-x", "--yes", "--force", env=engine)
    assert forced.exit_code == 0, forced
    assert forced.err == (
        "before_destroy: false\nThe hook before_destroy failed: false ended with exit status 1.\n"
    )
    assert not world.path_of("feat-x").exists()


def test_a_hook_is_not_run_where_destroy_refuses_anyway(world: World) -> None:
    world.run("create", "feat-x")
    (world.path_of("feat-x") / "draft").touch()
    configure(world, f'[hooks]\nbefore_destroy = ["touch", "{world.folder}/ran"]\n')
    engine = empty_engine(world)
    assert world.run("destroy", "feat-x", "--yes", env=engine).exit_code == 77
    assert world.run("destroy", "feat-x", "--dry-run", env=engine).exit_code == 0
    assert not (world.folder / "ran").exists()


def test_settings_that_cannot_be_read_may_hold_a_hook(world: World) -> None:
    world.run("create", "feat-x")
    engine = empty_engine(world)
    configure(world, "nonsense = = 1\n")
    assert world.run("destroy", "feat-x", "--dry-run", env=engine).exit_code == 0
    configure(world, '[hooks]\nbefore_destroy = "a line"\n')
    stopped = world.run("destroy", "feat-x", "--yes", env=engine)
    assert stopped.exit_code == 78, stopped
    assert stopped.stderr.endswith("hint: With --force it is destroyed all the same.\n")
    assert world.run("destroy", "feat-x", "--yes", "--force", env=engine).exit_code == 0


def test_a_checkouts_hook_runs_once_it_is_approved_and_as_long_as_it_is_the_same(
    world: World,
) -> None:
    def theirs(word: str) -> None:
        text = f'[hooks]\nafter_create = ["touch", "{word}"]\n'
        world.repository.commit({".ktrdr-sandbox.toml": text})

    theirs("one")
    skipped = world.run("create", "a")
    assert skipped.exit_code == 0, skipped
    told = [line for line in skipped.err.splitlines() if " skipped: " not in line]
    assert told == [IGNORED]
    assert not (world.path_of("a") / "one").exists()
    assert world.run("config", "approve", "--yes").exit_code == 0
    world.run("create", "b")
    assert (world.path_of("b") / "one").exists()
    theirs("two")
    world.run("create", "c")
    assert not (world.path_of("c") / "two").exists()
    other = world.repository.clone(world.folder / "elsewhere" / "ktrdr")
    other.git("checkout", "--quiet", "HEAD~1")
    world.run("create", "d", cwd=other.root)
    assert not (other.root.parent / "ktrdr--d" / "one").exists()


def test_an_interrupt_ends_the_hook_and_the_instance_stays(world: World) -> None:
    configure(world, '[hooks]\nafter_create = ["sh", "-c", "echo $$ > pid; exec sleep 600"]\n')
    written = world.path_of("feat-x") / "pid"
    root = world.repository.root
    with subprocess.Popen(
        [sys.executable, "-m", "ktrdr_sandbox", "create", "feat-x"],
        cwd=root,
        env={**os.environ, "KTRDR_HOME": str(world.home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        while not (written.exists() and written.read_text().strip()):
            assert child.poll() is None
            time.sleep(0.02)
        child.send_signal(signal.SIGINT)
        _, told = child.communicate(timeout=60)
    assert child.returncode == 130
    assert told.endswith("hint: An instance that 'list' shows is complete.\n")
    assert has_ended(int(written.read_text()))
    assert world.registered()["ktrdr--feat-x"]["state"] == "created"


def test_a_kill_during_a_hook_leaves_a_whole_instance(world: World) -> None:
    configure(world, '[hooks]\nafter_create = ["sh", "-c", "echo $$ > pid; exec sleep 600"]\n')
    written = world.path_of("feat-x") / "pid"
    root = world.repository.root
    with subprocess.Popen(
        [sys.executable, "-m", "ktrdr_sandbox", "create", "feat-x"],
        cwd=root,
        env={**os.environ, "KTRDR_HOME": str(world.home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as child:
        while not (written.exists() and written.read_text().strip()):
            assert child.poll() is None
            time.sleep(0.02)
        child.kill()
    left = int(written.read_text())
    written.unlink()
    assert is_alive(left)
    outcome = world.run("destroy", "feat-x", "--yes", env=empty_engine(world))
    assert outcome.exit_code == 0, outcome
    assert outcome.err == (
        "The hook after_create of feat-x was cut off when its command was killed; what was left "
        "of it has been ended.\n"
    )
    assert has_ended(left)
