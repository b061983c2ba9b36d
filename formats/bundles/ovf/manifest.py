"""Manifest and certificate of an OVF package: what its files have to add up to.

Specification: DSP0243 clause 6.2. The manifest ``NAME.mf`` beside ``NAME.ovf`` has one line for
each file, ``SHA256(disk1.vmdk)= 9f86…``. All of it is verified before anything is read, which
takes as long as reading each file once. ``NAME.cert`` holds a signature of the manifest; that it
is there is reported, and it is not verified: what would make its certificate trusted is not known
here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from formats.core.errors import CorruptError, LimitError, UnsupportedError, quoted
from formats.core.finding import Action, Finding
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.core.reader import OpenContext, Siblings
from formats.core.source import ByteSource

_LINE = re.compile(r"([A-Za-z0-9-]{2,20})\s*\((.+)\)\s*=\s*([0-9A-Fa-f]+)")
_ALGORITHMS: Mapping[str, str] = {
    "sha1": "sha1",
    "sha224": "sha224",
    "sha256": "sha256",
    "sha384": "sha384",
    "sha512": "sha512",
}
_READ_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a manifest; the algorithm as hashlib names it, the digest in lower case."""

    algorithm: str
    name: str
    digest: str


def parse_manifest(source: ByteSource, limit: int) -> list[Line]:
    """Return the lines.

    :raises CorruptError: for lines that are not of the form.
    :raises UnsupportedError: for algorithms that are not known.
    :raises LimitError: if it has more than ``limit`` bytes.
    """
    if source.size > limit:
        raise LimitError(f"has {source.size:,} bytes, more than {limit:,}", origin=source.origin)
    text = bytes(source.read_at(0, source.size)).decode("utf-8-sig", "surrogateescape")
    return list(_lines(text, source.origin))


def _lines(text: str, origin: Origin) -> Iterator[Line]:
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip(" \t\r\0")
        if not line:
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise CorruptError(
                f"has a line {number} that is not of a manifest: {quoted(line[:80])}",
                origin=origin,
            )
        algorithm = _ALGORITHMS.get(match[1].lower().replace("-", ""))
        if algorithm is None:
            raise UnsupportedError(
                f"has digests by {quoted(match[1])}, which is not known",
                origin=origin,
                hint="remove the manifest if the files are trusted",
            )
        yield Line(algorithm, match[2].removeprefix("./"), match[3].lower())


def verify(
    stem: str, expected: Sequence[str], siblings: Siblings, context: OpenContext, origin: Origin
) -> dict[str, str]:
    """Verify every file that the manifest lists; return facts.

    A listed file that is missing is reported: who needs it says more. So is one that ought to be
    listed and is not.

    :param stem: the descriptor's name without ``.ovf``.
    :param expected: names of the files that the package is made of.
    :raises CorruptError: if a file is not what it was when the package was made.
    :raises LimitError: if a file is nearly nothing but holes.
    """
    name = next((stem + end for end in (".mf", ".MF") if siblings.exists(stem + end)), None)
    if name is None:
        return {}
    manifest = siblings.open(name, origin)
    lines = list(dict.fromkeys(parse_manifest(manifest, context.limits.descriptor_bytes)))
    found: list[tuple[Line, ByteSource]] = []
    for line in lines:
        if siblings.exists(line.name):
            found.append((line, siblings.open(line.name, origin)))
        else:
            evidence = f"lists {quoted(line.name)}, which is not there"
            _note(context, "manifest-file-missing", manifest.origin, evidence)
    listed = {line.name for line in lines}
    left_out = [name for name in expected if name not in listed and siblings.exists(name)]
    if left_out:
        evidence = f"does not list {', '.join(quoted(name) for name in left_out)}; not verified"
        _note(context, "manifest-incomplete", manifest.origin, evidence)
    for _, source in found:
        _refuse_holes(source, context.limits)
    total = sum(source.size for _, source in found)
    done = 0
    for line, source in found:
        done = _verify(line, source, manifest.origin, context, done, total)
    if siblings.exists(f"{stem}.cert"):
        evidence = f"signs {name}; the signature was not verified, the digests in it were"
        _note(context, "signature-not-verified", origin.child(f"{stem}.cert"), evidence)
    algorithms = sorted({line.algorithm.upper() for line in lines})
    return {"manifest": f"{len(found):,} files verified ({', '.join(algorithms)})"}


def _refuse_holes(source: ByteSource, limits: Limits) -> None:
    """Refuse to sum up a file that is nearly nothing but holes: a few bytes could ask for days.

    :raises LimitError: if it is so much larger than what is stored of it.
    """
    if source.size <= limits.expansion_grace_bytes:
        return
    stored = sum(extent.length for extent in source.extents() if not extent.is_hole)
    if source.size > limits.expansion_ratio * stored:
        raise LimitError(
            f"has {source.size:,} bytes, of which {stored:,} are stored",
            origin=source.origin,
            hint="raise the limit on expansion_ratio if the input is trusted",
        )


def _verify(
    line: Line, source: ByteSource, manifest: Origin, context: OpenContext, done: int, total: int
) -> int:
    hasher = hashlib.new(line.algorithm, usedforsecurity=False)
    for offset in range(0, source.size, _READ_BYTES):
        data = source.read_at(offset, _READ_BYTES)
        hasher.update(data)
        done += len(data)
        context.progress("verifying", done, total)
    if hasher.hexdigest() != line.digest:
        raise CorruptError(
            f"is not what the manifest says: its {line.algorithm.upper()} is"
            f" {hasher.hexdigest()}, and {manifest.parts[-1]} has {line.digest}",
            origin=source.origin,
            hint="fetch it again; if it was changed on purpose, remove the manifest",
        )
    return done


def _note(context: OpenContext, rule: str, origin: Origin, evidence: str) -> None:
    context.note(Finding(rule, str(origin).encode(), Action.REPORTED, evidence))
