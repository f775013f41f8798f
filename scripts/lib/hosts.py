"""Hosts on one network, each with a Docker daemon and an sshd of its own, as the tests have them.

A host is what tests/support/host.sh makes: it ends with the pipe to this process, however this process ends, and takes its sshd along.
The network ends in the same way. So nothing is left behind by an interrupt, or by a kill.
"""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

SUPERVISOR = Path(__file__).resolve().parent.parent.parent / "tests/support/host.sh"
COMMANDS = "10.99.0.1"


def call(*command, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **more)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def child_of(process):
    return int(Path(f"/proc/{process}/task/{process}/children").read_text().split()[0])


class Client:
    """A user with a key that the hosts accept, and a configuration that the ssh program reads in place of the user's own."""

    def __init__(self, directory):
        self.key, self.known_hosts, self.config = directory / "id", directory / "known_hosts", directory / "config"
        call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key)
        self.config.write_text(f"IdentityFile {self.key}\nUserKnownHostsFile {self.known_hosts}\n")
        self.known_hosts.write_text("")
        # docker runs the `ssh` of the PATH.
        self.path = directory / "path"
        self.path.mkdir()
        (self.path / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {self.config} "$@"\n')
        (self.path / "ssh").chmod(0o755)


class Lan:
    """A bridge in a network namespace of its own, where commands run that are to reach the hosts."""

    def __init__(self):
        script = f"""set -e
            ip link set lo up; ip link add lan type bridge; ip addr add {COMMANDS}/24 dev lan; ip link set lan up
            echo ready; exec cat > /dev/null"""
        # A group of its own: an interrupt at the terminal is for this process, which then lets go of it.
        self.keeper = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0
        )
        if self.keeper.stdout.readline() != "ready\n":
            sys.exit("error: no network for the hosts")
        self.prefix = ["nsenter", f"--net=/proc/{self.keeper.pid}/ns/net"]

    def close(self):
        self.keeper.stdin.close()
        self.keeper.wait()


class Host:
    def __init__(self, lan, number, directory, client):
        self.address, self.directory = f"10.99.0.{number + 1}", directory / f"host-{number}"
        self.socket = self.directory / "docker.sock"
        self.directory.mkdir()
        (self.directory / "daemon.json").write_text('{ "default-address-pools": [{ "base": "10.200.0.0/13", "size": 28 }] }')
        self.supervisor = subprocess.Popen(
            ["sh", SUPERVISOR, self.directory, f"landfall-bench-{os.getpid()}-{number}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, process_group=0,
        )  # fmt: skip
        self.command("await")
        self.first = child_of(child_of(self.supervisor.pid))
        call(*lan.prefix, "ip", "link", "add", f"port{number}", "type", "veth", "peer", "name", "eth0", "netns", self.first)
        call(*lan.prefix, "ip", "link", "set", f"port{number}", "master", "lan", "up")
        self.inside("sh", "-c", f"ip addr add {self.address}/24 dev eth0; ip link set eth0 up; ip route add default via {COMMANDS}")
        self.command("start")
        call("curl", "-s", "-o", self.directory / "ping", "--retry", 300, "--retry-delay", 0, "--retry-max-time", 60,
             "--retry-all-errors", "--max-time", 5, "--unix-socket", self.socket, "http://docker/_ping")  # fmt: skip
        self.start_sshd(client)

    def command(self, command):
        self.supervisor.stdin.write(f"{command}\n")
        self.supervisor.stdin.flush()
        if (answer := self.supervisor.stdout.readline()) != f"{command} done\n":
            sys.exit(f"error: a host did not {command}: {answer}")

    def processor_seconds(self):
        """Of everything that runs in it, and of what has ended there and was waited for."""
        namespace = os.readlink(f"/proc/{self.first}/ns/pid")
        total = 0
        for process in Path("/proc").iterdir():
            try:
                if process.name.isdigit() and os.readlink(process / "ns/pid") == namespace:
                    total += sum(map(int, (process / "stat").read_text().rpartition(")")[2].split()[11:15]))
            except OSError:
                pass
        return total / os.sysconf("SC_CLK_TCK")

    def inside(self, *words):
        return call("nsenter", "--target", self.first, "--net", "--uts", "--mount", "--pid", *words)

    def start_sshd(self, client):
        directory = self.directory
        call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / "host_key")
        key = " ".join((directory / "host_key.pub").read_text().split()[:2])
        with client.known_hosts.open("a") as known_hosts:
            known_hosts.write(f"{self.address} {key}\n")
        options = [
            f"ListenAddress {self.address}", f"HostKey {directory}/host_key", "PidFile none", "UsePAM no", "UseDNS no", "StrictModes no",
            "PermitRootLogin prohibit-password", f"AuthorizedKeysFile {client.key}.pub", "SetEnv SHLVL=2",
        ]  # fmt: skip
        (directory / "sshd_config").write_text("\n".join(options) + "\n")
        # Where everybody looks for the daemon; /run is the host's own.
        self.inside("ln", "-s", self.socket, "/run/docker.sock")
        self.inside("mkdir", "-p", "/run/sshd")
        self.inside(shutil.which("sshd") or "/usr/sbin/sshd", "-f", directory / "sshd_config", "-E", directory / "sshd.log")

    def close(self):
        self.supervisor.stdin.close()

    def wait(self):
        """Until its processes and files are gone."""
        self.supervisor.wait()


class Distance:
    """Ways to the sshds that take as long as ways to other places do: to the port 2200 + n of the commands' own address goes the n-th host."""

    SCRIPT = """
import asyncio, sys
delay, hosts = float(sys.argv[1]), sys.argv[2:]

async def carry(reader, writer):
    loop = asyncio.get_running_loop()
    while data := await reader.read(65536):
        loop.call_later(delay, writer.write, data)
    loop.call_later(delay, writer.close)

async def serve(host, port):
    async def accept(reader, writer):
        await asyncio.sleep(2 * delay)
        far_reader, far_writer = await asyncio.open_connection(host, 22)
        await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer))
    await asyncio.start_server(accept, "10.99.0.1", port)

async def main():
    for number, host in enumerate(hosts, 1):
        await serve(host, 2200 + number)
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main())
"""

    def __init__(self, lan, hosts, client, round_trip):
        command = [*lan.prefix, sys.executable, "-c", self.SCRIPT, str(round_trip / 2), *(host.address for host in hosts)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, process_group=0
        )
        if self.process.stdout.readline() != "ready\n":
            sys.exit("error: no relay to the hosts")
        lines = client.known_hosts.read_text().splitlines()
        with client.known_hosts.open("a") as known_hosts:
            for number, host in enumerate(hosts, 1):
                key = next(line.split(" ", 1)[1] for line in lines if line.split()[0] == host.address)
                known_hosts.write(f"[{COMMANDS}]:{2200 + number} {key}\n")

    def address(self, number):
        return f"{COMMANDS}:{2200 + number}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def server(name, address, client):
    return (
        f"apiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: {name} }}\nspec:\n  endpoint: ssh://root@{address}\n"
        f"  ssh: {{ identityFile: {client.key}, knownHosts: {client.known_hosts} }}\n---\n"
    )


@contextmanager
def hosts(work, count):
    """So many hosts, the network that they are on, and a client that they let in."""
    if os.geteuid() != 0:
        sys.exit("error: this starts hosts in network namespaces, which takes root")
    directory = work / "hosts"
    directory.mkdir()
    client, started = Client(directory), []
    lan = Lan()
    try:
        # Starting is the work of the daemons: more at once than processors gains nothing.
        with ThreadPoolExecutor(2) as pool:
            for host in pool.map(lambda number: Host(lan, number + 1, directory, client), range(count)):
                started.append(host)
        yield lan, started, client
    finally:
        for host in started:
            host.close()
        for host in started:
            host.wait()
        lan.close()
        shutil.rmtree(directory, ignore_errors=True)
