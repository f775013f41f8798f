#!/bin/sh
# Stand-ins for the images of MySQL, MongoDB, KeyDB and Dragonfly, whose servers no package holds. Each is as strict as the real one is documented to
# be: about the variables, files, arguments and mounts that it is given, about logging in, and about passwords in arguments.
# Every command of the images is a link to this file. KeyDB and Dragonfly have a real Redis behind them, which reads the configuration and asks for
# the password.
set -e
die() { echo "$(basename "$0"): $*" >&2; exit 1; }
mounted() { grep -q " $1 " /proc/mounts || die "$1 is no volume: the data would be lost with the container"; }
# `VARIABLE` or `VARIABLE_FILE`, and never both.
given() {
    eval "value=\$$1 file=\$$1_FILE"
    [ -z "$value" ] || [ -z "$file" ] || die "both $1 and $1_FILE are set"
    [ -z "$file" ] || { [ -r "$file" ] && value=$(cat "$file"); } || die "$file cannot be read"
    echo "$value"
}
forever() { touch /tmp/ready; while :; do sleep 1; done; }

mysqld() {
    mounted /var/lib/mysql
    for argument in "$@"; do
        case $argument in --*=* | --*) ;; *) die "[ERROR] Too many arguments (first extra is '$argument')." ;; esac
    done
    for file in /etc/mysql/conf.d/*.cnf; do
        [ ! -e "$file" ] || head -n 1 "$file" | grep -q '^\[.*\]$' || die "Found option without preceding group in config file $file"
    done
    cd /var/lib/mysql
    if [ ! -e users ]; then
        root=$(given MYSQL_ROOT_PASSWORD) user=$MYSQL_USER password=$(given MYSQL_PASSWORD)
        [ -n "$root" ] || die "Database is uninitialized and password option is not specified"
        [ "$user" != root ] || die "MYSQL_USER and MYSQL_PASSWORD are for configuring a regular user and cannot be used for the root user"
        [ -z "$user" ] || [ -n "$password" ] || die "MYSQL_USER is set, and MYSQL_PASSWORD is not"
        echo "root $root" > users
        [ -z "$user" ] || echo "$user $password" >> users
        echo "$MYSQL_DATABASE" > databases
        echo first >> starts
    fi
    forever
}

mysql() {
    host= user= database= statement= bare=
    while [ $# -gt 0 ]; do
        case $1 in
        -h) host=$2; shift ;;
        -u) user=$2; shift ;;
        -D) database=$2; shift ;;
        -e) statement=$2; shift ;;
        -N) bare=1 ;;
        -p* | --password*) die "a password in an argument can be read by every process" ;;
        *) die "unknown option '$1'" ;;
        esac
        shift
    done
    # The socket of the official image is not where every client looks for it.
    [ -n "$host" ] && [ -e /tmp/ready ] || die "ERROR 2002 (HY000): Can't connect to local MySQL server"
    grep -qx "$user $MYSQL_PWD" /var/lib/mysql/users || die "ERROR 1045 (28000): Access denied for user '$user'"
    [ -z "$database" ] || grep -qx "$database" /var/lib/mysql/databases || die "ERROR 1049 (42000): Unknown database '$database'"
    [ "$statement" = 'SELECT 1' ] || die "ERROR 1064 (42000): You have an error in your SQL syntax"
    [ -n "$bare" ] || echo 1
    echo 1
}

mongod() {
    mounted /data/db
    mounted /data/configdb
    while [ $# -gt 0 ]; do
        case $1 in
        --config | -f) grep -q '^[a-zA-Z]*:' "$2" || die "Error parsing YAML config file $2"; shift ;;
        --*) ;;
        *) die "Error parsing command line: too many positional options have been specified on the command line" ;;
        esac
        shift
    done
    if [ ! -e /data/db/users ]; then
        user=$(given MONGO_INITDB_ROOT_USERNAME) password=$(given MONGO_INITDB_ROOT_PASSWORD)
        [ -n "$user" ] && [ -n "$password" ] || die "both MONGO_INITDB_ROOT_USERNAME and MONGO_INITDB_ROOT_PASSWORD have to be set"
        echo "$user $password" > /data/db/users
        echo first >> /data/db/starts
    fi
    forever
}

mongosh() {
    file=
    case ${2:-} in *.js) answer "$2"; return ;; esac
    while [ $# -gt 0 ]; do
        case $1 in
        --quiet | --nodb) ;;
        --file | -f) file=$2; shift ;;
        --password* | -p) die "a password in an argument can be read by every process" ;;
        *) die "Error parsing command line: unrecognized option: $1" ;;
        esac
        shift
    done
    [ -e /tmp/ready ] || die "MongoNetworkError: connect ECONNREFUSED 127.0.0.1:27017"
    login=$(sed -n 's|^db = connect("mongodb://\(.*\)@127\.0\.0\.1:27017/admin"); print(db\.runCommand({ ping: 1 })\.ok);$|\1|p' "$file")
    [ -n "$login" ] || die "SyntaxError: $file"
    user=$(busybox httpd -d "${login%%:*}") password=$(busybox httpd -d "${login#*:}")
    grep -qx "$user $password" /data/db/users || die "MongoServerError: Authentication failed."
    echo 1
}

# What a script asks of the collections that are written down, a line each: `database.collection<TAB>documents`.
answer() {
    [ -e /tmp/ready ] || die "MongoNetworkError: connect ECONNREFUSED 127.0.0.1:27017"
    collections=/data/db/collections
    [ -e $collections ] || : > $collections
    login=$(sed -n 's|^db\.getSiblingDB("admin")\.auth("\(.*\)", "\(.*\)");$|\1 \2|p' "$1" | sed 's/\\\(.\)/\1/g')
    grep -qxF "$login" /data/db/users || die "MongoServerError: Authentication failed."
    case $(sed 1d "$1") in
    'db.adminCommand({ ping: 1 }).ok || quit(1)') ;;
    'print(db.version())') echo 7.0.5 ;;
    'print(db.adminCommand({ listDatabases: 1 }).totalSize.toString())') wc -c < $collections ;;
    *"print(d + '.' + c) }) })") cut -f 1 $collections ;;
    *"print(d + '.' + c + '\t' + db.getSiblingDB(d).getCollection(c).countDocuments({})) }) })") cat $collections ;;
    *) die "SyntaxError: $(cat "$1")" ;;
    esac
}

# mongodump and mongorestore: the password in a file of YAML, the archive on standard output and input.
mongotool() {
    config= user= database= archive= drop= exclude=
    while [ $# -gt 0 ]; do
        case $1 in
        --config) config=$2; shift ;;
        --username) user=$2; shift ;;
        --authenticationDatabase) database=$2; shift ;;
        --nsExclude) exclude=$2; shift ;;
        --archive) archive=1 ;;
        --drop) drop=1 ;;
        --quiet) ;;
        --password* | -p*) die "a password in an argument can be read by every process" ;;
        *) die "error parsing command line options: unknown option \"$1\"" ;;
        esac
        shift
    done
    password=$(sed -n "s/^password: '\(.*\)'$/\1/p" "$config" | sed "s/''/'/g")
    [ "$database" = admin ] && grep -qxF "$user $password" /data/db/users || die "unable to authenticate using mechanism SCRAM-SHA-256"
    [ -n "$archive" ] || die "writing to the directory dump, which nobody reads"
}

mongodump() { mongotool "$@"; echo 'archive of mongodump'; cat /data/db/collections; }

mongorestore() {
    mongotool "$@"
    [ -n "$drop" ] && [ "$exclude" = 'admin.system.*' ] || die "what is there is not replaced, or its users are"
    read -r first
    [ "$first" = 'archive of mongodump' ] || die "Failed: stream or file does not appear to be a mongodump archive"
    cat > /data/db/collections
}

keydb_server() {
    mounted /data
    case $1 in *.conf) ;; *) die "a configuration file was expected, and not '$1'" ;; esac
    exec redis-server "$@"
}

dragonfly() {
    : > /tmp/dragonfly.conf
    directory=/data
    chmod 600 /tmp/dragonfly.conf
    for argument in "$@"; do
        case $argument in
        --logtostderr) ;;
        --flagfile=*)
            while read -r flag; do
                case $flag in
                --requirepass=*) echo "requirepass \"${flag#*=}\"" >> /tmp/dragonfly.conf ;;
                --dir=*) directory=${flag#*=} ;;
                --dbfilename=*) [ "$flag" != --dbfilename= ] || echo 'save ""' >> /tmp/dragonfly.conf ;;
                --maxmemory=* | --dbnum=* | --proactor_threads=* | '') ;;
                *) die "ERROR: Unknown command line flag '$flag'" ;;
                esac
            done < "${argument#*=}" ;;
        --requirepass*) die "a password in an argument can be read by every process" ;;
        --maxmemory=*) ;;
        *) die "ERROR: Unknown command line flag '$argument'" ;;
        esac
    done
    [ "$directory" = /tmp ] || mounted "$directory"
    printf '%s\n' "dir $directory" 'enable-debug-command local' >> /tmp/dragonfly.conf
    exec redis-server /tmp/dragonfly.conf
}

# What redis-cli gets of a Dragonfly, where that differs: commands of its own, fields of INFO, and no dump for replicas of Redis.
redis_cli() {
    [ -e /tmp/dragonfly.conf ] || exec redis-client "$@"
    case " $* " in
    *' --rdb '*) die "SYNC with master failed: -ERR unknown command 'SYNC'" ;;
    *' info server '*) redis-client "$@" && printf 'dragonfly_version:df-v1.25.4\r\n'; return ;;
    esac
    case $#:$1 in 2:-h) ;; *) exec redis-client "$@" ;; esac
    directory=$(redis-client "$@" config get dir | tail -n 1)
    # A name within its directory, as documented; `dfly load` empties it first and reads what ends with .rdb alone.
    while read -r command what file; do
        case "$command $what" in
        'save rdb')
            case $file in */*) echo 'ERR invalid file name' ;; *) redis-client "$@" --rdb "$directory/$file" > /dev/null && echo OK ;; esac ;;
        'dfly load')
            [ -r "$file" ] && [ "${file%.rdb}" != "$file" ] || { echo 'ERR Bad filename extension'; continue; }
            redis-client "$@" flushall > /dev/null
            redis-check-rdb "$file" > /dev/null 2>&1 || { echo 'ERR Internal error when loading RDB file 5'; continue; }
            cp "$file" "$directory/dump.rdb"
            redis-client "$@" debug reload nosave noflush ;;
        *) echo "$command $what $file" | redis-client "$@" ;;
        esac
    done
}

case $(basename "$0") in
entry)
    # As the official entry points: what begins with a dash is for the server.
    server=${MYSQL_ROOT_PASSWORD_FILE:+mysqld}${MONGO_INITDB_ROOT_PASSWORD_FILE:+mongod}
    case ${1:--} in -) exec "$server" ;; -*) exec "$server" "$@" ;; *) exec "$@" ;; esac ;;
mysqld) mysqld "$@" ;;
mysql) mysql "$@" ;;
mongod) mongod "$@" ;;
mongosh) mongosh "$@" ;;
mongodump) mongodump "$@" ;;
mongorestore) mongorestore "$@" ;;
keydb-server) keydb_server "$@" ;;
keydb-cli | redis-cli) redis_cli "$@" ;;
dragonfly) dragonfly "$@" ;;
esac
