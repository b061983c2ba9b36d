"""A secret of each kind, planted where its kind is found; no real one, and none in one piece."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from formats.core.entry import Entry, Kind
from formats.core.tree import walk_order
from tests.support.memory_tree import MemoryTree

CANARY = "Canary7Qx"
_BASE64 = (CANARY + "b64+/" * 12)[:64]
_HEX = "c0ffee0123456789" * 4


def letters(length: int) -> str:
    """Return a value of letters and digits that begins with the canary."""
    return (CANARY + "aB3dE5gH7j" * 30)[:length]


@dataclass(frozen=True, slots=True)
class Planted:
    """A file with a secret.

    :ivar line: where it is; None for a file that is one as a whole.
    :ivar value: what must not be seen anywhere; "" where the file has no readable one.
    """

    path: str
    content: bytes | str
    line: int | None
    value: str = CANARY

    @property
    def data(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else self.content.encode()


def pem(label: str) -> str:
    """Return a private key as RFC 7468 lays it out."""
    dashes = "-" * 5
    return f"{dashes}BEGIN {label}{dashes}\n{_BASE64}\n{_BASE64}\n{dashes}END {label}{dashes}\n"


def _hash(salt: str) -> str:
    return f"$6${salt}${letters(86)}"


_RSA_BLOB = (
    "AAAAB3NzaC1yc2EAAAABIwAAAQEA6NF8iallvQVp22WDkTkyrtvp9eWW6A8YVr+kz4TjGYe7gHzIw+niNltGEFHzD8+v1I"
    "2YJ6oXevct1YeS0o9HZyN1Q9qgCgzUFtdOKLv6IedplqoPkcmF0aYet2PkEDo3MlTBckFXPITAMzF8dJSIFo9D8HfdOV0I"
    "Adx4O7PtixWKn5y2hMNG0zQPyUecp4pzC6kivAIhyfHilFR61RGL+GPXQ2MWZWFYbAGjyiYJnAmCP3NOTd0jMZEnDkbUvx"
    "hMmBYSdETk1rRgm+R4LOzFUGaHqHDLKLX+FIPKcF96hrucXzcWyLbIbEgE98OHlnVYCzRdK8jlqm8tehUc9c9WhQ=="
)
_ED25519_BLOB = "AAAAC3NzaC1lZDI1NTE5AAAAIN1YdxBpNlzxDqfJyw/QKow1F+wvG9hXGoqiysfJOn5Y"
VAGRANT_KEYS = (
    f"ssh-rsa {_RSA_BLOB} vagrant insecure public key",
    f'command="/bin/true",no-pty ssh-ed25519 {_ED25519_BLOB} other comment',
)

PLANTED: Mapping[str, tuple[Planted, ...]] = {
    "private-key": (
        Planted("etc/ssl/private/site.key", pem("PRIVATE KEY"), 1),
        Planted("home/me/.ssh/id_ed25519", pem("OPENSSH PRIVATE KEY"), 1),
        Planted("usr/lib/app/tls/own.pem", "subject=x\n" + pem("RSA PRIVATE KEY"), 2),
        Planted("srv/app/deploy.yaml", "a: 1\nkey: |\n" + pem("EC PRIVATE KEY"), 3),
        Planted("root/backup.asc", pem("PGP PRIVATE KEY BLOCK").replace("\n", "\n\n", 1), 1),
        Planted("srv/a/c.json", '{"x": 1,\n"k": "' + pem("PRIVATE KEY").replace("\n", "\\n"), 2),
        Planted(
            "etc/nginx/old.key",
            pem("RSA PRIVATE KEY").replace(
                "\n", "\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n", 1
            ),
            1,
        ),
    ),
    "putty-key": (Planted("home/me/x.ppk", f"PuTTY-User-Key-File-3: ssh-rsa\n{CANARY}\n", 1),),
    "gnupg-key": (
        Planted("home/me/.gnupg/private-keys-v1.d/AB12.key", f"(11:{CANARY}\0)".encode(), None),
        Planted("root/.gnupg/secring.gpg", b"\x95\x01\x00" + CANARY.encode(), None),
    ),
    "age-key": (
        Planted("root/keys.txt", f"# x\nAGE-SECRET-KEY-1{'C4N4RY7QX' * 6}QPZR\n", 2, "C4N4RY7QX"),
    ),
    "vpn-key": (
        Planted("etc/wireguard/wg0.conf", f"[Interface]\nPrivateKey = {letters(43)}=\n", 2),
        Planted("etc/systemd/network/wg.netdev", f"[WireGuard]\nPrivateKey={letters(43)}=\n", 2),
        Planted(
            "etc/openvpn/ta.key",
            f"#\n{'-' * 5}BEGIN OpenVPN Static key V1{'-' * 5}\n{_HEX}\n",
            2,
            _HEX,
        ),
    ),
    "keystore": (
        Planted("opt/app/a.jks", b"\xfe\xed\xfe\xed\0\0\0\2" + CANARY.encode(), None),
        Planted("opt/app/b.p12", b"\x30\x82\x0a\x00\x02\x01\x03\0" + CANARY.encode(), None),
        Planted("home/me/c.kdbx", b"\x03\xd9\xa2\x9a\0" + CANARY.encode(), None),
    ),
    "kerberos-keys": (Planted("etc/httpd/http.keytab", b"\x05\x02\0\0" + CANARY.encode(), None),),
    "directory-secrets": (
        Planted("var/lib/samba/private/secrets.tdb", b"TDB file\n\0" + CANARY.encode(), None),
        Planted("etc/ldap.secret", CANARY, None),
    ),
    "vagrant-key": tuple(
        Planted(f"home/{name}/.ssh/authorized_keys", f"# mine\n{key}\n", 2, "")
        for name, key in zip(("a", "b"), VAGRANT_KEYS, strict=True)
    ),
    "password-hash": (
        Planted("etc/shadow", f"root:*:1::::::\nme:{_hash('s4lt')}:1::::::\n", 2),
        Planted("etc/shadow-", f"me:!{_hash('s4lt')}:1::::::\n", 1),
        Planted("etc/passwd-", f"me:{letters(13)}:1:1::/:/bin/sh\n", 1),
        Planted("etc/gshadow", f"x:!::\nwheel:$y$j9T$salt${letters(43)}:root:\n", 2),
        Planted("etc/security/opasswd", f"me:1000:1:{_hash('s4lt')}\n", 1),
    ),
    "web-password": (
        Planted("etc/nginx/.htpasswd", f"me:$apr1$salt${letters(22)}\n", 1),
        Planted("var/www/.htpasswd", f"#\nme:$2y$05${letters(53)}\n", 2),
    ),
    "network-password": (
        Planted("etc/wpa_supplicant/wpa_supplicant.conf", f'network={{\n  psk="{CANARY}"\n', 2),
        Planted(
            "usr/lib/NetworkManager/system-connections/w.nmconnection",
            f"[wifi-security]\npsk={CANARY}\n",
            2,
        ),
    ),
    "vpn-password": (Planted("etc/ipsec.secrets", f'# x\n1.2.3.4 %any : PSK "{CANARY}"\n', 2),),
    "dial-password": (Planted("etc/ppp/chap-secrets", f"# client\nme * {CANARY} *\n", 2),),
    "share-password": (Planted("root/.smbcredentials", f"username=me\npassword={CANARY}\n", 2),),
    "instance-data": (
        Planted(
            "var/lib/cloud/instances/i-2/user-data.txt", f"#cloud-config\npw: {CANARY}\n", None
        ),
    ),
    "subscription": (
        Planted("etc/zypp/credentials.d/SCC", f"username=x\npassword={CANARY}\n", None),
    ),
    "aws-credentials": (
        Planted("root/.aws/credentials", f"[default]\naws_secret_access_key = {letters(40)}\n", 2),
    ),
    "docker-login": (
        Planted(
            "root/.docker/config.json", f'{{"auths": {{\n"r": {{"auth": "{letters(24)}="}}}}}}\n', 2
        ),
        Planted("run/containers/0/containers/auth.json", f'{{"auth": "{letters(24)}"}}\n', 1),
    ),
    "kube-config": (
        Planted("home/me/.kube/config", f"users:\n- user:\n    client-key-data: {_BASE64}\n", 3),
        Planted("etc/kubernetes/admin.conf", f"x: 1\n    token: {letters(30)}\n", 2),
    ),
    "netrc": (
        Planted("home/me/.netrc", f"machine x login me\n  password {CANARY}\n", 2),
        Planted("etc/apt/auth.conf.d/x.conf", f"machine x login me password {CANARY}\n", 1),
    ),
    "pgpass": (Planted("var/lib/postgresql/.pgpass", f"# x\n*:*:db:me:{CANARY}\n", 2),),
    "database-password": (
        Planted("root/.my.cnf", f"[client]\npassword = {CANARY}\n", 2),
        Planted("etc/mysql/debian.cnf", f"[client]\nuser = x\npassword = '{CANARY}'\n", 3),
        Planted("etc/pgbouncer/userlist.txt", f'"me" "{CANARY}"\n', 1),
    ),
    "git-credentials": (
        Planted("home/me/.git-credentials", f"https://me:{CANARY}@git.example\n", 1),
        Planted(
            "srv/app/.git/config", f'[remote "origin"]\nurl = https://x:{CANARY}@git.example/a\n', 2
        ),
    ),
    "package-registry-login": (
        Planted("root/.npmrc", f"//r.example/:_authToken={CANARY}\n", 1),
        Planted("home/me/.pypirc", f"[x]\nusername: me\npassword: {CANARY}\n", 3),
        Planted("home/me/.cargo/credentials.toml", f'[registry]\ntoken = "{CANARY}"\n', 2),
        Planted("home/me/.m2/settings.xml", f"<server>\n<password>{CANARY}</password>\n", 2),
    ),
    "cloud-login": (
        Planted(
            "root/.config/gcloud/application_default_credentials.json",
            f'{{\n"refresh_token": "{CANARY}"}}',
            2,
        ),
        Planted("root/.config/rclone/rclone.conf", f"[r]\npass = {CANARY}\n", 2),
        Planted("root/.config/gh/hosts.yml", f"github.com:\n    oauth_token: {CANARY}\n", 2),
    ),
    "service-account": (
        Planted("srv/app/sa.json", '{\n "type": "service_account",\n "id": "x"}\n', 2, ""),
    ),
    "directory-password": (
        Planted("etc/sssd/sssd.conf", f"[domain/x]\nldap_default_authtok = {CANARY}\n", 2),
        Planted("etc/nslcd.conf", f"uri x\nbindpw {CANARY}\n", 2),
    ),
    "mail-password": (
        Planted("etc/postfix/sasl_passwd", f"# x\n[smtp.example]:587 me@example:{CANARY}\n", 2),
        Planted("home/me/.msmtprc", f"account x\npassword {CANARY}\n", 2),
    ),
    "rails-key": (Planted("srv/rails/config/master.key", f"{_HEX[:32]}\n", 1, _HEX[:32]),),
    "vault-token": (Planted("root/.vault-token", f"{CANARY}{CANARY}", 1),),
    "aws-access-key": (
        Planted("opt/app/a.py", f"# x\nk = '{'AK' + 'IA'}{'CANARY7QX'}ABCDEFG'\n", 2, "CANARY7QX"),
    ),
    "github-token": (
        Planted("srv/app/a.sh", f"\n\nexport X={'gh' + 'p_'}{letters(36)}\n", 3),
        Planted("etc/motd", f"{'github' + '_pat_'}{letters(60)}\n", 1),
    ),
    "gitlab-token": (Planted("home/me/notes.txt", f"x {'gl' + 'pat-'}{letters(20)} y\n", 1),),
    "slack-token": (
        Planted("opt/bot/run.py", f"t = '{'xox' + 'b-'}{letters(24)}'\n", 1),
        Planted(
            "opt/bot/hook.txt",
            f"https://{'hooks.slack' + '.com/services'}/T0/B0/{letters(24)}\n",
            1,
        ),
    ),
    "stripe-key": (Planted("srv/shop/pay.rb", f"key '{'sk_' + 'live_'}{letters(24)}'\n", 1),),
    "npm-token": (Planted("srv/shop/ci.txt", f"{'np' + 'm_'}{letters(36)}\n", 1),),
    "pypi-token": (Planted("srv/shop/ci2.txt", f"{'pypi-' + 'AgE'}{letters(60)}\n", 1),),
    "google-key": (Planted("var/www/map.js", f"var k = '{'AI' + 'za'}{letters(35)}';\n", 1),),
    "azure-key": (Planted("srv/blob.ini", f"c=AccountName=x;AccountKey={letters(86)}==;\n", 1),),
    "service-token": (Planted("etc/vault.hcl", f"t = '{'hv' + 's.'}{letters(30)}'\n", 1),),
    "web-token": (
        Planted(
            "srv/jwt.txt", f"{'ey' + 'J'}{letters(20)}.{'ey' + 'J'}{letters(20)}.{letters(30)}\n", 1
        ),
    ),
    "url-password": (
        Planted("etc/app/db.toml", f"x = 1\nurl = 'postgres://me:{CANARY}@db/x'\n", 2),
        Planted("etc/cron.d/x", f"* * * * * root curl https://u:{CANARY}@x.example\n", 1),
    ),
    "password-setting": (
        Planted("srv/app/.env", f"A=1\nDB_PASSWORD={CANARY}\n", 2),
        Planted("etc/systemd/system/app.service", f"[Service]\nEnvironment=API_KEY={CANARY}\n", 2),
        Planted("etc/default/app", f"export SECRET_KEY_BASE='{CANARY}'\n", 1),
        Planted("var/www/wp-config.php", f"<?php\ndefine( 'DB_PASSWORD', '{CANARY}' );\n", 2),
        Planted("srv/app/config/database.yml", f"production:\n  password: {CANARY}\n", 2),
        Planted("etc/app/application.properties", f"spring.datasource.password={CANARY}\n", 1),
        Planted("etc/cron.d/dump", f"1 1 * * * root PGPASSWORD={CANARY} pg_dump x\n", 1),
    ),
}


def tree_of(files: Mapping[str, bytes]) -> MemoryTree:
    """Return a tree of files, with the folders that they need."""
    contents = {path.encode(): data for path, data in files.items()}
    entries = {
        path: Entry(path, Kind.FILE, 0o600, size=len(data)) for path, data in contents.items()
    }
    for path in list(entries):
        while path := path.rpartition(b"/")[0]:
            entries.setdefault(path, Entry(path, Kind.FOLDER, 0o755))
    return MemoryTree([entries[path] for path in walk_order(entries)], contents)


def every_file() -> dict[str, bytes]:
    """Return all files with secrets."""
    return {item.path: item.data for planted in PLANTED.values() for item in planted}
