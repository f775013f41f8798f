export PGHOST=127.0.0.1 PGUSER="${POSTGRES_USER:-postgres}" PGPASSWORD="$(secret POSTGRES_PASSWORD)" PGCLIENTENCODING=UTF8
export PGOPTIONS='-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0'

ask() { psql -X -A -t -q -v ON_ERROR_STOP=1 "$@"; }
# A name as libpq takes it where it would also take a connection string.
named() { printf "dbname='%s'" "$(printf %s "$1" | sed "s/[\\\\']/\\\\&/g")"; }
databases() {
    ask -d template1 -c "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate AND datname !~ '_landfall_before\$' ORDER BY 1"
}

# What people have made, in the database that is asked: not what the server and its extensions bring.
TABLES="FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'm')
AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_'
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') ORDER BY 1"
NAME="current_database() || '.' || n.nspname || '.' || c.relname"

there() {
    [ -n "$(ask -d template1 -v a="$1" << 'END'
SELECT 1 FROM pg_database WHERE datname = :'a'
END
)" ]
}
drop() {
    ask -d template1 -v a="$1" > /dev/null << 'END'
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :'a' AND pid <> pg_backend_pid();
DROP DATABASE IF EXISTS :"a";
END
}
rename() {
    ask -d template1 -v a="$1" -v b="$2" > /dev/null << 'END'
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :'a' AND pid <> pg_backend_pid();
ALTER DATABASE :"a" RENAME TO :"b";
END
}

case $verb in
ready) ask -d template1 -c 'SELECT 1' > /dev/null ;;
version) ask -d template1 -c 'SHOW server_version' ;;
size) ask -d template1 -c 'SELECT coalesce(sum(pg_database_size(oid)), 0)::bigint FROM pg_database WHERE datallowconn' ;;
databases) databases ;;
tables)
    databases | while IFS= read -r name; do
        ask -d "$(named "$name")" -c "SELECT $NAME $TABLES"
    done
    ;;
count)
    databases | while IFS= read -r name; do
        ask -d "$(named "$name")" << END
SELECT format('SELECT %L || E''\t'' || count(*) FROM %I.%I', $NAME, n.nspname, c.relname) $TABLES
\gexec
END
    done
    ;;
globals) exec pg_dumpall --globals-only -l template1 ;;
dump) exec pg_dump -Fc -Z0 -d "$(named "$database")" ;;
restore-globals)
    # The role that logs in keeps the password that it has here and now; roles that exist already are no error.
    role=$(ask -d template1 -c 'SELECT quote_ident(current_user)')
    grep -vF -e "CREATE ROLE $role;" -e "ALTER ROLE $role WITH " | psql -X -q -d template1 2>&1 > /dev/null | grep -v 'already exists' >&2 || true
    ;;
restore)
    # What was there stays under another name until all of the dump is in, and comes back where that fails. An attempt that was cut off has left it
    # there as well.
    before="${database}_landfall_before"
    if there "$before"; then drop "$database"; rename "$before" "$database"; fi
    if there "$database"; then rename "$database" "$before"; fi
    if pg_restore --create --exit-on-error -d template1; then
        if there "$before"; then drop "$before"; fi
    else
        drop "$database"
        if there "$before"; then rename "$before" "$database"; fi
        exit 1
    fi
    ;;
esac
