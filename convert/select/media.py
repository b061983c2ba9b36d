"""Live systems and installers: what trees that are no roots may be instead."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from formats.core.errors import ConvertError, LimitError
from formats.core.opener import Artifact, Node
from formats.core.reader import OpenContext, Volumes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convert.select.survey import Content


@dataclass(slots=True)
class MediaSearch:
    """Looks for systems inside of volumes without one; each volume is looked at once.

    Systems may be packed twice (a disk in a squashfs on an ISO), so that what is found is looked at
    again.

    :ivar refusals: media without a system, and those that are damaged: why they cannot be run.
    """

    artifact: Artifact
    refusals: list[tuple[Node, ConvertError]] = field(default_factory=list)
    _looked_at: set[int] = field(default_factory=set)
    _depth: int = 0

    def divide(self, contents: Sequence[Content]) -> bool:
        """Let media be what is on them; return whether any was found, to be looked at in turn.

        :param contents: all volumes that can be read.
        :raises LimitError: if systems are packed deeper than ``limits.nesting``.
        """
        pending = [
            content
            for content in contents
            if not content.is_root and not self.was_looked_at(content.node)
        ]
        media = [content for content in pending if self._divide(content)]
        self._depth += bool(media)
        most = self.artifact.limits.nesting
        if self._depth > most:
            raise LimitError(
                f"systems are packed inside of each other more than {most} deep",
                origin=self.artifact.nodes[0].origin,
            )
        return bool(media)

    def was_looked_at(self, node: Node) -> bool:
        """Tell whether a volume was searched, and is what it will be."""
        return id(node) in self._looked_at

    def _divide(self, content: Content) -> bool:
        # most artifacts are disks with a root, and do without
        from formats.media.opening import installer_error, medium_volumes  # noqa: PLC0415
        from formats.media.recognise import recognise  # noqa: PLC0415

        node, tree = content.node, content.node.tree
        self._looked_at.add(id(node))
        if tree is None:
            return False

        def find(context: OpenContext) -> Volumes | None:
            medium = recognise(content.index)
            if medium is None:
                return None
            problem = installer_error(medium, node.origin)
            if problem is None:
                return medium_volumes(medium, content.index, tree, context)
            self.refusals.append((node, problem))
            node.facts.update(medium.facts, medium=medium.title)
            return None

        try:
            is_medium = self.artifact.divide(node, find)
        except ConvertError as error:
            self.refusals.append((node, error.at(node.origin)))
            return False
        if is_medium:
            self._looked_at.add(id(node.children[0]))  # the medium's own tree, once more
        return is_medium
