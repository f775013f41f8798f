cli='' server=''
for name in redis keydb valkey; do
    if command -v $name-cli > /dev/null; then cli=$name-cli; fi
    if command -v $name-server > /dev/null; then server=$name-server; fi
done
for name in REDIS_PASSWORD KEYDB_PASSWORD VALKEY_PASSWORD DFLY_requirepass; do
    password=$(secret $name)
    if [ -n "$password" ]; then export REDISCLI_AUTH="$password"; fi
done
TAB=$(printf '\t')

ask() { "$cli" -h 127.0.0.1 "$@" | tr -d '\r'; }
about() { ask info "$1" | sed -n "s/^$2://p"; }
directory() { ask config get dir | tail -n 1; }
# A Dragonfly has no dump for replicas of Redis: it writes and reads files of its own directory. Passes for a Redis otherwise.
is_dragonfly() { [ -n "$(about server dragonfly_version)" ]; }
# One that it makes by itself is in the way of another: that is waited for, five minutes at most.
saved() {
    tries=0
    while :; do
        answer=$(printf '%s\n' "$1" | ask)
        case $answer in *'in progress'*) ;; *) break ;; esac
        tries=$((tries + 1))
        if [ $tries -gt 300 ]; then break; fi
        sleep 1
    done
    if [ "$answer" != OK ]; then echo "$2: $answer" >&2; exit 1; fi
}
# Its failures are answers like others.
tell() {
    answer=$(ask)
    if [ "$answer" != OK ]; then echo "$1: $answer" >&2; exit 1; fi
}

case $verb in
# Neither before it has read its data nor without the right password.
ready) [ "$(ask ping)" = PONG ] ;;
version) if is_dragonfly; then about server dragonfly_version | sed 's/^[^0-9]*//'; else about server redis_version; fi ;;
size) about memory used_memory ;;
databases) echo ;;
tables) ask info keyspace | sed -n 's/^\(db[0-9]*\):keys=.*/\1/p' ;;
count) ask info keyspace | sed -n "s/^\(db[0-9]*\):keys=\([0-9]*\),.*/\1$TAB\2/p" ;;
dump)
    if is_dragonfly; then
        file=$(directory)/landfall-dump-$$.rdb
        trap 'rm -f "$file"' EXIT
        saved "save rdb ${file##*/}" 'saving'
        cat "$file"
        exit
    fi
    # What a replica would get: one moment, whatever is written meanwhile.
    if "$cli" --help 2>&1 | grep -q 'Use filename of "-"'; then exec "$cli" -h 127.0.0.1 --rdb -; fi
    # An old one writes to a file, and would take `-` for the name of one.
    file=$(mktemp "$(directory)/landfall.XXXXXX")
    trap 'rm -f "$file"' EXIT
    "$cli" -h 127.0.0.1 --rdb "$file" > /dev/null
    cat "$file"
    ;;
restore)
    if [ "$(about replication role)" != master ]; then echo 'it is a replica: restore into its master' >&2; exit 1; fi
    if is_dragonfly; then
        # It empties itself before it reads, so what is there is saved first, and read again where the dump cannot be.
        new=$(directory)/landfall-new-$$.rdb before=$(directory)/landfall-before-$$.rdb
        trap 'rm -f "$new"' EXIT
        cat > "$new"
        chown "$(stat -c %u:%g "$(directory)")" "$new"
        saved "save rdb ${before##*/}" 'saving what is there'
        answer=$(printf 'dfly load %s\n' "$new" | ask)
        if [ "$answer" != OK ]; then
            printf 'dfly load %s\n' "$before" | tell "the dump cannot be read ($answer), and what was there is in $before: loading it again"
            rm -f "$before"
            echo "the dump cannot be read: $answer" >&2
            exit 1
        fi
        rm -f "$before"
        # A start reads its latest snapshot.
        if [ -n "$(ask config get dbfilename | sed -n 2p)" ]; then saved save 'saving what was read'; fi
        exit
    fi
    # A second server beside it reads the dump, and this one becomes its replica until it has all of it: data is replaced at once, with or without an
    # append-only file, and a dump that cannot be read replaces nothing.
    beside=$(mktemp -d "$(directory)/landfall.XXXXXX")
    token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    before=$(ask config get masterauth | sed -n 2p)
    leave() {
        printf 'replicaof no one\n' | tell 'ending the replication'
        printf 'config set masterauth "%s"\n' "$before" | tell 'giving back masterauth'
    }
    process=
    trap 'if [ -n "$process" ]; then kill $process 2> /dev/null; fi; rm -rf "$beside"' EXIT
    cat > "$beside/dump.rdb"
    port=16379
    printf '%s\n' "port $port" 'bind 127.0.0.1' "requirepass $token" "dir $beside" 'save ""' 'appendonly no' \
        'repl-diskless-sync yes' 'repl-diskless-sync-delay 0' 'daemonize no' > "$beside/conf"
    "$server" - < "$beside/conf" > "$beside/log" 2>&1 &
    process=$!
    while [ "$(REDISCLI_AUTH=$token "$cli" -h 127.0.0.1 -p $port ping 2> /dev/null)" != PONG ]; do
        if ! kill -0 $process 2> /dev/null; then
            echo "the dump cannot be read: $(tail -n 3 "$beside/log")" >&2
            process=
            exit 1
        fi
        sleep 1
    done
    printf 'config set masterauth %s\n' "$token" | tell 'setting masterauth'
    printf 'replicaof 127.0.0.1 %s\n' $port | tell 'replicating'
    # An hour, for what is slow.
    tries=3600
    until [ "$(about replication master_link_status)" = up ] && [ "$(about replication master_sync_in_progress)" = 0 ]; do
        tries=$((tries - 1))
        if [ $tries = 0 ] || ! kill -0 $process 2> /dev/null; then
            echo "the data did not arrive: $(tail -n 3 "$beside/log")" >&2
            leave
            exit 1
        fi
        sleep 1
    done
    leave
    ;;
esac
