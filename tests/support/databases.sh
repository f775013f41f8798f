#!/bin/sh
# What the official images do on their first start, as far as Landfall counts on it.
set -e
kind=${POSTGRES_USER:+postgres}${MARIADB_DATABASE:+mariadb}${CLICKHOUSE_USER:+clickhouse}
as() { user=$1; shift; exec su -s /bin/sh "$user" -c 'exec "$0" "$@"' -- "$@"; }
case $kind in
postgres)
    data=${PGDATA:-/var/lib/postgresql/data}
    if [ ! -s "$data/PG_VERSION" ]; then
        mkdir -p "$data"
        chown postgres "$data"
        chmod 700 "$data"
        cp "$POSTGRES_PASSWORD_FILE" /tmp/password
        chown postgres /tmp/password
        (as postgres initdb -D "$data" -U "$POSTGRES_USER" --pwfile=/tmp/password --locale=C -A scram-sha-256)
        rm /tmp/password
        echo 'host all all all scram-sha-256' >> "$data/pg_hba.conf"
        [ "$POSTGRES_DB" = postgres ] ||
            echo "CREATE DATABASE \"$POSTGRES_DB\";" | (as postgres postgres --single -j -D "$data" postgres)
    fi
    as postgres postgres -D "$data" -c listen_addresses='*' -c unix_socket_directories=/tmp "$@"
    ;;
mariadb)
    data=/var/lib/mysql
    if [ ! -d "$data/mysql" ]; then
        mkdir -p "$data"
        chown mysql "$data"
        mariadb-install-db --user=mysql --datadir="$data" --auth-root-authentication-method=normal --skip-test-db --skip-name-resolve --force > /tmp/install 2>&1 || { cat /tmp/install; exit 1; }
        password=$(cat "$MARIADB_ROOT_PASSWORD_FILE")
        {
            echo "CREATE USER 'root'@'%' IDENTIFIED BY '$password';"
            echo "GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;"
            echo "DROP USER IF EXISTS 'root'@'127.0.0.1', 'root'@'::1';"
            echo "ALTER USER 'root'@'localhost' IDENTIFIED BY '$password';"
            echo "CREATE DATABASE IF NOT EXISTS \`$MARIADB_DATABASE\`;"
            [ -z "$MARIADB_USER" ] || {
                echo "CREATE USER '$MARIADB_USER'@'%' IDENTIFIED BY '$(cat "$MARIADB_PASSWORD_FILE")';"
                echo "GRANT ALL ON \`$MARIADB_DATABASE\`.* TO '$MARIADB_USER'@'%';"
            }
        } > /tmp/first.sql
        chown mysql /tmp/first.sql
        chmod 600 /tmp/first.sql
        mariadbd --version | sed 's/.*Ver \([^ ]*\).*/\1/' > "$data/mariadb_upgrade_info"
        set -- --init-file=/tmp/first.sql "$@"
    fi
    exec mariadbd --user=mysql --datadir="$data" --socket=/tmp/mysqld.sock --pid-file=/tmp/mysqld.pid --skip-name-resolve "$@"
    ;;
clickhouse)
    data=/var/lib/clickhouse
    mkdir -p /run/clickhouse "$data/tmp" "$data/user_files" "$data/format_schemas"
    cat > /run/clickhouse/users.xml << END
<yandex>
    <profiles><default><max_memory_usage>1000000000</max_memory_usage></default></profiles>
    <quotas><default></default></quotas>
    <users><$CLICKHOUSE_USER>
        <password>$(cat "$CLICKHOUSE_PASSWORD_FILE")</password>
        <networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
    </$CLICKHOUSE_USER></users>
</yandex>
END
    cat > /run/clickhouse/config.xml << END
<yandex>
    <logger><level>warning</level><console>1</console></logger>
    <tcp_port>9000</tcp_port><listen_host>0.0.0.0</listen_host>
    <path>$data/</path><tmp_path>$data/tmp/</tmp_path><user_files_path>$data/user_files/</user_files_path>
    <format_schema_path>$data/format_schemas/</format_schema_path>
    <users_config>/run/clickhouse/users.xml</users_config>
    <default_profile>default</default_profile><default_database>default</default_database>
    <mark_cache_size>5368709120</mark_cache_size>
</yandex>
END
    exec clickhouse-server --config-file=/run/clickhouse/config.xml "$@"
    ;;
*) exec "$@" ;;
esac
