//! Podman's Docker-compatible API, as far as it goes. docs/reference/podman.md tells the same to people.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;

use super::conformance;
use super::docker::DockerSubject;
use crate::cli::run::{command, finish};
use crate::support::Host;

/// A case that Podman does not pass.
struct Difference {
    case: &'static str,
    /// Of how it fails.
    words: &'static str,
    /// What the documentation says of it.
    told: &'static str,
}

/// Connecting is refused.
const CONNECTING: &str = "**Connecting and disconnecting** are refused";
/// Removing is refused.
const REMOVING: &str = "**Removing** a network is refused";

const DIFFERENCES: &[Difference] = &[
    Difference {
        case: "a_created_network_is_listed_as_it_was_asked_for",
        words: "ip_range: None",
        told: "`ipRange` of a subnet is lost",
    },
    Difference { case: "predefined_networks_are_there_and_cannot_be_removed", words: "left: Other", told: REMOVING },
    Difference {
        case: "a_live_container_has_an_address_and_a_stopped_one_has_none",
        words: "left: None",
        told: "does not have their ids",
    },
    Difference {
        case: "a_container_on_the_hosts_network_stays_there",
        words: "left: \"\"",
        told: "The network mode of a container is not in the list",
    },
    Difference { case: "a_removed_network_is_gone_and_not_found_again", words: "this is Podman", told: REMOVING },
    Difference { case: "a_running_container_keeps_a_network_in_use", words: "left: Other", told: REMOVING },
    Difference {
        case: "a_stopped_container_does_not_and_is_pinned_to_what_was_removed",
        words: "this is Podman",
        told: REMOVING,
    },
    Difference {
        case: "a_pinned_container_does_not_start_until_it_is_reconnected",
        words: "this is Podman",
        told: REMOVING,
    },
    Difference { case: "settings_are_kept_and_shown_by_inspection_alone", words: "this is Podman", told: CONNECTING },
    Difference {
        case: "connecting_a_stopped_container_keeps_the_settings_until_it_starts",
        words: "this is Podman",
        told: CONNECTING,
    },
    Difference { case: "nothing_is_connected_to_what_is_missing", words: "left: Other", told: CONNECTING },
    Difference { case: "connecting_twice_is_refused", words: "left: Other", told: CONNECTING },
    Difference { case: "disconnecting_twice_is_refused", words: "this is Podman", told: CONNECTING },
    Difference { case: "a_static_address_needs_a_subnet_of_ones_own", words: "left: Other", told: CONNECTING },
    Difference { case: "a_static_address_is_given_once", words: "this is Podman", told: CONNECTING },
];

/// A case passes, or fails as it is known to: what changes either way is worth telling.
async fn as_known(name: &str, case: impl Future<Output = ()>) {
    let known = DIFFERENCES.iter().find(|difference| difference.case == name);
    match (known, AssertUnwindSafe(case).catch_unwind().await) {
        (None, Ok(())) => {}
        (None, Err(panic)) => std::panic::resume_unwind(panic),
        (Some(_), Ok(())) => panic!("Podman passes {name} now: take it out of the list, and out of the documentation"),
        (Some(Difference { words, .. }), Err(panic)) => {
            let said = panic.downcast_ref::<String>().cloned();
            let said = said.or_else(|| panic.downcast_ref::<&str>().map(|&said| said.to_owned())).unwrap_or_default();
            assert!(said.contains(words), "{name} does not fail as it is known to, with {words:?}, but with {said}");
        }
    }
}

conformance!(engine, DockerSubject::on(Host::builder().podman().start()), as_known);

#[test]
fn what_podman_does_otherwise_is_told_to_people() {
    let told = include_str!("../../docs/reference/podman.md");
    let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
    for difference in DIFFERENCES {
        assert!(told.contains(difference.told), "{}: {:?}", difference.case, difference.told);
    }
}

/// A look is a look, and what is refused is refused before anything is asked of Podman.
#[test]
fn on_podman_networks_are_looked_at_and_created_and_the_rest_is_refused() {
    let host = Host::builder().podman().start();
    host.container("app").running();
    let directory = tempfile::tempdir().unwrap();
    let manifests = format!(
        "apiVersion: landfall/v1\nkind: Server\nmetadata: {{ name: pod-1 }}\nspec: {{ endpoint: '{}' }}\n---\n\
         apiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: web }}\nspec: {{ server: pod-1, network: {{ name: web-net }} }}\n",
        host.endpoint()
    );
    let application = "---\napiVersion: landfall/v1\nkind: Application\nmetadata: { name: app }\n\
                       spec: { destination: web, containers: { names: [app] } }\n";
    let run = |arguments: &[&str], manifests: &str| {
        std::fs::write(directory.path().join("all.yaml"), manifests).unwrap();
        let mut landfall = command();
        landfall.current_dir(directory.path()).env("XDG_STATE_HOME", directory.path().join("state"));
        finish(landfall.args(arguments).args(["-f", "all.yaml"]), "")
    };
    assert_eq!((host.network_ids("bridge").len(), host.network_ids("host").len()), (1, 0));
    run(&["apply"], &manifests).expect(0);
    assert_eq!(host.network_ids("web-net").len(), 1);
    run(&["diff"], &manifests).expect(0);

    let connecting = run(&["apply"], &(manifests.clone() + application)).expect(2);
    assert!(connecting.stdout.contains("this is Podman"), "{connecting}");
    assert_eq!(host.networks_of("app"), ["podman"]);

    // A container that Podman itself has put there is seen, and guards the network.
    host.container("guest").network("web-net").running();
    let guarded = run(&["delete", "destination", "web", "--yes"], &manifests).expect(3);
    assert!(guarded.stdout.contains("Container guest, running"), "{guarded}");
    host.remove_container("guest");
    let removing = run(&["delete", "destination", "web", "--yes"], &manifests).expect(2);
    assert!(removing.stdout.contains("this is Podman"), "{removing}");
    assert_eq!(host.network_ids("web-net").len(), 1);
}
