# shellcheck shell=bash
# Sourced. Installs Debian packages that are missing, and says nothing when none are.
#
#   need_packages WHAT...    WHAT is PACKAGE, or COMMAND=PACKAGE where any provider of the command will do
#
# Nothing that is installed here starts a service: a Docker daemon in the machine's own network namespace
# is the user's decision, and tests and quickstart bring their own. With ASK_FIRST set, a person at a terminal is asked.

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo > /dev/null; then
        sudo "$@"
    else
        echo "error: $1 needs root: run as root, or install sudo" >&2
        return 1
    fi
}

_missing_packages() {
    local what
    for what in "$@"; do
        case $what in
        *=*) PATH=$PATH:/usr/sbin:/sbin command -v "${what%%=*}" > /dev/null || echo "${what#*=}" ;;
        *) [ "$(dpkg-query -W -f '${db:Status-Status}' "$what" 2> /dev/null)" = installed ] || echo "$what" ;;
        esac
    done
}

need_packages() {
    local missing answer
    # shellcheck disable=SC2207  # package names hold no spaces
    missing=($(_missing_packages "$@" | sort -u))
    [ ${#missing[@]} -gt 0 ] || return 0
    if ! command -v apt-get > /dev/null; then
        echo "error: this machine has no apt-get; install what these Debian packages hold, then run again: ${missing[*]}" >&2
        return 1
    fi
    if [ -n "${ASK_FIRST:-}" ] && [ -t 0 ]; then
        read -r -p "install the Debian packages ${missing[*]}? [Y/n] " answer
        case $answer in n* | N*) echo "error: cannot go on without them" >&2; return 1 ;; esac
    fi
    echo "installing Debian packages: ${missing[*]}" >&2
    local log
    log=$(mktemp)
    if ! _install_packages "$log" "${missing[@]}"; then
        cat "$log" >&2
        rm -f "$log"
        echo "error: apt-get could not install ${missing[*]} (its output is above)" >&2
        return 1
    fi
    rm -f "$log"
    # shellcheck disable=SC2207
    missing=($(_missing_packages "$@" | sort -u))
    [ ${#missing[@]} -eq 0 ] || { echo "error: still missing after the installation: ${missing[*]}" >&2; return 1; }
}

# A subshell, so that the guard against starting services is gone afterwards whatever happens.
_install_packages() (
    log=$1
    shift
    guard=/usr/sbin/policy-rc.d
    if [ ! -e $guard ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee $guard > /dev/null && as_root chmod 755 $guard || exit 1
        trap 'as_root rm -f $guard' EXIT
        trap 'exit 1' INT TERM
    fi
    get() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120 "$@" >> "$log" 2>&1 < /dev/null; }
    # Lists may be absent (a fresh container image) or too old to be served: then fetch them and try once more.
    get install -y --no-install-recommends "$@" || { get update && get install -y --no-install-recommends "$@"; }
)
