"""The kinds of secrets as documentation shows them."""

from __future__ import annotations

from collections.abc import Iterator

from convert.secrets.kinds import CONFIG_RULE, SecretKind, all_kinds

_PATHS_SHOWN = 4


def secret_rows() -> Iterator[tuple[str, str, str, str]]:
    """Yield, for each kind, the rule of its findings, what it is, how sure that is, and where."""
    for kind in all_kinds():
        yield f"`{kind.rule}`", kind.what, kind.confidence.value, _where(kind)
    yield f"`{CONFIG_RULE}`", "any of these", "low", "variables, command and labels of the image"


def _where(kind: SecretKind) -> str:
    paths = (*kind.paths, *kind.among)
    shown = [f"`{path}`" for path in paths[:_PATHS_SHOWN]]
    if len(paths) > _PATHS_SHOWN:
        shown.append("…")
    if kind.everywhere:
        shown.append("any text")
    return ", ".join(shown)
