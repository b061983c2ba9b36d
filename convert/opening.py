"""Opening what a user names: files, disks of one machine, images in a cloud."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from convert.images.reference import folder_of, is_image, is_stated_folder
from convert.keys import read_keys
from convert.options import ConvertOptions, OpenOptions
from convert.select.request import Request
from formats.core.errors import UsageError
from formats.core.finding import Finding
from formats.core.opener import Artifact, Input, open_artifact
from formats.core.origin import printable
from formats.core.reader import Volume
from formats.core.source import MemorySource
from formats.core.tree import Tree

if TYPE_CHECKING:
    from convert.images.opening import OpenedImage
    from convert.oci.config import ImageConfig
    from convert.oci.descriptor import Platform

Source: TypeAlias = str | PathLike[str]
Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with a stage's name, bytes done and bytes in all (0 where that is not known)."""

_IN_CLOUD = ("ami:", "snap:")


@contextmanager
def opened(
    sources: Source | Sequence[Source], options: OpenOptions, progress: Progress | None = None
) -> Iterator[Artifact]:
    """Open an artifact as ``options`` say, and close it at the end."""
    named = [sources] if isinstance(sources, str | PathLike) else list(sources)
    from_pools = options.packages if isinstance(options, ConvertOptions) else ()
    if not named and not from_pools:
        raise UsageError("no file was named", hint="name a source, or packages of a pool: --with")
    with ExitStack() as resources:
        notes: list[Finding] = []
        inputs = [
            _input(os.fspath(source), options, resources, notes, progress) for source in named
        ]
        artifact = open_artifact(
            inputs,
            limits=options.limits,
            allow_backing=options.allow_backing,
            keys=read_keys(options.passphrase_files, options.key_files),
            spool_parent=options.spool,
            progress=progress,
        )
        resources.callback(artifact.close)
        artifact.findings[:0] = notes
        yield artifact


def open_base(
    reference: str,
    options: OpenOptions,
    on_close: Callable[[Callable[[], None]], object],
    *,
    platform: Platform | None = None,
    progress: Progress | None = None,
) -> OpenedImage:
    """Open an image that others are put on, or that is a source itself.

    :param platform: which image, where there are several; default: as ``options`` say.
    :raises formats.core.errors.ConvertError: as
        :func:`convert.images.opening.open_image` says.
    """
    from convert.images.opening import open_image  # noqa: PLC0415 - files are opened without it
    from convert.images.registry.access import RegistryAccess  # noqa: PLC0415 - likewise
    from convert.oci.descriptor import Platform  # noqa: PLC0415 - files are opened without it

    if platform is None and isinstance(options, ConvertOptions) and options.platform:
        system, architecture, variant = options.platform
        platform = Platform(architecture, system, variant)
    return open_image(
        reference,
        on_close=on_close,
        platform=platform,
        limits=options.limits,
        spool=options.spool,
        progress=progress,
        access=RegistryAccess.usual(os.environ, Path.home(), options.plain_http),
    )


def source_config(artifact: Artifact) -> ImageConfig | None:
    """Return the config of the image that an artifact is; None if it is none, or several."""
    from convert.images.tree import ImageTree  # noqa: PLC0415 - files are opened without it

    configs = [node.tree.config for node in artifact.nodes if isinstance(node.tree, ImageTree)]
    return configs[0] if len(configs) == len(artifact.nodes) == 1 else None


def _input(
    source: str,
    options: OpenOptions,
    resources: ExitStack,
    notes: list[Finding],
    progress: Progress | None,
) -> Input:
    """Return a file's path, or what its name means elsewhere; note what is left out of that."""
    if is_image(source):
        image = open_base(source, options, resources.callback, progress=progress)
        tree = image.tree()
        notes += [*image.findings, *tree.findings]
        return _as_volume(source, tree)
    folder = folder_of(source)
    if folder is not None:
        from convert.images.folder import open_folder  # noqa: PLC0415 - likewise

        below = open_folder(folder, options.limits, is_stated=is_stated_folder(source))
        resources.callback(below.close)
        notes += below.findings
        return _as_volume(source, below)
    if source.startswith(_IN_CLOUD):
        return _in_cloud(source, options, resources)
    return Path(source)


def _as_volume(source: str, tree: Tree) -> Volume:
    """Return a tree as something that was opened already."""
    return Volume(MemorySource(b"", tree.origin), printable(source), content=tree)


def _in_cloud(source: str, options: OpenOptions, resources: ExitStack) -> Volume:
    from formats.bundles.ami.access import Account  # noqa: PLC0415 - files are opened without it
    from formats.bundles.ami.image import open_in_cloud  # noqa: PLC0415 - likewise

    account = Account(options.region, options.aws_profile, options.endpoint_url)
    return open_in_cloud(source, account, resources.callback, options.limits)


def request_of(options: OpenOptions) -> Request:
    """Return which tree ``options`` ask for."""
    from convert.handover import second_engine  # noqa: PLC0415 - packages are read without it

    drop = options.drop if isinstance(options, ConvertOptions) else ()
    return Request(
        root=options.root,
        machine=options.vm,
        drop=drop,
        limits=options.limits,
        engine=second_engine(options.engine),
    )


def byte_counter(
    progress: Progress | None, total: int, stage: str = "writing"
) -> Callable[[int], None] | None:
    """Return what adds bytes up for ``progress``; headers and padding are in them too."""
    if progress is None:
        return None
    done = 0

    def count(length: int) -> None:
        nonlocal done
        done += length
        progress(stage, min(done, total) if total else done, total)

    return count
