"""What a tree amounts to, and which content of its source it does without."""

from __future__ import annotations

from collections.abc import Sequence

from convert.options import ConvertOptions, Secrets
from convert.secrets.kinds import RULE_PREFIX, most_certain_first
from formats.core.entry import Kind
from formats.core.errors import FindingsError
from formats.core.finding import Action, Finding
from formats.core.tree import Tree


def losses_in(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the findings that tell of lost content."""
    lost = {Action.DROPPED, Action.EMPTIED}
    return tuple(finding for finding in findings if finding.action in lost)


def refuse_findings(findings: Sequence[Finding], options: ConvertOptions) -> None:
    """Raise an error for findings that the user does not want to accept.

    :raises FindingsError: with the first of them.
    """
    if options.strict:
        refuse_losses(losses_in(findings))
    if options.secrets is Secrets.FAIL:
        refuse_secrets(secrets_in(findings))


def secrets_in(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the findings that tell of secrets."""
    return tuple(finding for finding in findings if finding.rule.startswith(RULE_PREFIX))


def refuse_secrets(secrets: Sequence[Finding]) -> None:
    """Raise an error if there are any, for ``--secrets fail``.

    :raises FindingsError: with the first of them; its value is not in it.
    """
    if not secrets:
        return
    first = most_certain_first(secrets)[0]
    others = f", and {len(secrets) - 1:,} more" if len(secrets) > 1 else ""
    raise FindingsError(
        f"the image would hold a secret: {first}{others}",
        hint="'convert inspect --json' lists all; --drop PATH leaves a file out,"
        f" --keep {first.rule} accepts what is of this kind",
    )


def refuse_losses(losses: Sequence[Finding]) -> None:
    """Raise an error if there are any, for ``--strict``.

    :raises FindingsError: with the first of them.
    """
    if not losses:
        return
    others = f", and {len(losses) - 1:,} more" if len(losses) > 1 else ""
    raise FindingsError(
        f"content would be lost: {losses[0]}{others}",
        hint="'convert inspect' lists all; leave --strict out to accept them",
    )


def totals(tree: Tree) -> tuple[int, int]:
    """Return the number of entries, and the bytes of all files."""
    entries = content_bytes = 0
    for entry in tree.entries():
        entries += 1
        if entry.kind is Kind.FILE:
            content_bytes += entry.size
    return entries, content_bytes
