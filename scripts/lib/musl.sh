# shellcheck shell=bash
# Sourced, after packages.sh. Sets up cargo for a static binary with musl, of this machine's kind or of another one.
#
#   has_musl MACHINE    whether Rust's standard library for it is there; rustup fetches it where it can
#   set_up_musl MACHINE    x86_64 or aarch64: exports what cargo and the build scripts of crates take
#
# Rust's part comes from rustup. The C parts (OpenSSL, zstd, jemalloc, ring) are compiled by Debian's compilers against the headers of Debian's musl; those
# for another kind of machine are unpacked below target/cross, and nothing of them is installed.

# Headers of musl for that kind of machine, and a compiler that reads them in place of those of the C library that it was made for.
_musl_cross() { # <machine> <architecture>
    local directory=target/cross/$1 options compiler=$1-linux-gnu-gcc
    mkdir -p "$directory"
    directory=$(cd "$directory" && pwd)
    if [ ! -e "$directory/root/usr/include/$1-linux-musl/stdio.h" ]; then
        mkdir -p "$directory"/apt/lists/partial "$directory"/apt/cache/archives/partial
        options=(-q -o "APT::Architecture=$2" -o "APT::Architectures=$2" -o "Dir::State=$directory/apt" -o Dir::State::status=/dev/null
            -o "Dir::Cache=$directory/apt/cache" -o "APT::Sandbox::User=$(id -un)")
        if ! (cd "$directory" && apt-get "${options[@]}" update && apt-get "${options[@]}" download "musl-dev:$2") > "$directory/log" 2>&1; then
            tail -n 3 "$directory/log" >&2
            echo "error: Debian's musl-dev for $2 cannot be fetched" >&2
            return 1
        fi
        dpkg-deb -x "$directory"/musl-dev_*.deb "$directory/root"
        rm -rf "$directory/apt"
    fi
    echo "$compiler -nostdinc -isystem '$directory/root/usr/include/$1-linux-musl' -isystem '$($compiler -print-file-name=include)'"
}

# Makes a compiler of that name in target/cross/bin, which is that command but for one thing: OpenSSL compiles the directory that it was built in into
# the library, as the one where its modules and engines are. There are none, and the binary is to be the same wherever it was built.
_compiler() { # <name> <command>
    mkdir -p target/cross/bin
    cat > "target/cross/bin/$1" << CC
#!/usr/bin/env bash
for argument; do
    shift
    case \$argument in
    -DMODULESDIR=*) argument='-DMODULESDIR="/usr/lib/ssl/ossl-modules"' ;;
    -DENGINESDIR=*) argument='-DENGINESDIR="/usr/lib/ssl/engines-3"' ;;
    esac
    set -- "\$@" "\$argument"
done
exec $2 "\$@"
CC
    chmod +x "target/cross/bin/$1"
}

has_musl() {
    rustup target list --installed 2> /dev/null | grep -qx "$1-unknown-linux-musl" || timeout 300 rustup target add "$1-unknown-linux-musl" > /dev/null 2>&1
}

set_up_musl() {
    local machine=$1 target=$1-unknown-linux-musl host variable compiler linker architecture
    host=$(rustc -vV | sed -n 's/^host: //p')
    if [ "$machine" = "${host%%-*}" ]; then
        need_packages musl-gcc=musl-tools
        # What a binary starts with and its C library come with Rust: musl-gcc, asked for a static binary that can be loaded anywhere, makes one that
        # names a loader and crashes.
        compiler=musl-gcc linker=cc
    else
        case $machine in x86_64) architecture=amd64 ;; aarch64) architecture=arm64 ;; esac
        need_packages "$machine-linux-gnu-gcc=gcc-${machine//_/-}-linux-gnu" "qemu-$machine-static=qemu-user-static"
        compiler=$(_musl_cross "$machine" "$architecture") || return 1
        linker=$machine-linux-gnu-gcc
        export "AR_${target//-/_}=$machine-linux-gnu-ar" "RANLIB_${target//-/_}=$machine-linux-gnu-ranlib"
    fi
    # By its name alone: OpenSSL writes down what it was compiled with.
    _compiler "$machine-landfall-cc" "$compiler"
    PATH=$PWD/target/cross/bin:$PATH
    variable=$(echo "$target" | tr a-z- A-Z_)
    export "CC_${target//-/_}=$machine-landfall-cc" "CARGO_TARGET_${variable}_LINKER=$linker"
    # Kernels for that kind of machine have pages of 4, 16 or 64 KiB; an allocator made for the largest runs with all of them.
    [ "$machine" != aarch64 ] || export JEMALLOC_SYS_WITH_LG_PAGE=16
}
