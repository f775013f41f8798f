# shellcheck shell=bash
# Sourced, after packages.sh. A Docker daemon that shares nothing with one the machine may already have.
#
#   private_daemon_start DIR [ROOT]    starts it unless it runs; it listens on unix://DIR/docker.sock, its log is DIR/log
#   private_daemon_stop DIR            stops it and removes DIR
#
# With ROOT, a directory that engines.sh has made, it is the engine of that Debian; DIR is below /run or /tmp then, which both see.
#
# It lives in a network and mount namespace of its own: a second daemon in the same network namespace would delete the first one's
# bridges and NAT rules. The namespaces end with the process, so nothing is left in the machine. Everything else is under DIR.

# The daemon's pid, if what runs under that number is still the daemon that was started for DIR.
_private_daemon_pid() {
    local pid
    pid=$(as_root cat "$1/dockerd.pid" 2> /dev/null) || return 1
    as_root grep -qzx -- "$1/dockerd.pid" "/proc/$pid/cmdline" 2> /dev/null || return 1
    echo "$pid"
}

_private_daemon_answers() { curl -s -o /dev/null --max-time 5 --unix-socket "$1/docker.sock" http://docker/_ping; }

private_daemon_start() {
    local dir=$1 root=${2:-} group
    if _private_daemon_pid "$dir" > /dev/null && _private_daemon_answers "$dir"; then
        return 0
    fi
    group=$(id -gn)
    as_root mkdir -p "$dir"
    as_root chmod 755 "$dir"
    # Docker's built-in pools give about 30 networks; these give thousands. The default bridge has room for a thousand containers.
    echo '{ "bip": "10.192.0.1/22", "default-address-pools": [{ "base": "10.200.0.0/13", "size": 26 }] }' | as_root tee "$dir/daemon.json" > /dev/null
    # shellcheck disable=SC2016  # expanded by the inner shell
    as_root env PATH="$PATH:/usr/sbin:/sbin" setsid --fork unshare --net --mount sh -c '
        dir=$1 group=$2 root=$3 lib=$4
        ip link set lo up
        if [ -n "$root" ]; then
            # A /sys that shows the interfaces of this network: later engines wait where they find none of theirs.
            mkdir "$dir/cgroup" && mount --rbind /sys/fs/cgroup "$dir/cgroup" && mount -t sysfs sysfs /sys &&
                mount --move "$dir/cgroup" /sys/fs/cgroup && rmdir "$dir/cgroup" || exit 1
            . "$lib/engine-root.sh"
            enter_engine_root "$root" "$dir" || exit 1
        fi
        exec dockerd --config-file "$dir/daemon.json" --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/dockerd.pid" \
            --host "unix://$dir/docker.sock" --group "$group" > "$dir/log" 2>&1 < /dev/null
    ' private-daemon "$dir" "$group" "$root" "$PWD/scripts/lib"
    for _ in $(seq 1 300); do
        _private_daemon_answers "$dir" && return 0
        sleep 0.1
    done
    echo "error: the Docker daemon in $dir does not answer after 30 s; the end of its log:" >&2
    as_root tail -n 20 "$dir/log" >&2
    return 1
}

private_daemon_stop() {
    local dir=$1 pid child
    if pid=$(_private_daemon_pid "$dir"); then
        child=$(as_root cat "$dir/exec/containerd/containerd.pid" 2> /dev/null) || child=
        as_root kill "$pid"
        for _ in $(seq 1 300); do
            as_root kill -0 "$pid" 2> /dev/null || break
            sleep 0.1
        done
        if as_root kill -0 "$pid" 2> /dev/null; then
            echo "warning: the Docker daemon in $dir does not stop within 30 s and is killed" >&2
            # shellcheck disable=SC2086  # $child may be empty
            as_root kill -9 "$pid" $child
        fi
    fi
    as_root rm -rf --one-file-system "$dir"
}
