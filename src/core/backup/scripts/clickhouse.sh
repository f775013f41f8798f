TAB=$(printf '\t')
config=/landfall/client.xml
scratch=''
trap 'if [ -n "$scratch" ]; then rm -f "$scratch"; fi' EXIT
if [ ! -r "$config" ]; then
    xml() { printf %s "$1" | sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g'; }
    scratch=$(mktemp)
    config=$scratch
    printf '<config><user>%s</user><password>%s</password></config>' \
        "$(xml "${CLICKHOUSE_USER:-default}")" "$(xml "$(secret CLICKHOUSE_PASSWORD)")" > "$config"
fi

ask() { clickhouse-client --config-file "$config" --host 127.0.0.1 "$@"; }
# As an identifier, and as a text.
named() { printf '`%s`' "$(printf %s "$1" | sed 's/[\\`]/\\&/g')"; }
text() { printf "'%s'" "$(printf %s "$1" | sed "s/[\\\\']/\\\\&/g")"; }

# What people have made; what a dump that was cut off has left aside counts for nothing.
OWN="database NOT IN ('system', 'information_schema', 'INFORMATION_SCHEMA', '_temporary_and_external_tables') AND NOT is_temporary AND name NOT LIKE '%_landfall_before'"
# Those that hold rows of their own: of the others the definition is all there is.
HOLDS="(engine LIKE '%MergeTree' OR engine LIKE '%Log' OR engine = 'Memory')"

# Sets name, db and table from `database.table`.
split() {
    db=${1%%.*} table=${1#*.}
    name="$(named "$db").$(named "$table")"
}
exists() { [ "$(ask -q "SELECT count() FROM system.tables WHERE database = $(text "$1") AND name = $(text "$2")")" != 0 ]; }

case $verb in
ready)
    # What cannot be brought back table by table is copied as the files that it is.
    odd=$(ask -q "SELECT concat(database, '.', name) FROM system.tables WHERE $OWN AND
        (name LIKE '.inner%' OR engine = 'Dictionary' OR engine LIKE 'Replicated%' OR database LIKE '%.%') LIMIT 1")
    if [ -n "$odd" ]; then echo "$odd can only be copied with all files" >&2; exit 1; fi
    ;;
version) ask -q 'SELECT version()' ;;
size) ask -q 'SELECT sum(bytes_on_disk) FROM system.parts WHERE active' ;;
# Each table by itself: views come after what they look at.
databases) ask -q "SELECT concat(database, '.', name) FROM system.tables WHERE $OWN ORDER BY engine LIKE '%View', database, name FORMAT TabSeparatedRaw" ;;
tables) ask -q "SELECT concat(database, '.', name) FROM system.tables WHERE $OWN AND $HOLDS ORDER BY database, name FORMAT TabSeparatedRaw" ;;
count)
    ask -q "SELECT concat(database, '.', name) FROM system.tables WHERE $OWN AND $HOLDS ORDER BY database, name FORMAT TabSeparatedRaw" | while IFS= read -r each; do
        split "$each"
        printf '%s%s%s\n' "$each" "$TAB" "$(ask -q "SELECT count() FROM $name" < /dev/null)"
    done
    ;;
dump)
    # The number of lines of the definition and whether rows follow, the definition, the rows.
    split "$database"
    definition=$(ask -q "SHOW CREATE TABLE $name FORMAT TabSeparatedRaw")
    holds=$(ask -q "SELECT count() FROM system.tables WHERE database = $(text "$db") AND name = $(text "$table") AND $HOLDS")
    if [ "$holds" != 0 ]; then holds=$(ask -q "SELECT count() > 0 FROM $name"); fi
    printf '%s %s\n%s\n' "$(printf '%s\n' "$definition" | wc -l | tr -d ' ')" "$holds" "$definition"
    if [ "$holds" != 0 ]; then ask -q "SELECT * FROM $name FORMAT Native"; fi
    ;;
restore)
    split "$database"
    IFS=' ' read -r lines holds
    definition=''
    while [ "$lines" -gt 0 ]; do
        IFS= read -r line
        definition="$definition$line
"
        lines=$((lines - 1))
    done
    ask -q "CREATE DATABASE IF NOT EXISTS $(named "$db")" < /dev/null
    # What was there is put aside until the rows are in, and comes back where they are not.
    before="$(named "$db").$(named "${table}_landfall_before")"
    aside() { exists "$db" "${table}_landfall_before" < /dev/null; }
    if exists "$db" "$table" < /dev/null; then
        ask -q "DROP TABLE IF EXISTS $before" < /dev/null
        ask -q "RENAME TABLE $name TO $before" < /dev/null
    fi
    limits=''
    for limit in max_partitions_per_insert_block max_execution_time; do
        if [ "$(ask -q "SELECT count() FROM system.settings WHERE name = '$limit'" < /dev/null)" != 0 ]; then limits="$limits --$limit 0"; fi
    done
    if ask -q "$definition" < /dev/null && { [ "$holds" = 0 ] || ask $limits -q "INSERT INTO $name FORMAT Native"; }; then
        ask -q "DROP TABLE IF EXISTS $before" < /dev/null
    else
        ask -q "DROP TABLE IF EXISTS $name" < /dev/null
        if aside; then ask -q "RENAME TABLE $before TO $name" < /dev/null; fi
        exit 1
    fi
    ;;
esac
