"""What is not opened says why, and what to do; no header makes anything but a typed error."""

from __future__ import annotations

import hashlib
import json
import random
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from formats.core.errors import (
    ConvertError,
    CorruptError,
    EncryptedError,
    LimitError,
    MissingDependencyError,
    UnsupportedError,
)
from formats.core.opener import open_artifact
from formats.core.registry import Registry
from formats.volumes.luks import READERS, unlock
from tests.formats.volumes.luks.support import content, problem
from tests.images.luks import FAST, PASSPHRASE, cryptsetup, key_file, luks1, luks2, plain_file
from tests.images.recognised import blkid_type
from tests.images.volumes import MIB, blank, patch, reader_name
from tests.support.programs import run

_BINARY_BYTES = 4096
_METADATA_BYTES = 16 << 10
_CHECKSUM = slice(448, 512)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return a volume of each version."""
    plain = plain_file(tmp_path_factory.mktemp("luks"), 64 << 10)
    return {"luks1": luks1(plain).read_bytes(), "luks2": luks2(plain).read_bytes()}


@pytest.fixture(params=["luks1", "luks2"])
def image(request: pytest.FixtureRequest, made: dict[str, bytes], tmp_path: Path) -> Path:
    path = tmp_path / f"disk.{request.param}"
    path.write_bytes(made[request.param])
    return path


@pytest.fixture
def second(made: dict[str, bytes], tmp_path: Path) -> Path:
    """Return a LUKS2 volume."""
    path = tmp_path / "disk.luks2"
    path.write_bytes(made["luks2"])
    return path


def _document(path: Path) -> Any:
    area = path.read_bytes()[_BINARY_BYTES:_METADATA_BYTES]
    return json.loads(area.partition(b"\0")[0])


def _rewrite(path: Path, change: Callable[[Any], object]) -> Path:
    """Change the JSON of both headers, and put their checksums right."""
    document = _document(path)
    change(document)
    text = json.dumps(document).encode()
    data = bytearray(path.read_bytes())
    for start in (0, _METADATA_BYTES):
        header = data[start : start + _METADATA_BYTES]
        header[_BINARY_BYTES:] = text.ljust(_METADATA_BYTES - _BINARY_BYTES, b"\0")
        header[_CHECKSUM] = bytes(64)
        header[_CHECKSUM] = hashlib.sha256(header).digest().ljust(64, b"\0")
        data[start : start + _METADATA_BYTES] = header
    path.write_bytes(data)
    return path


def test_the_rewritten_header_is_one_that_cryptsetup_takes(second: Path) -> None:
    _rewrite(second, lambda document: document["config"].update(flags=["allow-discards"]))
    assert b"allow-discards" in run("cryptsetup", "luksDump", second).stdout
    content(second)


def test_without_a_key_it_is_encrypted_and_how_to_give_one_is_said(image: Path) -> None:
    error = problem(image, [])
    version = image.suffix.removeprefix(".luks")
    assert isinstance(error, EncryptedError)
    assert error.message == f"is a volume encrypted with LUKS{version}, and no key was given"
    assert "--passphrase-file FILE or --key-file FILE" in (error.hint or "")
    assert blkid_type(image) == "crypto_LUKS"


def test_a_wrong_key_is_named_as_such_and_not_shown(image: Path) -> None:
    error = problem(image, [b"wrong", b"also wrong"])
    assert isinstance(error, EncryptedError)
    assert "no key slot opens with what was given" in error.message
    assert "key slots in use: 0" in (error.hint or "")
    assert "wrong" not in str(error)


@pytest.mark.parametrize("name", ["argon2", "cryptography", "numpy"])
def test_without_its_libraries_what_to_install_is_said(second: Path, name: str) -> None:
    script = (
        "import sys; from pathlib import Path; sys.modules[sys.argv[1]] = None\n"
        "from formats.core.opener import open_artifact\n"
        "with open_artifact([Path(sys.argv[2])], keys=[b'key']) as artifact:\n"
        "    error = artifact.nodes[0].problem\n"
        "    print(type(error).__name__, error.message, error.hint, sep='|')\n"
    )
    done = run(sys.executable, "-c", script, name, second, cwd=Path(__file__).parents[4])
    kind, message, hint = done.stdout.decode().strip().split("|")
    assert kind == MissingDependencyError.__name__
    assert message == f"is a volume encrypted with LUKS2, and '{name}' is not installed"
    assert hint == "install it: pip install 'oci-convert[luks]'"


def test_a_left_over_filesystem_in_front_does_not_count(image: Path, tmp_path: Path) -> None:
    """The superblock of ext lies where LUKS1 has nothing, and in the JSON area of LUKS2."""
    ext = blank(tmp_path / "ext", 8 * MIB)
    run("mke2fs", "-q", "-F", "-t", "ext4", ext)
    patch(image, 1024, ext.read_bytes()[1024:2048])
    assert reader_name(image) == image.suffix.removeprefix(".")


def test_the_second_header_is_read_where_the_first_is_damaged(second: Path) -> None:
    expected = content(second)
    for damage in (patch(second, 5000, b"\xff"), patch(second, 0, bytes(_BINARY_BYTES))):
        assert reader_name(damage) == "luks2"
        with open_artifact([damage], registry=Registry(READERS), keys=[PASSPHRASE]) as artifact:
            assert [finding.rule for finding in artifact.findings] == ["luks-header-copy"]
        assert content(damage) == expected


def test_the_newer_header_counts(second: Path, tmp_path: Path) -> None:
    """As when writing the second one was interrupted, and the first says another key."""
    older = second.read_bytes()[_METADATA_BYTES : 2 * _METADATA_BYTES]
    new = key_file(tmp_path, b"a new key")
    cryptsetup("luksAddKey", *FAST, "--key-file", key_file(tmp_path), second, new)
    patch(second, _METADATA_BYTES, older)
    content(second, [b"a new key"])


def test_with_both_headers_damaged_it_is_corrupt(second: Path) -> None:
    patch(patch(second, 5000, b"\xff"), _METADATA_BYTES + 5000, b"\xff")
    error = problem(second)
    assert isinstance(error, CorruptError)
    assert (error.message, error.offset) == ("the LUKS2 header has a wrong checksum", 0)


def test_a_volume_that_is_being_encrypted_is_refused(tmp_path: Path) -> None:
    plain = plain_file(tmp_path)
    plain.write_bytes(plain.read_bytes() + bytes(8 * MIB))
    cryptsetup(
        *("reencrypt", "--encrypt", "--init-only", "--type", "luks2", *FAST),
        *("--reduce-device-size", "8M", "--force-offline-reencrypt"),
        *("--key-file", key_file(tmp_path), plain),
    )
    error = problem(plain)
    assert isinstance(error, UnsupportedError)
    assert error.message == "is being re-encrypted, which is not read"
    assert "cryptsetup reencrypt --resume-only" in (error.hint or "")


def test_a_header_alone_is_told_from_a_volume(image: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    cryptsetup("luksHeaderBackup", image, "--header-backup-file", backup)
    error = problem(backup)
    assert isinstance(error, CorruptError)
    assert "backup of the header" in (error.hint or "")


def test_a_detached_header_is_refused(tmp_path: Path) -> None:
    data, header = blank(tmp_path / "data", 4 * MIB), tmp_path / "header"
    key = key_file(tmp_path)
    cryptsetup("luksFormat", "--type", "luks2", *FAST, "--header", header, data, key)
    error = problem(header)
    assert isinstance(error, UnsupportedError)
    assert error.message == "is a LUKS header whose data is elsewhere, which is not read"


_SEGMENT = {"type": "crypt", "offset": "4194304", "size": "dynamic", "iv_tweak": "0"}
_CRYPT = {**_SEGMENT, "encryption": "aes-xts-plain64", "sector_size": 512}
_ARGON2 = {"type": "argon2id", "salt": "AAAAAAAAAAAAAAAAAAAAAA==", "time": 4, "cpus": 1}


def _kdf(document: Any, **values: object) -> None:
    document["keyslots"]["0"]["kdf"] = {**document["keyslots"]["0"]["kdf"], **values}


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (
            lambda d: d["config"].update(requirements={"mandatory": ["opal"]}),
            UnsupportedError,
            "needs 'opal' of LUKS2",
        ),
        (
            lambda d: d["segments"]["0"].update(integrity={"type": "hmac(sha256)"}),
            UnsupportedError,
            "integrity protection (dm-integrity)",
        ),
        (
            lambda d: d["segments"]["0"].update(encryption="serpent-xts-plain64"),
            UnsupportedError,
            "the cipher 'serpent-xts-plain64'",
        ),
        (
            lambda d: d["segments"]["0"].update(encryption="aes-xts-random"),
            UnsupportedError,
            "the cipher 'aes-xts-random'",
        ),
        (
            lambda d: d["keyslots"]["0"]["area"].update(encryption="twofish-cbc-plain"),
            UnsupportedError,
            "the cipher 'twofish-cbc-plain'",
        ),
        (lambda d: d["segments"].update({"1": _CRYPT}), UnsupportedError, "has 2 segments"),
        (lambda d: d["segments"].clear(), UnsupportedError, "a LUKS2 header without data"),
        (
            lambda d: d["segments"]["0"].update(type="hw-opal"),
            UnsupportedError,
            "a segment of the type 'hw-opal'",
        ),
        (lambda d: _kdf(d, hash="whirlpool2"), UnsupportedError, "the hash 'whirlpool2'"),
        (lambda d: _kdf(d, type="scrypt"), CorruptError, "time"),
        (lambda d: _kdf(d, iterations=4_000_000_000), LimitError, "4,000,000,000 iterations"),
        (
            lambda d: _kdf(d, **_ARGON2, memory=4 << 20),
            LimitError,
            "deriving a key takes 4,194,304 KiB in 1 lanes",
        ),
        (lambda d: _kdf(d, **{**_ARGON2, "time": 1 << 31}, memory=1 << 20), LimitError, "passes"),
        (lambda d: _kdf(d, **{**_ARGON2, "cpus": 200}, memory=1 << 10), LimitError, "200 lanes"),
        (lambda d: _kdf(d, **_ARGON2, memory=1), CorruptError, "a key cannot be derived"),
        (lambda d: d["digests"].clear(), CorruptError, "no digest of its key"),
        (lambda d: d["digests"]["0"].update(digest=""), CorruptError, "digest of its key is empty"),
        (lambda d: d["digests"]["0"].update(keyslots=[]), EncryptedError, "no key slot opens"),
        (
            lambda d: d["segments"]["0"].update(sector_size=513),
            CorruptError,
            "sectors of 513 bytes",
        ),
        (lambda d: d["segments"]["0"].update(offset="-1"), CorruptError, "offset = '-1'"),
        (lambda d: d["segments"]["0"].update(size="1"), CorruptError, "its data should start"),
        (
            lambda d: d["keyslots"]["0"]["af"].update(stripes=10**9),
            CorruptError,
            "keyslots.0.af.stripes = 1000000000",
        ),
        (
            lambda d: d["keyslots"]["0"]["area"].update(offset="9999999999"),
            CorruptError,
            "the area of key slot 0 lies outside",
        ),
        (
            lambda d: d["keyslots"]["0"]["area"].update(key_size=33),
            UnsupportedError,
            "a key of 33 bytes",
        ),
        (lambda d: d["keyslots"].update({"x": d["keyslots"]["0"]}), CorruptError, "a key slot 'x'"),
    ],
)
def test_what_a_header_asks_for_is_checked(
    second: Path, change: Callable[[Any], object], kind: type[ConvertError], message: str
) -> None:
    error = problem(_rewrite(second, change))
    assert type(error) is kind, error
    assert message in error.message


def test_a_slot_that_cannot_be_tried_does_not_stop_the_others(second: Path, tmp_path: Path) -> None:
    cryptsetup(
        *("luksAddKey", *FAST, "--key-file", key_file(tmp_path)),
        *(second, key_file(tmp_path, b"another")),
    )
    _rewrite(second, lambda document: _kdf(document, hash="unheard-of"))
    content(second, [b"another"])
    assert "unheard-of" in problem(second, [b"wrong"]).message


def test_all_tries_together_are_bounded(second: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A header with many costly slots, and many keys, would else take hours."""
    monkeypatch.setattr(unlock, "_EFFORT_MAX", 5.5 * 2_000 / 100_000_000)  # five tries
    content(second, [b"wrong"] * 4 + [PASSPHRASE])
    error = problem(second, [b"wrong"] * 5 + [PASSPHRASE])
    assert isinstance(error, LimitError)
    assert error.message == "1 key slots and 6 keys take too long to try"


def test_slots_of_high_priority_are_tried_first(second: Path, tmp_path: Path) -> None:
    cryptsetup(
        *("luksAddKey", *FAST, "--key-file", key_file(tmp_path)),
        *("--key-slot", "5", second, key_file(tmp_path)),
    )
    cryptsetup("config", "--priority", "prefer", "--key-slot", "5", second)
    with open_artifact([second], registry=Registry(READERS), keys=[PASSPHRASE]) as artifact:
        assert artifact.nodes[0].facts["opened-by"] == "key slot 5"


def test_json_that_is_nested_without_end_is_corrupt(second: Path) -> None:
    text = b"[" * (_METADATA_BYTES - _BINARY_BYTES)
    data = bytearray(second.read_bytes())
    for start in (0, _METADATA_BYTES):
        header = data[start : start + _METADATA_BYTES]
        header[_BINARY_BYTES:] = text
        header[_CHECKSUM] = bytes(64)
        header[_CHECKSUM] = hashlib.sha256(header).digest().ljust(64, b"\0")
        data[start : start + _METADATA_BYTES] = header
    second.write_bytes(data)
    assert problem(second).message == "the LUKS2 header holds no JSON"


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (108, 0, "a key of 0 bytes"),
        (108, 1 << 20, "a key of 1,048,576 bytes"),
        (164, 0, "and 0 iterations"),
        (208, 0xAC71F4, "key slot 0 of the LUKS1 header is damaged"),
        (208 + 44, 1 << 30, "key slot 0 of the LUKS1 header is damaged"),
        (104, 1 << 31, "its data should start at byte"),
    ],
)
def test_a_luks1_header_is_checked(
    made: dict[str, bytes], tmp_path: Path, offset: int, value: int, message: str
) -> None:
    path = tmp_path / "disk.luks1"
    path.write_bytes(made["luks1"])
    error = problem(patch(path, offset, struct.pack(">I", value)))
    assert isinstance(error, CorruptError)
    assert message in error.message


def test_any_mutation_of_a_header_gives_bytes_or_a_typed_error(
    made: dict[str, bytes], tmp_path: Path
) -> None:
    """Of LUKS1 at random; of LUKS2 in the JSON, with the checksums right."""
    chance = random.Random(8)
    outcomes = set()
    first, second = tmp_path / "disk.luks1", tmp_path / "disk.luks2"
    values: list[object] = [None, -1, 0, 1, 1 << 65, "", "0", "x" * 100, [], {}, ["0"], True, 1.5]
    for _ in range(30):
        data = bytearray(made["luks1"])
        data[chance.randrange(592)] = chance.choice([0, 1, 0x7F, 0xFF])
        data[164:168] = data[212:216] = struct.pack(">I", 10)  # cheap to try
        first.write_bytes(data)
        second.write_bytes(made["luks2"])

        def change(document: Any) -> None:
            here = document
            while isinstance(here, dict) and here:
                key = chance.choice(sorted(here))
                if not isinstance(here[key], dict) or chance.random() < 0.2:
                    here[key] = chance.choice(values)
                    return
                here = here[key]

        _rewrite(second, change)
        for path in (first, second):
            with open_artifact([path], registry=Registry(READERS), keys=[b"wrong"]) as artifact:
                for node in artifact.walk():
                    assert node.problem is None or isinstance(node.problem, ConvertError)
                    outcomes.add(type(node.problem))
    assert {CorruptError, EncryptedError} <= outcomes
