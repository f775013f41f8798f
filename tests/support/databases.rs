//! An image with PostgreSQL, MariaDB and ClickHouse out of Debian's packages, and an entry point that does on its first start what those of the
//! official images do.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Host;

pub(crate) const IMAGE: &str = "landfall/databases:test";
const PROGRAMS: [&str; 6] = ["postgres", "initdb", "psql", "pg_dump", "pg_dumpall", "pg_restore"];
const ENTRY: &str = include_str!("databases.sh");

/// PostgreSQL's programs, whichever version Debian has.
fn postgres() -> PathBuf {
    let found = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let versions: Vec<PathBuf> =
        found.map(|entry| entry.path()).filter(|path| path.join("bin/postgres").exists()).collect();
    versions.into_iter().max().expect("PostgreSQL is not installed; scripts/test installs it")
}

/// Its major version.
pub(crate) fn postgres_version() -> String {
    postgres().file_name().unwrap().to_str().unwrap().to_owned()
}

pub(crate) fn import(host: &Host) {
    let postgres = postgres();
    let version = postgres_version();
    let of_postgres = PROGRAMS.map(|name| postgres.join("bin").join(name).display().to_string());
    let others = [
        "/usr/sbin/mariadbd",
        "/usr/bin/mariadb",
        "/usr/bin/mariadb-dump",
        "/usr/bin/my_print_defaults",
        "/usr/bin/resolveip",
        "/usr/sbin/clickhouse-server",
        "/usr/bin/clickhouse-client",
    ];
    let programs: Vec<&str> = of_postgres.iter().map(String::as_str).chain(others).collect();
    host.import_image_as(IMAGE, &programs, &["ENTRYPOINT [\"/entry\"]"], |root| {
        for (name, program) in PROGRAMS.iter().zip(&of_postgres) {
            symlink(program, root.join("usr/bin").join(name)).unwrap();
        }
        for directory in ["etc", "var/lib", "run", "usr/share/postgresql", "usr/share/zoneinfo"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        copy(&postgres.join("lib"), &root.join("usr/lib/postgresql").join(&version));
        // What compiles queries is larger than all the rest.
        for bulk in ["lib/bitcode", "lib/llvmjit.so"] {
            let path = root.join("usr/lib/postgresql").join(&version).join(bulk);
            let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        }
        copy(&Path::new("/usr/share/postgresql").join(&version), &root.join("usr/share/postgresql"));
        copy(Path::new("/usr/share/mysql"), &root.join("usr/share"));
        copy(Path::new("/usr/bin/mariadb-install-db"), &root.join("usr/bin"));
        copy(Path::new("/usr/share/zoneinfo/UTC"), &root.join("usr/share/zoneinfo"));
        symlink("/usr/share/zoneinfo/UTC", root.join("etc/localtime")).unwrap();
        let users = "root:x:0:0::/:/bin/sh\npostgres:x:70:70::/:/bin/sh\nmysql:x:71:71::/:/bin/sh\n";
        fs::write(root.join("etc/passwd"), users).unwrap();
        fs::write(root.join("etc/group"), "root:x:0:\npostgres:x:70:\nmysql:x:71:\n").unwrap();
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::write(root.join("entry"), ENTRY).unwrap();
        fs::set_permissions(root.join("entry"), fs::Permissions::from_mode(0o755)).unwrap();
    });
}

/// A file or a directory with all that is in it, links followed.
fn copy(from: &Path, into: &Path) {
    fs::create_dir_all(into).unwrap();
    let done = Command::new("cp").arg("-RL").arg(from).arg(into).status().unwrap();
    assert!(done.success(), "{} is not there; scripts/test installs it", from.display());
}
