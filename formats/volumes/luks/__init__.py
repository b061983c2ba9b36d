"""LUKS1 and LUKS2: an encrypted volume becomes the volume inside, with a passphrase or key file.

Written from the LUKS1 On-Disk Format Specification 1.2.3, the LUKS2 On-Disk Format Specification
1.1.1 and the kernel's documentation of dm-crypt. Nothing decrypted is written anywhere.

Read: AES in the modes XTS, CBC and ECB with the IVs plain, plain64 and ESSIV, sectors of 512 to
4096 bytes, PBKDF2, Argon2i and Argon2id. Refused by name: other ciphers, volumes with dm-integrity,
volumes that are being re-encrypted, headers detached from their data, hardware encryption (OPAL).
The cryptography is that of libraries, which the extra ``luks`` installs; without a key nothing of
it is imported.
"""

from __future__ import annotations

from formats.volumes.luks.reader import READERS, LuksReader

__all__ = ["READERS", "LuksReader"]
