"""What each error code means and what to do about it: for `explain` and docs/errors.md.

The order is that of the docs: from what every command may have to what belongs to a few.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from ktrdr_sandbox.errors import ErrorCode


class Explanation(NamedTuple):
    meaning: str
    remedy: str


EXPLANATIONS: Final[Mapping[ErrorCode, Explanation]] = {
    "usage": Explanation("The command line is wrong.", "Read the command's --help."),
    "confirmation-needed": Explanation(
        "The command asks before it removes, and there is no terminal to ask on.",
        "Look first with --dry-run, then add --yes.",
    ),
    "interrupted": Explanation(
        "Ctrl-C, or a signal to end.",
        "The hint says in which state things are and how to go on.",
    ),
    "internal": Explanation(
        "A defect in this program.", "Send the report file that the message names."
    ),
    "bad-settings": Explanation(
        "A setting has a value that cannot be used.",
        "Correct it where the hint says it comes from.",
    ),
    "hook-failed": Explanation(
        "A command of a hook failed or took too long; create and up have done their work, destroy "
        "has not begun.",
        "Mend the command that is named; its last lines are told with it.",
    ),
    "cannot-write": Explanation(
        "A file, or standard output, cannot be written.",
        "Free space or permit writing at the path that is named.",
    ),
    "file-exists": Explanation(
        "A file that would be made is there already, and nothing is overwritten.",
        "Choose another name, or remove it.",
    ),
    "lock-timeout": Explanation(
        "Another process held a lock for longer than the setting lock_patience.",
        "Wait for the process that is named, or end it.",
    ),
    "registry-newer": Explanation(
        "The registry was written by a newer version of this program.",
        "Upgrade ktrdr-sandbox; the file is left untouched.",
    ),
    "no-such-instance": Explanation(
        "No instance of that name is registered in this KTRDR_HOME.",
        "Run 'ktrdr-sandbox list' to see those that are.",
    ),
    "not-in-instance": Explanation(
        "No name was given, and the current directory belongs to no instance.",
        "Give a name, or change to the instance's directory.",
    ),
    "env-file-damaged": Explanation(
        "The .env.sandbox of the directory cannot be read.",
        "Restore it, or destroy and create the instance again.",
    ),
    "docker-missing": Explanation("There is no docker command on PATH.", "Install Docker."),
    "docker-not-answering": Explanation(
        "The Docker engine gives no answer, or refuses this user.",
        "Start Docker, or check DOCKER_HOST and the user's rights.",
    ),
    "compose-missing": Explanation(
        "The docker command has no Compose plugin.", "Install the Compose plugin."
    ),
    "compose-too-old": Explanation(
        "Docker Compose is older than 2.24.4, which the override needs.",
        "Upgrade the Compose plugin.",
    ),
    "engine-failed": Explanation(
        "Docker refused or failed at something it was asked.",
        "Read what Docker says in the message; 'ktrdr-sandbox doctor' looks further.",
    ),
    "git-missing": Explanation("There is no git command on PATH.", "Install git."),
    "git-failed": Explanation("A git command failed.", "Read what git says in the message."),
    "not-a-repository": Explanation(
        "The current directory is in no KTRDR checkout.",
        "Change to the checkout and run the command there.",
    ),
    "worktree-conflict": Explanation(
        "The branch is checked out elsewhere, or the worktree is registered already.",
        "Take another branch or name, or check out something else there first; where the directory "
        "is gone, have git forget it as the hint says.",
    ),
    "worktree-failed": Explanation(
        "The worktree or its branch could not be made.",
        "Read what git says in the message.",
    ),
    "directory-exists": Explanation(
        "The directory of the worktree is there already.",
        "Take another name, or move the directory away.",
    ),
    "instance-exists": Explanation(
        "An instance of that name, or for that directory, is registered already.",
        "Use it, or destroy it first.",
    ),
    "already-initialised": Explanation(
        "The directory is an instance already.", "Use it as it is: 'ktrdr-sandbox up'."
    ),
    "slots-exhausted": Explanation(
        "Every port slot is taken, or has a port that is in use.",
        "Destroy an instance, or end what holds the ports.",
    ),
    "slot-taken": Explanation(
        "The slot that was asked for belongs to another instance.",
        "Leave --slot out, or take another one.",
    ),
    "port-conflict": Explanation(
        "A host port of the slot is in use by something else.",
        "End what holds it, or move the instance: 'ktrdr-sandbox move NAME --slot N'.",
    ),
    "not-stopped": Explanation(
        "The instance has containers, and what was asked needs it stopped.",
        "Run 'ktrdr-sandbox down NAME' first.",
    ),
    "compose-file-missing": Explanation(
        "No Compose file was found in the checkout.",
        "Name it with the setting compose_file.",
    ),
    "compose-file-invalid": Explanation(
        "Compose cannot read the checkout's file.", "Correct the file as Compose says."
    ),
    "isolation-refused": Explanation(
        "The Compose file has something that reaches beyond the instance and cannot be changed.",
        "Change the file, or allow it with the setting allow.",
    ),
    "compose-failed": Explanation("Docker Compose failed.", "Read its last lines in the message."),
    "image-missing": Explanation(
        "An image is neither on the engine nor to be had from its registry.",
        "Build it ('up --build'), log in to the registry, or correct the name.",
    ),
    "network-pool-exhausted": Explanation(
        "Docker has no subnet left for another network.",
        "Remove unused networks, or use the setting network_pool.",
    ),
    "gate-failed": Explanation(
        "The stack was started and did not prove ready.",
        "Read the report: each failed check has a likely cause and a next command.",
    ),
    "no-such-service": Explanation(
        "The instance has no container of that service.",
        "Start it, or take one of the services that are named.",
    ),
    "service-not-running": Explanation(
        "The service does not run, or nothing answers where it belongs.",
        "Start it: 'ktrdr-sandbox up NAME', or see why in 'ktrdr-sandbox logs -i NAME'.",
    ),
    "ktrdr-missing": Explanation(
        "The ktrdr command of KTRDR itself was not found.",
        "Install it in the checkout, for example with 'uv sync'.",
    ),
    "command-not-found": Explanation(
        "There is no such command to run.", "Correct its name, or PATH."
    ),
    "command-not-executable": Explanation(
        "The command to run cannot be executed.", "Make the file executable, or name another."
    ),
    "some-failed": Explanation(
        "With --all: the command failed on some instances.",
        "Each one's own failure is told; the exit status is that of the worst.",
    ),
    "would-lose-work": Explanation(
        "The directory holds work that is nowhere else.",
        "Commit or stash it, keep it (--keep-worktree), or have it moved to the trash (--force).",
    ),
    "teardown-incomplete": Explanation(
        "Something could not be removed; the instance keeps its slot.",
        "Put right what is named and run the command again.",
    ),
    "problems-found": Explanation(
        "doctor found problems.", "Each one names its fix; 'doctor --fix' does the safe ones."
    ),
    "source-missing": Explanation(
        "What the shared folder was to be filled from is not there, or holds nothing for it.",
        "Correct the path: a checkout, a shared folder, or an archive of one.",
    ),
    "source-unusable": Explanation(
        "The archive is of no kind that can be read, or has no folders data, models, strategies.",
        "Unpack it and give the folder: --from FOLDER.",
    ),
    "archive-unsafe": Explanation(
        "The archive has an entry that would be written outside the shared folder.",
        "Do not use it; make a new one from the source.",
    ),
    "archive-damaged": Explanation(
        "The archive is cut short, or is not what its name says.", "Fetch or make it again."
    ),
    "checksum-mismatch": Explanation(
        "The archive is not the one whose SHA-256 was given.",
        "Check the address and the sum.",
    ),
    "download-failed": Explanation(
        "The archive could not be fetched.",
        "Run the command again: it goes on where it broke off.",
    ),
    "copy-incomplete": Explanation(
        "Some files of the source could not be copied; the others are whole.",
        "Put right what is named and run it again: it copies the rest.",
    ),
    "shared-folder-linked": Explanation(
        "A folder of the shared folder is a link, and copying would write where it leads.",
        "To have a copy instead, remove the link first.",
    ),
}
