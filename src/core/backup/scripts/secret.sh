# Run as `sh -c SCRIPT landfall VERB [DATABASE]` within the container of the database.
# Passwords stay where the container has them: in variables of processes and files of mode 0600, and in no argument.
set -eu
umask 077
verb=$1
database=${2:-}

# What Landfall has put into the container, else the variable, else the file that NAME_FILE names.
secret() {
    if [ -r /landfall/password ]; then cat /landfall/password; return; fi
    eval "value=\${$1:-} file=\${$1_FILE:-}"
    if [ -n "$value" ]; then printf %s "$value"; elif [ -n "$file" ]; then cat "$file"; fi
}
