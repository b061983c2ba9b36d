"""What a descriptor says of a machine beside its disks: product, properties, licence, system.

Specification: DSP0243 clauses 9.5 (product), 9.6 (annotation), 9.7 (licence), 9.9 (operating
system); the CIM schema's ``CIM_OperatingSystem.OSType``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from formats.bundles.ovf.descriptor import System, sections
from formats.bundles.ovf.hardware import Hardware
from formats.bundles.texts import HIDDEN, clean_machine, looks_secret
from formats.bundles.xml import attribute, children
from formats.core.errors import LimitError
from formats.core.machine import Machine

_MAX_PROPERTIES = 1000
_MAX_LICENCE = 1 << 18

# CIM_OperatingSystem.OSType: systems that a descriptor may name by number only.
_SYSTEMS: Mapping[str, str] = {
    "36": "Linux",
    "67": "Windows XP",
    "69": "Windows Server 2003",
    "70": "Windows Server 2003 (64-bit)",
    "76": "Windows Server 2008",
    "77": "Windows Server 2008 (64-bit)",
    "78": "FreeBSD (64-bit)",
    "79": "Red Hat Enterprise Linux",
    "80": "Red Hat Enterprise Linux (64-bit)",
    "82": "SUSE",
    "83": "SUSE (64-bit)",
    "84": "SUSE Linux Enterprise Server",
    "85": "SUSE Linux Enterprise Server (64-bit)",
    "93": "Ubuntu",
    "94": "Ubuntu (64-bit)",
    "95": "Debian",
    "96": "Debian (64-bit)",
    "97": "Linux 2.4",
    "98": "Linux 2.4 (64-bit)",
    "99": "Linux 2.6",
    "100": "Linux 2.6 (64-bit)",
    "101": "Linux (64-bit)",
    "103": "Windows Server 2008 R2",
    "106": "CentOS",
    "107": "CentOS (64-bit)",
    "108": "Oracle Linux",
    "109": "Oracle Linux (64-bit)",
}


@dataclass(frozen=True, slots=True)
class _Words:
    """Texts of a descriptor: those in the element, or else those that it refers to (10)."""

    strings: Mapping[str, str]

    def of(self, element: Element) -> str | None:
        text = element.text or ""
        if not text.strip():
            text = self.strings.get(attribute(element, "msgid") or "", "")
        return text.strip() or None

    def child(self, element: Element, name: str) -> str | None:
        for child in children(element, name):
            if text := self.of(child):
                return text
        return None


def read_machine(
    system: System,
    configuration: str | None,
    hardware: Hardware,
    values: Mapping[str, str],
    strings: Mapping[str, str],
) -> Machine:
    """Return what is said of a machine; collections around it fill in what it does not say.

    :param values: of its properties.
    :param strings: messages that its texts may refer to.
    """
    words = _Words(strings)
    products = [
        section for element in system.elements for section in sections(element, "ProductSection")
    ]
    stated = {
        "os": _operating_system(system, words),
        "cpus": hardware.processors,
        "memory": hardware.memory,
        "hardware": hardware.family,
        "networks": ", ".join(hardware.networks),
        "annotation": _first(system, "AnnotationSection", "Annotation", words),
        "configuration": configuration,
        "full-version": _product(products, "FullVersion", words),
        "product-url": _product(products, "ProductUrl", words),
        "vendor-url": _product(products, "VendorUrl", words),
        "app-url": _product(products, "AppUrl", words),
    }
    machine = Machine(
        name=system.id,
        title=_product(products, "Product", words) or words.child(system.elements[0], "Name"),
        vendor=_product(products, "Vendor", words),
        version=_product(products, "Version", words),
        licence=_licence(system, words),
        properties={
            **{key: value for key, value in stated.items() if value},
            **{f"property.{key.lower()}": value for key, value in values.items()},
        },
    )
    return clean_machine(machine)


def _product(products: list[Element], name: str, words: _Words) -> str | None:
    for section in products:
        if text := words.child(section, name):
            return text
    return None


def _first(system: System, kind: str, name: str, words: _Words) -> str | None:
    for element in system.elements:
        for section in sections(element, kind):
            if text := words.child(section, name):
                return text
    return None


def _licence(system: System, words: _Words) -> str | None:
    """Return all licence agreements of the machine and of the collections around it, to a limit."""
    texts = [
        text
        for element in system.elements
        for section in sections(element, "EulaSection")
        for licence in children(section, "License")
        if (text := words.of(licence))
    ]
    licence = "\n\n".join(dict.fromkeys(texts))
    if len(licence) > _MAX_LICENCE:
        licence = licence[:_MAX_LICENCE] + "…"
    return licence or None


def _operating_system(system: System, words: _Words) -> str | None:
    for section in sections(system.elements[0], "OperatingSystemSection"):
        stated = words.child(section, "Description")
        number = attribute(section, "id") or ""
        return (
            stated
            or attribute(section, "osType")
            or _SYSTEMS.get(number)
            or (f"CIM type {number}" if number else None)
        )
    return None


def property_values(system: System, configuration: str | None) -> dict[str, str]:
    """Return the properties that the machine may be given, with the values that they start with.

    Passwords and what is named like one are listed and not shown.

    :raises LimitError: for too many.
    """
    found: dict[str, str] = {}
    for element in system.elements:
        for section in sections(element, "ProductSection"):
            for item in children(section, "Property"):
                if _applies(item, configuration):
                    key = ".".join(_key(section, item))
                    found.setdefault(key, _value(item, key, configuration))
                if len(found) > _MAX_PROPERTIES:
                    raise LimitError(f"has more than {_MAX_PROPERTIES:,} properties for a machine")
    return found


def _applies(element: Element, configuration: str | None) -> bool:
    options = (attribute(element, "configuration") or "").split()
    return not options or configuration in options


def _key(section: Element, item: Element) -> Iterator[str]:
    """Yield the parts of a property's full name: ``class.key.instance`` (9.5.1)."""
    parts = (attribute(section, "class"), attribute(item, "key"), attribute(section, "instance"))
    yield from (part for part in parts if part)


def _value(item: Element, key: str, configuration: str | None) -> str:
    value = attribute(item, "value") or ""
    for alternative in children(item, "Value"):
        if attribute(alternative, "configuration") == configuration:
            value = attribute(alternative, "value") or ""
    is_secret = attribute(item, "password") in {"true", "1"} or looks_secret(key)
    return HIDDEN if is_secret and value else value
