"""The measurements of `landfall run`: how soon it heals, and what it costs while nothing happens."""

import datetime
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from bench_workloads import TRAEFIK, proxy_image, serve
from harness import IMAGE, Docker, application, destination, milliseconds, remove_networks, report, run, server, start_container

DISCONNECTS = int(os.environ.get("BENCH_DISCONNECTS", "200"))
SERVED = int(os.environ.get("BENCH_SERVED", "20"))
IDLE_SECONDS = int(os.environ.get("BENCH_IDLE_SECONDS", "120"))
RESYNCS = int(os.environ.get("BENCH_RESYNCS", "60"))
MANY = 500
PATIENCE = 60


class Controller:
    """`landfall run`, its log, and what it has used of the machine."""

    def __init__(self, options, manifests, *arguments, prefix=()):
        command = [*prefix, options.landfall, "run", "-f", str(manifests), "--log-format", "json", "--listen", "127.0.0.1:0", *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        self.lines, self.more = [], threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stderr:
            with self.more:
                self.lines.append(json.loads(line))
                self.more.notify_all()

    def wait(self, what, condition, since=0):
        """Waits until a line of the log after the first `since` ones answers the condition, and returns that answer."""
        deadline = time.monotonic() + PATIENCE
        with self.more:
            while True:
                for line in self.lines[since:]:
                    if answer := condition(line):
                        return answer
                since = len(self.lines)
                if time.monotonic() > deadline or self.process.poll() is not None:
                    sys.exit(f"{what} does not come about; the log ends with\n" + "\n".join(map(json.dumps, self.lines[-20:])))
                self.more.wait(1)

    def quiet(self, seconds):
        """Waits until nothing has been asked of a server for so long."""
        seen = -1
        while seen != len(self.lines):
            seen = len(self.lines)
            time.sleep(seconds)

    def processor_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self, which="VmRSS"):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{which}:\s+(\d+)", status)[1]) / 1024

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)


@contextmanager
def controller(*arguments, **more):
    started = Controller(*arguments, **more)
    try:
        yield started
    finally:
        started.stop()


def request(line):
    """Method, path, beginning and duration of a request that the log tells of."""
    fields = line["fields"]
    if fields["message"] != "engine request":
        return None
    number, unit = re.fullmatch(r"([0-9.]+)(\D+)", fields["elapsed"]).groups()
    took = float(number) * {"s": 1, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}[unit]
    ended = datetime.datetime.fromisoformat(line["timestamp"].replace("Z", "+00:00")).timestamp()
    return fields["method"], fields["path"], ended - took, took


def mutation(after):
    def first(line):
        found = request(line)
        return found if found and found[0] != "GET" and found[2] >= after else None

    return first


class Events:
    """The daemon's own word for when something happened."""

    def __init__(self, path):
        self.connection = Docker(path)
        filters = '%7B%22type%22%3A%5B%22network%22%5D%7D'
        self.connection.request("GET", f"/v1.41/events?filters={filters}")
        self.stream = self.connection.getresponse()

    def between(self, first, last, network):
        """The network's next events from one of a kind to one of another: what happened, and when."""
        happened = []
        while not happened or happened[-1][0] != last:
            event = json.loads(self.stream.readline())
            if event["Actor"]["Attributes"]["name"] == network and (happened or event["Action"] == first):
                happened.append((event["Action"], event["timeNano"] / 1e9))
        return happened


def percentiles(seconds):
    ordered = sorted(seconds)
    at = lambda share: milliseconds(ordered[min(len(ordered) - 1, int(len(ordered) * share))])
    return f"p50 {at(0.5)}, p99 {at(0.99)}"


def bench_heal(options):
    docker, count = Docker(options.socket), 10
    names = [f"h{n}" for n in range(count)]
    for container in ["heal-proxy", *(f"heal-{name}" for name in names)]:
        start_container(options.socket, container)
    directory = options.work / "heal"
    directory.mkdir()
    documents = "".join(destination(name) + application(name, f"heal-{name}", name) for name in names)
    write(directory / "all.yaml", server(options.socket, "heal-proxy") + documents)
    healed, decided, through, connected, own = [], [], [], [], []
    with controller(options, directory, "-v", "--interval", "1h") as loop:
        loop.wait("the first pass", mutation(0))
        events = Events(options.socket)
        turns = [(name, who) for name in names for who in ("heal-proxy", f"heal-{name}")] * 3
        while len(healed) < DISCONNECTS:
            # What is repaired again and again waits; a change of the manifests ends that.
            write(directory / "all.yaml", server(options.socket, "heal-proxy") + documents + f"# {len(healed)}\n")
            loop.wait("reading the manifests", lambda line: line["fields"]["message"] == "manifests read", len(loop.lines))
            loop.quiet(1)
            for name, container in turns[: DISCONNECTS - len(healed)]:
                logged, network = len(loop.lines), f"bench-{name}"
                docker.call("POST", f"/networks/{network}/disconnect", {"Container": container})
                # Told twice: when it begins and, once the list of containers shows it, when the daemon is through with it.
                happened = events.between("disconnect", "connect", network)
                gone = [at for what, at in happened if what == "disconnect"]
                fault, end = gone[0], happened[-1][1]
                _, _, begun, took = loop.wait("the repair", mutation(fault), logged)
                loop.quiet(0.1)
                reads = [it[2:] for it in map(request, loop.lines[logged:]) if it and it[0] == "GET" and fault <= it[2] < begun]
                disconnecting = max(at for at in gone if at < begun) - fault
                healed.append(end - fault)
                decided.append(begun - fault)
                through.append(begun - fault - disconnecting)
                connected.append(took)
                own.append(begun - fault - waiting([(fault, disconnecting), *reads], begun))
    report(f"drift to healed, {DISCONNECTS} disconnects of {count + 1} containers", percentiles(healed), "under 1 s")
    report("of which from the first event to the first mutation", percentiles(decided), "under 10 ms")
    report("from the last event of the disconnection, when the daemon is through with it, to the first mutation", percentiles(through), "under 10 ms")
    report("of which Landfall's own part, while the daemon neither disconnects nor answers", percentiles(own))
    report("the daemon connects", percentiles(connected))
    for container in ["heal-proxy", *(f"heal-{name}" for name in names)]:
        docker.call("DELETE", f"/containers/{container}?force=1")
    remove_networks(docker, "bench-h")
    served(options)


def served(options):
    """The same as people see it who are behind a proxy: from a disconnection to the first answer."""
    what = f"disconnected to the first 200 through Traefik, {SERVED} times"
    program = Path(os.environ.get("LANDFALL_PROXIES", "target/proxies")) / "traefik"
    if not program.exists():
        return report(what, "left out: `scripts/proxies` fetches Traefik")
    docker = Docker(options.socket)
    daemon = (Path(options.socket).parent / "dockerd.pid").read_text().strip()
    labels = {
        "traefik.enable": "true",
        "traefik.docker.network": "bench-street",
        "traefik.http.routers.shop.rule": "PathPrefix(`/`)",
        "traefik.http.services.shop.loadbalancer.server.port": "8080",
    }
    containers = {
        "street-shop": {"Image": IMAGE, "Cmd": ["/bin/sh", "-c", serve("one")], "Labels": labels, "StopSignal": "SIGKILL"},
        "street-proxy": {
            "Image": proxy_image(options, "traefik", str(program)),
            "Cmd": [*TRAEFIK, "--providers.providersthrottleduration=100ms"],
            "ExposedPorts": {"80/tcp": {}},
            "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}, "Binds": [f"{options.socket}:/var/run/docker.sock"]},
        },
    }
    for name, body in containers.items():
        docker.call("POST", f"/containers/create?name={name}", body)
        docker.call("POST", f"/containers/{name}/start")
    directory = options.work / "served"
    directory.mkdir()
    proxy = "', proxy: { container: street-proxy, type: Traefik } }"
    write(directory / "all.yaml", server(options.socket).replace("' }", proxy) + destination("street") + application("shop", "street-shop", "street"))
    curl = ["nsenter", "--target", daemon, "--net", "curl", "--silent", "--max-time", "1", "--output", "/dev/null", "--write-out", "%{http_code}", "http://127.0.0.1:8080/"]

    def answers():
        connected = "bench-street" in docker.call("GET", "/containers/street-shop/json")["NetworkSettings"]["Networks"]
        return connected and subprocess.run(curl, capture_output=True, text=True).stdout == "200"

    def until_answered():
        deadline = time.monotonic() + PATIENCE
        while not answers():
            if time.monotonic() > deadline:
                sys.exit("nothing behind Traefik answers")

    times = []
    with controller(options, directory, "--interval", "1h"):
        until_answered()
        for _ in range(SERVED):
            started = time.monotonic()
            docker.call("POST", "/networks/bench-street/disconnect", {"Container": "street-shop"})
            until_answered()
            times.append(time.monotonic() - started)
    report(what, f"{percentiles(times)}, worst {milliseconds(max(times))}", "about 1 s")
    for name in containers:
        docker.call("DELETE", f"/containers/{name}?force=1")
    remove_networks(docker, "bench-street")


def waiting(spans, until):
    """Seconds during which at least one of them was under way: each has a beginning and a duration."""
    total, reached = 0, 0
    for begun, took in sorted(spans):
        end = min(begun + took, until)
        total += max(0, end - max(begun, reached))
        reached = max(reached, end)
    return total


def write(path, text):
    """As an editor saves."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


def bench_saved(options):
    docker, times = Docker(options.socket), []
    directory = options.work / "saved"
    directory.mkdir()
    manifests = server(options.socket)
    write(directory / "all.yaml", manifests + destination("s-first"))
    with controller(options, directory, "-v", "--interval", "1h", "--no-prune") as loop:
        loop.wait("the first pass", mutation(0))
        for number in range(20):
            loop.quiet(0.3)
            logged, saved = len(loop.lines), time.time()
            write(directory / "all.yaml", manifests + destination(f"s-{number}"))
            times.append(loop.wait("the new network", mutation(saved), logged)[2] - saved)
        loop.quiet(0.3)
    report("file saved to the first mutation (50 ms of it: whether more is being saved)", percentiles(times))
    remove_networks(docker, "bench-s-")


class StandIn:
    """A daemon's socket that answers with what a real daemon has said, about as many destinations as there ought to be."""

    def __init__(self, path, answers):
        self.answers = answers
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        stream = client.makefile("rb")
        while line := stream.readline():
            while stream.readline().strip():
                pass
            path = re.sub(r"^/v[0-9.]+", "", line.split()[1].decode())
            self.answers.setdefault("/_ping", b"OK")
            head = "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\n"
            if path.startswith("/events"):
                client.sendall((head + "Transfer-Encoding: chunked\r\n\r\n").encode())
            else:
                body = self.answers[path]
                client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)


def record(options):
    """What a real daemon says of one destination with one member."""
    start_container(options.socket, "stand-in")
    manifests = options.work / "stand-in.yaml"
    write(manifests, server(options.socket) + destination("t") + application("t", "stand-in", "t"))
    run(options.landfall, "apply", "-f", str(manifests), "--yes")
    docker = Docker(options.socket)
    (network,) = [it for it in docker.call("GET", "/networks") if it["Name"] == "bench-t"]
    (container,) = [it for it in docker.call("GET", "/containers/json?all=1") if it["Names"] == ["/stand-in"]]
    others = [it for it in docker.call("GET", "/networks") if not it["Name"].startswith("bench-")]
    recorded = docker.call("GET", "/info"), others, network, container, docker.call("GET", "/containers/stand-in/json")
    docker.call("DELETE", "/containers/stand-in?force=1")
    remove_networks(docker, "bench-t")
    return recorded


def stand_in(path, recorded, names):
    info, networks, network, container, inspected = recorded
    networks, containers, answers = list(networks), [], {}
    for number, name in enumerate(names):
        seal = hashlib.sha256(f"default\ndefault/{name}\nbench-{name}".encode()).hexdigest()[:8]
        uid = f"t{number:023d}-{seal}"
        endpoint, ids = hashlib.sha256(name.encode()).hexdigest(), (f"{number:060x}aaaa", f"{number:060x}bbbb")
        address = f"10.{200 + number // 16000}.{number // 16 % 256}.{number % 16 * 16 + 2}"
        subnet = {"Subnet": address.rsplit(".", 1)[0] + f".{number % 16 * 16}/28", "Gateway": address[:-1] + "1"}

        def copy(template):
            text = json.dumps(template).replace(network["Id"], ids[0]).replace(container["Id"], ids[1])
            text = text.replace("bench-t", f"bench-{name}").replace("stand-in", f"many-{name}").replace("t.internal", f"{name}.internal")
            text = text.replace('"default/t"', f'"default/{name}"').replace(network["Labels"]["landfall.uid"], uid)
            for ours in container["NetworkSettings"]["Networks"].values():
                text = text.replace(ours["EndpointID"], hashlib.sha256((endpoint + ours["EndpointID"]).encode()).hexdigest())
            own = container["NetworkSettings"]["Networks"]["bench-t"]["IPAddress"]
            return json.loads(text.replace(f'"{own}"', f'"{address}"'))

        made = copy(network)
        made["IPAM"]["Config"] = [subnet]
        networks.append(made)
        containers.append(copy(container))
        answers[f"/containers/{ids[1]}/json"] = json.dumps(copy(inspected)).encode()
    answers |= {"/info": info, "/networks": networks, "/containers/json?all=1": containers}
    StandIn(path, {path: it if isinstance(it, bytes) else json.dumps(it).encode() for path, it in answers.items()})


def bench_idle(options):
    recorded, directory, servers = record(options), options.work / "idle", 10
    directory.mkdir()
    for number in range(servers):
        path, name = f"{options.work}/idle-{number}.sock", f"i{number}"
        stand_in(path, recorded, [name])
        documents = server(path) + destination(name) + application(name, f"many-{name}", name)
        write(directory / f"{name}.yaml", re.sub(r"(name:|server:) bench\b(?!-)", rf"\1 bench{number}", documents))
    with controller(options, directory, "-v") as loop:
        loop.wait("the first pass", request)
        loop.quiet(5)
        before, logged = loop.processor_seconds(), len(loop.lines)
        time.sleep(IDLE_SECONDS)
        used, asked = loop.processor_seconds() - before, len(loop.lines) - logged
        if changed := [it for it in map(request, loop.lines) if it and it[0] != "GET"]:
            sys.exit(f"there is nothing to do, and it did {changed}")
        memory = f"{loop.memory():.0f} MB"
    what = f"idle for {IDLE_SECONDS} s, {servers} servers (stand-ins that repeat a real daemon's answers), {asked} requests"
    report(what, f"{used / IDLE_SECONDS * 100:.3f} % of a processor, {memory}", "under 0.1 %")


def bench_resync(options):
    recorded, directory = record(options), options.work / "resync"
    directory.mkdir()
    path, names = f"{options.work}/resync.sock", [f"r{n:03}" for n in range(MANY)]
    stand_in(path, recorded, names)
    documents = "".join(destination(name) + application(name, f"many-{name}", name) for name in names)
    write(directory / "all.yaml", server(path) + documents)

    def looks(loop):
        return sum(1 for it in map(request, loop.lines) if it and it[1].endswith("/containers/json"))

    with controller(options, directory, "-v", "--interval", "1s") as loop:
        loop.wait("the first look", lambda line: (it := request(line)) and it[1].endswith("/containers/json"))
        loop.quiet(0.5)
        first, memory, begun = loop.processor_seconds(), loop.memory(), looks(loop)
        deadline = time.monotonic() + 10 * RESYNCS
        while (seen := looks(loop) - begun) < RESYNCS and time.monotonic() < deadline:
            time.sleep(0.2)
        used = loop.processor_seconds() - first
        if changed := [it for it in map(request, loop.lines) if it and it[0] != "GET"]:
            sys.exit(f"there is nothing to do, and it did {changed[:3]}")
        after, peak = loop.memory(), loop.memory("VmHWM")
    what = f"{MANY} destinations and members on one server (a stand-in), {seen} resyncs"
    report(what, f"{milliseconds(used / seen)} of a processor each; that is {used / seen / 60 * 100:.3f} % at one a minute")
    report("its memory", f"{memory:.0f} MB after the first, {after:.0f} MB after the last, {peak:.0f} MB at most")
    report(f"reading {MANY * 2 + 1} objects and the first look, with {MANY} inspections", f"{milliseconds(first)} of a processor")


BENCHES = {"heal": bench_heal, "saved": bench_saved, "idle": bench_idle, "resync": bench_resync}
