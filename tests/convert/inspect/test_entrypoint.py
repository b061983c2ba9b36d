"""What a container would start, from small trees."""

from __future__ import annotations

import pytest

from tests.support.guests import SYSTEM, UNITS, WANTS, decide, service


def test_the_only_workload_is_the_entrypoint() -> None:
    found = decide(
        {
            "app.service": service(
                "/usr/bin/app --serve $OPTIONS ${NAME}",
                "User=web",
                "Environment='NAME=a b' MODE=x",
                "EnvironmentFile=-/etc/default/app",
                "WorkingDirectory=/srv",
                "KillSignal=INT",
                "RuntimeDirectory=app",
                "StateDirectory=app",
            ),
            "ssh.service": service("/usr/sbin/sshd -D"),
        },
        {"etc/default/app": 'OPTIONS="-v --port 8080"\nMODE=file\n'},
    )

    assert found.entrypoint == ("/usr/bin/app",)
    assert found.cmd == ("--serve", "-v", "--port", "8080", "a b")
    assert found.user == "33:34"
    assert found.working_dir == "/srv"
    assert found.stop_signal == "SIGINT"
    assert dict(found.env) == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "MODE": "file",
        "NAME": "a b",
        "OPTIONS": "-v --port 8080",
        "RUNTIME_DIRECTORY": "/run/app",
        "STATE_DIRECTORY": "/var/lib/app",
    }
    assert [str(port) for port in found.ports] == ["8080/tcp"]
    folders = [(item.path, item.mode, item.uid, item.gid) for item in found.runtime_folders]
    assert folders == [(b"run/app", 0o755, 33, 34), (b"var/lib/app", 0o755, 33, 34)]
    assert found.service == "app"
    assert [(loser.name, loser.reason) for loser in found.losers] == [
        ("ssh", "remote login; a container is entered through its runtime")
    ]
    assert found.evidence[0] == (
        f"app is the only workload that starts: /{WANTS}/app.service (systemd-wants)"
    )


def test_several_workloads_keep_the_init_system() -> None:
    found = decide(
        {
            "app.service": service("/usr/bin/app --port=81"),
            "other.service": service("/usr/bin/other --listen 127.0.0.1:82"),
        }
    )

    assert found.entrypoint == ("/sbin/init",)
    assert found.stop_signal == "SIGRTMIN+3"
    assert found.user is None
    assert ("container", "oci") in found.env
    assert [str(port) for port in found.ports] == ["81/tcp"]
    (why,) = found.evidence
    assert why.startswith("2 services start (app, other), so the init system stays: systemd")


@pytest.mark.parametrize(
    ("unit", "reason"),
    [
        (service("/usr/bin/app", "Type=forking"), "/usr/bin/app goes to the background"),
        (service("/usr/bin/app", "Type=dbus"), "needs the system's message bus"),
        (service("/usr/bin/app", "BusName=a.b"), "needs the system's message bus"),
        (service("/usr/bin/app", "User=nobody-here"), "its user 'nobody-here' is not in"),
        (service("/usr/bin/app", "Group=none"), "its group 'none' is not in /etc/group"),
        (service("/usr/bin/app '\\xff'"), "its command is not UTF-8"),
    ],
)
def test_a_service_that_cannot_run_by_itself_keeps_the_init_system(unit: str, reason: str) -> None:
    found = decide({"app.service": unit})

    assert found.entrypoint == ("/sbin/init",)
    assert found.evidence[0].startswith(f"app cannot run by itself: {reason}")
    assert found.losers[0].reason.startswith(reason)


@pytest.mark.parametrize(
    ("unit", "reason"),
    [
        (service("/usr/bin/app", "Type=oneshot"), "runs once and ends"),
        (service("/usr/bin/gone"), "its program /usr/bin/gone is not in the tree"),
        (
            "[Unit]\nConditionPathExists=/etc/none\n" + service("/usr/bin/app"),
            "ConditionPathExists=/etc/none does not hold in a container",
        ),
    ],
)
def test_what_would_not_run_leaves_a_shell(unit: str, reason: str) -> None:
    found = decide({"app.service": unit})

    assert (found.entrypoint, found.cmd) == ((), ("/bin/sh",))
    assert found.losers[0].reason.startswith(reason)
    assert found.evidence == ("a shell: none of the services that start (1) is one to run here",)


def test_no_service_leaves_a_shell_and_says_why() -> None:
    assert decide({}).evidence == ("a shell: no service starts by itself",)


def test_without_a_shell_there_is_nothing_to_start() -> None:
    found = decide({}, more="")

    assert (found.entrypoint, found.cmd) == ((), ())
    assert found.evidence[0].startswith("nothing to start")


def test_a_service_that_gets_its_connections_from_systemd_needs_it() -> None:
    units = {
        "app.socket": "[Socket]\nListenStream=8000\n",
        "ssh.socket": "[Socket]\nListenStream=22\n",
    }
    files = {
        f"{UNITS}/app.service": service("/usr/bin/app"),
        f"{UNITS}/ssh.service": service("/usr/sbin/sshd -D"),
    }
    found = decide(units, files)

    assert found.evidence[0].startswith(
        "app cannot run by itself: systemd hands it the connections of app.socket"
    )


def test_one_process_per_connection_needs_the_init_system() -> None:
    found = decide(
        {"app.socket": "[Socket]\nListenStream=79\nAccept=yes\n"},
        {f"{UNITS}/app@.service": service("/usr/bin/app")},
    )

    assert found.evidence[0].startswith("app@0 cannot run by itself: runs once per connection")


def test_a_dynamic_user_has_the_number_that_owns_its_folder() -> None:
    unit = service("/usr/bin/app", "DynamicUser=yes", "StateDirectory=app")
    fresh = decide({"app.service": unit})
    used = decide({"app.service": unit}, more=SYSTEM + "d 700 63000:63000 var/lib/private/app\n")

    assert fresh.user == "61184:61184"
    assert used.user == "63000:63000"


def test_the_group_is_left_to_the_runtime_where_there_are_further_ones() -> None:
    assert decide({"app.service": service("/usr/bin/app", "User=postgres")}).user == "70"
    unit = service("/usr/bin/app", "User=postgres", "Group=webs")
    assert decide({"app.service": unit}).user == "70:34"
    unit = service("/usr/bin/app", "User=postgres", "Group=70")  # his own, as distributions say
    assert decide({"app.service": unit}).user == "70"
    assert decide({"app.service": service("/usr/bin/app", "Group=webs")}).user == "0:34"
    assert decide({"app.service": service("/usr/bin/app", "User=0")}).user is None
    assert decide({"app.service": service("/usr/bin/app", "User=5000")}).user == "5000:5000"


@pytest.mark.parametrize(
    ("stated", "signal"),
    [("SIGQUIT", "SIGQUIT"), ("TERM", "SIGTERM"), ("SIGRTMIN+3", "SIGRTMIN+3"), ("nonsense", None)],
)
def test_names_signals_as_image_configs_do(stated: str, signal: str | None) -> None:
    unit = service("/usr/bin/app", f"KillSignal={stated}")

    assert decide({"app.service": unit}).stop_signal == signal


@pytest.mark.parametrize(
    ("command", "ports"),
    [
        ("--port 8080", ["8080/tcp"]),
        ("--port=8080 --metrics-port 9100", ["8080/tcp", "9100/tcp"]),
        ("-p 8080", ["8080/tcp"]),
        ("--listen [::]:8080", ["8080/tcp"]),
        ("--web.listen-address=:9090", ["9090/tcp"]),
        ("--bind 0.0.0.0:8000", ["8000/tcp"]),
        ("--http-addr=127.0.0.1:8000", []),
        ("--url http://example.org:80/", []),
        ("--port 99999", []),
        ("--port", []),
        ("--transport 5 --reporter 6 --supported 7", []),
        ("--httpPort=8081", ["8081/tcp"]),
    ],
)
def test_arguments_tell_ports(command: str, ports: list[str]) -> None:
    found = decide({"app.service": service(f"/usr/bin/app {command}")})

    assert [str(port) for port in found.ports] == ports


def test_a_variable_tells_the_port_with_low_confidence() -> None:
    found = decide({"app.service": service("/usr/bin/app", "Environment=PORT=3000")})

    assert [(str(port), port.confidence) for port in found.ports] == [("3000/tcp", "low")]


def test_a_privileged_port_of_another_user_is_told() -> None:
    found = decide({"app.service": service("/usr/bin/app --port 80", "User=web")})

    assert "80/tcp may need CAP_NET_BIND_SERVICE for user 33:34" in found.evidence


def test_an_applet_of_busybox_is_not_the_program_it_is_named_like() -> None:
    more = f"{SYSTEM}f 755 0:0 usr/bin/busybox x\nl 777 0:0 usr/bin/httpd busybox\n"
    found = decide({"web.service": service("/usr/bin/httpd -f -p 8080")}, more=more)
    assert found.entrypoint + found.cmd == ("/usr/bin/httpd", "-f", "-p", "8080")
    assert [str(port) for port in found.ports] == ["8080/tcp"]
    assert found.runtime_folders == ()
