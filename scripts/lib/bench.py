"""The measurements of scripts/bench, which starts the daemon and calls this."""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bench_data
import bench_run
import bench_ssh
import bench_workloads
from harness import Counter, Docker, application, destination, hyperfine, milliseconds, remove_networks, report, rows, run, server, start_container

REPOSITORY = Path(__file__).resolve().parent.parent.parent
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
DESTINATIONS = int(os.environ.get("BENCH_DESTINATIONS", "200"))
NEW_DESTINATIONS = int(os.environ.get("BENCH_NEW_DESTINATIONS", "100"))


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
            shutil.rmtree(known, ignore_errors=True)
        counter.requests.clear()
        run(options.landfall, "diff", "-f", str(manifests))
        report(case, counter.summary())


BENCHES = {"start": bench_start, "size": bench_size, "validate": bench_validate, "apply": bench_apply, "diff": bench_diff, **bench_run.BENCHES, **bench_ssh.BENCHES, **bench_workloads.BENCHES, **bench_data.BENCHES}


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
    engine = Docker(options.socket).call("GET", "/version")["Version"]
    print(f"\nDocker {engine}, {os.cpu_count()} processors, load average {load}\n")
    print("| | measured | goal |\n|---|---|---|")
    for what, figure, goal in rows:
        print(f"| {what} | {figure} | {goal} |")


try:
    main()
except KeyboardInterrupt:
    sys.exit("interrupted")
