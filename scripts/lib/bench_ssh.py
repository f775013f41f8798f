"""The measurements over SSH: a fleet of servers, and one of them against the other ways to it."""

import os
import time

from bench_run import controller, percentiles, request, write
from harness import hyperfine, milliseconds, report, run
from hosts import Distance, hosts, server

SERVERS = int(os.environ.get("BENCH_SERVERS", "20"))
REQUESTS = int(os.environ.get("BENCH_REQUESTS", "1000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
# Of a message and its answer, to servers in another place.
ROUND_TRIP = 0.02
# Networks on a server, those of Docker itself not counted.
NETWORKS = 5


def destination(on, name="web"):
    return (
        f"apiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: {name}-{on} }}\n"
        f"spec: {{ server: {on}, network: {{ name: {name}-net }} }}\n---\n"
    )


def local(name, host):
    return f"apiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: {name} }}\nspec: {{ endpoint: 'unix://{host.socket}' }}\n---\n"


def bench_fleet(options):
    print(f"  (starting {SERVERS} daemons)", flush=True)
    with hosts(options.work, SERVERS) as (lan, fleet, client):
        documents = declared([host.address for host in fleet], client)
        compare(options, lan, fleet, documents, f"diff, nothing to do, of {SERVERS} servers over SSH against one of them", "at most 3×")
        with Distance(lan, fleet, client, ROUND_TRIP) as distance:
            far = declared([distance.address(number) for number in range(1, SERVERS + 1)], client)
            compare(options, lan, fleet, far, f"the same at a distance of {milliseconds(ROUND_TRIP)}, there and back", "at most 3×")
        report("a connection held open", f"{connection_memory(options, lan, fleet, documents):.0f} kB of memory")


def declared(addresses, client):
    return [server(f"edge-{n}", address, client) + destination(f"edge-{n}") for n, address in enumerate(addresses, 1)]


def compare(options, lan, fleet, documents, what, goal):
    """All against one. The daemons and sshds are on this machine too, and what they take of its processors is a bound for both sides."""
    one, everything = options.work / "one.yaml", options.work / "fleet.yaml"
    one.write_text(documents[0])
    everything.write_text("".join(documents))
    run(*lan.prefix, options.landfall, "apply", "-f", str(everything), "--yes")
    landfall = " ".join([*lan.prefix, options.landfall])
    alone, together = hyperfine(options.work, f"{landfall} diff -f {one}", f"{landfall} diff -f {everything}")
    report(what, f"{milliseconds(together)} against {milliseconds(alone)} = {together / alone:.2f}×", goal)
    before, children = sum(host.processor_seconds() for host in fleet), os.times()
    for _ in range(ROUNDS):
        run(*lan.prefix, options.landfall, "diff", "-f", str(everything))
    ours = os.times().children_user + os.times().children_system - children.children_user - children.children_system
    theirs = sum(host.processor_seconds() for host in fleet) - before
    share = f"{milliseconds(ours / ROUNDS)} by Landfall and ssh -G, {milliseconds(theirs / ROUNDS)} by the sshds and daemons"
    report("processor time of all of them", share)


def connection_memory(options, lan, fleet, documents):
    """What `landfall run` has more in memory with every server over SSH than with the same servers by their sockets."""
    by_socket = [local(f"edge-{n}", host) + destination(f"edge-{n}") for n, host in enumerate(fleet, 1)]
    memory = []
    for which, manifests in [("ssh", documents), ("unix", by_socket)] * 2:
        file = options.work / f"memory-{which}.yaml"
        file.write_text("".join(manifests))
        with controller(options, file, "-v", "--interval", "1h", prefix=lan.prefix) as loop:
            wait_until(loop, lambda: len(asked(loop, "/events")) >= len(fleet))
            # The first look is over by now, and what it took has been given back.
            time.sleep(5)
            memory.append(loop.memory() * 1024)
    return (min(memory[::2]) - min(memory[1::2])) / len(fleet)


def bench_ssh(options):
    with hosts(options.work, 1) as (lan, (host,), client):
        names = [f"n{number}" for number in range(NETWORKS)]
        networks = "".join(destination("edge-1", name) for name in names)
        over_ssh, by_socket = server("edge-1", host.address, client) + networks, local("edge-1", host) + networks
        file = options.work / "ssh.yaml"
        file.write_text(over_ssh)
        run(*lan.prefix, options.landfall, "apply", "-f", str(file), "--yes")
        for what, manifests in [("over SSH", over_ssh), ("by the local socket", by_socket)]:
            report(f"GET /networks ({NETWORKS} of ours) of `landfall run`, {what}", percentiles(latencies(options, lan, manifests)))
        os.environ["PATH"] = f"{client.path}:{os.environ['PATH']}"
        docker = " ".join([*lan.prefix, "docker", "-H", f"ssh://root@{host.address}", "network", "ls"])
        ours, theirs = hyperfine(options.work, f"{' '.join(lan.prefix)} {options.landfall} diff -f {file}", docker)
        what = "diff of one server over SSH: connect, authenticate, observe, plan; against `docker -H ssh:// network ls`"
        report(what, f"{milliseconds(ours)} against {milliseconds(theirs)} = {ours / theirs:.2f}×")


def latencies(options, lan, manifests):
    """Of the loop's own requests, over a connection that is there."""
    directory = options.work / "latency"
    directory.mkdir(exist_ok=True)
    write(directory / "all.yaml", manifests)
    with controller(options, directory, "-v", "--interval", "20ms", prefix=lan.prefix) as loop:
        wait_until(loop, lambda: len(asked(loop, "/networks")) > REQUESTS)
        # The first one made the connection.
        return asked(loop, "/networks")[1:]


def asked(loop, path):
    """How long each request of that path took."""
    return [it[3] for it in map(request, loop.lines) if it and it[1].endswith(path)]


def wait_until(loop, condition):
    while not condition():
        if loop.process.poll() is not None:
            raise SystemExit("landfall run has ended:\n" + "\n".join(map(str, loop.lines[-5:])))
        time.sleep(0.5)


BENCHES = {"fleet": bench_fleet, "ssh": bench_ssh}
