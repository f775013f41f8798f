"""What it takes to run applications: `scripts/bench workloads`, against Docker Compose where there is one (COMPOSE=PATH of its program)."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from harness import IMAGE, Counter, Docker, destination, hyperfine, milliseconds, remove_networks, report, run, server

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
    remove_networks(Docker(options.socket), "bench-")

    print(f"  (starting {MANAGED} containers; some minutes)", flush=True)
    many = options.work / "many.yaml"
    counter = Counter(str(options.work / "count-managed.sock"), options.socket)
    documents = "".join(managed(f"many{n:03}", "first" if n % 2 else "second", check=False) for n in range(MANAGED))
    # The daemon's own pools have room for 60 on a network.
    wide = [destination(name).replace("bench-" + name, f"many-{name}, subnets: [{{ subnet: {subnet} }}]") for name, subnet in [("first", "172.28.0.0/22"), ("second", "172.29.0.0/22")]]
    many.write_text(server(counter.path) + "".join(wide) + documents)
    run(options.landfall, "apply", "-f", str(many), "--yes", "--timeout", "600s")
    diff = f"{options.landfall} diff -f {many}"
    (seconds,) = hyperfine(options.work, diff, runs=10)
    counter.requests.clear()
    run(options.landfall, "diff", "-f", str(many))
    report(f"diff with {MANAGED} managed containers, nothing to do", milliseconds(seconds))
    report("its requests", counter.summary())
    remove_all(options.socket)


CADDYFILE = """{
    admin off
    auto_https off
}
:80 {
    reverse_proxy {
        dynamic a shop 8080 {
            refresh 100ms
        }
        lb_try_duration 5s
        lb_try_interval 50ms
        fail_duration 2s
        transport http {
            dial_timeout 500ms
        }
    }
}
"""
TRAEFIK = ["traefik", "--entrypoints.web.address=:80", "--providers.docker.exposedbydefault=false"]
CADDY = ["/bin/sh", "-c", 'echo "$CADDYFILE" | exec caddy run --config - --adapter caddyfile']
HEALTH = ["/bin/busybox", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/"]
UPDATES = int(os.environ.get("BENCH_UPDATES", "6"))


def serve(version):
    return f"mkdir -p /tmp/www && echo {version} > /tmp/www/index.html && exec /bin/busybox httpd -f -p 8080 -h /tmp/www"


def proxy_image(options, name, program):
    """An image of the bench's own and one program with the libraries that it is linked to."""
    root = options.work / f"image-{name}"
    shutil.copytree(options.work / "image", root, symlinks=True)
    linked = subprocess.run(["ldd", program], capture_output=True, text=True).stdout.split()
    for library in [word for word in linked if word.startswith("/")]:
        (root / library.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, root / library.lstrip("/"))
    shutil.copy(program, root / "bin" / name)
    tar = subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE)
    docker = ["docker", "--host", f"unix://{options.socket}", "import", "-", f"landfall-bench-{name}:local"]
    subprocess.run(docker, stdin=tar.stdout, stdout=subprocess.DEVNULL, check=True)
    return f"landfall-bench-{name}:local"


class Load:
    """A hundred requests a second from outside of Docker's networks, each with its status and what it took."""

    def __init__(self, options):
        pid = (Path(options.socket).parent / "dockerd.pid").read_text().strip()
        curl = ["curl", "--silent", "--rate", "100/s", "--max-time", "40", "--output", "/dev/null", "--write-out", "%{stderr}%{http_code} %{time_total}\\n"]
        self.process = subprocess.Popen(["nsenter", "--target", pid, "--net", *curl, "http://127.0.0.1:8080/?[1-100000000]"], stderr=subprocess.PIPE, text=True)

    def end(self):
        self.process.terminate()
        # The end cuts the last line off wherever it is.
        lines = [line.split() for line in self.process.stderr.read().splitlines()]
        answers = [line for line in lines if len(line) == 2 and line[1]]
        failed = sum(1 for status, _ in answers if status != "200")
        return len(answers), failed, max(float(seconds) for _, seconds in answers)


def bench_update(options):
    compose = os.environ.get("COMPOSE") or next((str(it) for it in [Path("target/compose/docker-compose")] if it.exists()), None)
    environment = {**os.environ, "DOCKER_HOST": f"unix://{options.socket}"}
    proxies = os.environ.get("LANDFALL_PROXIES", "target/proxies")
    for proxy, program, command in [("Traefik", f"{proxies}/traefik", TRAEFIK), ("Caddy", shutil.which("caddy") or "/usr/bin/caddy", CADDY)]:
        image = proxy_image(options, proxy.lower(), program)
        labels = {
            "traefik.enable": "true",
            "traefik.docker.network": "bench-web",
            "traefik.http.routers.shop.rule": "Host(`127.0.0.1`)",
            "traefik.http.services.shop.loadbalancer.server.port": "8080",
        }
        manifests, stack = options.work / "update.yaml", options.work / "update-compose.yaml"

        def declare(version):
            manifests.write_text(
                server(options.socket).replace("' }", f"', proxy: {{ container: bench-proxy, type: {proxy} }} }}")
                + destination("web")
                + f"---\napiVersion: landfall/v1\nkind: Application\nmetadata: {{ name: shop }}\nspec:\n  destination: web\n  image: {IMAGE}\n"
                f"  command: [/bin/sh, -c, '{serve(version)}']\n  stopSignal: SIGKILL\n  port: 8080\n  domains: [127.0.0.1]\n  rollout: {{ drainSeconds: 1 }}\n"
                f"  healthcheck: {{ command: {HEALTH}, intervalSeconds: 1, retries: 2 }}\n"
            )
            stack.write_text(
                f"name: bench-update\nservices:\n  shop:\n    image: {IMAGE}\n    command: {['/bin/sh', '-c', serve(version)]}\n    stop_signal: SIGKILL\n    networks: [web]\n    labels: {labels}\n"
                f"    healthcheck: {{ test: {['CMD', *HEALTH]}, interval: 1s, retries: 2 }}\nnetworks: {{ web: {{ external: true, name: bench-web }} }}\n"
            )

        def ours():
            timed([options.landfall, "apply", "-f", str(manifests), "--yes"], environment)

        def theirs():
            timed([compose, "-f", str(stack), "up", "-d", "--wait"], environment)

        for tool, update in [("Landfall", ours), ("docker compose up", theirs)]:
            if update is theirs and not compose:
                continue
            docker = Docker(options.socket)
            body = {
                "Image": image,
                "Cmd": command,
                "Env": [f"CADDYFILE={CADDYFILE}"],
                "ExposedPorts": {"80/tcp": {}},
                "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}, "Binds": [f"{options.socket}:/var/run/docker.sock"]},
            }
            docker.call("POST", "/containers/create?name=bench-proxy", body)
            docker.call("POST", "/containers/bench-proxy/start")
            declare("one")
            if update is theirs:
                # The network with the proxy on it, without the application.
                timed([options.landfall, "apply", "-f", str(manifests), "--yes", "--namespace", "default"], environment)
                docker.call("DELETE", "/containers/default-shop-1?force=1")
            update()
            time.sleep(4)
            load = Load(options)
            time.sleep(1)
            for version in range(UPDATES):
                declare(version)
                update()
                time.sleep(3)
            requests, failed, longest = load.end()
            report(f"{UPDATES} updates behind {proxy}, {tool}", f"{failed} of {requests} requests failed, the longest took {longest:.2f} s", "0" if update is ours else "")
            remove_all(options.socket)
            docker = Docker(options.socket)
            remove_networks(docker, "bench-")


BENCHES = {"workloads": bench_workloads, "update": bench_update}
