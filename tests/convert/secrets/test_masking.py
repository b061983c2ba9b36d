"""Secrets in texts are masked by value, by how they look and by what they are named."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convert.inspect.text import ARGUMENT_MAX
from convert.oci.config import ImageConfig
from convert.oci.descriptor import Platform
from convert.secrets.masking import MASKED, Mask
from convert.secrets.shown import masked_config, secrets_of_config
from tests.convert.secrets.planted import PLANTED

VALUE = "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        "DB_PASSWORD=%s",
        "export DB_PASSWORD='%s'",
        "Environment=API_KEY=%s",
        '{"client_secret": "%s"}',
        "password: %s",
        "'secret' => '%s'",
        "//nas/x /srv cifs username=me,password=%s,uid=1",
        "app --password %s --port 80",
        "app --db-password=%s",
        "app -token %s",
        "redis-server --requirepass %s",
        "redis-server --port 1 requirepass %s",
        "redis-cli -h x -a %s ping",
        "mysql -u root -p%s db",
        "mysqldump -p'%s' db",
        "sshpass -p %s ssh x",
        "curl -u me:%s https://x",
        "curl --user 'me:%s' https://x",
        "curl -H 'Authorization: Bearer %s-and-more' x",
        "postgres://me:%s@db/x",
        "https://%s@ and redis://:%s@cache:6379",
    ],
)
def test_what_is_named_like_a_secret_is_masked(text: str) -> None:
    given_text = text.replace("%s", VALUE).replace(f"https://{VALUE}@ and ", "")
    masked = Mask()(given_text)
    assert VALUE not in masked
    assert MASKED in masked


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/etc/systemd/system/app.service:3 (systemd-execstart)",
        "app runs as this user: the password file is /etc/passwd",
        "mysqld --port 3306 -u mysql",
        "nginx -p /srv -c /etc/nginx.conf",
        "spawn -u www-data:www-data -- /usr/bin/app",
        "TOKENIZERS_PARALLELISM=false",
        "SSH_AUTH_SOCK=/run/ssh",
        "PWD=/srv",
        "http://host:80/path and user@host",
        "0 5 * * * root find /tmp -user me",
        "ssh-host-keys: dropped etc/ssh/ssh_host_rsa_key (every container would claim to be it)",
    ],
)
def test_what_is_no_secret_is_shown(text: str) -> None:
    assert Mask()(text) == text
    assert Mask().variable(text) == text


@pytest.mark.parametrize(
    "kind", ["github-token", "gitlab-token", "stripe-key", "npm-token", "service-token", "age-key"]
)
def test_tokens_are_masked_wherever_they_are(kind: str) -> None:
    item = PLANTED[kind][0]
    masked = Mask()(f"x {item.content!r} y")
    assert item.value not in masked
    assert masked.startswith("x ")
    assert masked.endswith(" y")


def test_values_that_were_found_are_masked_where_no_name_tells() -> None:
    mask = Mask(["pa$$w0rd.*", "long-pa$$w0rd.*", "x", "nginx", "12345678"])
    assert mask("started with pa$$w0rd.* and long-pa$$w0rd.*") == "started with *** and ***"
    assert mask("nginx on port 12345678 with x") == "nginx on port 12345678 with x"


def test_a_variable_with_a_telling_name_is_masked_whole() -> None:
    mask = Mask()
    assert mask.variable("DB_PASSWORD=two words 'and' quotes") == "DB_PASSWORD=***"
    assert mask.variable("MYSQL_PWD=x y") == "MYSQL_PWD=***"
    assert mask.variable("dbPassword=x y") == "dbPassword=***"
    assert mask.variable("EMPTY_PASSWORD=") == "EMPTY_PASSWORD="
    assert mask.variable("COMPASS=north") == "COMPASS=north"


def test_the_word_after_a_telling_option_is_masked() -> None:
    words = ("app", "--password", "two words", "-v", "--token", "--port", "80", "--secret=s p")
    assert Mask().words(words) == (
        *("app", "--password", "***", "-v"),
        *("--token", "--port", "80", "--secret=***"),
    )


def test_a_config_is_masked_in_each_of_its_parts_and_told_of() -> None:
    config = ImageConfig(
        Platform("amd64"),
        entrypoint=("/bin/app", "--password"),
        cmd=(VALUE, "-v"),
        env=("PATH=/bin", f"API_TOKEN={VALUE}"),
        labels=(("org.example.admin-password", VALUE), ("title", "x")),
    )
    mask = Mask()
    shown = masked_config(config, mask)
    assert shown.entrypoint == ("/bin/app", "--password")
    assert shown.cmd == ("***", "-v")
    assert shown.env == ("PATH=/bin", "API_TOKEN=***")
    assert shown.labels == (("org.example.admin-password", "***"), ("title", "x"))
    told = [finding.evidence for finding in secrets_of_config(config, mask)]
    assert [text.partition(" of the image's")[0] for text in told] == [
        "the variable API_TOKEN",
        "the command line",
        "the label org.example.admin-password",
    ]
    assert not any(VALUE in text for text in told)


def test_a_config_without_secrets_stays_as_it_is() -> None:
    config = ImageConfig(Platform("amd64"), cmd=("/bin/sh",), env=("PATH=/bin",))
    assert masked_config(config, Mask()) == config
    assert list(secrets_of_config(config, Mask())) == []
    assert masked_config(ImageConfig(Platform("amd64")), Mask()).entrypoint is None


@given(st.text(), st.sets(st.text(min_size=1), max_size=4))
def test_any_text_can_be_masked_again_without_a_change(text: str, values: set[str]) -> None:
    mask = Mask(values)
    assert mask(mask(text)) == mask(text)


@pytest.mark.parametrize(
    "piece",
    ["a-token-", "token ", "mysql ", "redis-cli ", "a", "://", "a://b:", "-u a:", "\t", "eyJ-"],
)
def test_long_texts_do_not_take_long(piece: str) -> None:
    text = piece * (ARGUMENT_MAX // len(piece))
    began = time.process_time()
    Mask()(text)
    assert time.process_time() - began < 5
