"""An image in a registry, and someone who fetches it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from convert.images.layers import Workshop
from convert.images.opening import OpenedImage
from convert.images.reference import RegistryReference
from convert.images.registry.access import RegistryAccess
from convert.images.registry.image import read_registry
from convert.oci.descriptor import Platform
from formats.core.limits import DEFAULT_LIMITS
from tests.support.layers import Layout, M, layer
from tests.support.listing import tree_listing
from tests.support.registry_double import Answer, Reply, Request, repository

CONTENT = "".join(f"{number:08}" for number in range(50_000))
TAR = layer(M("d", "etc", mode=0o755), M("f", "etc/a", CONTENT))
PASSWORD, TOKEN = "swordfish", "t0ken.of-the-registry"
MADE = Layout()
ENTRY = MADE.image(TAR, how="none")
LAYER = json.loads(MADE.blobs[ENTRY["digest"]])["layers"][0]["digest"]
GOOD = repository(MADE, {"1": ENTRY})


@dataclass
class Puller:
    """Fetches an image the way the command does, without waiting.

    :ivar waits: seconds that it would have waited.
    """

    resources: ExitStack
    spool: Path
    waits: list[float] = field(default_factory=list)

    def __call__(
        self,
        reference: str,
        *,
        access: RegistryAccess | None = None,
        platform: Platform | None = None,
    ) -> OpenedImage:
        workshop = Workshop(DEFAULT_LIMITS, self.spool, self.resources.callback, lambda *_: None)
        read = read_registry(
            RegistryReference.parse(reference),
            platform,
            access or RegistryAccess(),
            workshop,
            self.waits.append,
        )
        return OpenedImage(f"docker://{reference}", read, workshop)


def login(folder: Path, *hosts: str, identity: str = "") -> RegistryAccess:
    """Return access with a password for some registries, or an identity token."""
    pair = "bWU6c3dvcmRmaXNo"  # me:swordfish
    entry = {"identitytoken": identity} if identity else {"auth": pair}
    file = folder / "auth.json"
    file.write_text(json.dumps({"auths": dict.fromkeys(hosts, entry)}))
    return RegistryAccess((file,))


def holds(image: OpenedImage) -> bool:
    return list(tree_listing(image.tree())) == [b"", b"etc", b"etc/a"]


def guarded(answer: Answer, realm: Callable[[], str]) -> Answer:
    """Ask for a token before anything is given."""

    def answer_it(request: Request) -> Reply:
        if request.headers.get("authorization") == f"Bearer {TOKEN}":
            return answer(request)
        challenge = f'Bearer realm="{realm()}",service="the registry",scope="repository:x:pull"'
        return Reply(401, b"{}", {"WWW-Authenticate": challenge})

    return answer_it


def tokens(request: Request) -> Reply:
    del request
    return Reply(200, json.dumps({"token": TOKEN}).encode())
