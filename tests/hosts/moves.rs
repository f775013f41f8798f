//! Databases and stacks that move from one server to another, both reached over SSH: the data goes through Landfall, and nothing of it is on its disk.

use super::fleet::{Fleet, destination};
use crate::support::databases::{IMAGE, import, postgres_version};

const STACK: &str = "services:
  web: { image: 'landfall/busybox:test', command: [sleep, '1000000'], stop_signal: SIGKILL, volumes: ['data:/data'] }
volumes: { data: {} }
";

fn question(host: &crate::support::Host, statement: &str) -> String {
    let line = "PGPASSWORD=$(cat /landfall/password) psql -h 127.0.0.1 -U keeper -d goods -P pager=off -qtAc \"$0\"";
    host.exec("default-orders", &["sh", "-c", line, statement]).trim().to_owned()
}

#[test]
fn a_database_and_a_stack_move_to_another_server_with_their_data() {
    let fleet = Fleet::start(2, &["ForceCommand /bin/false"]);
    let (near, far) = (&fleet.edges[0].host, &fleet.edges[1].host);
    for host in [near, far] {
        import(host);
        // Makes the image.
        let _ = host.container("none");
    }
    std::fs::write(fleet.path("stack.yaml"), STACK).unwrap();
    let servers: String = (1..)
        .zip(&fleet.edges)
        .map(|(number, edge)| fleet.server(number, &edge.endpoint) + &destination(number, "web"))
        .collect();
    let resources = format!(
        "apiVersion: landfall/v1\nkind: Database\nmetadata: {{ name: orders }}\nspec:\n  destination: web-1\n  engine: PostgreSQL\n  version: '{}'\n  \
         image: {IMAGE}\n  credentials: {{ username: keeper, database: goods, password: {{ file: orders.secret, generate: true }} }}\n  \
         stopGracePeriodSeconds: 5\n---\napiVersion: landfall/v1\nkind: Service\nmetadata: {{ name: cms }}\n\
         spec: {{ destination: web-1, compose: {{ project: cms, file: stack.yaml }}, connectToDestination: true }}\n",
        postgres_version()
    );
    fleet.write(&(servers.clone() + &resources));
    fleet.run("apply --timeout 120s").expect(0);
    question(near, "create table t as select g, 'it''s ' || g note from generate_series(1, 1000) g");
    let answer = "select count(*), md5(string_agg(note, ',' order by g)) from t";
    let before = question(near, answer);
    assert!(before.starts_with("1000|"), "{before}");
    near.exec("cms-web-1", &["sh", "-c", "echo text >/data/file && chown 7:8 /data/file"]);

    let database = fleet.run("move database orders --to web-2 --with-volumes").expect(0);
    assert!(
        database.stderr.contains("on default/edge-2") && database.stderr.contains("the same at both ends"),
        "{database}"
    );
    let stack = fleet.run("move service cms --to web-2 --with-volumes").expect(0);
    assert_eq!((near.state("default-orders").as_str(), near.state("cms-web-1").as_str()), ("exited", "exited"));
    fleet.write(&format!("{servers}{}---\n{}", database.stdout, stack.stdout));
    fleet.run("apply --prune --yes --timeout 120s").expect(0);
    assert_eq!(question(far, answer), before);
    assert_eq!(far.exec("cms-web-1", &["stat", "-c", "%u:%g %s", "/data/file"]).trim(), "7:8 5");
    assert_eq!(far.networks_of("cms-web-1"), ["cms_default", "web-net"]);
    assert_eq!(near.get("/containers/json?all=1"), serde_json::json!([]), "the volumes alone stay");
    let volumes = near.get("/volumes")["Volumes"].as_array().map_or(0, Vec::len);
    assert_eq!(volumes, 2);
    fleet.run("diff").expect(0);
}
