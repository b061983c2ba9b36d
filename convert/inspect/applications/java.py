"""Programs for Java, and web applications in Tomcat, Jetty and WildFly.

JAR File Specification, "JAR Manifest" (https://docs.oracle.com/en/java/javase/17/docs/specs/jar/
jar.html); Spring Boot, "The Executable Jar Format"; Jakarta Servlet, chapter 10 "Web Applications".
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from convert.inspect.applications.context import Context, below, name_of, sayable, text_of
from convert.inspect.applications.marks import Mark
from convert.inspect.applications.runtimes import runtime
from convert.inspect.evidence import Evidence
from convert.inspect.facts import Application, Command
from convert.inspect.text import encoded
from formats.archives.zip.contents import ZipMembers
from formats.archives.zip.directory import Directory
from formats.archives.zip.ending import find_ending
from formats.core.entry import Entry, Kind
from formats.core.errors import ConvertError
from formats.core.limits import MIB

_MANIFEST = b"META-INF/MANIFEST.MF"
_MANIFEST_MAX = MIB
_DIRECTORY_MAX = 16 * MIB
"""Of an archive's directory; that of a large application has one."""
_LIBRARIES = re.compile(rb"(?:^|/)(?:libs?|ext|jars|plugins|modules|bundles|agents?)/[^/]*$")
_OPENED_MAX = 100

_SERVERS: tuple[tuple[bytes, str, str], ...] = (
    # What is in the path of a web application, the kind of it, the runtime
    (b"jetty", "jetty-webapp", "jetty"),
    (b"/deployments/", "wildfly-deployment", "wildfly"),
    (b"webapps/", "tomcat-webapp", "tomcat"),
)
_EXAMPLES = re.compile(r"(?:docs|examples|host-manager|manager|ROOT)")
_OF_TOMCAT = re.compile(r"<display-name>[^<]*Tomcat[^<]*</display-name>")
_SERVLET_LINE = r"<web-app\b"


def java_programs(context: Context) -> Iterator[Application]:
    """Yield the JARs that can be started by themselves, and that nobody's package brought.

    In a folder of libraries only those that a service starts.
    """
    started = _started_jars(context)
    found = [entry for entry in context.marks.get(Mark.JAR, ()) if entry.path not in started]
    candidates = [entry for entry in found if not _LIBRARIES.search(entry.path)]
    for entry in (*started.values(), *candidates[:_OPENED_MAX]):
        if not context.installed.owns(entry.path):
            application = _jar(context, entry)
            if application is not None:
                yield application


def _started_jars(context: Context) -> dict[bytes, Entry]:
    found: dict[bytes, Entry] = {}
    for service in context.services:
        for command in service.start:
            for word in command.argv:
                folder = "" if word.startswith("/") else f"{service.working_dir or ''}/"
                entry = context.guest.index.resolve(encoded(folder + word))
                if word.endswith(".jar") and entry is not None:
                    found[entry.path] = entry
    return found


def manifest_of(context: Context, entry: Entry) -> dict[str, str]:
    """Return the main section of a JAR's manifest; nothing where there is none to be read."""
    limits = context.guest.index.limits
    try:
        source = context.source(entry)
        if source is None:
            return {}
        ending = find_ending(source)
        if ending.length > _DIRECTORY_MAX:
            return {}
        content = Directory(source, ending, limits).find(_MANIFEST)
        if content is None or content.size > _MANIFEST_MAX:
            return {}
        data = b"".join(ZipMembers(source, limits).read(content))
    except ConvertError:  # what it is, is the application's own trouble
        return {}
    return main_section(data.decode("utf-8", "replace"))


def main_section(text: str) -> dict[str, str]:
    """Return the attributes of a manifest's main section; a blank continues the line before."""
    lines = text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    section = lines.partition("\n\n")[0].replace("\n ", "")
    pairs = (line.partition(":") for line in section.split("\n"))
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


def _jar(context: Context, entry: Entry) -> Application | None:
    attributes = manifest_of(context, entry)
    spring = "Spring-Boot-Version" in attributes or "Start-Class" in attributes
    main = sayable(attributes.get("Start-Class")) or sayable(attributes.get("Main-Class"))
    if main is None:
        return None
    evidence = Evidence(entry.path, None, "spring-boot-manifest" if spring else "jar-manifest")
    path = f"/{text_of(entry.path)}"
    command = context.started_by_service(entry.parent, text_of(entry.name))
    name = sayable(attributes.get("Implementation-Title")) or name_of(entry.path)
    version = attributes.get("Implementation-Version") or attributes.get("Bundle-Version")
    return Application(
        "java",
        name,
        entry.path,
        evidence,
        version=sayable(version),
        runtime=runtime(context, "java"),
        start=command or Command(("java", "-jar", path), evidence),
    )


def web_applications(context: Context) -> Iterator[Application]:
    """Yield the web applications of servers: archives, and folders with a ``WEB-INF``.

    An archive that was unpacked beside it is one application; the examples that come with a
    server are none.
    """
    seen: set[bytes] = set()
    for entry in context.marks.get(Mark.WAR, ()):
        server = _server(entry.path)
        if server is None or context.installed.owns(entry.path):
            continue
        attributes = manifest_of(context, entry)
        seen.add(entry.path.removesuffix(b".war"))
        evidence = Evidence(entry.path, None, "war")
        version = attributes.get("Implementation-Version")
        yield _webapp(context, entry.path, server, evidence, sayable(version))
    for entry in context.marks.get(Mark.WEB_XML, ()):
        folder, _, name = entry.parent.rpartition(b"/")
        server = _server(entry.path)
        if name != b"WEB-INF" or server is None or folder in seen:
            continue
        text = context.guest.text(entry.path) or ""
        is_example = _EXAMPLES.fullmatch(name_of(folder)) and _OF_TOMCAT.search(text)
        if is_example or context.installed.owns(entry.path):
            continue
        seen.add(folder)
        match = re.search(_SERVLET_LINE, text)
        line = text.count("\n", 0, match.start()) + 1 if match is not None else None
        evidence = Evidence(entry.path, line, "web-xml")
        yield _webapp(context, folder, server, evidence, _folder_version(context, entry))


def _server(path: bytes) -> tuple[str, str] | None:
    for part, kind, name in _SERVERS:
        if part in path:
            return kind, name
    return None


def _webapp(
    context: Context,
    path: bytes,
    server: tuple[str, str],
    evidence: Evidence,
    version: str | None,
) -> Application:
    """Return a web application; ``#`` in its name stands for a slash of its address."""
    kind, name = server
    served_at = name_of(path).removesuffix(".war").replace("#", "/")
    address = "/" if served_at == "ROOT" else f"/{served_at}"
    return Application(kind, address, path, evidence, version, runtime(context, name))


def _folder_version(context: Context, web_xml: Entry) -> str | None:
    path = below(web_xml, b"..", *_MANIFEST.split(b"/"))
    entry = context.guest.index.resolve(path)
    if entry is None or entry.kind not in {Kind.FILE, Kind.HARDLINK}:
        return None
    return sayable(main_section(context.guest.text(path) or "").get("Implementation-Version"))
