"""What it takes to run applications: `scripts/bench workloads`, against Docker Compose where there is one (COMPOSE=PATH of its program)."""

import os
import subprocess
import sys
import time
from pathlib import Path

from harness import IMAGE, Counter, Docker, destination, hyperfine, milliseconds, report, run, server

APPLICATIONS = 20
MANAGED = int(os.environ.get("BENCH_MANAGED", "200"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
# Ready after half a second, as a small service is.
SERVE = ["/bin/sh", "-c", "sleep 0.5; touch /ready; exec sleep 1000000"]


def managed(name, on, check=True):
    health = "  healthcheck: { command: [/bin/sh, -c, 'test -e /ready'], intervalSeconds: 1 }\n" if check else ""
    command = ", ".join(f"'{word}'" for word in SERVE)
    return (
        f"---\napiVersion: landfall/v1\nkind: Application\nmetadata: {{ name: {name} }}\n"
        f"spec:\n  destination: {on}\n  image: {IMAGE}\n  command: [{command}]\n  stopSignal: SIGKILL\n{health}"
    )


def compose_file(names):
    services = "".join(
        f"  {name}:\n    image: {IMAGE}\n    command: {SERVE}\n    stop_signal: SIGKILL\n    restart: unless-stopped\n    networks: [{on}]\n"
        "    healthcheck: { test: ['CMD', '/bin/sh', '-c', 'test -e /ready'], interval: 1s }\n"
        for name, on in names
    )
    return f"name: bench-compose\nservices:\n{services}networks: {{ first: {{}}, second: {{}} }}\n"


def timed(command, environment):
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return time.monotonic() - started


def remove_all(socket):
    docker = Docker(socket)
    for container in docker.call("GET", "/containers/json?all=1"):
        docker.call("DELETE", f"/containers/{container['Id']}?force=1")


def bench_workloads(options):
    environment = {**os.environ, "DOCKER_HOST": f"unix://{options.socket}"}
    names = [(f"app{n:02}", "first" if n % 2 else "second") for n in range(APPLICATIONS)]
    manifests = options.work / "workloads.yaml"
    text = server(options.socket) + destination("first") + destination("second")
    manifests.write_text(text + "".join(managed(name, on) for name, on in names))
    stack = options.work / "compose.yaml"
    stack.write_text(compose_file(names))
    compose = os.environ.get("COMPOSE") or next((str(it) for it in [Path("target/compose/docker-compose")] if it.exists()), None)
    apply = [options.landfall, "apply", "-f", str(manifests), "--yes", "--timeout", "120s"]
    up = [compose, "-f", str(stack), "up", "-d", "--wait", "--quiet-pull"]
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(timed(apply, environment))
        remove_all(options.socket)
        if compose:
            theirs.append(timed(up, environment))
            remove_all(options.socket)
    what = f"{APPLICATIONS} applications on 2 destinations until all are healthy, best of {ROUNDS}"
    figure = f"{min(ours):.1f} s" + (f" against docker compose up: {min(theirs):.1f} s" if compose else "")
    report(what, figure, "not slower")
    timed(apply, environment)
    if compose:
        timed(up, environment)
        line = f"env DOCKER_HOST=unix://{options.socket} {' '.join(up)}"
        our, their = hyperfine(options.work, " ".join(apply), line, runs=10)
        report("nothing to do, against the same of compose", f"{milliseconds(our)} against {milliseconds(their)} = 1/{their / our:.1f}", "at most 1/5")
    else:
        (our,) = hyperfine(options.work, " ".join(apply), runs=10)
        report("nothing to do", milliseconds(our))
    remove_all(options.socket)

    print(f"  (starting {MANAGED} containers; some minutes)", flush=True)
    many = options.work / "many.yaml"
    counter = Counter(str(options.work / "count-managed.sock"), options.socket)
    documents = "".join(managed(f"many{n:03}", "first" if n % 2 else "second", check=False) for n in range(MANAGED))
    text = text.replace(options.socket, counter.path)
    many.write_text(text + documents)
    run(options.landfall, "apply", "-f", str(many), "--yes", "--timeout", "600s")
    diff = f"{options.landfall} diff -f {many}"
    (seconds,) = hyperfine(options.work, diff, runs=10)
    counter.requests.clear()
    run(options.landfall, "diff", "-f", str(many))
    report(f"diff with {MANAGED} managed containers, nothing to do", milliseconds(seconds))
    report("its requests", counter.summary())
    remove_all(options.socket)


BENCHES = {"workloads": bench_workloads}
