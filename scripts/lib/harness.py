"""What the measurements of scripts/bench stand on: the daemon's API, a counter of requests, small manifests, a table."""

import http.client
import json
import re
import socket
import subprocess
import sys
import threading
import time

IMAGE = "landfall-bench:local"


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


