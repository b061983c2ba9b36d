"""The machines of a bundle: which there are, and the artifact as one of them sees it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from formats.core.errors import AmbiguousError, UnsupportedError, quoted
from formats.core.machine import Machine
from formats.core.opener import Artifact, Node
from formats.core.origin import Origin


def machines_of(artifact: Artifact) -> list[tuple[Machine, Node]]:
    """Return each machine that a descriptor names, and the node with its disks, in their order."""
    return list(_outermost(node for node in artifact.nodes if not node.members))


def machine_view(artifact: Artifact, wanted: str | None) -> Artifact:
    """Return the disks of one machine as an artifact of its own.

    Names in an fstab mean the machine's own disks: ``/dev/sda`` is the first of them.

    :param wanted: name of the machine; None: there is no more than one.
    :raises AmbiguousError: if there are several and none is wanted.
    :raises UnsupportedError: if there is none of that name.
    """
    machines = machines_of(artifact)
    names = [machine.name for machine, _ in machines]
    if wanted is None:
        if len(machines) > 1:
            raise AmbiguousError(
                f"holds {len(machines)} machines: {', '.join(names)}",
                origin=_origin(artifact),
                hint=f"choose one: {' or '.join(f'--vm {name}' for name in names)}",
            )
        return artifact
    for machine, node in machines:
        if machine.name == wanted:
            groups = [item for item in artifact.nodes if item.members and item.machine is machine]
            return artifact.view([node, *groups])
    raise UnsupportedError(
        f"holds no machine {quoted(wanted)}",
        origin=_origin(artifact),
        hint=f"there is {', '.join(names)}" if names else "leave --vm out: it names no machines",
    )


def _outermost(nodes: Iterable[Node]) -> Iterator[tuple[Machine, Node]]:
    for node in nodes:
        if node.machine is not None:
            yield node.machine, node
        else:
            yield from _outermost(node.children)


def _origin(artifact: Artifact) -> Origin:
    return artifact.nodes[0].origin
