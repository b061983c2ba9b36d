"""supervisord, runit, s6 and Upstart; and what is started where nothing else is left."""

from __future__ import annotations

import pytest

from convert.inspect.cron import periodic_jobs
from convert.inspect.entrypoint import EntrypointDecision, decide_entrypoint
from convert.inspect.facts import Service
from convert.inspect.guest import Guest
from convert.inspect.supervised import started_by_supervision
from convert.inspect.supervisord import started_by_supervisord
from convert.inspect.tree import inspect_tree
from convert.inspect.upstart import started_by_upstart
from formats.core.tree import TreeIndex
from tests.support.guests import decide, service
from tests.support.memory_tree import memory_tree
from tests.support.systemd import units_text

SYSTEM = """
f 755 0:0 bin/sh x
f 755 0:0 usr/bin/app x
f 755 0:0 usr/bin/other x
f 755 0:0 usr/bin/supervisord x
f 755 0:0 usr/sbin/cron x
f 755 0:0 usr/sbin/sshd x
"""
SYSTEMD = """
f 755 0:0 usr/lib/systemd/systemd \\x7fELF
l 777 0:0 sbin/init ../usr/lib/systemd/systemd
"""
ACCOUNTS = {
    "etc/passwd": "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n",
    "etc/group": "root:x:0:\nwebs:x:34:\n",
}


def guest(files: dict[str, str], more: str = "") -> Guest:
    return Guest(TreeIndex(memory_tree(SYSTEM + more + units_text({**ACCOUNTS, **files}))))


def decided(files: dict[str, str], more: str = "") -> EntrypointDecision:
    index = guest(files, more).index
    return decide_entrypoint(inspect_tree(index), index)


def programs(files: dict[str, str]) -> dict[str, Service]:
    return {service.name: service for service in started_by_supervisord(guest(files))}


ONE = """
[supervisord]
nodaemon=false
[program:app]
command = /usr/bin/app --name "%(program_name)s"
    --port 80
directory=/srv ; a comment
user=web
environment=A="1,2",B=x
stopsignal=QUIT
"""
ENVIRONMENT = """
[supervisord]
environment=FOLDER="/srv/a b"
[program:app]
command=/usr/bin/app "%(ENV_FOLDER)s"
[program:other]
command=/usr/bin/other %(ENV_NOT_THERE)s
"""
TWO = ONE + "[program:other]\ncommand=/usr/bin/other\n"


def test_a_program_of_supervisord_is_a_service() -> None:
    found = decided({"etc/supervisor/supervisord.conf": ONE})
    assert (found.entrypoint, found.cmd) == (("/usr/bin/app",), ("--name", "app", "--port", "80"))
    assert found.user == "33:34"
    assert found.working_dir == "/srv"
    assert found.stop_signal == "SIGQUIT"
    assert dict(found.env)["A"] == "1,2"
    assert dict(found.env)["B"] == "x"
    assert [str(port) for port in found.ports] == ["80/tcp"]


def test_included_files_are_read_and_what_does_not_start_is_none() -> None:
    found = programs(
        {
            "etc/supervisord.conf": "[include]\nfiles = conf.d/*.ini /etc/more/*.conf\n",
            "etc/conf.d/a.ini": "[program:a]\ncommand=/usr/bin/app\nautostart=false\n",
            "etc/more/b.conf": "[program:b]\ncommand=/usr/bin/other\n",
            "etc/conf.d/c.txt": "[program:c]\ncommand=/usr/bin/other\n",
        }
    )
    assert sorted(found) == ["a", "b"]
    assert found["a"].not_workload == "is not started by itself (autostart=false)"
    assert found["b"].start[0].evidence.path == b"etc/more/b.conf"


def test_a_command_with_open_quotes_starts_nothing() -> None:
    found = programs({"etc/supervisord.conf": "[program:a]\ncommand=/usr/bin/app 'x\n"})
    assert found["a"].start == ()


def test_supervisord_stays_where_it_keeps_several() -> None:
    unit = service("/usr/bin/supervisord -c /etc/supervisor/supervisord.conf")
    files = {"etc/supervisor/supervisord.conf": TWO}
    found = decide({"supervisor.service": unit}, files, SYSTEM + SYSTEMD)
    assert found.service == "supervisor"
    assert found.cmd == ("-c", "/etc/supervisor/supervisord.conf", "-n")
    assert [str(port) for port in found.ports] == ["80/tcp"]
    assert [(loser.name, loser.reason) for loser in found.losers] == [
        ("app", "supervisor starts it"),
        ("other", "supervisor starts it"),
    ]
    alone = decide(
        {"supervisor.service": unit}, {"etc/supervisor/supervisord.conf": ONE}, SYSTEM + SYSTEMD
    )
    assert alone.service == "app"
    assert alone.losers[0].reason == "it keeps only app, which is started itself"


RUN = "#!/bin/sh\nexec 2>&1\nexec chpst -u web /usr/bin/app --port 80\n"


def supervised(files: dict[str, str], more: str = "") -> dict[str, Service]:
    return {item.name: item for item in started_by_supervision(guest(files, more))}


def executable(path: str, text: str) -> str:
    escaped = (
        text.encode().decode("latin-1").encode("unicode_escape").decode().replace(" ", "\\x20")
    )
    return f"f 755 0:0 {path} {escaped}\n"


def test_a_run_script_that_only_starts_a_program_is_that_program() -> None:
    found = supervised({"etc/service/app": "-> /etc/sv/app"}, executable("etc/sv/app/run", RUN))
    assert found["app"].start[0].argv == ("/usr/bin/app", "--port", "80")
    assert (found["app"].manager, found["app"].user) == ("runit", "web")


def test_a_run_script_that_does_more_is_started_itself() -> None:
    text = "#!/bin/sh\nmkdir -p /run/app\nexec setuidgid web /usr/bin/app\n"
    found = supervised({}, executable("etc/services.d/app/run", text))
    assert found["app"].start[0].argv == ("/etc/services.d/app/run",)
    assert (found["app"].manager, found["app"].user) == ("s6", None)


def test_a_service_that_is_down_is_no_workload() -> None:
    found = supervised({"etc/service/app/down": ""}, executable("etc/service/app/run", RUN))
    assert "down" in (found["app"].not_workload or "")


def test_what_cannot_be_run_is_no_service() -> None:
    files = {"etc/service/app/run": RUN, "etc/service/.s6-svscan/run": RUN, "etc/service/file": "x"}
    assert supervised(files) == {}


JOB = """
description "app"
start on (runlevel [2345]
          and net-device-up)
stop on runlevel [016]
env PORT=8080
env NAME="a b"
setuid web
chdir /srv
kill signal INT
respawn
pre-start script
    exec /usr/bin/other
end script
exec /usr/bin/app --port $PORT --name $UNKNOWN
"""


def upstart(files: dict[str, str]) -> dict[str, Service]:
    return {item.name: item for item in started_by_upstart(guest(files))}


def test_a_job_of_upstart_is_a_service() -> None:
    found = upstart({"etc/init/app.conf": JOB.replace(" --name $UNKNOWN", "")})["app"]
    assert found.start[0].argv == ("/usr/bin/app", "--port", "8080")
    assert (found.user, found.working_dir, found.kill_signal) == ("web", "/srv", "INT")
    assert dict(found.environment) == {"NAME": "a b", "PORT": "8080"}
    assert found.kind == "simple"
    assert found.enabled_by.line == 3


def test_a_command_that_needs_a_shell_gets_one() -> None:
    found = upstart({"etc/init/app.conf": JOB})["app"]
    assert found.start[0].argv == (
        "/bin/sh",
        "-c",
        "exec /usr/bin/app --port 8080 --name $UNKNOWN",
    )


def test_variables_are_those_that_supervisord_itself_is_given() -> None:
    found = programs({"etc/supervisord.conf": ENVIRONMENT})
    assert found["app"].start[0].argv == ("/usr/bin/app", "/srv/a b")
    assert found["other"].start == ()


@pytest.mark.parametrize(
    ("change", "kind"),
    [("expect fork", "forking"), ("expect daemon", "forking"), ("task", "oneshot")],
)
def test_stanzas_tell_the_kind_of_a_job(change: str, kind: str) -> None:
    assert upstart({"etc/init/app.conf": f"{JOB}{change}\n"})["app"].kind == kind


def test_jobs_that_do_not_start_by_themselves_are_none() -> None:
    assert upstart({"etc/init/app.conf": JOB, "etc/init/app.override": "manual\n"}) == {}
    assert upstart({"etc/init/app.conf": "exec /usr/bin/app\n"}) == {}
    assert upstart({"etc/init/app.conf": "start on runlevel [016]\nexec /usr/bin/app\n"})[
        "app"
    ].not_workload


def test_the_last_line_of_a_script_may_be_the_program() -> None:
    job = "start on startup\nscript\n  . /etc/default/app\n  exec /usr/bin/app -x\nend script\n"
    assert upstart({"etc/init/app.conf": job})["app"].start[0].argv == ("/usr/bin/app", "-x")
    job = "start on startup\nscript\n  while true; do app; done\nend script\n"
    assert upstart({"etc/init/app.conf": job})["app"].start == ()


TABLES = {
    "etc/crontab": (
        "SHELL=/bin/sh\n# m h dom mon dow user command\n"
        "17 * * * * root cd / && run-parts /etc/cron.hourly\n"
        "*/5 * * * *\tweb  /usr/bin/app --tidy\n"
    ),
    "etc/cron.d/job": "@daily root /usr/bin/other\n",
    "var/spool/cron/crontabs/web": "0 3 * * 1-5 /usr/bin/app --nightly\n",
}


def test_jobs_of_all_tables_are_told_with_their_times() -> None:
    found = periodic_jobs(guest(TABLES, executable("etc/cron.weekly/tidy", "#!/bin/sh\n")))
    assert [(job.time, job.user, job.command) for job in found] == [
        ("*/5 * * * *", "web", "/usr/bin/app --tidy"),
        ("@daily", "root", "/usr/bin/other"),
        ("0 3 * * 1-5", "web", "/usr/bin/app --nightly"),
        ("@weekly", "root", "/etc/cron.weekly/tidy"),
    ]
    assert found[0].evidence.line == 4


def test_cron_is_started_where_it_has_jobs_and_nothing_else_is_there() -> None:
    units = {
        "cron.service": service("/usr/sbin/cron -f"),
        "ssh.service": service("/usr/sbin/sshd -D"),
    }
    found = decide(units, TABLES, SYSTEM + SYSTEMD)
    assert found.service == "cron"
    assert found.evidence[0].startswith("cron is no workload, but all that starts")
    assert decide(units, {}, SYSTEM + SYSTEMD).service == "ssh"
