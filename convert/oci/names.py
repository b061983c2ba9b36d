"""How images are named: ``ref.name`` of a layout, and Docker's references.

Grammars: image-spec annotations.md (``org.opencontainers.image.ref.name``) and the reference
grammar of distribution-spec, "Definitions"/"Pulling manifests"; normalisation as in
containers-transports(5), "docker://docker-reference".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from formats.core.errors import UsageError, quoted

_ALPHANUM = r"[A-Za-z0-9]+"
_COMPONENT = rf"{_ALPHANUM}(?:(?:[-._:@+]|--){_ALPHANUM})*"
_REF_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_REF_NAME_LENGTH = 255

_PATH_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PATH_COMPONENT}(?:/{_PATH_COMPONENT})*", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_DOMAIN_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = re.compile(
    rf"(?:{_DOMAIN_LABEL}(?:\.{_DOMAIN_LABEL})*|\[[0-9A-Fa-f:]+\])(?::[0-9]{{1,5}})?", re.ASCII
)
_NAME_LENGTH = 255
_DEFAULT_DOMAIN = "docker.io"
_DEFAULT_NAMESPACE = "library"
_DEFAULT_TAG = "latest"


def check_ref_name(name: str) -> str:
    """Return a layout's reference name if its grammar allows it.

    :raises UsageError: if not.
    """
    if not _REF_NAME.fullmatch(name) or len(name) > _REF_NAME_LENGTH:
        raise UsageError(
            f"{quoted(name)} is not a tag",
            hint="letters and digits, separated by one of -._:@+ or --, or by / (a path in this"
            " syntax ends at its first colon)",
        )
    return name


@dataclass(frozen=True, slots=True)
class DockerName:
    """A full Docker reference: ``docker.io/library/web:latest``."""

    domain: str
    repository: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> DockerName:
        """Return the reference that a user's ``web``, ``team/web:1`` or ``host:5000/web`` means.

        :raises UsageError: for what is not a reference, and for one with a digest.
        """
        if "@" in text:
            raise UsageError(
                f"{quoted(text)} names a digest; an image that is written gets its digest from"
                " its content",
                hint="use NAME or NAME:TAG",
            )
        name, colon, tag = text.rpartition(":")
        if not colon or "/" in tag:  # the colon belongs to a port
            name, tag = text, _DEFAULT_TAG
        first, slash, rest = name.partition("/")
        if slash and ("." in first or ":" in first or first == "localhost"):
            domain, repository = first, rest
        else:
            domain, repository = _DEFAULT_DOMAIN, name
        if domain == _DEFAULT_DOMAIN and "/" not in repository:
            repository = f"{_DEFAULT_NAMESPACE}/{repository}"
        if not _DOMAIN.fullmatch(domain):
            raise UsageError(f"{quoted(domain)} is not a registry's host name")
        if not _REPOSITORY.fullmatch(repository) or len(domain) + len(repository) >= _NAME_LENGTH:
            raise UsageError(
                f"{quoted(name)} is not an image name",
                hint="lower case letters and digits, separated by one of . _ - or /",
            )
        if not _TAG.fullmatch(tag):
            raise UsageError(
                f"{quoted(tag)} is not a tag",
                hint="up to 128 letters, digits and ._- that do not begin with . or -",
            )
        return cls(domain, repository, tag)

    def __str__(self) -> str:
        return f"{self.domain}/{self.repository}:{self.tag}"


def docker_name_of_ref(ref_name: str | None) -> DockerName | None:
    """Return the Docker reference that a layout's reference name spells, if it does.

    Only a name *with* a tag counts: ``latest`` alone is a tag in a layout, and would be a
    repository for Docker.
    """
    if ref_name is None or ":" not in ref_name.rpartition("/")[2]:
        return None
    try:
        return DockerName.parse(ref_name)
    except UsageError:
        return None
