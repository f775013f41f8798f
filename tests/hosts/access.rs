//! Servers that do not let us in, or that we do not believe.

use std::fs;

use super::fleet::{Fleet, destination};
use crate::support::authority::{Authority, Certified, Validity, text};
use crate::support::{Host, Lan};

#[test]
fn a_key_that_is_not_authorized_is_denied_and_the_others_are_served() {
    let fleet = Fleet::start(2, &[]);
    let keys = fleet.edges[0].sshd.path("authorized_keys");
    let authorized = fs::read_to_string(&keys).unwrap();
    fs::write(&keys, "").unwrap();
    let ran = fleet.run("apply -o json").expect(2);
    let report = ran.json();
    assert!(report["notes"].as_array().unwrap().iter().any(|note| note["reason"] == "PermissionDenied"), "{ran}");
    assert!(ran.stderr.contains("denies access") && ran.stderr.contains("refused"), "{ran}");
    assert_eq!((fleet.edges[0].networks(), fleet.edges[1].networks()), (0, 1));
    fs::write(&keys, authorized).unwrap();
    fleet.run("apply").expect(0);
    fleet.expect_converged();
}

#[test]
fn a_changed_host_key_is_never_accepted_and_the_others_are_served() {
    let mut fleet = Fleet::start(2, &[]);
    let before = fleet.edges[0].sshd.fingerprint("ed25519");
    fleet.edges[0].sshd.change_host_key("ed25519");
    let after = fleet.edges[0].sshd.fingerprint("ed25519");
    for _ in 0..2 {
        let ran = fleet.run("apply -o json").expect(2);
        let report = ran.json();
        assert!(report["notes"].as_array().unwrap().iter().any(|note| note["reason"] == "HostKeyMismatch"), "{ran}");
        assert!(ran.stderr.contains(&before) && ran.stderr.contains(&after), "both fingerprints\n{ran}");
        assert!(ran.stderr.contains("ssh-keyscan"), "{ran}");
        assert_eq!((fleet.edges[0].networks(), fleet.edges[1].networks()), (0, 1));
    }
    let known: String = fleet.edges.iter().map(|edge| edge.sshd.known_hosts_lines(&edge.sshd.known_name())).collect();
    fleet.client.set_known_hosts(&known);
    fleet.run("apply").expect(0);
    fleet.expect_converged();
}

#[test]
fn an_expired_certificate_is_called_expired_and_the_others_are_served() {
    let fleet = Fleet::start(1, &[]);
    let authority = Authority::new();
    let Certified { certificate: client, key: client_key } = authority.client();
    let tls_host = |lan: &Lan, address: &str, validity| {
        let Certified { certificate, key } = authority.server(&format!("IP:{address}"), validity);
        let host = Host::builder()
            .on(lan)
            .argument("--tlsverify")
            .argument(&format!("--tlscacert={}", text(&authority.certificate())))
            .argument(&format!("--tlscert={}", text(&certificate)))
            .argument(&format!("--tlskey={}", text(&key)))
            .argument(&format!("-H=tcp://{address}:2376"))
            .start();
        assert_eq!(host.address().to_string(), address);
        host
    };
    let manifest = |number: usize, host: &Host| {
        format!(
            "apiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: edge-{number} }}\nspec:\n  endpoint: tcp://{}:2376\n  \
             tls: {{ caFile: {}, certFile: {}, keyFile: {} }}\n---\n{}",
            host.address(),
            text(&authority.certificate()),
            text(&client),
            text(&client_key),
            destination(number, "web"),
        )
    };
    let good = tls_host(&fleet.lan, "10.99.0.3", Validity::Now);
    let expired = tls_host(&fleet.lan, "10.99.0.4", Validity::Past);
    let over_ssh = fleet.server(1, &fleet.edges[0].endpoint) + &destination(1, "web");
    fleet.write(&(over_ssh.clone() + &manifest(2, &good) + &manifest(3, &expired)));
    let ran = fleet.run("apply -o json").expect(2);
    assert!(ran.stderr.contains("the daemon's certificate at tcp://10.99.0.4:2376 has expired"), "{ran}");
    let report = ran.json();
    assert!(report["notes"].as_array().unwrap().iter().any(|note| note["reason"] == "ServerUnreachable"), "{ran}");
    assert_eq!(good.network_ids("web-net").len(), 1, "over TLS");
    assert_eq!(fleet.edges[0].networks(), 1, "over SSH");
    assert_eq!(expired.network_ids("web-net").len(), 0);
    fleet.write(&(over_ssh + &manifest(2, &good)));
    fleet.run("diff").expect(0);
}
