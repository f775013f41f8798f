user=${MONGO_INITDB_ROOT_USERNAME:-}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
config=$scratch/config
if [ -n "$user" ]; then
    # As a string of YAML.
    printf "password: '%s'\n" "$(secret MONGO_INITDB_ROOT_PASSWORD | sed "s/'/''/g")" > "$config"
    tool() { name=$1; shift; "$name" --config "$config" --username "$user" --authenticationDatabase admin "$@"; }
else
    tool() { "$@"; }
fi
shell=$(command -v mongosh || command -v mongo)
ask() {
    # The shell takes a password in no other way than in an argument or a script, and takes what does not end with `.js` for an address.
    script=$scratch/ask.js
    : > "$script"
    if [ -n "$user" ]; then
        quoted() { printf '"%s"' "$(printf %s "$1" | sed 's/[\\"]/\\&/g')"; }
        printf 'db.getSiblingDB("admin").auth(%s, %s);\n' "$(quoted "$user")" "$(quoted "$(secret MONGO_INITDB_ROOT_PASSWORD)")" > "$script"
    fi
    printf '%s\n' "$1" >> "$script"
    "$shell" --quiet "$script"
}
EACH='db.getMongo().getDBNames().filter(function (d) { return ["admin", "config", "local"].indexOf(d) < 0 }).sort().forEach(function (d) {
    db.getSiblingDB(d).getCollectionNames().sort().forEach(function (c) {'

case $verb in
ready) ask 'db.adminCommand({ ping: 1 }).ok || quit(1)' > /dev/null ;;
version) ask 'print(db.version())' ;;
size) ask 'print(db.adminCommand({ listDatabases: 1 }).totalSize.toString())' ;;
databases) echo ;;
tables) ask "$EACH print(d + '.' + c) }) })" ;;
count) ask "$EACH print(d + '.' + c + '\t' + db.getSiblingDB(d).getCollection(c).countDocuments({})) }) })" ;;
dump) tool mongodump --quiet --archive ;;
restore) tool mongorestore --quiet --archive --drop --nsExclude 'admin.system.*' ;;
esac
