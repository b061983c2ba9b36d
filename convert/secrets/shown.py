"""What is told of a conversion, without secrets: facts, reasons, findings, and the config.

The image gets its config as the guest has it, or its service would not start. Everything that
people and programs are told passes through here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from convert.configuration import ConfigDecision
from convert.inspect.entrypoint import EntrypointDecision, Loser
from convert.inspect.facts import Application, Facts
from convert.oci.config import ImageConfig
from convert.options import ConvertOptions, Secrets
from convert.reasons import Reason, Rejected
from convert.secrets.kinds import CONFIG_RULE
from convert.secrets.masking import Mask
from convert.secrets.scan import Found, find_secrets
from formats.core.finding import Action, Finding
from formats.core.tree import Tree


def look_for_secrets(tree: Tree, options: ConvertOptions) -> Found:
    """Return what a layer would give away, as far as the user wants it to be looked for.

    :param tree: as the layer will hold it: what rules take out is no secret of the image.
    :raises formats.core.errors.CorruptError: where a file cannot be read.
    """
    return Found() if options.secrets is Secrets.KEEP else find_secrets(tree, options.keep)


def secrets_of_image(
    found: Found, config: ImageConfig, options: ConvertOptions
) -> tuple[tuple[Finding, ...], Mask]:
    """Return what an image gives away, and what masks that wherever it would be shown.

    :param found: in its layer.
    """
    mask = Mask(found.values)
    is_asked = options.secrets is not Secrets.KEEP and CONFIG_RULE not in options.keep
    return (*found.findings, *(secrets_of_config(config, mask) if is_asked else ())), mask


def secrets_of_config(config: ImageConfig, mask: Mask) -> Iterator[Finding]:
    """Yield a finding for each variable, word and label of a config that holds a secret."""
    for item in config.env:
        if mask.variable(item) != item:
            yield _of_config(f"the variable {item.partition('=')[0]}")
    command = (*(config.entrypoint or ()), *(config.cmd or ()))
    if mask.words(command) != command:
        yield _of_config("the command line")
    for name, value in config.labels:
        if mask.variable(f"{name}={value}") != f"{name}={value}":
            yield _of_config(f"the label {name}")


def _of_config(what: str) -> Finding:
    evidence = f"{what} of the image's config looks like a secret; give it at run time (--env-file)"
    return Finding(CONFIG_RULE, b"", Action.REPORTED, evidence)


def masked_config(config: ImageConfig, mask: Mask) -> ImageConfig:
    """Return a config that can be shown; not to be written into an image."""
    entrypoint, cmd = config.entrypoint, config.cmd
    words = mask.words((*(entrypoint or ()), *(cmd or ())))
    split = len(entrypoint or ())
    labels = (mask.variable(f"{name}={value}").partition("=") for name, value in config.labels)
    return replace(
        config,
        entrypoint=None if entrypoint is None else words[:split],
        cmd=None if cmd is None else words[split:],
        env=tuple(map(mask.variable, config.env)),
        labels=tuple((name, value) for name, _, value in labels),
    )


def masked_decision(decision: ConfigDecision, mask: Mask) -> ConfigDecision:
    """Return a config that can be shown, with reasons that can be."""
    reasons = tuple(_masked_reason(reason, mask) for reason in decision.reasons)
    return ConfigDecision(masked_config(decision.config, mask), reasons)


def _masked_reason(reason: Reason, mask: Mask) -> Reason:
    shown = mask.variable if reason.field == "env" else mask
    return replace(
        reason,
        value=shown(reason.value),
        why=tuple(map(mask, reason.why)),
        rejected=tuple(Rejected(shown(item.value), mask(item.why)) for item in reason.rejected),
    )


def masked_entrypoint(decision: EntrypointDecision, mask: Mask) -> EntrypointDecision:
    """Return what is to be run in a form that can be shown."""
    words = mask.words((*decision.entrypoint, *decision.cmd))
    split = len(decision.entrypoint)
    env = (mask.variable(f"{name}={value}").partition("=") for name, value in decision.env)
    return replace(
        decision,
        entrypoint=words[:split],
        cmd=words[split:],
        env=tuple((name, value) for name, _, value in env),
        evidence=tuple(map(mask, decision.evidence)),
        losers=tuple(Loser(loser.name, mask(loser.reason)) for loser in decision.losers),
    )


def masked_facts(facts: Facts, mask: Mask) -> Facts:
    """Return facts that can be shown; commands and variables of services are as they were."""
    return replace(
        facts,
        jobs=tuple(replace(job, command=mask(job.command)) for job in facts.jobs),
        applications=tuple(_masked_application(item, mask) for item in facts.applications),
        obstacles=tuple(
            replace(item, what=mask(item.what), advice=mask(item.advice))
            for item in facts.obstacles
        ),
        findings=masked_findings(facts.findings, mask),
    )


def _masked_application(application: Application, mask: Mask) -> Application:
    start = application.start
    if start is None:
        return application
    return replace(application, start=replace(start, argv=mask.words(start.argv)))


def masked_findings(findings: Iterable[Finding], mask: Mask) -> tuple[Finding, ...]:
    """Return findings whose evidence can be shown."""
    return tuple(replace(item, evidence=mask(item.evidence)) for item in findings)
