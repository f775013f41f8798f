"""Copies of data, and the doctor: `scripts/bench clone postgres doctor`, each against what people would do by hand."""

import os
import pwd
import subprocess
import sys
import time
from pathlib import Path

from harness import IMAGE, Counter, Docker, application, destination, hyperfine, report, run, server, start_container
from hosts import hosts
from hosts import server as remote

# Of a volume, and of a database.
GIGABYTES = float(os.environ.get("BENCH_VOLUME_GB", "2"))
DATABASE_GIGABYTES = float(os.environ.get("BENCH_DATABASE_GB", "1"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SERVERS = int(os.environ.get("BENCH_DOCTOR_SERVERS", "50"))
CONTAINERS = 50


def timed(command, environment=None, **more):
    """Seconds, and the most memory that the process itself has had."""
    started = time.monotonic()
    process = subprocess.Popen(list(map(str, command)), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(map(str, command))}: {os.waitstatus_to_exitcode(status)}\n{said.decode(errors='replace')}")
    return time.monotonic() - started, usage.ru_maxrss / 1024


def image_on(socket, work):
    subprocess.run(["sh", "-c", f"tar -C {work}/image -c . | docker -H unix://{socket} import - {IMAGE} >/dev/null"], check=True)


def bench_clone(options):
    """A volume of files that do not compress, from one server to another over SSH, both ends checked; against `ssh tar | ssh tar`, which checks nothing."""
    with hosts(options.work, 2) as (lan, fleet, client):
        for host in fleet:
            image_on(host.socket, options.work)
        near, far = [Docker(str(host.socket)) for host in fleet]
        manifests = options.work / "clone.yaml"
        both = "".join(
            remote(f"edge-{n}", host.address, client)
            + f"apiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: web-{n} }}\nspec: {{ server: edge-{n}, network: {{ name: web-net }} }}\n---\n"
            for n, host in enumerate(fleet, 1)
        )
        manifests.write_text(
            both + f"apiVersion: landfall/v1\nkind: Application\nmetadata: {{ name: shop }}\nspec:\n  destination: web-1\n  image: {IMAGE}\n"
            "  command: [sleep, '1000000']\n  stopSignal: SIGKILL\n  volumes: [{ volume: uploads, mountPath: /data }]\n"
        )
        run(*lan.prefix, options.landfall, "apply", "-f", str(manifests), "--yes")
        source = near.call("GET", "/volumes/uploads")["Mountpoint"]
        subprocess.run(["sh", "-ec", f"mkdir -p {source}/d; for n in $(seq {int(GIGABYTES * 16)}); do head -c 64000000 /dev/urandom > {source}/d/$n; done"], check=True)
        environment = {**os.environ, "PATH": f"{client.path}:{os.environ['PATH']}", "XDG_STATE_HOME": str(options.work / "state")}
        ours, memory, by_hand = [], [], []
        clone = [*lan.prefix, options.landfall, "clone", "app", "shop", "--to", "web-2", "--name", "copy", "--with-volumes", "-f", manifests]
        target = str(Path(source).parent.parent / "by-hand")
        target = target.replace(str(fleet[0].directory), str(fleet[1].directory))
        for _ in range(ROUNDS):
            seconds, most = timed(clone, environment)
            ours.append(seconds)
            memory.append(most)
            far.call("DELETE", "/volumes/copy-uploads")
            pipe = f"ssh root@{fleet[0].address} tar -C {source} -c . | ssh root@{fleet[1].address} 'mkdir -p {target} && tar -C {target} -x && sync {target}'"
            by_hand.append(timed([*lan.prefix, "sh", "-c", pipe], environment)[0])
            subprocess.run(["rm", "-rf", target], check=True)
        what = f"clone of a volume of {GIGABYTES:g} GB between two servers over SSH, read again and compared, against ssh tar | ssh tar, best of {ROUNDS}"
        report(what, f"{min(ours):.1f} s against {min(by_hand):.1f} s = {min(ours) / min(by_hand):.2f}×")
        report("memory of the controller meanwhile, at most", f"{max(memory):.0f} MB")


def bench_postgres(options):
    """An adopted PostgreSQL out of this machine's own programs."""
    binaries = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
    if not binaries:
        sys.exit("error: PostgreSQL is missing; Debian: postgresql")
    docker = Docker(options.socket)
    user = pwd.getpwnam("postgres")
    serve = (
        f"chown {user.pw_uid}:{user.pw_gid} /data; cd /data; as='setpriv --reuid=postgres --regid=postgres --init-groups'; "
        "test -d /data/pg || $as initdb -D /data/pg -A trust >/dev/null; "
        "exec $as postgres -D /data/pg -k /data -c max_wal_size=4GB -c fsync=on"
    )
    binds = [f"{path}:{path}:ro" for path in ["/usr", "/bin", "/lib", "/lib64", "/etc", "/sbin"] if Path(path).exists()]
    docker.call("POST", "/containers/create?name=bench-pg", {
        "Image": IMAGE, "Entrypoint": ["/bin/sh", "-c", serve], "Env": [f"PATH={binaries}:/usr/bin:/bin"], "StopSignal": "SIGINT",
        "HostConfig": {"Binds": [*binds, "bench-pg-data:/data"], "ShmSize": 1 << 28},
    })  # fmt: skip
    docker.call("POST", "/containers/bench-pg/start")
    within = ["docker", "-H", f"unix://{options.socket}", "exec", "-i", "bench-pg"]
    psql = [*within, "psql", "-h", "127.0.0.1", "-U", "postgres", "-qtA", "-v", "ON_ERROR_STOP=1"]
    try:
        for _ in range(60):
            if subprocess.run([*psql, "-c", "select 1"], capture_output=True).returncode == 0:
                break
            time.sleep(0.5)
        else:
            logs = subprocess.run(["docker", "-H", f"unix://{options.socket}", "logs", "bench-pg"], capture_output=True, text=True)
            sys.exit(f"error: PostgreSQL does not come up: {logs.stdout[-500:]}{logs.stderr[-500:]}")
        run(*psql, "-c", "create database goods")
        # Rows of text that is neither all the same nor noise, about 220 bytes each.
        rows = int(DATABASE_GIGABYTES * 4_400_000)
        fill = f"create table t as select g as n, md5(g::text) as a, repeat(md5((g % 977)::text), 3) || g as b, now() as at from generate_series(1, {rows}) g"
        run(*psql, "-d", "goods", "-c", fill, "-c", "alter table t add primary key (n)", "-c", "checkpoint")
        _, size = run(*psql, "-d", "goods", "-c", "select pg_database_size('goods') / 1000000")
        manifests = options.work / "postgres.yaml"
        manifests.write_text(server(options.socket) + destination("pg") +
            "---\napiVersion: landfall/v1\nkind: Database\nmetadata: { name: orders }\nspec: { destination: pg, engine: PostgreSQL, containers: { names: [bench-pg] } }\n")  # fmt: skip
        environment = {**os.environ, "XDG_STATE_HOME": str(options.work / "state")}
        run(options.landfall, "apply", "-f", str(manifests), "--yes")
        kept, dump = options.work / "kept", options.work / "dump"
        shell = " ".join(within)
        backups, dumps, packed, memory, restores, by_hand = [], [], [], [], [], []
        for _ in range(ROUNDS):
            seconds, most = timed([options.landfall, "backup", "database", "orders", "-f", manifests, "--to", kept, "--keep", "1"], environment)
            backups.append(seconds)
            memory.append(most)
            dumps.append(timed(["sh", "-c", f"{shell} pg_dump -h 127.0.0.1 -U postgres -Fc -Z0 goods > {dump} && sync {dump}"])[0])
            packed.append(timed(["sh", "-c", f"{shell} pg_dump -h 127.0.0.1 -U postgres -Fc goods > {dump} && sync {dump}"])[0])
            restore = [options.landfall, "restore", "database", "orders", "-f", manifests, "--from", kept, "--replace", "--no-backup"]
            restores.append(timed(restore, environment)[0])
            run(*psql, "-c", "drop database goods")
            by_hand.append(timed(["sh", "-c", f"{shell} pg_restore -h 127.0.0.1 -U postgres --create -d template1 < {dump}"])[0])
        kept_size = sum(file.stat().st_size for file in kept.rglob("*") if file.is_file()) / 1e6
        report(f"backup of a PostgreSQL of {int(size)} MB, compressed and with checksums, against pg_dump uncompressed and compressed by itself, best of {ROUNDS}",
               f"{min(backups):.1f} s against {min(dumps):.1f} s and {min(packed):.1f} s")  # fmt: skip
        report("the archive, against pg_dump's own compression; memory of the controller", f"{kept_size:.0f} MB against {dump.stat().st_size / 1e6:.0f} MB; {max(memory):.0f} MB")
        report("restore, checked before and kept apart until it is complete, against pg_restore", f"{min(restores):.1f} s against {min(by_hand):.1f} s")
    finally:
        # The daemon has closed the connection: nothing was asked over it for minutes.
        docker = Docker(options.socket)
        docker.call("DELETE", "/containers/bench-pg?force=1&v=1")
        docker.call("DELETE", "/volumes/bench-pg-data")


def bench_doctor(options):
    """Many servers that are one daemon behind as many sockets, with a healthy world on it."""
    docker = Docker(options.socket)
    names = [f"bench-doctor-{n}" for n in range(CONTAINERS)]
    for name in names:
        start_container(options.socket, name)
    counters = [Counter(str(options.work / f"doctor-{n}.sock"), options.socket) for n in range(SERVERS)]
    one = server(options.socket) + destination("doctor") + "".join(application(name, name, "doctor") for name in names)
    manifests = options.work / "doctor.yaml"
    manifests.write_text(one)
    run(options.landfall, "apply", "-f", str(manifests), "--yes")
    documents = []
    for n, counter in enumerate(counters):
        documents.append(f"apiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: edge-{n} }}\nspec: {{ endpoint: 'unix://{counter.path}' }}\n")
        on = f"apiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: doctor-{n} }}\nspec: {{ server: edge-{n}, network: {{ name: bench-doctor }}, adopt: true }}\n"
        documents.append(on)
    many = options.work / "doctors.yaml"
    many.write_text("---\n".join(documents))
    # What is known of containers is kept from one look to the next.
    command = [options.landfall, "doctor", "-f", str(many), "--state", str(options.work / "doctor-state")]
    run(*command)
    for counter in counters:
        counter.requests.clear()
    run(*command)
    (seconds,) = hyperfine(options.work, " ".join(command), runs=5)
    total = sum(len(counter.requests) for counter in counters)
    # Five measured, three to warm up, and the one before.
    report(f"doctor on {SERVERS} servers with {CONTAINERS} containers each (one daemon behind {SERVERS} sockets)", f"{seconds:.2f} s, {total / 9 / SERVERS:.1f} requests a server")
    counters[0].requests.clear()
    run(*command)
    report("the requests to one of them", counters[0].summary())
    for name in names:
        docker.call("DELETE", f"/containers/{name}?force=1")


BENCHES = {"clone": bench_clone, "postgres": bench_postgres, "doctor": bench_doctor}
