"""Names on networks of others: taken from containers after Compose made them, before they start."""

from __future__ import annotations

from functools import partial

from ktrdr_sandbox.engine.interface import STOPPED, Engine
from ktrdr_sandbox.lifecycle.composition import Composition
from ktrdr_sandbox.questions import asked


def keep_names_at_home(engine: Engine, composition: Composition) -> None:
    """Let no container of the instance carry a service's name on a network that it only joins.

    Those that run are left alone, for it would cut their connections. One that is not on its
    network, because this was interrupted, joins it: Compose looks at that of running ones only.
    """
    guests = composition.isolation.guests
    if not guests:
        return
    mine = engine.containers(uuid=composition.instance.uuid)
    stopped = [one.id for one in mine if one.state in STOPPED and not one.oneoff]
    joining = [
        asked(partial(engine.join_unnamed, one.id, to.network, links=to.links))
        for one in engine.inspect(stopped)
        for to in guests
        if to.service == one.service and one.networks.get(to.network) != ()
    ]
    for each in joining:
        each.result()
