"""Every error a user can meet, in one tree.

::

    ConvertError               70  internal-error
    ├── UsageError              2  usage
    ├── UnsupportedError        3  unsupported
    │   ├── EncryptedError      3  encrypted
    │   └── AmbiguousError      3  ambiguous
    ├── CorruptError            4  corrupt
    │   └── InputReadError      4  read-failed
    ├── LimitError              5  limit-exceeded
    ├── MissingDependencyError  6  missing-dependency
    ├── OutputError             7  output-failed
    │   └── OutputExistsError   7  output-exists
    ├── VerificationError       8  verification-failed
    ├── RegistryError           9  registry
    ├── FindingsError          10  findings
    └── InterruptedByUserError 130 interrupted

An error says what happened, where (breadcrumb and byte offset) and what to do next. One error is
one line; :meth:`ConvertError.as_dict` gives the same as an object for ``--json``.
"""

from __future__ import annotations

from typing import ClassVar

from formats.core.origin import Origin, printable


class ConvertError(Exception):
    """Base of all errors that are shown to users.

    :param message: what happened, without a full stop, in words of the field.
    :param origin: breadcrumb of the thing that was being read or written.
    :param offset: byte offset inside ``origin`` where it happened.
    :param hint: what the user can do next.
    """

    code: ClassVar[str] = "internal-error"
    exit_code: ClassVar[int] = 70

    def __init__(
        self,
        message: str,
        *,
        origin: Origin | None = None,
        offset: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.origin = origin
        self.offset = offset
        self.hint = hint

    def __str__(self) -> str:
        where = f"{self.origin}: " if self.origin is not None else ""
        offset = f" (at byte {self.offset:,})" if self.offset is not None else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{where}{self.message}{offset}{hint}"

    def at(self, origin: Origin) -> ConvertError:
        """Set the breadcrumb if the place that raised did not know it; return the error."""
        if self.origin is None:
            self.origin = origin
        return self

    def as_dict(self) -> dict[str, str | int | None]:
        """Return the error as a JSON-ready object with stable keys."""
        return {
            "code": self.code,
            "message": self.message,
            "origin": str(self.origin) if self.origin is not None else None,
            "offset": self.offset,
            "hint": self.hint,
            "exit_code": self.exit_code,
        }


class UsageError(ConvertError):
    """The command or call itself is wrong."""

    code = "usage"
    exit_code = 2


class UnsupportedError(ConvertError):
    """The input is something that cannot be read or converted, and it is known what."""

    code = "unsupported"
    exit_code = 3


class EncryptedError(UnsupportedError):
    """The input is encrypted."""

    code = "encrypted"


class AmbiguousError(UnsupportedError):
    """The input can be read in several ways and the user has to choose."""

    code = "ambiguous"


class CorruptError(ConvertError):
    """The input contradicts its own format, or ends too early."""

    code = "corrupt"
    exit_code = 4


class InputReadError(CorruptError):
    """The operating system could not read the input."""

    code = "read-failed"


class LimitError(ConvertError):
    """A limit on untrusted input was reached; see :mod:`formats.core.limits`."""

    code = "limit-exceeded"
    exit_code = 5


class MissingDependencyError(ConvertError):
    """A program or library that this input needs is not installed."""

    code = "missing-dependency"
    exit_code = 6


class OutputError(ConvertError):
    """The result could not be written."""

    code = "output-failed"
    exit_code = 7


class OutputExistsError(OutputError):
    """The destination exists already."""

    code = "output-exists"


class VerificationError(ConvertError):
    """An image does not hold what it claims."""

    code = "verification-failed"
    exit_code = 8


class RegistryError(ConvertError):
    """A registry refused, or could not be reached."""

    code = "registry"
    exit_code = 9


class FindingsError(ConvertError):
    """There are findings that the user asked to fail for: ``--strict``, ``--secrets fail``."""

    code = "findings"
    exit_code = 10


class InterruptedByUserError(ConvertError):
    """The user pressed Ctrl-C, or the process was asked to end."""

    code = "interrupted"
    exit_code = 130


def quoted(name: bytes | str) -> str:
    """Return a guest's name, printable and in single quotes, for use inside a message."""
    return f"'{printable(name)}'"
