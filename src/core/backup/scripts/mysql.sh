program() { command -v "mariadb$2" || command -v "mysql$1" || { echo "neither mariadb$2 nor mysql$1 is in the container" >&2; exit 127; }; }
client=$(program '' '')
MYSQL_PWD=$(secret MARIADB_ROOT_PASSWORD)
[ -n "$MYSQL_PWD" ] || MYSQL_PWD=$(secret MYSQL_ROOT_PASSWORD)
export MYSQL_PWD
# The image lets root in over TCP unless it was told otherwise; then the socket is left. An account of the loopback address may be another one.
for host in 127.0.0.1 "$(hostname -i 2> /dev/null | cut -d' ' -f1)" localhost; do
    "$client" -h "$host" -u root -e 'SELECT 1' > /dev/null 2>&1 && break
done
ask() { "$client" -h "$host" -u root --default-character-set=utf8mb4 -B -N "$@"; }

OWN="NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')"

case $verb in
ready) [ "$host" != localhost ] ;;
version) ask -e 'SELECT VERSION()' ;;
size) ask -e "SELECT CAST(COALESCE(SUM(data_length + index_length), 0) AS UNSIGNED) FROM information_schema.tables WHERE table_schema $OWN" ;;
databases) ask -e "SELECT schema_name FROM information_schema.schemata WHERE schema_name $OWN ORDER BY 1" ;;
tables) ask -e "SELECT CONCAT(table_schema, '.', table_name) FROM information_schema.tables WHERE table_schema $OWN AND table_type = 'BASE TABLE' ORDER BY 1" ;;
count)
    # The server writes the question.
    ask -r -e "SELECT CONCAT('SELECT ', QUOTE(CONCAT(table_schema, '.', table_name)), ', COUNT(*) FROM \`', REPLACE(table_schema, '\`', '\`\`'), '\`.\`', REPLACE(table_name, '\`', '\`\`'), '\`;')
        FROM information_schema.tables WHERE table_schema $OWN AND table_type = 'BASE TABLE' ORDER BY 1" | ask
    ;;
dump)
    # One snapshot of all tables of a transactional engine; MyISAM has none.
    exec "$(program dump -dump)" -h "$host" -u root --default-character-set=utf8mb4 --single-transaction --quick --routines --events --triggers \
        --hex-blob --add-drop-database --databases "$database"
    ;;
restore) ask ;;
esac
