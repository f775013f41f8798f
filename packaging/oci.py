"""Makes an OCI image of a directory: no registry, no daemon, and the same bytes each time.

    oci.py ROOT TAG ARCHITECTURE > image.tar
"""

import gzip
import hashlib
import io
import json
import os
import sys
import tarfile

root, tag, architecture = sys.argv[1:]
epoch = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))


def entry(name: str, size: int = 0, mode: int = 0o644, kind: bytes = tarfile.REGTYPE, owner: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime, info.type, info.uid, info.gid = size, mode, epoch, kind, owner, owner
    return info


def layer() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for directory, names, files in os.walk(root):
            names.sort()
            relative = os.path.relpath(directory, root)
            if relative != ".":
                # What it writes to is its user's.
                owner = 65532 if relative == "state" else 0
                archive.addfile(entry(relative, mode=0o700 if owner else 0o755, kind=tarfile.DIRTYPE, owner=owner))
            for name in sorted(files):
                path = os.path.join(directory, name)
                with open(path, "rb") as file:
                    content = file.read()
                mode = 0o755 if os.access(path, os.X_OK) else 0o644
                archive.addfile(entry(os.path.normpath(os.path.join(relative, name)), len(content), mode), io.BytesIO(content))
    return out.getvalue()


blobs: dict[str, bytes] = {}


def blob(content: bytes, media: str) -> dict:
    digest = hashlib.sha256(content).hexdigest()
    blobs[digest] = content
    return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(content)}


def document(value: dict, media: str) -> dict:
    return blob(json.dumps(value, sort_keys=True, separators=(",", ":")).encode(), media)


plain = layer()
packed = blob(gzip.compress(plain, int(os.environ.get("LANDFALL_PACKAGE_LEVEL", "9")), mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip")
config = document(
    {
        "architecture": architecture,
        "os": "linux",
        "config": {
            "User": "65532:65532",
            "Env": ["LANDFALL_MANIFESTS=/manifests", "XDG_STATE_HOME=/state", "PATH=/usr/bin"],
            "Entrypoint": ["/usr/bin/landfall"],
            "Cmd": ["run"],
            "ExposedPorts": {"7420/tcp": {}},
            "Volumes": {"/state": {}},
            "Labels": {"org.opencontainers.image.title": "landfall", "org.opencontainers.image.licenses": "Apache-2.0"},
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(plain).hexdigest()}"]},
        "history": [{"created_by": "packaging/oci.py"}],
    },
    "application/vnd.oci.image.config.v1+json",
)
manifest = document(
    {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": [packed]},
    "application/vnd.oci.image.manifest.v1+json",
)
manifest["annotations"] = {"org.opencontainers.image.ref.name": tag}
manifest["platform"] = {"os": "linux", "architecture": architecture}
index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [manifest]}

with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.PAX_FORMAT) as archive:
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index, sort_keys=True).encode()}
    files.update({f"blobs/sha256/{digest}": content for digest, content in blobs.items()})
    for name in sorted(files):
        archive.addfile(entry(name, len(files[name])), io.BytesIO(files[name]))
