"""Which instance a command means: a name, or the `.env.sandbox` of the current directory's tree."""

from __future__ import annotations

from pathlib import Path

from ktrdr_sandbox import env_file, naming
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.state.registry import Registry


def target(registry: Registry, *, name: str | None, cwd: Path) -> Instance:
    """The registered instance. Raises `no-such-instance`, `not-in-instance`, `usage`.

    The registry's path is what commands act on; the current directory only tells which entry.
    """
    if name is not None:
        instance = registry.instances.get(naming.instance_id(name))
        if instance is not None:
            return instance
        known = ", ".join(sorted(i.name for i in registry.instances.values())) or "none"
        raise SandboxError(
            "no-such-instance",
            f"There is no instance '{name}'. Instances: {known}.",
            hints=("Run 'ktrdr-sandbox list' to see instances.",),
            details={"name": name, "instances": sorted(registry.instances)},
        )
    marker = env_file.find(cwd)
    if marker is not None:
        return _by_marker(registry, marker)
    folders = {cwd, *cwd.parents}
    for instance in registry.instances.values():
        if instance.path in folders:  # its .env.sandbox was deleted; `up` writes it anew
            return instance
    raise SandboxError(
        "not-in-instance",
        "Not in a sandbox instance directory. Run 'ktrdr-sandbox list' to see instances, or "
        "'ktrdr-sandbox create <name>' to create one.",
        details={"directory": str(cwd)},
    )


def _by_marker(registry: Registry, marker: Path) -> Instance:
    values = env_file.read(marker)
    identity = values.get("INSTANCE_ID", "")
    instance = registry.instances.get(identity)
    if instance is not None and values.get("SANDBOX_UUID", instance.uuid) == instance.uuid:
        return instance
    if instance is None:
        message = f"{marker} names the instance '{identity}', which the registry does not have."
        hints = ["It may belong to another KTRDR_HOME."]
    else:
        message = f"{marker} belongs to another instance that was also called '{identity}' "
        message += f"(registered now: {instance.path})."
        hints = []
    anew = "To register this directory anew: remove that file, then 'ktrdr-sandbox init'."
    details = {"file": str(marker), "instance": identity}
    raise SandboxError("no-such-instance", message, hints=[*hints, anew], details=details)
