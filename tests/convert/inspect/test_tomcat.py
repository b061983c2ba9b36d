"""Tomcat: where its connectors are, by the variables of its unit, in an XML file with comments."""

from __future__ import annotations

import pytest

from tests.support.guests import SYSTEM, decide, service

SERVER_XML = """\
<?xml version="1.0" encoding="UTF-8"?>
<!-- one of many <Connector port="1" -->
<Server port="8005" shutdown="SHUTDOWN">
  <Service name="Catalina">
    <Connector executor="pool"
               port='8181' protocol="HTTP/1.1"
               redirectPort="8443" />
    <!--
    <Connector protocol="AJP/1.3"
               port="8009" />
    --><Connector port="8444" address="0.0.0.0"/>
    <Connector address="127.0.0.1"
               port="8010" />
    <Connector port="${spare.port}" />
  </Service>
</Server>
"""
PROGRAMS = SYSTEM + "".join(
    f"f 755 0:0 {path} x\n"
    for path in (
        *("opt/tomcat/bin/startup.sh", "opt/tomcat/bin/catalina.sh"),
        *("usr/libexec/tomcat10/tomcat-start.sh", "usr/bin/dash"),
    )
)


@pytest.mark.parametrize(
    ("unit", "config", "argv"),
    [
        (
            service(
                "/usr/bin/dash /usr/libexec/tomcat10/tomcat-start.sh",
                'Environment="CATALINA_BASE=/var/lib/tomcat10"',
            ),
            "var/lib/tomcat10",
            ["/usr/bin/dash", "/usr/libexec/tomcat10/tomcat-start.sh"],
        ),
        (
            service(
                "/opt/tomcat/bin/startup.sh",
                "Type=forking",
                "Environment=CATALINA_HOME=/opt/tomcat CATALINA_BASE=/srv/shop",
            ),
            "srv/shop",
            ["/opt/tomcat/bin/catalina.sh", "run"],
        ),
        (
            service("/usr/bin/dash /opt/tomcat/bin/startup.sh", "Type=forking"),
            "opt/tomcat",
            ["/opt/tomcat/bin/catalina.sh", "run"],
        ),
        (
            service("/usr/bin/dash /opt/tomcat/bin/catalina.sh start", "Type=forking"),
            "opt/tomcat",
            ["/opt/tomcat/bin/catalina.sh", "run"],
        ),
    ],
    ids=["debian", "base", "shell", "catalina"],
)
def test_runs_in_the_foreground_on_the_ports_of_the_file_that_its_unit_leads_to(
    unit: str, config: str, argv: list[str]
) -> None:
    other = '<Connector port="9999" />\n'
    files = {"opt/tomcat/conf/server.xml": other, f"{config}/conf/server.xml": SERVER_XML}
    found = decide({"tomcat.service": unit}, files, PROGRAMS)

    assert [*found.entrypoint, *found.cmd] == argv
    ports = [(str(port), port.confidence, port.evidence.line) for port in found.ports]
    assert ports == [("8181/tcp", "high", 5), ("8444/tcp", "high", 11)]
    assert any("not exposed: 8010/tcp" in sentence for sentence in found.evidence)


def test_a_connector_whose_port_is_a_property_gives_the_usual_one_with_low_confidence() -> None:
    files = {"opt/tomcat/conf/server.xml": '<Connector port="${http.port}" />\n'}
    unit = service("/opt/tomcat/bin/startup.sh", "Type=forking")
    found = decide({"tomcat.service": unit}, files, PROGRAMS)

    assert [(str(port), port.confidence) for port in found.ports] == [("8080/tcp", "low")]


def test_tags_that_never_end_are_passed_over() -> None:
    files = {"opt/tomcat/conf/server.xml": "<Connector\n" + 'port="1"\n' * 10_000 + "<!-- "}
    unit = service("/opt/tomcat/bin/startup.sh", "Type=forking")
    found = decide({"tomcat.service": unit}, files, PROGRAMS)

    assert [(str(port), port.confidence) for port in found.ports] == [("8080/tcp", "low")]
