"""What the binary is made of, as CycloneDX 1.5, from `cargo metadata` and Cargo.lock.

    cargo metadata --format-version 1 --locked --filter-platform TARGET | sbom.py TARGET BINARY > sbom.json
"""

import hashlib
import json
import os
import sys
import time
import tomllib
import uuid

target, binary = sys.argv[1:]
metadata = json.load(sys.stdin)
with open("Cargo.lock", "rb") as file:
    locked = {(it["name"], it["version"]): it.get("checksum") for it in tomllib.load(file)["package"]}
packages = {package["id"]: package for package in metadata["packages"]}
nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
root = metadata["resolve"]["root"]


def shipped(node: str) -> list[str]:
    """What it is linked with: neither tests nor what only builds."""
    kinds = lambda it: any(kind["kind"] is None for kind in it["dep_kinds"])
    return sorted(it["pkg"] for it in nodes[node]["deps"] if kinds(it))


reached, queue = {root}, [root]
while queue:
    for dependency in shipped(queue.pop()):
        if dependency not in reached:
            reached.add(dependency)
            queue.append(dependency)


def reference(package: dict) -> str:
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package: dict, kind: str) -> dict:
    described = {
        "type": kind,
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": reference(package),
    }
    if package.get("license"):
        described["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    checksum = locked.get((package["name"], package["version"]))
    if checksum:
        described["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package.get("repository"):
        described["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return described


with open(binary, "rb") as file:
    digest = hashlib.sha256(file.read()).hexdigest()
main = component(packages[root], "application")
main["hashes"] = [{"alg": "SHA-256", "content": digest}]
moment = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", "0")))
bom = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.5",
    # Of the content, so that the same binary has the same.
    "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}",
    "version": 1,
    "metadata": {
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", moment),
        "component": main,
        "properties": [{"name": "cargo:target", "value": target}],
    },
    "components": sorted((component(packages[it], "library") for it in reached - {root}), key=lambda it: it["bom-ref"]),
    "dependencies": sorted(
        ({"ref": reference(packages[it]), "dependsOn": [reference(packages[dep]) for dep in shipped(it)]} for it in reached),
        key=lambda it: it["ref"],
    ),
}
json.dump(bom, sys.stdout, indent=2, sort_keys=True)
print()
