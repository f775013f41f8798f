# Runs one private Docker daemon for a test, or Podman in its place with ENGINE=podman; see host.rs. With ROOT, the daemon is that of the
# Debian in that directory (scripts/lib/engines.sh makes it), and everything else still the machine's.
# usage: host.sh DIRECTORY NAME [dockerd arguments], commands on stdin; one that is not known does nothing and is answered
#
# Everything lives in namespaces of its own, below a process 1 that ends when stdin does: when the test closes the pipe, and
# also when it is killed. The kernel then kills every process, unmounts every mount and removes every interface, whatever
# state the daemon is in. Only files and control groups are left to be removed by hand.
set -u
directory=$1
name=$2
if [ "${3-}" = --keeper ]; then
    . "${0%/tests/support/host.sh}/scripts/lib/engine-root.sh"
    enter_engine_root "$ROOT" "$directory" && : >/run/engine-root && exec sleep infinity
    exit 1
fi
if [ "${3-}" != --inside ]; then
    shift 2
    unshare --net --uts --mount --pid --fork --kill-child --mount-proc sh "$0" "$directory" "$name" --inside "$@"
    # A control group cannot be removed before its last process is reaped.
    for attempt in 1 2 3 4 5 6 7 8 9 10; do
        groups=$(find /sys/fs/cgroup -depth -type d -path "*/$name*" 2>/dev/null)
        [ -z "$groups" ] && break
        [ "$attempt" -gt 1 ] && sleep 0.1
        echo "$groups" | while read -r group; do rmdir "$group" 2>/dev/null; done
    done
    chattr -R -i "$directory/data/containers" 2>/dev/null
    rm -rf "$directory"
    exit
fi
shift 3
# Control groups of version 1 keep a paused process from dying.
thaw() {
    find /sys/fs/cgroup -path "*/$name/*" -name freezer.state 2>/dev/null | while read -r state; do echo THAWED >"$state"; done
}
hostname "$name"
ip link set lo up
# A /sys that shows the interfaces of this network: later engines read there whether a port of a bridge forwards, and wait where they find none.
mkdir "$directory/cgroup"
mount --rbind /sys/fs/cgroup "$directory/cgroup"
mount -t sysfs sysfs /sys
mount --move "$directory/cgroup" /sys/fs/cgroup
rmdir "$directory/cgroup"
# A /run of its own: the daemon's sockets, and the lock of iptables.
mount -t tmpfs tmpfs /run
# An /etc/docker of its own: the daemon's identity is a key in there.
mkdir -p "$directory/etc" /etc/docker
mount --bind "$directory/etc" /etc/docker
# Names are looked up in vain at once: without an answer every task of a Swarm waits for a registry, and `docker info` with it.
if [ -e /etc/resolv.conf ]; then
    echo "nameserver 127.0.0.1" >"$directory/resolv.conf"
    mount --bind "$directory/resolv.conf" /etc/resolv.conf
fi
dockerd=
# The root of another Debian is a mount namespace, held by a process, in which daemons are started, killed and started again.
keeper=
keep_root() {
    [ -z "$keeper" ] || ! kill -0 "$keeper" 2>/dev/null || return 0
    unshare --mount sh "$0" "$directory" "$name" --keeper </dev/null >>"$directory/log" 2>&1 &
    keeper=$!
    while [ ! -e /run/engine-root ]; do
        kill -0 "$keeper" 2>/dev/null || return 1
        sleep 0.01
    done
}
while read -r command; do
    case $command in
    start)
        if [ "${ENGINE-}" = podman ]; then
            mkdir -p /run/netns "$directory/networks"
            podman --root "$directory/data" --runroot /run/containers --tmpdir /run/libpod --storage-driver vfs \
                --network-backend netavark --network-config-dir "$directory/networks" --cgroup-manager cgroupfs \
                system service --time 0 "unix://$directory/docker.sock" >>"$directory/log" 2>&1 </dev/null &
        else
            run=
            if [ -n "${ROOT-}" ]; then
                keep_root || echo "failed to start daemon: its root cannot be entered" >>"$directory/log"
                run="nsenter --mount=/proc/$keeper/ns/mnt"
            fi
            $run dockerd --config-file "$directory/daemon.json" --data-root "$directory/data" --exec-root /run/docker \
                --pidfile /run/docker.pid --host "unix://$directory/docker.sock" --cgroup-parent "/$name" "$@" \
                >>"$directory/log" 2>&1 </dev/null &
        fi
        dockerd=$!
        ;;
    terminate)
        kill -TERM "$dockerd"
        wait "$dockerd"
        ;;
    kill)
        containerd=$(cat /run/docker/containerd/containerd.pid)
        kill -KILL "$dockerd"
        wait "$dockerd"
        # Containerd dies with the daemon that started it. One that is seen dying is taken for a live one by the next daemon, which waits
        # for it in vain. Nobody but this process reaps it.
        while kill -0 "$containerd" 2>/dev/null; do sleep 0.02; done
        ;;
    # The power cut: daemon, containerd and containers, with no chance to write anything down.
    # /run is a tmpfs on real machines too and does not survive.
    crash)
        kill -KILL "$dockerd"
        thaw
        kill -KILL -1
        wait
        umount -l /run
        mount -t tmpfs tmpfs /run
        ip -o link | sed -n 's/^[0-9]*: \([^:@]*\).*/\1/p' | grep -v '^lo$' | while read -r link; do
            ip link delete "$link" 2>/dev/null
        done
        ;;
    esac
    echo "$command done"
done
thaw
