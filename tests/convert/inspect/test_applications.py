"""What was put on a system by hand: found by its files, started as its own metadata says."""

from __future__ import annotations

import io
import re
import shutil
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from convert.images.folder import FolderTree
from convert.inspect.applications.java import main_section
from convert.inspect.applications.marks import _MARKS_MAX, Mark, find_marks
from convert.inspect.facts import Application
from convert.inspect.tree import inspect_tree
from formats.core.entry import Entry, Kind
from formats.core.tree import TreeIndex
from tests.support.guests import ACCOUNTS, SYSTEM, UNITS, WANTS, service
from tests.support.memory_tree import MemoryTree, memory_tree
from tests.support.programs import need, run
from tests.support.systemd import units_text


def jar_of(manifest: str, **more: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("META-INF/MANIFEST.MF", manifest)
        for name, content in more.items():
            archive.writestr(name, content)
    return data.getvalue()


def applications(
    files: dict[str, str | bytes], units: dict[str, str] | None = None
) -> tuple[Application, ...]:
    """Return the applications of a system with these files and services."""
    texts = {**ACCOUNTS, f"{UNITS}/multi-user.target": "[Unit]\nDescription=x\n"}
    texts |= {name: text for name, text in files.items() if isinstance(text, str)}
    for name, text in (units or {}).items():
        texts[f"{UNITS}/{name}"] = text
        texts[f"{WANTS}/{name}"] = f"-> /{UNITS}/{name}"
    tree = memory_tree(SYSTEM + units_text(texts))
    entries = {entry.path: entry for entry in tree.entries()}
    contents = {path: b"".join(map(bytes, tree.read(entries[path]))) for path in entries}
    for name, content in files.items():
        if isinstance(content, bytes):
            path = name.encode()
            entries[path] = Entry(path, Kind.FILE, 0o755, size=len(content))
            contents[path] = content
            while path := path.rpartition(b"/")[0]:
                entries.setdefault(path, Entry(path, Kind.FOLDER, 0o755))
    ordered = sorted(entries.values(), key=lambda entry: entry.path.split(b"/"))
    return inspect_tree(TreeIndex(MemoryTree(ordered, contents))).applications


def told(found: tuple[Application, ...]) -> list[str]:
    return [
        f"{item.kind} {item.name} {item.version} /{item.path.decode()} [{item.runtime}]"
        f" {' '.join(item.start.argv) if item.start else None} {item.evidence}"
        for item in found
    ]


def of_folder(root: Path) -> tuple[Application, ...]:
    tree = FolderTree(root)
    try:
        return inspect_tree(TreeIndex(tree)).applications
    finally:
        tree.close()


JAVA = {
    "usr/bin/java": "-> ../lib/jvm/java-17/bin/java",
    "usr/lib/jvm/java-17/bin/java": "x",
    "usr/lib/jvm/java-17/release": 'IMPLEMENTOR="x"\nJAVA_VERSION="17.0.15"\n',
}
PLAIN = (
    "Manifest-Version: 1.0\r\nImplementation-Title: Shop\r\nImplementation-Version: 2.1\r\n"
    "Main-Class: org.example.very.long.\r\n Main\r\n\r\nName: x\r\nMain-Class: no\r\n"
)
SPRING = (
    "Manifest-Version: 1.0\nMain-Class: org.springframework.boot.loader.JarLauncher\n"
    "Start-Class: org.example.App\nSpring-Boot-Version: 3.2.0\n"
)
NODE = {
    "usr/local/bin/node": "x",
    "usr/local/include/node/node_version.h": (
        "#define NODE_MAJOR_VERSION 18\n#define NODE_MINOR_VERSION 19\n"
        "#define NODE_PATCH_VERSION 1\n"
    ),
}
PHP = {
    "usr/sbin/php-fpm8.2": "x",
    "etc/nginx/nginx.conf": "http {\n include sites-enabled/*;\n}\n",
    "usr/sbin/nginx": "x",
}
FPM = "[Service]\nType=forking\nExecStart=/usr/bin/app\n"
NGINX = {"nginx.service": "[Service]\nExecStart=/usr/sbin/nginx\n"}

CASES: dict[str, tuple[dict[str, str | bytes], dict[str, str], list[str]]] = {
    "a JAR with a main class": (
        {**JAVA, "opt/shop/shop.jar": jar_of(PLAIN), "opt/shop/lib/x.jar": jar_of(PLAIN)},
        {},
        [
            (
                "java Shop 2.1 /opt/shop/shop.jar [java 17.0.15 (/usr/bin/java)]"
                " java -jar /opt/shop/shop.jar /opt/shop/shop.jar (jar-manifest)"
            )
        ],
    ),
    "a JAR of Spring Boot under a service": (
        {**JAVA, "srv/app/lib/app.jar": jar_of(SPRING)},
        {"app.service": service("/usr/bin/java -Xmx1g -jar /srv/app/lib/app.jar --x")},
        [
            (
                "java app.jar None /srv/app/lib/app.jar [java 17.0.15 (/usr/bin/java)]"
                " /usr/bin/java -Xmx1g -jar /srv/app/lib/app.jar --x"
                " /srv/app/lib/app.jar (spring-boot-manifest)"
            )
        ],
    ),
    "a JAR that is a library": ({"opt/x/x.jar": jar_of("Manifest-Version: 1.0\n")}, {}, []),
    "what is named like a JAR": ({"opt/x/x.jar": b"PK\x03\x04 no"}, {}, []),
    "a JAR of a package": (
        {
            "opt/x/x.jar": jar_of(PLAIN),
            "var/lib/dpkg/info/x.list": "/.\n/opt\n/opt/x\n/opt/x/x.jar\n",
        },
        {},
        [],
    ),
    "web applications in Tomcat": (
        {
            "usr/share/tomcat10/bin/catalina.sh": "x",
            "usr/share/tomcat10/RELEASE-NOTES": "x\n   Apache Tomcat Version 10.1.6\n",
            "var/lib/tomcat10/webapps/shop#v1.war": jar_of(PLAIN),
            "var/lib/tomcat10/webapps/shop#v1/WEB-INF/web.xml": "<web-app></web-app>",
            "var/lib/tomcat10/webapps/ROOT/WEB-INF/web.xml": "<?xml?>\n<web-app>\n</web-app>",
            "opt/apache-tomcat-9/webapps/ROOT/WEB-INF/web.xml": (
                "<web-app><display-name>Welcome to Tomcat</display-name></web-app>"
            ),
            "opt/apache-tomcat-9/webapps/docs/WEB-INF/web.xml": (
                "<web-app><display-name>Tomcat Documentation</display-name></web-app>"
            ),
            "var/lib/tomcat10/webapps/ROOT/META-INF/MANIFEST.MF": "Implementation-Version: 7\n",
        },
        {},
        [
            (
                "tomcat-webapp / 7 /var/lib/tomcat10/webapps/ROOT"
                " [tomcat 10.1.6 (/usr/share/tomcat10/bin/catalina.sh)] None"
                " /var/lib/tomcat10/webapps/ROOT/WEB-INF/web.xml:2 (web-xml)"
            ),
            (
                "tomcat-webapp /shop/v1 2.1 /var/lib/tomcat10/webapps/shop#v1.war"
                " [tomcat 10.1.6 (/usr/share/tomcat10/bin/catalina.sh)] None"
                " /var/lib/tomcat10/webapps/shop#v1.war (war)"
            ),
        ],
    ),
    "web applications in Jetty and WildFly": (
        {
            "opt/jetty/webapps/a.war": jar_of("Manifest-Version: 1.0\n"),
            "opt/wildfly-30/standalone/deployments/b.war": jar_of("Manifest-Version: 1.0\n"),
            "home/me/build/c.war": jar_of(PLAIN),
        },
        {},
        [
            (
                "jetty-webapp /a None /opt/jetty/webapps/a.war [None] None"
                " /opt/jetty/webapps/a.war (war)"
            ),
            (
                "wildfly-deployment /b None /opt/wildfly-30/standalone/deployments/b.war [None]"
                " None /opt/wildfly-30/standalone/deployments/b.war (war)"
            ),
        ],
    ),
    "Node applications": (
        {
            **NODE,
            "srv/one/package.json": (
                '{\n "name": "one", "version": "1.2",\n "engines": {"node": ">=18"},\n'
                ' "scripts": {\n  "start": "node server.js --port 3000"}\n}\n'
            ),
            "srv/one/node_modules/x/package.json": '{"name": "x", "scripts": {"start": "y"}}',
            "srv/one/packages/y/package.json": '{"name": "y", "scripts": {"start": "y"}}',
            "srv/two/package.json": '{"name": "two"}',
            "srv/two/server.js": "x",
            "srv/three/package.json": '{"main": "app.js"}',
            "srv/three/app.js": "x",
            "srv/three/node_modules/x/index.js": "x",
            "srv/library/package.json": '{"main": "index.js"}',
            "srv/library/index.js": "x",
            "srv/shell/package.json": '{"scripts": {"start": "NODE_ENV=x node ."}}',
            "srv/bad/package.json": "[" * 50_000,
        },
        {},
        [
            (
                "node one 1.2 /srv/one [node 18.19.1 (/usr/local/bin/node), wants >=18]"
                " node server.js --port 3000 /srv/one/package.json:2 (package-json)"
            ),
            (
                "node shell None /srv/shell [node 18.19.1 (/usr/local/bin/node)]"
                " /bin/sh -c NODE_ENV=x node . /srv/shell/package.json (package-json)"
            ),
            (
                "node three None /srv/three [node 18.19.1 (/usr/local/bin/node)]"
                " node app.js /srv/three/package.json (package-json)"
            ),
            (
                "node two None /srv/two [node 18.19.1 (/usr/local/bin/node)]"
                " node server.js /srv/two/package.json:1 (package-json)"
            ),
        ],
    ),
    "a Node application under a service": (
        {**NODE, "srv/app/package.json": '{"name": "app"}'},
        {"app.service": service("/usr/local/bin/node /srv/app/main.mjs")},
        [
            (
                "node app None /srv/app [node 18.19.1 (/usr/local/bin/node)]"
                " /usr/local/bin/node /srv/app/main.mjs /srv/app/package.json:1 (package-json)"
            )
        ],
    ),
    "a virtual environment with its own program": (
        {
            "opt/tool/pyvenv.cfg": "home = /usr/bin\nversion = 3.11.2\n",
            "opt/tool/bin/tool": "x",
            "opt/tool/lib/python3.11/site-packages/my_tool-2.0.dist-info/direct_url.json": "{}",
            "opt/tool/lib/python3.11/site-packages/my_tool-2.0.dist-info/entry_points.txt": (
                "[other]\nz = a:b\n[console_scripts]\ntool = my_tool:main\n"
            ),
            "opt/tool/lib/python3.11/site-packages/flask-3.0.dist-info/entry_points.txt": (
                "[console_scripts]\nflask = flask.cli:main\n"
            ),
        },
        {},
        [
            (
                "python-venv my_tool 2.0 /opt/tool [python 3.11.2 (/usr/bin)] /opt/tool/bin/tool"
                " /opt/tool/pyvenv.cfg:2 (pyvenv-cfg)"
            )
        ],
    ),
    "a virtual environment beside a project": (
        {
            "srv/site/venv/pyvenv.cfg": "home = /usr/bin\nversion = 3.11.2\n",
            "srv/site/venv/bin/gunicorn": "x",
            "srv/site/manage.py": "x",
            "srv/site/shop/wsgi.py": "x",
            "srv/other/manage.py": "x",
            "srv/other/pages/wsgi.py": "x",
        },
        {},
        [
            "python other None /srv/other [None] None /srv/other/manage.py (python-manage.py)",
            (
                "python-venv site None /srv/site/venv [python 3.11.2 (/usr/bin)]"
                " /srv/site/venv/bin/gunicorn shop.wsgi:application"
                " /srv/site/venv/pyvenv.cfg:2 (pyvenv-cfg)"
            ),
        ],
    ),
    "a virtual environment under a service": (
        {"srv/site/.venv/pyvenv.cfg": "version_info = 3.9.1.final.0\n"},
        {"site.service": service("/srv/site/.venv/bin/uvicorn a:b")},
        [
            (
                "python-venv site None /srv/site/.venv [python 3.9.1.final.0]"
                " /srv/site/.venv/bin/uvicorn a:b /srv/site/.venv/pyvenv.cfg:1 (pyvenv-cfg)"
            )
        ],
    ),
    "PHP sites": (
        {
            **PHP,
            "etc/nginx/sites-enabled/blog": "server {\n root /var/www/blog;\n}\n",
            "etc/nginx/sites-enabled/shop": "server { root /var/www/shop/public; }\n",
            "etc/nginx/sites-enabled/static": "server {\n root /var/www/static;\n}\n",
            "etc/nginx/sites-enabled/again": "server {\n root /var/www/blog/;\n}\n",
            "var/www/blog/index.php": "x",
            "var/www/blog/wp-includes/version.php": "<?php\n$wp_version = '6.4.2';\n",
            "var/www/shop/public/index.php": "x",
            "var/www/shop/composer.json": '{"name": "acme/shop", "version": "3.0"}',
            "var/www/static/index.html": "x",
            "var/www/unserved/index.php": "x",
        },
        NGINX,
        [
            (
                "php-site WordPress 6.4.2 /var/www/blog [php 8.2 (/usr/sbin/php-fpm8.2)] None"
                " /etc/nginx/sites-enabled/again:2 (nginx-config)"
            ),
            (
                "php-site acme/shop 3.0 /var/www/shop/public [php 8.2 (/usr/sbin/php-fpm8.2)] None"
                " /etc/nginx/sites-enabled/shop:1 (nginx-config)"
            ),
        ],
    ),
    "Ruby applications": (
        {
            "srv/shop/config.ru": "x",
            "srv/shop/Gemfile": "x",
            "srv/shop/Gemfile.lock": "GEM\n  specs:\n    puma (6.4.0)\n    rails (7.1.2)\n",
            "srv/shop/config/application.rb": "x",
            "srv/shop/config/puma.rb": "x",
            "srv/shop/.ruby-version": "3.2.2\n",
            "srv/small/config.ru": "x",
            "srv/library/Gemfile": "x",
        },
        {},
        [
            (
                "ruby shop (Rails 7.1.2) None /srv/shop [ruby, wants 3.2.2]"
                " bundle exec puma --config config/puma.rb /srv/shop/Gemfile (rails)"
            ),
            (
                "ruby small None /srv/small [None] bundle exec rackup --host 0.0.0.0"
                " /srv/small/config.ru (rack)"
            ),
        ],
    ),
    ".NET applications": (
        {
            "opt/api/Api.runtimeconfig.json": (
                '\ufeff{"runtimeOptions": {\n "framework": {\n'
                '  "name": "Microsoft.AspNetCore.App", "version": "8.0.0"}}}\n'
            ),
            "opt/api/Api.dll": "x",
            "opt/whole/Job.runtimeconfig.json": (
                '{"runtimeOptions": {"includedFrameworks": [\n'
                ' {"name": "Microsoft.NETCore.App", "version": "8.0.1"}]}}\n'
            ),
            "opt/whole/Job": "x",
            "opt/dotnet/sdk/8.0.1/tool.runtimeconfig.json": "{}",
            "opt/dotnet/sdk/8.0.1/tool.dll": "x",
        },
        {},
        [
            (
                "dotnet Api None /opt/api/Api.dll [dotnet, wants Microsoft.AspNetCore.App 8.0.0]"
                " dotnet /opt/api/Api.dll /opt/api/Api.runtimeconfig.json:2 (dotnet)"
            ),
            (
                "dotnet Job None /opt/whole/Job [Microsoft.NETCore.App 8.0.1, in itself]"
                " /opt/whole/Job /opt/whole/Job.runtimeconfig.json:1 (dotnet)"
            ),
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_applications_are_found_with_their_runtime_and_start(case: str) -> None:
    files, units, expected = CASES[case]
    assert told(applications(files, units)) == expected


def test_a_jar_of_javas_own_tools_starts_as_it_is_said_to(tmp_path: Path) -> None:
    need("java", "javac", "jar")
    (tmp_path / "Hello.java").write_text(
        'class Hello { public static void main(String[] a) { System.out.println("hello"); } }'
    )
    run("javac", "Hello.java", cwd=tmp_path)
    place = tmp_path / "root" / "srv" / "hello.jar"
    place.parent.mkdir(parents=True)
    run("jar", "--create", "--file", place, "--main-class", "Hello", "Hello.class", cwd=tmp_path)
    (found,) = of_folder(tmp_path / "root")
    assert found.kind == "java"
    assert found.start is not None
    program, option, path = found.start.argv
    assert run(program, option, f"{tmp_path}/root{path}").stdout == b"hello\n"


def test_an_environment_that_python_made_has_its_version(tmp_path: Path) -> None:
    venv.create(tmp_path / "srv" / "shop" / "venv", symlinks=True)
    (found,) = of_folder(tmp_path)
    version = ".".join(map(str, sys.version_info[:3]))
    assert (found.kind, found.name) == ("python-venv", "shop")
    assert (found.runtime or "").startswith(f"python {version} (")


def _programs(tmp_path: Path, *programs: Path) -> list[Application]:
    place = tmp_path / "usr" / "local" / "bin"
    place.mkdir(parents=True)
    for program in programs:
        shutil.copyfile(program, place / program.name)
        (place / program.name).chmod(0o755)
    return list(of_folder(tmp_path))


def test_a_program_in_go_says_so_and_with_what_it_was_made(tmp_path: Path) -> None:
    need("umoci", "dpkg-query")
    (found,) = _programs(tmp_path, Path("/usr/bin/umoci"))
    built = run("dpkg-query", "-W", "-f", "${Built-Using}", "umoci").stdout.decode()
    match = re.search(r"golang-[\d.]+ \(= ([\d.]+)", built)
    assert match is not None
    assert found.runtime == f"go{match[1]}, with the system's libraries"
    assert found.name == "github.com/opencontainers/umoci/cmd/umoci"


def test_a_program_in_rust_says_so_and_with_what_it_was_made(tmp_path: Path) -> None:
    need("readelf")
    ruff = Path(sysconfig.get_path("scripts")) / "ruff"
    (found,) = _programs(tmp_path, ruff)
    comment = run("readelf", "-p", ".comment", ruff).stdout.decode()
    match = re.search(r"rustc version ([\d.]+)", comment)
    assert match is not None
    assert (found.runtime or "").startswith(f"rustc {match[1]}, ")


def test_whether_a_program_needs_a_loader_is_what_readelf_says(tmp_path: Path) -> None:
    need("readelf", "busybox")
    programs = [Path("/bin/busybox"), Path("/bin/ls")]
    found = {item.name: item for item in _programs(tmp_path, *programs)}
    for program in programs:
        has_loader = b"INTERP" in run("readelf", "-lW", program).stdout
        libraries = "with the system's libraries" if has_loader else "static"
        assert found[program.name].runtime == libraries


def test_a_program_elsewhere_has_to_stand_for_itself(tmp_path: Path) -> None:
    need("busybox")
    place = tmp_path / "opt" / "x"
    place.mkdir(parents=True)
    for name in ("ls", "busybox"):
        shutil.copyfile(f"/bin/{name}", place / name)
        (place / name).chmod(0o755)
    assert [item.name for item in of_folder(tmp_path)] == ["busybox"]


def test_a_manifest_is_read_as_its_specification_says() -> None:
    text = "A: 1\rB: x\r y\r\r\nA: 2\n"
    assert main_section(text) == {"A": "1", "B": "xy"}


def test_libraries_and_other_systems_are_passed_over() -> None:
    places = (
        *("usr/lib/x", "usr/share/x", "srv/a/node_modules/x", "srv/a/vendor/x"),
        *("var/lib/docker/overlay2/1/srv/a", "home/me/.cache/x", "root/.npm/x"),
    )
    tree = memory_tree("\n".join(f"f 644 0:0 {place}/package.json x" for place in places))
    assert not find_marks(TreeIndex(tree))


def test_more_of_a_kind_than_any_server_has_are_not_looked_at() -> None:
    tree = memory_tree(
        "\n".join(f"f 644 0:0 srv/{number}/package.json x" for number in range(_MARKS_MAX + 5))
    )
    assert len(find_marks(TreeIndex(tree))[Mark.NODE]) == _MARKS_MAX


def test_damaged_archives_and_programs_are_no_applications() -> None:
    good = jar_of(PLAIN)
    files: dict[str, str | bytes] = {
        f"srv/{cut}/x.jar": good[:cut] for cut in range(0, len(good), 7)
    }
    elf = Path("/bin/true").read_bytes()
    files |= {f"opt/{cut}/x": elf[:cut].ljust(5000, b"\xff") for cut in range(4, 300, 5)}
    applications(files)
