"""The measurements of scripts/bench, which starts the daemon and calls this."""

import argparse
import http.client
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
IMAGE = "landfall-bench:local"
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
DESTINATIONS = int(os.environ.get("BENCH_DESTINATIONS", "200"))
NEW_DESTINATIONS = int(os.environ.get("BENCH_NEW_DESTINATIONS", "100"))


class Docker(http.client.HTTPConnection):
    """One connection to the daemon, kept open."""

    def __init__(self, path):
        super().__init__("docker")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)

    def call(self, method, path, body=None, expect=(200, 201, 204)):
        data = None if body is None else json.dumps(body)
        self.request(method, "/v1.41" + path, data, {"Content-Type": "application/json"} if data else {})
        response = self.getresponse()
        answer = response.read()
        if response.status not in expect:
            sys.exit(f"{method} {path}: {response.status} {answer.decode(errors='replace')}")
        return json.loads(answer) if answer else None


class Counter:
    """A socket in front of the daemon's that counts the requests which pass."""

    def __init__(self, path, target):
        self.path, self.target, self.requests = path, target, []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.socket(socket.AF_UNIX)
            server.connect(self.target)
            threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source, sink, count):
        tail = b""
        try:
            while data := source.recv(65536):
                if count:
                    seen = tail + data
                    lines = list(re.finditer(rb"(GET|HEAD|POST|PUT|DELETE) (\S+) HTTP/1\.1\r\n", seen))
                    self.requests += [(line[1].decode(), line[2].decode()) for line in lines]
                    tail = (seen[lines[-1].end():] if lines else seen)[-200:]
                sink.sendall(data)
        except OSError:
            pass
        finally:
            try:
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def summary(self):
        kinds = {}
        for method, path in self.requests:
            path = re.sub(r"^/v[0-9.]+", "", path.split("?")[0])
            kind = f"{method} " + re.sub(r"/[0-9a-f]{64}|/[0-9a-z]{25}(?=/|$)", "/{id}", path)
            kinds[kind] = kinds.get(kind, 0) + 1
        return f"{len(self.requests)}: " + ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items()))


rows = []


def report(what, figure, goal=""):
    rows.append((what, figure, goal))
    print(f"  {what}: {figure}{f'   (goal: {goal})' if goal else ''}", flush=True)


def hyperfine(work, *commands, runs=20, ignore=False, shell=False, prepare="true"):
    """Median seconds of each command; hyperfine alternates nothing, so the commands are given twice and the better median counts."""
    result = work / "hyperfine.json"
    arguments = ["hyperfine", "--style", "none", "--warmup", "3", "--runs", str(runs), "--prepare", prepare, "--export-json", str(result)]
    arguments += ["--ignore-failure"] if ignore else []
    arguments += [] if shell else ["-N"]
    subprocess.run(arguments + list(commands) * (2 if len(commands) > 1 else 1), check=True, stdout=subprocess.DEVNULL)
    medians = [entry["median"] for entry in json.loads(result.read_text())["results"]]
    return [min(medians[index :: len(commands)]) for index in range(len(commands))]


def milliseconds(seconds):
    return f"{seconds * 1000:.1f} ms"


def run(landfall, *arguments, expect=(0,), environment=None):
    started = time.monotonic()
    done = subprocess.run([landfall, *arguments], capture_output=True, text=True, env=environment)
    elapsed = time.monotonic() - started
    if done.returncode not in expect:
        sys.exit(f"landfall {' '.join(arguments)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return elapsed, done.stdout


def server(endpoint, proxy=None):
    spec = f"spec: {{ endpoint: 'unix://{endpoint}'{f', proxy: {{ container: {proxy} }}' if proxy else ''} }}"
    return f"apiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: bench }}\n{spec}\n"


def destination(name, extra=""):
    return (
        f"---\napiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: {name} }}\n"
        f"spec:\n  server: bench\n  network: {{ name: bench-{name} }}\n{extra}"
    )


def application(name, container, on):
    return (
        f"---\napiVersion: landfall/v1\nkind: Application\nmetadata: {{ name: {name} }}\n"
        f"spec:\n  destination: {on}\n  containers: {{ names: [{container}] }}\n  endpoint: {{ aliases: [{name}.internal] }}\n"
    )


def start_container(path, name):
    docker = Docker(path)
    body = {"Image": IMAGE, "Cmd": ["/bin/sleep", "1000000"], "StopSignal": "SIGKILL"}
    docker.call("POST", f"/containers/create?name={name}", body)
    docker.call("POST", f"/containers/{name}/start")


def remove_networks(docker, prefix):
    for network in docker.call("GET", "/networks"):
        if network["Name"].startswith(prefix):
            for container in docker.call("GET", f"/networks/{network['Id']}")["Containers"]:
                docker.call("POST", f"/networks/{network['Id']}/disconnect", {"Container": container})
            docker.call("DELETE", f"/networks/{network['Id']}")


def bench_start(options):
    (seconds,) = hyperfine(options.work, f"{options.landfall} version", runs=100)
    report("start-up (version)", milliseconds(seconds), "under 10 ms")


def bench_size(options):
    report("size of the binary", f"{os.path.getsize(options.landfall) / 1e6:.1f} MB")
    core = re.search(r"const CORE: &\[&str\] =(.*?);", (REPOSITORY / "tests/architecture.rs").read_text(), re.S)
    core = set(re.findall(r'"(\w+)"', core[1]))
    lines = {"core": 0, "shell": 0}
    for file in (REPOSITORY / "src").rglob("*.rs"):
        top = file.relative_to(REPOSITORY / "src").parts[0].removesuffix(".rs")
        code = file.read_text().split("#[cfg(test)]\nmod ")[0].splitlines()
        lines["core" if top in core else "shell"] += sum(1 for line in code if line.strip() and not line.strip().startswith("//"))
    report("lines of code, without tests, comments and blank lines", f"core {lines['core']}, shell {lines['shell']}")


def bench_validate(options):
    directory = options.work / "ten-thousand"
    directory.mkdir()
    (directory / "server.yaml").write_text(server("/var/run/docker.sock", "proxy"))
    for file in range(99):
        documents = [destination(f"d{file}")]
        documents += [application(f"a{file}-{n}", f"c{file}-{n}", f"d{file}") for n in range(100)]
        (directory / f"{file}.yaml").write_text("".join(documents))
    documents = 1 + 99 * 101
    command = f"{options.landfall} validate -f {directory}"
    (seconds,) = hyperfine(options.work, command, runs=10)
    child = subprocess.Popen(command.split(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, _, usage = os.wait4(child.pid, 0)
    memory = usage.ru_maxrss / 1024
    report(f"validate {documents} objects in 100 files", f"{milliseconds(seconds)}, {memory:.0f} MB", "under 500 ms and 150 MB")


def bench_apply(options):
    docker = Docker(options.socket)
    start_container(options.socket, "bench-proxy")
    proxy = docker.call("GET", "/containers/bench-proxy/json")["Id"]
    count = NEW_DESTINATIONS
    manifests = options.work / "apply.yaml"
    names = [f"n{n:03}" for n in range(count)]
    manifests.write_text(server(options.socket, "bench-proxy") + "".join(destination(name) for name in names))

    def raw():
        connection = Docker(options.socket)
        started = time.monotonic()
        for name in names:
            labels = {
                "landfall.set": "default",
                "landfall.destination": f"default/{name}",
                "landfall.uid": "tz4a98xxat96iws9zmbrgj3a-00000000",
                "landfall.deletion-policy": "Delete",
            }
            body = {"Name": f"bench-{name}", "Driver": "bridge", "CheckDuplicate": True, "Labels": labels}
            network = connection.call("POST", "/networks/create", body)["Id"]
            endpoint = {"DriverOpts": {"landfall.set": "default"}}
            connection.call("POST", f"/networks/{network}/connect", {"Container": proxy, "EndpointConfig": endpoint})
        return time.monotonic() - started

    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(run(options.landfall, "apply", "-f", str(manifests), "--yes")[0])
        remove_networks(docker, "bench-n")
        theirs.append(raw())
        remove_networks(docker, "bench-n")
    counter = Counter(str(options.work / "count-apply.sock"), options.socket)
    manifests.write_text(manifests.read_text().replace(options.socket, counter.path))
    run(options.landfall, "apply", "-f", str(manifests), "--yes")
    ratio = statistics.median(ours) / statistics.median(theirs)
    figure = f"{statistics.median(ours):.2f} s against {statistics.median(theirs):.2f} s = {ratio:.2f}×"
    report(f"apply of {count} new destinations with a proxy, against its {2 * count} calls alone", figure, "at most 1.15×")
    report("its requests", counter.summary())
    remove_networks(docker, "bench-n")


def bench_diff(options):
    docker = Docker(options.socket)
    count = DESTINATIONS
    manifests = options.work / "diff.yaml"
    names = [f"m{n:03}" for n in range(count)]
    documents = "".join(destination(name) + application(name, f"bench-{name}", name) for name in names)
    manifests.write_text(server(options.socket) + documents)
    print(f"  (starting {count} containers and applying {count} destinations; a minute or two)", flush=True)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: start_container(options.socket, f"bench-{name}"), names))
    run(options.landfall, "apply", "-f", str(manifests), "--yes")
    run(options.landfall, "diff", "-f", str(manifests))
    api = "http://docker/v1.41"
    curl = f"curl -s -o /dev/null -o /dev/null --unix-socket {options.socket} {api}/networks {api}/containers/json?all=1"
    diff = f"{options.landfall} diff -f {manifests}"
    known = f"{options.work}/state/landfall/known"
    what = f"diff, nothing to do, {count} destinations and members, against the two list calls with curl"
    for case, prepare in [("", "true"), (", the first one", f"rm -rf {known}")]:
        ours, theirs = hyperfine(options.work, diff, curl, prepare=prepare)
        figure = f"{milliseconds(ours)} against {milliseconds(theirs)} = {ours / theirs:.2f}×"
        report(what + case, figure, "" if case else "at most 2×")
    counter = Counter(str(options.work / "count-diff.sock"), options.socket)
    manifests.write_text(manifests.read_text().replace(options.socket, counter.path))
    for case, prepare in [("requests of the first one", True), ("requests of the others", False)]:
        if prepare:
            shutil.rmtree(known)
        counter.requests.clear()
        run(options.landfall, "diff", "-f", str(manifests))
        report(case, counter.summary())


BENCHES = {"start": bench_start, "size": bench_size, "validate": bench_validate, "apply": bench_apply, "diff": bench_diff}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--landfall", required=True)
    parser.add_argument("--socket", required=True)
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("benches", nargs="*", help=", ".join(BENCHES))
    options = parser.parse_args()
    unknown = set(options.benches) - set(BENCHES)
    if unknown:
        sys.exit(f"error: there is no {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    os.environ["XDG_STATE_HOME"] = str(options.work / "state")
    for name in options.benches or BENCHES:
        print(f"{name}:", flush=True)
        BENCHES[name](options)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"\n{os.cpu_count()} processors, load average {load}\n")
    print("| | measured | goal |\n|---|---|---|")
    for what, figure, goal in rows:
        print(f"| {what} | {figure} | {goal} |")


main()
