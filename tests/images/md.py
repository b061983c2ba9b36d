"""Arrays of Linux RAID as the kernel and mdadm made them.

Making them takes the kernel's md driver, which build machines need not have, so they are kept here.
They were made in a virtual machine with Linux 6.1 and mdadm 4.2: ``mdadm --create``, filled as
:mod:`tests.images.kernel_made` has it, changed as the name says (``--fail``, ``--add``, ``--grow``
…), stopped, and their members taken.
"""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path

from tests.images.kernel_made import kept, unpacked
from tests.images.volumes import MIB, patch

MD_MEMBER_BYTES = 8 * MIB

# Version → where it is on the device, and the block (zlib, base 85).
_SUPERBLOCKS = {
    "0.90": (
        0x7F0000,
        (
            "c-s5pr@fK^2%;DeK>fyLh1h!bY(^mafII^O69WXpK*I9O2AgaNTa*5&!3-3Fbf`V(b_Bjq-6#xY!|4A&"
            "z%UA^4mgn5Y;?Ap5o*5xl+8989iw0rjDk@x3P!;w7zLwX6pVsl3I@9W0|18@6A%"
        ),
    ),
    "1.0": (
        0x7FE000,
        (
            "c-s5pr@fMq0Ri~VEJ^eFHt+J=IdhL&KHAcyk(ZyBs%d4&fCI$WvuA^7m>CWB2stJO;=u!`z7O`O;xKa`"
            "t-0nI=y~+0$>o=AcRzBQGca&4{P_R>e+JZkL8!X_Q1E@BXk`OYHZ#KYj6?tc1b8Pn"
        ),
    ),
    "1.1": (
        0x0,
        (
            "c-s5pr@fMq0RiN0MBi`IsycQl*pb)ys!^v#UVdJxrj-!`4v<*So(-bmW>_HPm>7rv9GLpB0m~no`;Oh*"
            "ueV4eC;0nsz5O7K0zmOhsQvs<b^oEjx4})Pff)ONF8@D*0RWw}9dZ"
        ),
    ),
    "1.2": (
        0x1000,
        (
            "c-s5pr@fMq0RcWAI;hnV!TWseQbqyyYqb|O^78XiHLZ*paDe1`_G}OhH^TxU$HYJc;6T;KfkW9^X@P|g"
            "xfXVI6m_02wJ+KUQYiow&w|>|4^{Uc3K-A5INm^v{Xm!hAHe_sktZGU"
        ),
    ),
}

MD_VERSIONS = tuple(_SUPERBLOCKS)


def add_md_superblock(device: Path, version: str) -> Path:
    """Make a member of an array out of an image of :data:`MD_MEMBER_BYTES`; what is in it stays."""
    assert device.stat().st_size == MD_MEMBER_BYTES
    offset, block = _SUPERBLOCKS[version]
    return patch(device, offset, zlib.decompress(base64.b85decode(block)))


ARRAYS = kept("md_arrays")


def members(name: str, folder: Path) -> list[Path]:
    """Unpack the members of an array, in the order in which ``mdadm --create`` was given them."""
    return unpacked("md_arrays", name, folder)


def big_endian(member: Path) -> Path:
    """Rewrite a superblock of version 0.90 as a machine of the other byte order writes it.

    Words are of 32 bits; of each pair that is one number of 64, the high one then comes first.
    """
    data = bytearray(member.read_bytes())
    offset = (len(data) & -65536) - 65536
    words = list(struct.unpack_from("<1024I", data, offset))
    for pair in (39, 41):
        words[pair : pair + 2] = words[pair + 1], words[pair]
    struct.pack_into(">1024I", data, offset, *words)
    member.write_bytes(data)
    return member


def resealed(member: Path, offset: int, **fields: int) -> Path:
    """Change fields of a superblock of version 1 at ``offset``, and put its checksum right."""
    places = {
        "features": (8, "<I"),
        "layout": (76, "<I"),
        "chunk": (88, "<I"),
        "events": (200, "<Q"),
        "members": (92, "<I"),
        "rows": (220, "<I"),
    }
    data = bytearray(member.read_bytes())
    for name, value in fields.items():
        place, form = places[name]
        struct.pack_into(form, data, offset + place, value)
    (rows,) = struct.unpack_from("<I", data, offset + 220)
    block = data[offset : offset + 256 + 2 * rows]
    block[216:220] = bytes(4)
    total = sum(
        word for (word,) in struct.iter_unpack("<I", block.ljust(-(-len(block) // 4) * 4, b"\0"))
    )
    struct.pack_into("<I", data, offset + 216, (total & 0xFFFFFFFF) + (total >> 32) & 0xFFFFFFFF)
    member.write_bytes(data)
    return member
