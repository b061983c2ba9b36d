"""The documents of what was found in a system beyond its services."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from convert.inspect.facts import Account, Application, DataFolder, Facts, Obstacle
from formats.core.origin import printable
from formats.core.package import Package


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True)


class InstalledDocument(_Document):
    """A package that the system has installed."""

    system: str = Field(description="deb, rpm, apk, pacman")
    name: str
    version: str
    architecture: str

    @classmethod
    def of(cls, package: Package) -> Self:
        """Return the package's document."""
        return cls(
            system=package.system.value,
            name=printable(package.name),
            version=printable(package.version),
            architecture=printable(package.architecture),
        )


class ApplicationDocument(_Document):
    """Software that was put on the system by hand, or that a runtime serves."""

    kind: str
    name: str
    version: str | None
    path: str
    runtime: str | None
    start: list[str] | None = Field(description="how its own metadata says that it is started")
    evidence: str

    @classmethod
    def of(cls, application: Application) -> Self:
        """Return the application's document."""
        start = application.start
        return cls(
            kind=application.kind,
            name=printable(application.name),
            version=application.version,
            path=f"/{printable(application.path)}",
            runtime=application.runtime,
            start=None if start is None else list(start.argv),
            evidence=str(application.evidence),
        )


class ObstacleDocument(_Document):
    """Something of the machine that does not work in a container, or not by itself."""

    kind: str
    what: str
    advice: str
    evidence: str

    @classmethod
    def of(cls, obstacle: Obstacle) -> Self:
        """Return the obstacle's document."""
        return cls(
            kind=obstacle.kind,
            what=obstacle.what,
            advice=obstacle.advice,
            evidence=str(obstacle.evidence),
        )


class DataFolderDocument(_Document):
    """A folder with a service's data, or one that was mounted from elsewhere."""

    path: str
    service: str | None
    evidence: str

    @classmethod
    def of(cls, folder: DataFolder) -> Self:
        """Return the folder's document."""
        return cls(path=folder.path, service=folder.service, evidence=str(folder.evidence))


class AccountDocument(_Document):
    """A user whom someone logs in as."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str
    evidence: str

    @classmethod
    def of(cls, account: Account) -> Self:
        """Return the account's document."""
        return cls(
            name=printable(account.name),
            uid=account.uid,
            gid=account.gid,
            home=printable(account.home),
            shell=printable(account.shell),
            evidence=str(account.evidence),
        )


class FoundDocument(_Document):
    """What was found in the system beyond its services; of a base image as well."""

    installed: list[InstalledDocument] = Field(description="by the databases of package managers")
    applications: list[ApplicationDocument]
    obstacles: list[ObstacleDocument] = Field(description="what does not work in a container")
    folders: list[DataFolderDocument] = Field(description="where data is")
    accounts: list[AccountDocument] = Field(description="of people")

    @classmethod
    def of(cls, facts: Facts) -> Self:
        """Return the document of all that was found."""
        return cls(
            installed=[InstalledDocument.of(package) for package in facts.packages],
            applications=[ApplicationDocument.of(item) for item in facts.applications],
            obstacles=[ObstacleDocument.of(item) for item in facts.obstacles],
            folders=[DataFolderDocument.of(item) for item in facts.volumes],
            accounts=[AccountDocument.of(item) for item in facts.accounts],
        )
