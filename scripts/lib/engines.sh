# shellcheck shell=bash
# Sourced, after packages.sh. Docker Engines of several generations for the tests, each in the root of the Debian that packages it.
#
#   engines_build GENERATION...    makes the roots that are missing; says which cannot be had, and returns 1 then
#   engine_is_there GENERATION
#
# A root is about 310 MB and takes half a minute. It stays in target/engines, or in the directory that LANDFALL_ENGINES names, until somebody
# removes it (its files are root's), beside a file that names the version: testing moves on, and a test compares the two.

engines_directory() { echo "${LANDFALL_ENGINES:-$PWD/target/engines}"; }

_engine_suite() {
    case $1 in
    20) echo bookworm ;;
    26) echo trixie ;;
    28) echo forky ;;
    *) echo "error: no Debian release is known for Docker $1; there are 20, 26 and 28" >&2; return 1 ;;
    esac
}

# What is in a root beside what Debian calls essential. Other packages make other roots: those that are kept are made anew.
_engine_packages=docker.io,tini,iptables,iproute2,kmod,mount,ca-certificates

engine_is_there() { grep -qx "[0-9.]* $_engine_packages" "$(engines_directory)/$1.version" 2> /dev/null; }

# The mirror that this machine's own packages come from.
_debian_mirror() {
    local codename mirror
    # shellcheck disable=SC1091
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    # shellcheck disable=SC2016  # expanded by apt-get
    mirror=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 2> /dev/null |
        awk -v codename="$codename" '($1 == codename || $1 == "stable" || $1 == "testing") && $2 == "main" && $3 ~ /^https?:.*\/debian\/?$/ { print $3; exit }')
    echo "${mirror:-http://deb.debian.org/debian}"
}

_engine_build() {
    local generation=$1 directory suite tree log version proxy=
    suite=$(_engine_suite "$generation") || return 1
    directory=$(engines_directory)
    need_packages mmdebstrap=mmdebstrap debian-archive-keyring || return 1
    echo "fetching Docker $generation: the packages of Debian $suite" >&2
    # In a directory of root's own, so that nobody else puts anything into it.
    tree=$(as_root mktemp -d "$directory/.$generation.XXXXXX")
    log=$(mktemp)
    eval "$(apt-config shell proxy Acquire::http::Proxy)"
    # Testing's list of packages counts as expired now and then on mirrors that lag behind.
    if ! as_root env DEBIAN_FRONTEND=noninteractive ${proxy:+"http_proxy=$proxy"} timeout 600 mmdebstrap --quiet --mode=root --variant=essential \
        --include="$_engine_packages" \
        --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Retries "2"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        "$suite" "$tree" "$(_debian_mirror)" > "$log" 2>&1 < /dev/null; then
        tail -n 15 "$log" >&2
        echo "warning: Docker $generation cannot be fetched (the end of the output is above)" >&2
    else
        version=$(dpkg-query --admindir="$tree/var/lib/dpkg" -W -f '${source:Upstream-Version}' docker.io)
        if [ "${version%%.*}" = "$generation" ]; then
            as_root rm -rf --one-file-system "${directory:?}/$generation"
            as_root chmod 755 "$tree"
            as_root mv "$tree" "$directory/$generation"
            # Last: what has a version is whole. Without what Debian adds: 28.5.2+dfsg4 is 28.5.2.
            echo "${version%%+*} $_engine_packages" | as_root tee "$directory/$generation.version" > /dev/null
            rm -f "$log"
            return 0
        fi
        echo "warning: Docker $generation cannot be fetched: Debian $suite has $version by now" >&2
    fi
    rm -f "$log"
    as_root rm -rf --one-file-system "$tree"
    return 1
}

engines_build() {
    local generation directory failed=0
    directory=$(engines_directory)
    mkdir -p "$directory"
    for generation in "$@"; do
        engine_is_there "$generation" && continue
        # Two runs at the same time fetch it once.
        exec 9> "$directory/lock"
        flock 9
        engine_is_there "$generation" || _engine_build "$generation" || failed=1
        exec 9>&-
    done
    return $failed
}
