"""What is found beside services: packages, people, applications, and what will not work."""

from __future__ import annotations

from dataclasses import replace

from convert.inspect.applications.find import find_applications
from convert.inspect.facts import Facts
from convert.inspect.guest import Guest
from convert.inspect.installed import Installed
from convert.inspect.obstacles.find import find_obstacles
from convert.inspect.people import people
from formats.core.tree import TreeIndex

_DETAILS_NOT_READ = "details-not-read"
"""The rule of findings about files that no service is found by."""


def beyond_services(index: TreeIndex, facts: Facts) -> Facts:
    """Add what nothing is started by; each kind with a budget of its own for what it reads."""
    guest, others = Guest(index, _DETAILS_NOT_READ), Guest(index, _DETAILS_NOT_READ)
    installed = Installed(guest)
    facts = replace(facts, packages=installed.packages, accounts=people(guest))
    found = find_obstacles(guest, facts, installed)
    applications = find_applications(others, facts, installed)
    told = {finding.path for finding in facts.findings}
    findings = dict.fromkeys((*guest.findings, *others.findings))
    return replace(
        facts,
        applications=applications,
        obstacles=found.obstacles,
        volumes=found.folders,
        findings=(*facts.findings, *(item for item in findings if item.path not in told)),
    )
