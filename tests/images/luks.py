"""LUKS volumes that ``cryptsetup`` and ``qemu-img`` made and encrypted.

Neither takes device-mapper: cryptsetup encrypts what is in a file already (``reencrypt --encrypt``
offline) and turns LUKS2 into LUKS1, and qemu-img encrypts what it converts.
"""

from __future__ import annotations

from pathlib import Path

from tests.images.volumes import MIB
from tests.support.memory_tree import varied
from tests.support.programs import need, run

PASSPHRASE = b"correct horse"
FAST = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")

_HEADER_BYTES = 8 * MIB
"""Room for the header and for moving the data behind it; half of it stays behind the data."""
_QEMU_ATTEMPTS = 5
_QEMU_FLAKE = b"Unable to get accurate CPU usage"


def plain_file(folder: Path, size: int = MIB) -> Path:
    """Make a file whose every sector is another."""
    path = folder / "plain.raw"
    path.write_bytes(varied(size, 7))
    return path


def luks2(plain: Path, *options: str) -> Path:
    """Return a LUKS2 volume that starts with ``plain``; options as those of ``cryptsetup``."""
    image = plain.with_suffix(".luks2")
    image.write_bytes(plain.read_bytes() + bytes(_HEADER_BYTES))
    derivation = () if "--pbkdf" in options else FAST
    cryptsetup(
        *("reencrypt", "--encrypt", "--type", "luks2", "--force-offline-reencrypt"),
        *("--reduce-device-size", str(_HEADER_BYTES)),
        *("--luks2-metadata-size", "16k", "--luks2-keyslots-size", "3M"),
        *("--key-file", str(key_file(plain.parent)), *derivation, *options, str(image)),
    )
    return image


def luks1(plain: Path, *options: str) -> Path:
    """Return a LUKS1 volume that starts with ``plain``; options as those of ``cryptsetup``."""
    image = luks2(plain, *options)
    cryptsetup("convert", "--type", "luks1", image)
    return image.rename(plain.with_suffix(".luks1"))


def luks1_of_qemu(plain: Path) -> Path:
    """Return a LUKS1 volume with the content of ``plain`` that qemu-img encrypted."""
    image = plain.with_suffix(".qemu")
    secret = f"secret,id=key,data={PASSPHRASE.decode()}"
    options = "key-secret=key,iter-time=10,cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=essiv"
    encrypting_qemu("convert", "-O", "luks", "--object", secret, "-o", options, plain, image)
    return image


def encrypting_qemu(*arguments: str | Path) -> None:
    """Run a command of qemu-img that makes a key slot.

    It measures how much of its own time deriving a key takes, and now and then says that it cannot.
    """
    need("qemu-img")
    for _ in range(_QEMU_ATTEMPTS):
        done = run("qemu-img", *arguments, check=False)
        if _QEMU_FLAKE not in done.stderr:
            break
    assert done.returncode == 0, done.stderr.decode()


def key_file(folder: Path, key: bytes = PASSPHRASE) -> Path:
    """Return a file that holds a key."""
    path = folder / f"{len(key)}.key"
    path.write_bytes(key)
    return path


LUKS_FORMAT = (
    "cryptsetup luksFormat -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 {image} {file} --type"
)
"""To be followed by the version; a command of :mod:`tests.images.recognised`."""


def cryptsetup(*arguments: str | Path) -> None:
    """Run a command of cryptsetup that asks nothing."""
    need("cryptsetup")
    run("cryptsetup", "--batch-mode", *arguments)
