"""What a Vagrantfile states is read; nothing of it is ever run."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.bundles.vagrant.vagrantfile import read_vagrantfile

# As ``vagrant init`` and the documentation have it.
DOCUMENTED = """\
# -*- mode: ruby -*-
Vagrant.configure("2") do |config|
  config.vm.box = "example/shop"
  config.vm.hostname = "shop.example" # its name
  # config.vm.network "forwarded_port", guest: 1111, host: 1111
  config.vm.network "forwarded_port", guest: 80, host: 8080
  config.vm.network :forwarded_port, :guest => 443, :host => 8443, :protocol => "tcp"
  config.vm.network "forwarded_port", guest: 53, host: 5353,
    protocol: "udp",
    auto_correct: true
  config.vm.network("forwarded_port", guest: 22, host: 2222, id: "ssh", auto_correct: true)
  config.vm.network "forwarded_port", guest: 9000, host: 9000, disabled: true
  config.vm.network "private_network", ip: "192.168.33.10"
  config.ssh.username = 'vagrant'
  config.vm.provider "virtualbox" do |vb|
    vb.memory = "1024"
    vb.customize ["modifyvm", :id, "--cpus", "2"]
  end
  config.vm.provision "shell", inline: <<-SHELL
    config.vm.network "forwarded_port", guest: 2222, host: 1
    touch /tmp/canary
  SHELL
  config.vm.network "forwarded_port", guest: 8000, host: 8000
end
"""


def _ports(text: str) -> list[tuple[str, str]]:
    return [(port.port, port.where) for port in read_vagrantfile(text).ports]


def test_forwarded_ports_are_those_of_the_guest_with_their_line() -> None:
    assert _ports(DOCUMENTED) == [
        ("80/tcp", "Vagrantfile:6"),
        ("443/tcp", "Vagrantfile:7"),
        ("53/udp", "Vagrantfile:8"),
        ("8000/tcp", "Vagrantfile:23"),
    ]


def test_settings_that_are_literals_are_read() -> None:
    assert read_vagrantfile(DOCUMENTED).settings == {
        "box": "example/shop",
        "hostname": "shop.example",
        "ssh-user": "vagrant",
        "memory": "1024",
        "cpus": "2",
    }


@pytest.mark.parametrize(
    "statement",
    [
        "config.vm.network 'forwarded_port', guest: 80, host: 8080",
        'config.vm.network "forwarded_port", host: 8080, guest: 80',
        'config.vm.network "forwarded_port", { guest: 80, host: 8080 }',
        'config.vm.network :forwarded_port, guest: 80, host: 8080, host_ip: "127.0.0.1"',
        'node.vm.network("forwarded_port", guest: "80", host: "8080")',
        'config.vm.network "forwarded_port", guest: 80, host: ENV["PORT"]',
        "config.vm.forward_port 80, 8080",
        "config.vm.forward_port(80, 8080, :auto => true)",
    ],
)
def test_ports_are_read_in_all_spellings(statement: str) -> None:
    assert _ports(statement) == [("80/tcp", "Vagrantfile:1")]


@pytest.mark.parametrize(
    "statement",
    [
        "",
        'config.vm.network "forwarded_port", guest: port, host: 8080',
        'config.vm.network "forwarded_port", guest: 0, host: 8080',
        'config.vm.network "forwarded_port", guest: 65536, host: 8080',
        'config.vm.network "forwarded_port", guest: "80#{n}", host: 8080',
        'config.vm.network "forwarded_port", guest: 80, host: 8080, protocol: "sctp"',
        'config.vm.network "forwarded_port", host: 8080',
        'puts "config.vm.network" # "forwarded_port", guest: 80',
        "=begin\nconfig.vm.forward_port 80, 8080\n=end",
        "__END__\nconfig.vm.forward_port 80, 8080",
        "text = <<~END\nconfig.vm.forward_port 80, 8080\nEND",
    ],
)
def test_what_is_computed_commented_or_impossible_is_passed_over(statement: str) -> None:
    assert _ports(statement) == []


def test_amis_are_found_with_their_regions() -> None:
    text = """
    aws.ami = "ami-0123"
    aws.region = "eu-west-1"
    aws.region_config "us-east-1", :ami => "ami-4567"
    aws.region_config "us-west-2" do |region|
      region.ami = "ami-89ab"
    end
    """
    assert read_vagrantfile(text).amis == (("ami-0123", "eu-west-1"), ("ami-4567", "us-east-1"))


@given(st.text(alphabet="abc \n\"'#\\<-=,(){}[]:.vmnetwork0123456789", max_size=400))
def test_any_text_is_read_without_an_error(text: str) -> None:
    read_vagrantfile(text)
    read_vagrantfile(DOCUMENTED + text)


@pytest.mark.parametrize(
    "text",
    [
        '"' * 200_000,
        "a," * 100_000,
        "x,\n" * 100_000,
        'config.vm.network "forwarded_port", ' + "guest: 1, " * 20_000,
        ".region_config 'a', " + "ami " * 50_000,
        (".region_config 'a'," * 210 + "x\n") * 500,
        'config.vm.network "forwarded_port",' + "a" * 200_000,
        "<<-" * 100_000,
        ".memory" * 50_000,
        " " * 200_000 + ".memory = ",
        ".memory =" + " " * 200_000 + "x",
        ".customize [" + " " * 200_000,
        "'\\" * 100_000,
    ],
)
def test_no_text_takes_long(text: str) -> None:
    start = time.process_time()
    read_vagrantfile(text)
    assert time.process_time() - start < 5
