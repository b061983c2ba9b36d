"""``convert dockerfile``: a system as a folder that an image can be built of.

::

    DIR/Dockerfile     FROM the official image, RUN its package manager, COPY what differs
    DIR/rootfs/        what is copied
    DIR/rootfs.tar     what COPY would not keep as it is, where there is such
    DIR/NOTES.md       what of the machine is not in it, and why

The folder appears with all of it, or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from convert.dockerfile.draft import Draft, draft_of
from convert.dockerfile.notes import notes_text
from convert.dockerfile.place import CONTEXT_FOLDER, PickedTree
from convert.dockerfile.text import ARCHIVE, SOURCES_ARCHIVE, dockerfile_text
from convert.layers.folder import place_of_folder, write_folder
from convert.layers.tar_file import write_tar
from convert.losses import refuse_findings
from convert.opening import Progress, Source, byte_counter, opened
from convert.options import ConvertOptions
from convert.plan import Decisions, make_plan
from convert.staging import Staging
from formats.core.entry import Kind
from formats.core.finding import Finding

_DEFAULT_OPTIONS = ConvertOptions()
_STAGED = "dockerfile"


@dataclass(frozen=True, slots=True)
class Drafted:
    """What :func:`dockerfile_artifact` wrote.

    :ivar base: the official image.
    :ivar packages: that are installed by name; ``left_out`` were asked for, and why they are not.
    :ivar copied: paths of files and links that are copied.
    :ivar removed: paths that the Dockerfile removes.
    :ivar findings: what of the machine is not in it.
    """

    folder: str
    base: str
    packages: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    copied: tuple[bytes, ...]
    removed: tuple[bytes, ...]
    decisions: Decisions
    findings: tuple[Finding, ...]


def dockerfile_artifact(
    sources: Source | Sequence[Source],
    folder: Path,
    options: ConvertOptions = _DEFAULT_OPTIONS,
    *,
    progress: Progress | None = None,
) -> Drafted:
    """Write a system as a Dockerfile, with what that needs.

    :param folder: must not exist, or be empty.
    :raises formats.core.errors.UnsupportedError: if no official image of the system is known.
    :raises formats.core.errors.ConvertError: any of its subclasses; nothing is left behind then.
    """
    with opened(sources, options, progress) as artifact:
        plan = make_plan(artifact, options)
        refuse_findings(plan.decisions.findings, options)
        draft = draft_of(plan, options)
        _write(draft, folder.absolute(), options, progress)
    entries = [
        entry
        for placed in (draft.before, draft.after)
        for entry in (*placed.files, *placed.links, *placed.special)
        if entry.kind is not Kind.FOLDER
    ]
    return Drafted(
        str(folder),
        draft.base.image,
        draft.chosen.names,
        draft.chosen.left_out,
        tuple(sorted(entry.path for entry in entries)),
        draft.differences.removed,
        plan.decisions,
        draft.findings,
    )


def _write(draft: Draft, folder: Path, options: ConvertOptions, progress: Progress | None) -> None:
    files = [*draft.before.files, *draft.after.files]
    archives = {SOURCES_ARCHIVE: draft.before.special, ARCHIVE: draft.after.special}
    content_bytes = sum(entry.size for entries in (files, *archives.values()) for entry in entries)
    counter = byte_counter(progress, content_bytes)
    with Staging(place_of_folder(folder), folder) as staging:
        staged = staging.folder / _STAGED
        try:
            staged.mkdir()
        except OSError as error:
            raise staging.failure(error) from error
        if files:
            # to the build they are root's whoever has them here
            tree = PickedTree(draft.index, files, (os.geteuid(), os.getegid()))
            write_folder(tree, staged / CONTEXT_FOLDER, progress=counter, limits=options.limits)
        for name, entries in archives.items():
            if entries:
                tree = PickedTree(draft.index, entries)
                write_tar(tree, staged / name, limits=options.limits)
        for name, text in _texts(draft):
            with staging.new_file(staged / name) as output:
                output.write(text.encode())
        place_of_folder(folder)
        try:
            staged.rename(folder)
        except OSError as error:
            raise staging.failure(error) from error


def _texts(draft: Draft) -> Iterator[tuple[str, str]]:
    yield "Dockerfile", dockerfile_text(draft)
    yield "NOTES.md", notes_text(draft)
