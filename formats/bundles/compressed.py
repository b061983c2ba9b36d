"""Files that are compressed as a whole: ``disk.raw.gz``, ``server.vmdk.xz``, …

Disks are read at any place, and these streams only from the front. So they are decompressed once,
into a temporary file that holes take no room in, and read from there; the user is told.

Not supported: lzop and compress (``.Z``) files. The rarer ways that are supported are in
:mod:`formats.bundles.more_compressed`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from formats.bundles.streams import Compressed, Decoder, bunzip2, gunzip, unxz, unzstd
from formats.bundles.zstd_frames import FRAME_MAGIC, SKIPPABLE_MAGICS
from formats.core.errors import LimitError
from formats.core.finding import Action, Finding
from formats.core.origin import Origin
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature, Volume, Volumes
from formats.core.source import ByteSource
from formats.core.spool import Spool

_BZIP2_BLOCK = b"1AY&SY"
_BZIP2_END = b"\x17\x72\x45\x38\x50\x90"
_GZIP_RESERVED_FLAGS = 0xE0


@dataclass(frozen=True, slots=True)
class CompressedReader:
    """A reader of one compression; its volume is what comes out.

    :ivar endings: ending of a file's name → what the name ends in without the compression.
    :ivar check: looks beyond the magic.
    """

    name: str
    signatures: tuple[Signature, ...]
    decode: Decoder
    endings: tuple[tuple[str, str], ...]
    doc: ReaderDoc
    check: Callable[[ByteSource], bool]
    category: Category = Category.COMPRESSION
    supersedes: frozenset[str] = frozenset()

    def probe(self, source: ByteSource) -> bool:
        """See :class:`~formats.core.reader.Reader`."""
        return self.check(source)

    def open(self, source: ByteSource, context: OpenContext) -> Volumes:
        """Decompress all of it.

        :raises CorruptError: if it is damaged or cut short.
        :raises LimitError: if it gives more than the limits allow.
        :raises OutputError: if there is no room for it.
        """
        name = self._inner_name(source.origin)
        origin = source.origin.child(name)
        spool = Spool(context.spool_folder, origin, context.limits)
        try:
            self._fill(spool, Compressed(source), context)
            inner = spool.finish()
        finally:
            spool.close()
        context.on_close(inner.close)
        facts = {"decompressed": f"{spool.size:,} bytes, {spool.stored_bytes:,} without holes"}
        return Volumes((Volume(inner, name, siblings=context.siblings),), facts)

    def _fill(self, spool: Spool, file: Compressed, context: OpenContext) -> None:
        limits, source = context.limits, file.source
        for block in self.decode(file, limits):
            spool.add(block)
            stored = spool.stored_bytes
            if (
                stored > limits.expansion_grace_bytes
                and stored > limits.expansion_ratio * file.position
            ):
                raise LimitError(
                    f"expands to more than {limits.expansion_ratio:,} times its size",
                    origin=source.origin,
                    offset=file.position,
                    hint="raise the limit on expansion_ratio if the input is trusted",
                )
            context.progress("decompressing", min(file.position, source.size), source.size)
        where = str(source.origin).encode()
        evidence = f"decompressed to a temporary file of {spool.stored_bytes:,} bytes"
        context.note(Finding("spooled", where, Action.REPORTED, evidence))
        if file.trailing_bytes:
            evidence = f"{file.trailing_bytes:,} bytes follow the {self.name} stream; not read"
            context.note(Finding("trailing-data", where, Action.REPORTED, evidence))

    def _inner_name(self, origin: Origin) -> str:
        name = origin.parts[-1]
        for ending, rest in self.endings:
            if name.lower().endswith(ending) and len(name) > len(ending):
                return name[: -len(ending)] + rest
        return "content"


def _is_gzip(source: ByteSource) -> bool:
    head = bytes(source.read_at(0, 10))
    return len(head) == 10 and not head[3] & _GZIP_RESERVED_FLAGS


def _is_bzip2(source: ByteSource) -> bool:
    head = bytes(source.read_at(3, 7))
    return head[:1] in b"123456789" and head[1:] in {_BZIP2_BLOCK, _BZIP2_END}


def _suffices(source: ByteSource) -> bool:
    del source
    return True


_READS = "several streams in a row, padding behind them"
_doc = partial(ReaderDoc, reads=_READS)

READERS: tuple[CompressedReader, ...] = (
    CompressedReader(
        "gzip",
        (Signature(0, b"\x1f\x8b\x08"),),
        gunzip,
        ((".gz", ""), (".tgz", ".tar"), (".box", ".tar")),
        _doc("gzip-compressed file", (".gz", ".tgz"), "RFC 1952"),
        _is_gzip,
    ),
    CompressedReader(
        "bzip2",
        (Signature(0, b"BZh"),),
        bunzip2,
        ((".bz2", ""), (".tbz2", ".tar"), (".tbz", ".tar")),
        _doc("bzip2-compressed file", (".bz2",), "bzip2(1) and its manual"),
        _is_bzip2,
    ),
    CompressedReader(
        "xz",
        (Signature(0, b"\xfd7zXZ\x00"),),
        unxz,
        ((".xz", ""), (".txz", ".tar")),
        _doc("xz-compressed file", (".xz",), "The .xz File Format 1.1.0"),
        _suffices,
    ),
    CompressedReader(
        "zstd",
        tuple(Signature(0, magic) for magic in (FRAME_MAGIC, *SKIPPABLE_MAGICS)),
        unzstd,
        ((".zst", ""), (".tzst", ".tar")),
        _doc("zstd-compressed file", (".zst", ".tzst"), "RFC 8878"),
        _suffices,
    ),
)
