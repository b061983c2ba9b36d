"""What scripts do to a root: done as data where it is plain, and told where it is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from convert.packages.commands.modes import file_capabilities, mode_change
from convert.packages.unpack import unpack
from formats.core.entry import Entry, Kind
from formats.core.finding import Action
from formats.core.limits import Limits
from tests.convert.packages.support import package, root
from tests.support.memory_tree import memory_tree
from tests.support.programs import need, need_root, run


def test_folders_get_the_owner_and_mode_that_a_script_gives_them() -> None:
    place = root()
    text = """
        adduser --system --group --home /var/lib/tool --quiet tool
        install -d -o tool -g adm -m 2750 /var/log/tool
        chmod u=rwx,go= /var/lib/tool
    """
    assert place.left(text) == []
    log, home = place.entry("/var/log/tool"), place.entry("/var/lib/tool")
    assert (log.kind, log.mode, log.uid, log.gid) == (Kind.FOLDER, 0o2750, 100, 4)
    assert (home.mode, home.uid, home.gid) == (0o700, 100, 100)
    assert ("package-user", "etc/passwd") in place.rules()
    assert ("package-folder", "var/log/tool") in place.rules()


def test_each_deed_has_a_finding_with_its_line() -> None:
    place = root()
    place.follow("\n\nmkdir -p /srv/a\n")
    (finding,) = place.findings
    assert (finding.rule, finding.path) == ("package-folder", b"srv/a")
    assert finding.action is Action.ADDED
    assert finding.evidence == "by tool's postinst, line 3"


def test_conditions_on_accounts_and_files_are_answered_from_the_root() -> None:
    place = root("f 644 0:0 etc/there x")
    text = """
        getent group adm >/dev/null || mkdir /no-group
        if ! getent passwd root >/dev/null 2>&1; then mkdir /no-root; fi
        if [ -f /etc/there ] && [ ! -e /etc/missing ]; then mkdir /yes; fi
        id -u nobody >/dev/null && [ "$(id -u nobody)" = 65534 ] && mkdir /nobody
        if command -v unheard-of >/dev/null; then mkdir /no; fi
    """
    assert place.left(text) == []
    assert place.has("/no-group")
    assert place.has("/yes")
    assert place.has("/nobody")
    assert not place.has("/no-root")
    assert not place.has("/no")


def test_a_script_is_followed_as_at_its_first_installation() -> None:
    place = root()
    text = """
        [ "$1" = configure ] && mkdir /configure
        [ -n "$2" ] && mkdir /upgrade
        if dpkg --compare-versions "$2" lt 2.0; then mkdir /older; fi
        if dpkg --compare-versions "$2" lt-nl 2.0; then mkdir /older-nl; fi
        [ -z "$DPKG_ROOT" ] && mkdir /no-root
    """
    assert place.left(text) == []
    made = ("configure", "upgrade", "older", "older-nl", "no-root")
    assert [place.has(f"/{name}") for name in made] == [True, False, True, False, True]


def test_what_depends_on_something_unknown_is_told_and_not_done() -> None:
    place = root()
    text = "if some-program; then\n  mkdir /maybe\nelse\n  chmod 1 /etc\nfi\nmkdir /surely\n"
    reading = place.follow(text)
    assert [line for line, _ in reading.left] == [1, 2, 4]
    assert "line 1, a condition is not known" in str(reading)
    assert not place.has("/maybe")
    assert place.has("/surely")


def test_what_comes_after_a_possible_exit_is_told_and_not_done() -> None:
    place = root()
    text = "[ -e /proc/x ] && exit 0\nmkdir /maybe\n"
    assert place.left(text) == [
        "mkdir /maybe (line 1, what comes before is not known, and 'exit' depends on it)"
    ]


def test_a_script_is_taken_to_succeed() -> None:
    place = root()
    assert place.left("[ -e /proc/x ] || exit 1\nmkdir /surely\n") == []
    assert place.has("/surely")


def test_a_possible_return_or_break_counts_to_the_end_of_its_function_or_loop() -> None:
    place = root()
    text = """
        f() { [ -e /proc/x ] && return 0; mkdir /maybe; }
        f
        mkdir /after-function
        for x in 1 2; do [ -e /proc/y ] && break; done
        mkdir /after-loop
    """
    assert len(place.left(text)) == 1
    assert not place.has("/maybe")
    assert place.has("/after-function")
    assert place.has("/after-loop")


def test_variables_that_may_have_several_values_are_not_known() -> None:
    place = root()
    text = "a=1; [ -e /proc/x ] && a=2\nmkdir /$a\nb=1; [ -e /proc/x ] && b=1\nmkdir /b$b\n"
    assert place.left(text) == ["mkdir … (what it is about is not known)"]
    assert place.has("/b1")


def test_nothing_of_a_script_is_run(tmp_path: Path) -> None:
    place = root()
    victim = tmp_path / "victim"
    place.follow(f"touch {victim}; echo x > {victim}; mkdir -p {victim}2; $(touch {victim}); `id`")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "rm -rf /",
        "rm -rf /etc",
        "mkdir -p /etc/passwd/x",
        "ln -s x /etc",
        "mv / /x",
        "mv /etc /etc/x",
        "cp /etc /x",
        "cp /etc/passwd /etc/shadow",
        "echo x > /etc/passwd",
        "echo x > /etc",
        "chown nobody-here /etc",
        "chmod abc /etc",
        "chmod 755 /missing",
        "useradd -r a:b",
        "useradd person",
        "adduser person",
        "groupadd -g 99999999999 x",
        "groupadd -r 'a\nb'",
        "usermod -u 0 nobody",
        "ln -s /etc/hosts relative",
        "mkdir relative",
        "setcap cap_everything+ep /etc/x",
        "setcap cap_chown+ep /etc",
        "update-alternatives --install /a b",
        "update-alternatives --install /a b /missing 1",
        "update-alternatives --install /a ../b /etc/x 1",
        "systemctl enable ../../x.service",
        "dpkg-divert --add /../x --divert y",
        "install -m 9 /etc/x /y",
        "sed -i s/a/b/ /etc/x",
        "find /etc -delete -exec rm {} +",
        "perl -e 1",
        "eval mkdir /x",
    ],
)
def test_what_cannot_be_done_is_told(text: str) -> None:
    place = root(base=memory_tree("f 644 0:0 etc/x y\nf 644 0:0 etc/passwd z"))
    before = sorted(item.entry.path for item in place.system.world.items())
    assert len(place.left(text)) == 1
    assert sorted(item.entry.path for item in place.system.world.items()) == before


@pytest.mark.parametrize("part", ["a/", "a" * 100 + "/"])
def test_paths_beyond_the_limits_are_not_made(part: str) -> None:
    (reason,) = root().left(f"mkdir -p /{part * 1000}")
    assert "has more than 256 folders" in reason


def test_accounts_that_cannot_be_are_not_made() -> None:
    place = root()
    place.follow("".join(f"groupadd -r g{n}\n" for n in range(1000)))
    assert (
        max(group.gid for group in place.system.accounts.groups.values() if group.gid < 65534)
        == 999
    )
    assert "all numbers from 100 to 999 are taken" in place.left("groupadd -r late")[0]


def test_alternatives_lead_to_the_choice_with_the_highest_priority() -> None:
    place = root("f 755 0:0 usr/bin/mawk x\nf 755 0:0 usr/bin/gawk x\nf 644 0:0 m/gawk.1 x")
    install = "update-alternatives --install /usr/bin/awk awk"
    text = f"""
        {install} /usr/bin/gawk 10 --slave /m/awk.1 awk.1 /m/gawk.1
        {install} /usr/bin/mawk 5
    """
    assert place.left(text) == []
    assert place.entry("/usr/bin/awk").target == b"/etc/alternatives/awk"
    assert place.entry("/etc/alternatives/awk").target == b"/usr/bin/gawk"
    assert place.entry("/m/awk.1").target == b"/etc/alternatives/awk.1"
    assert place.left("update-alternatives --set awk /usr/bin/mawk") == []
    assert place.entry("/etc/alternatives/awk").target == b"/usr/bin/mawk"


def test_files_are_written_from_here_documents_and_copied() -> None:
    place = root("f 644 0:0 usr/share/tool/default.conf a\\n")
    text = """
        if [ ! -e /etc/tool.conf ]; then cp /usr/share/tool/default.conf /etc/tool.conf; fi
        cat > /etc/made <<EOF
name=$DPKG_MAINTSCRIPT_PACKAGE
EOF
        echo more >> /etc/made
        ucf --three-way /usr/share/tool/default.conf /etc/managed
        add-shell /bin/toolsh
    """
    assert place.left(text) == []
    assert place.text("/etc/tool.conf") == place.text("/etc/managed") == "a\n"
    assert place.text("/etc/made") == "name=tool\nmore\n"
    assert place.text("/etc/shells").endswith("/bin/toolsh\n")


def test_paths_lead_where_they_would_lead_in_the_root() -> None:
    place = root("l 777 0:0 var/run ../run\nd 755 0:0 run\nl 777 0:0 out ../../..")
    assert place.left("mkdir -p /var/run/tool; touch /out/etc/x; ls /var/run/*") == []
    assert place.entry("/run/tool").path == b"run/tool"
    assert place.entry("/etc/x").path == b"etc/x"


def test_files_of_a_base_are_not_taken_away() -> None:
    place = root(base=memory_tree("f 644 0:0 etc/x y"))
    assert place.left("rm -f /etc/x /etc/none") == [
        "rm -f /etc/x /etc/none ('/etc/x' is in the base, and stays)"
    ]


def test_what_is_changed_below_a_folder_is_one_finding() -> None:
    place = root("f 644 0:0 srv/a/b x\nf 755 0:0 srv/a/c x\nl 777 0:0 srv/a/l /etc")
    assert place.left("chown -R nobody:adm /srv; chmod -R go-rwx /srv") == []
    assert (place.entry("/srv/a/b").uid, place.entry("/srv/a/b").gid) == (65534, 4)
    assert place.entry("/srv/a/c").mode == 0o700
    assert [(f.rule, f.evidence) for f in place.findings] == [
        ("package-owner", "nobody:adm for 4 paths, by tool's postinst, line 1"),
        ("package-mode", "go-rwx for 4 paths, by tool's postinst, line 1"),
    ]


def test_what_scripts_look_at_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    place = root("".join(f"f 644 0:0 srv/{n} x\n" for n in range(100)))
    monkeypatch.setattr(place.system, "_looks_left", 1000)
    turns = "for x in 1 2 3 4 5 6 7 8 9 10 11 12; do chmod -R 600 /srv; chmod -R 644 /srv; done"
    assert "look at too much" in place.left(turns)[0]


def test_a_file_with_a_new_owner_loses_its_privileges(tmp_path: Path) -> None:
    need_root()
    place = root("f 6755 0:0 a 1\nf 2745 0:0 b 1\nd 6755 0:0 c")
    assert place.left("setcap cap_chown+ep /a; chown nobody /a /b /c; chgrp adm /c") == []
    for name in "abc":
        path = tmp_path / name
        path.mkdir() if name == "c" else path.touch()
        path.chmod({"a": 0o6755, "b": 0o2745, "c": 0o6755}[name])
        run("chown", "nobody", path)
        assert place.entry(f"/{name}").mode == path.stat().st_mode & 0o7777, name
    assert place.entry("/a").xattrs == ()


def test_overrides_hold_for_files_that_come_later() -> None:
    place = root()
    add = "dpkg-statoverride --add root adm 4750 /usr/bin/x"
    missing = "dpkg-statoverride --add nobody-here root 0600 /usr/bin/y"
    assert place.left(f"{add}\n{missing}\n") == []
    unpack(place.system, package("other", "f 755 0:0 usr/bin/x 1\nf 755 0:0 usr/bin/y 1"))
    assert (place.entry("/usr/bin/x").mode, place.entry("/usr/bin/x").gid) == (0o4750, 4)
    assert place.findings[-1].evidence.startswith("there is no user 'nobody-here'")


def test_find_deletes_in_its_plain_form() -> None:
    place = root("d 755 0:0 etc/t/a.d\nf 644 0:0 etc/t/b.d/x y\nd 755 0:0 etc/t/a.e")
    assert place.left("find /etc/t -maxdepth 1 -type d -name '*.d' -empty -delete") == []
    assert [place.has(f"/etc/t/{name}") for name in ("a.d", "b.d", "a.e")] == [False, True, True]


def test_units_are_remembered_for_who_asked() -> None:
    place = root()
    text = """
        if deb-systemd-helper --quiet was-enabled 'a.service'; then
            deb-systemd-helper enable 'a.service' >/dev/null || true
        else
            deb-systemd-helper update-state 'a.service' >/dev/null || true
        fi
        systemctl daemon-reload; systemctl preset b; update-rc.d c defaults
    """
    assert place.left(text) == []
    assert list(place.system.units) == [
        ("tool", "a.service"),
        ("tool", "b.service"),
        ("tool", "c.service"),
    ]


def test_scripts_for_other_interpreters_are_told() -> None:
    place = root()
    (reason,) = place.follow("print(1)", "%post", "<lua>").left
    assert reason[1] == "it is for <lua>"
    assert place.follow("", "%post", "/sbin/ldconfig").is_whole


def test_an_xattr_is_what_setcap_writes(tmp_path: Path) -> None:
    need("setcap")
    need_root()
    file = tmp_path / "program"
    file.write_bytes(b"x")
    for text in ("cap_net_raw+ep", "cap_net_admin,cap_net_bind_service=ep", "cap_bpf+eip"):
        run("setcap", text, file)
        assert os.getxattr(file, "security.capability") == file_capabilities(text)


@pytest.mark.parametrize("is_folder", [False, True])
@pytest.mark.parametrize(
    "mode",
    [
        *("755", "4755", "0", "00644", "u+s", "g+s", "a-x", "u=rwx,go=rx", "go-rwx", "+x", "o+t"),
        *("ug+rw,o=", "a+X", "u-s", "=r", "-w", "g=", "+t", "u+x,g+X"),
    ],
)
def test_modes_change_as_chmod_changes_them(mode: str, is_folder: bool, tmp_path: Path) -> None:
    path = tmp_path / "it"
    kind = Kind.FOLDER if is_folder else Kind.FILE
    for start in (0o644, 0o2755, 0o6711, 0o1777):
        if is_folder:
            path.mkdir()
        else:
            path.touch()
        path.chmod(start)
        run("sh", "-c", 'umask 022; chmod -- "$0" "$1"', mode, path)
        expected = path.stat().st_mode & 0o7777
        path.rmdir() if is_folder else path.unlink()
        assert mode_change(mode)(Entry(b"it", kind, start)) == expected, oct(start)


def test_a_large_script_is_not_followed() -> None:
    assert "too many" in root().left("#" * 300_000)[0]


def test_bytes_that_are_no_text_stay_what_they_are() -> None:
    place = root()
    assert place.left("mkdir /a\udcff") == []
    assert place.system.world.get(b"a\xff") is not None


def test_a_finding_counts_what_it_does_not_show() -> None:
    reading = root().follow("".join(f"unknown-{n}\n" for n in range(9)))
    assert str(reading).endswith("line 6: unknown-5; and 3 more")


def test_names_that_are_no_utf8_are_kept() -> None:
    place = root(r"f 644 0:0 etc/shells /bin/\xff\n")
    text = """
        dpkg-divert --add --divert /etc/b\udcff /etc/a
        ln -s "$(dpkg-divert --truename /etc/a)" /link
        add-shell /bin/\udcfe
    """
    assert place.left(text) == []
    assert place.entry("/link").target == b"/etc/b\xff"
    item = place.system.item("/etc/shells")
    assert item is not None
    assert place.system.world.content(item.entry.path) == b"/bin/\xff\n/bin/\xfe\n"


@pytest.mark.parametrize(
    "pattern", ["[z-a]", "[a]*[a]*[a]*[a]*[a]*[a]*b", "[a-a]*[ a]*$"], ids=["range", "many", "two"]
)
def test_patterns_that_cannot_be_looked_for_are_not_known(pattern: str) -> None:
    place = root()
    text = f"x={'a' * 20}\nif echo $x | grep -q '{pattern}'; then mkdir /a; fi"
    assert len(place.left(text)) == 1
    assert not place.has("/a")


def test_a_repeated_pattern_is_looked_for_in_short_lines_alone() -> None:
    place = root()
    assert place.left("echo root:x | grep -q '^[a-z]*:' && mkdir /short") == []
    assert place.left("echo | grep -q '[a]*:' || mkdir /none") == []
    assert len(place.left(f"echo {'a' * 3000} | grep -q '[a]*b' || mkdir /long")) == 1
    assert [place.has(path) for path in ("/short", "/none", "/long")] == [True, True, False]


def test_what_would_be_printed_without_end_is_not_known() -> None:
    text = f"x={'b' * 100_000}\n"
    for line in (f'printf "$x%s" {"v " * 1000}> /big', f"echo $x > /f\ncat {'/f ' * 1000}> /big"):
        place = root()
        assert place.left(text + line) == ["/big is written (what it holds is not known)"]


def test_what_is_added_to_a_large_file_does_not_replace_it() -> None:
    place = root()
    text = "x=%s\n" % ("b" * 120_000) + 'echo "$x" >> /f\n' * 10
    left = place.left(text)
    assert set(left) == {"/f is written (it is no file, or too large for one that scripts write)"}
    assert place.entry("/f").size > 1_000_000


def test_what_scripts_read_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    place = root()
    text = "echo %s > /f\n" % ("b" * 100_000) + "grep -q c /f || mkdir /no\n"
    monkeypatch.setattr(place.system, "_looks_left", 100)
    assert "is not known" in "".join(place.left(text))
    assert not place.has("/no")


def test_depths_of_find_are_numbers_that_make_sense() -> None:
    place = root("d 755 0:0 d\nf 644 0:0 d/a x\n")
    assert len(place.left("find /d -maxdepth %s -delete" % ("9" * 5000))) == 1
    assert place.left("find /d -maxdepth 1 -type f -delete") == []
    assert not place.has("/d/a")
    place = root("f 644 0:0 gone x\nd 755 0:0 d\nf 644 0:0 d/gone x\n")
    assert place.left("find / -maxdepth 1 -name gone -delete") == []
    assert (place.has("/gone"), place.has("/d/gone")) == (False, True)


def test_what_is_told_of_a_script_is_short() -> None:
    name = "x" * 60_000
    texts = (f"chmod 1 /{name}", f"unknown > /{name}", f"mkdir {name}", f"{name} 1")
    for text in texts:
        reasons = root().left(text)
        assert reasons
        assert max(map(len, reasons)) <= 400


def test_conditions_of_very_many_words_are_not_known() -> None:
    place = root()
    text = "if [ " + "! " * 5000 + "a ]; then mkdir /a; fi"
    assert len(place.left(text)) == 1
    assert not place.has("/a")


def test_patterns_of_paths_stand_for_a_limited_number() -> None:
    place = root("".join(f"d 755 0:0 d{number}\n" for number in range(40)))
    world = place.system.world
    world.limits = Limits(folder_entries=100)
    assert len(world.matching(b"*/../*/../*/../*")) == 100
