"""Access to an account: clients of two services, and their errors as errors of ours.

boto3 is the extra ``aws``; it is imported here and only when it is needed. It finds credentials as
all its users know it (environment, ``~/.aws``, role of the machine), retries what may be retried
and slows down when the service says so (retry mode ``adaptive``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from formats.core.errors import (
    ConvertError,
    CorruptError,
    InputReadError,
    MissingDependencyError,
    UnsupportedError,
    UsageError,
)
from formats.core.origin import Origin, printable

if TYPE_CHECKING:
    from mypy_boto3_ebs.client import EBSClient
    from mypy_boto3_ec2.client import EC2Client

CONNECTIONS = 16
"""Blocks fetched at a time."""

_ATTEMPTS = 5
_CONNECT_SECONDS = 10
_READ_SECONDS = 30
_RIGHTS = "ec2:DescribeImages, ebs:ListSnapshotBlocks, ebs:GetSnapshotBlock"

_DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "OptInRequired",
        "RequestExpired",
        "UnauthorizedOperation",
        "UnrecognizedClientException",
    }
)
_NOT_THERE = frozenset(
    {
        "InvalidAMIID.NotFound",
        "InvalidAMIID.Malformed",
        "InvalidAMIID.Unavailable",
        "InvalidParameterValue",
        "InvalidSnapshot.NotFound",
        "ResourceNotFoundException",
        "ValidationException",
    }
)


@dataclass(frozen=True, slots=True)
class Account:
    """Which account is meant, and where it is; None is what boto3 finds by itself.

    :ivar endpoint_url: of both services, for a stand-in or a private endpoint.
    """

    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None


@dataclass(frozen=True, slots=True)
class Clients:
    """What calls the two services; safe to use from several threads."""

    ec2: EC2Client
    ebs: EBSClient


def connect(account: Account) -> Clients:
    """Return clients for an account; nothing is asked of it yet.

    :raises MissingDependencyError: if boto3 is not installed.
    :raises UsageError: if no region is known, or there is no such profile.
    """
    try:
        import boto3  # noqa: PLC0415 - an extra, and slow to import
        from botocore.config import Config  # noqa: PLC0415 - comes with boto3
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - comes with boto3
    except ImportError as error:
        raise MissingDependencyError(
            "reading AMIs and EBS snapshots needs boto3",
            hint="install it with: pip install 'oci-convert[aws]'",
        ) from error
    config = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        max_pool_connections=CONNECTIONS,
        retries={"mode": "adaptive", "total_max_attempts": _ATTEMPTS},
    )
    try:
        session = boto3.Session(profile_name=account.profile, region_name=account.region)
        url = account.endpoint_url
        return Clients(
            session.client("ec2", config=config, endpoint_url=url),
            session.client("ebs", config=config, endpoint_url=url),
        )
    except (BotoCoreError, ValueError) as error:
        raise UsageError(
            printable(str(error)), hint="name what is missing with --region and --aws-profile"
        ) from error


@contextmanager
def translated(origin: Origin, offset: int | None = None) -> Iterator[None]:
    """Raise the services' errors as ours.

    :raises InputReadError: if the account may not read it, or the service cannot be reached.
    :raises UnsupportedError: if there is no such image or snapshot.
    :raises CorruptError: if an answer leaves out what has to be in it.
    """
    from botocore.exceptions import (  # noqa: PLC0415 - comes with boto3
        BotoCoreError,
        ClientError,
        HTTPClientError,
        NoCredentialsError,
    )

    try:
        yield
    except ClientError as error:
        raise _of_service(error, origin, offset) from error
    except NoCredentialsError as error:
        raise InputReadError(
            "no credentials for the account are to be found",
            origin=origin,
            hint="name a profile with --aws-profile, or set AWS_ACCESS_KEY_ID and its secret",
        ) from error
    except (BotoCoreError, HTTPClientError) as error:
        raise InputReadError(
            printable(str(error)).rstrip("."),
            origin=origin,
            offset=offset,
            hint="check --region, --aws-profile, --endpoint-url and the network",
        ) from error
    except KeyError as error:
        raise CorruptError(
            f"the service's answer is without {error}", origin=origin, offset=offset
        ) from error


def _of_service(error: Exception, origin: Origin, offset: int | None) -> ConvertError:
    response = getattr(error, "response", {})
    details = response.get("Error", {})
    code, message = str(details.get("Code", "")), str(details.get("Message", "")).rstrip(".")
    told = printable(f"{code}: {message}")
    if code in _NOT_THERE:
        return UnsupportedError(
            f"is not there: {told}",
            origin=origin,
            offset=offset,
            hint="check the ID and --region: an image belongs to one region",
        )
    hint = f"reading takes the rights {_RIGHTS}" if code in _DENIED else "try again later"
    return InputReadError(f"the service refused: {told}", origin=origin, offset=offset, hint=hint)
