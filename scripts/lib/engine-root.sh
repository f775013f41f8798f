# shellcheck shell=sh
# Sourced. Makes the root of another Debian, with its Docker Engine inside, the root of the calling process.
#
#   enter_engine_root ROOT DIRECTORY    in a mount namespace of one's own; what is below /tmp, /run and DIRECTORY is the machine's
#
# By pivot_root: under chroot an image cannot be imported, and `docker exec` of later engines runs in the machine's root. ROOT is the lower
# layer of an overlay, so hosts share one tree and never write into it.

enter_engine_root() {
    # A name without the characters that separate overlay options.
    mount -t tmpfs -o mode=0755 tmpfs /mnt &&
        mkdir /mnt/lower /mnt/upper /mnt/work /mnt/root &&
        mount --bind "$1" /mnt/lower &&
        mount -t overlay -o lowerdir=/mnt/lower,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root || return 1
    for _directory in proc sys dev run tmp; do
        mount --rbind "/$_directory" "/mnt/root/$_directory" || return 1
    done
    if [ ! -d "/mnt/root$2" ]; then
        mkdir -p "/mnt/root$2" && mount --rbind "$2" "/mnt/root$2" || return 1
    fi
    for _path in etc/docker etc/resolv.conf; do
        # The bind mounts of a caller that has some: the daemon's identity is a key in /etc/docker.
        if [ -d "/$_path" ]; then mkdir -p "/mnt/root/$_path"; elif [ -e "/$_path" ]; then : > "/mnt/root/$_path"; else continue; fi
        mount --bind "/$_path" "/mnt/root/$_path" || return 1
    done
    mkdir /mnt/root/mnt/machine && cd /mnt/root && pivot_root . mnt/machine && umount -l /mnt/machine && cd /
}
