//! Whatever is on a server: what `scan` writes is valid, and planning with it finds nothing to do.

use std::collections::{BTreeMap, BTreeSet};

use landfall::core::manifest::{Source, load};
use landfall::core::observed::{ContainerState, EndpointSettings, ObservedContainer, ObservedNetwork, ObservedState};
use landfall::core::plan::{FreshIds, Note, NoteKind, PlanInput, Request, plan};
use landfall::core::scan::{ScanInput, ScannedServer, scan};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::observed::{container, network, network_id, server, subnet};

const NETWORKS: [&str; 8] = ["web", "Web", "web_", "blog_default", "n--1", "bridge2", "a b", "6e2d2d310000"];
const IMAGES: [&str; 6] = ["nginx", "postgres:16", "traefik:v3", "caddy", "redis@sha256:00", "sha256:abc"];

fn networks() -> impl Strategy<Value = Vec<ObservedNetwork>> {
    let shape = (
        any::<[bool; 5]>(),
        select(vec![None, Some("1450"), Some("0"), Some("01450"), Some("x")]),
        select(vec![None, Some("true"), Some("false"), Some("0"), Some("T")]),
        select(vec!["bridge", "bridge", "bridge", "macvlan"]),
        select(vec!["", "yes", "# x", "a: b", "\u{1}\n", "null", "1e3", "é"]),
    );
    (subsequence(NETWORKS.to_vec(), 0..=5), prop::collection::vec(shape, 5)).prop_map(|(names, shapes)| {
        let build = |(number, (name, (flags, mtu, icc, driver, label))): (usize, (&str, (_, _, _, &str, &str)))| {
            let mut net = network(name);
            let [ranged, internal, ipv6, ranged6, labelled]: [bool; 5] = flags;
            (net.internal, net.ipv6, net.driver) = (internal, ipv6, driver.to_owned());
            if ranged {
                // Some ranges lie in each other.
                let range = if number == 4 { "10.1.7.0/24".to_owned() } else { format!("10.{number}.0.0/16") };
                let gateway = if number == 4 { "10.1.7.1/24".to_owned() } else { format!("10.{number}.0.1") };
                net.subnets.push(subnet(&range, &gateway));
            }
            if ranged6 {
                net.subnets.push(subnet(&format!("fd00:{number}::/64"), &format!("fd00:{number}::1/64")));
            }
            let mtu: Option<&str> = mtu;
            let icc: Option<&str> = icc;
            net.options.extend(mtu.map(|mtu| ("com.docker.network.driver.mtu".to_owned(), mtu.to_owned())));
            net.options.extend(icc.map(|icc| ("com.docker.network.bridge.enable_icc".to_owned(), icc.to_owned())));
            if labelled {
                net.labels.insert("note".to_owned(), label.to_owned());
                net.labels.insert("com.docker.compose.project".to_owned(), label.to_owned());
                net.labels.insert("com.docker.compose.network".to_owned(), "default".to_owned());
            }
            net
        };
        names.into_iter().zip(shapes).enumerate().map(build).collect()
    })
}

/// How a container is on a network.
#[derive(Debug, Clone, Copy)]
enum Attachment {
    Plain,
    NeverStarted,
    /// To a network of that name which is gone.
    Stale,
    Addressed,
    Aliased,
    NotInspected,
}

fn attach(container: &mut ObservedContainer, number: usize, how: Attachment, network: &ObservedNetwork) {
    let mut built = super::observed::container(&container.name, "", &[&network.name]).endpoints.remove(0);
    match how {
        Attachment::Plain => {}
        Attachment::NeverStarted => built.network_id = None,
        Attachment::Stale => built.network_id = Some(network_id("gone")),
        Attachment::NotInspected => built.settings = None,
        Attachment::Aliased => {
            let aliases =
                vec!["app".to_owned(), "ä b".to_owned(), container.name.clone(), container.id.short().to_owned()];
            built.settings = Some(EndpointSettings { aliases, ..EndpointSettings::default() });
        }
        Attachment::Addressed => {
            let range = network.subnets.first().map_or("10.99.0.0/16", |subnet| subnet.subnet.as_str());
            let prefix = range.split(".0.0/").next().unwrap_or("10.1.7").trim_end_matches(".0/24");
            // Two containers may want the same one, and one wants the gateway's.
            let address =
                if prefix == "10.1.7" { "10.1.7.9".to_owned() } else { format!("{prefix}.0.{}", number % 3 + 1) };
            built.ipv4_address.clone_from(&address);
            built.settings = Some(EndpointSettings { ipv4_address: Some(address), ..EndpointSettings::default() });
        }
    }
    container.endpoints.push(built);
}

/// Image, state, labels, and whether and how it is on each network.
type Shape = (&'static str, ContainerState, Vec<(&'static str, &'static str)>, Vec<(bool, Attachment)>);

fn states() -> impl Strategy<Value = ObservedState> {
    let how = select(vec![
        Attachment::Plain,
        Attachment::Plain,
        Attachment::NeverStarted,
        Attachment::Stale,
        Attachment::Addressed,
        Attachment::Aliased,
        Attachment::NotInspected,
    ]);
    let state = select(vec![
        ContainerState::Running,
        ContainerState::Running,
        ContainerState::Created,
        ContainerState::Exited,
        ContainerState::Removing,
    ]);
    let labels = select(vec![
        vec![],
        vec![("com.docker.compose.project", "blog"), ("com.docker.compose.service", "web")],
        vec![("com.docker.compose.project", "blog"), ("com.docker.compose.service", "db")],
        vec![("com.docker.compose.project", "Blog: #"), ("com.docker.compose.service", "db")],
        vec![("com.docker.compose.project", "blog")],
        vec![
            ("coolify.managed", "true"),
            ("coolify.type", "application"),
            ("coolify.applicationId", "1"),
            ("coolify.name", "x"),
        ],
        vec![
            ("coolify.managed", "true"),
            ("coolify.type", "service"),
            ("coolify.serviceId", "1"),
            ("coolify.name", "x"),
        ],
        vec![("coolify.managed", "true"), ("coolify.type", "service"), ("coolify.name", "y")],
    ]);
    let shape = (select(IMAGES.to_vec()), state, labels, prop::collection::vec((any::<bool>(), how), 5));
    (networks(), prop::collection::vec(shape, 0..7)).prop_map(|(networks, shapes)| {
        let build = |(number, (image, state, labels, attachments)): (usize, Shape)| {
            let mut built = container(&format!("c{number}"), image, &[]);
            built.state = state;
            built.labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            for ((on, how), network) in attachments.into_iter().zip(&networks) {
                if on {
                    attach(&mut built, number, how, network);
                }
            }
            built
        };
        let containers = shapes.into_iter().enumerate().map(build).collect();
        server(networks, containers)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Of a server that is declared, for a team that may use it.
    #[test]
    fn the_next_diff_is_empty_in_another_namespace(state in states(), own in any::<bool>()) {
        let namespace = if own { "infra" } else { "shop" };
        let server = "apiVersion: landfall/v1\nkind: Server\nmetadata: { name: edge, namespace: infra }\nspec: { allowedNamespaces: [shop] }\n";
        let source = |name: &str, text: &str| Source { name: name.to_owned(), bytes: text.as_bytes().to_vec() };
        let declared = load(&[source("server.yaml", server)]).unwrap();
        let desired = declared.desired("default");
        let scanned = scan(&ScanInput {
            observed: &state,
            server: ScannedServer::Declared(desired.servers.values().next().unwrap()),
            namespace: Some(namespace),
            set: "default", declared: &declared.objects().map(|it| it.object.key()).collect(),
        });
        prop_assert!(scanned.objects().all(|object| object.metadata.namespace == namespace));
        let yaml = scanned.to_yaml().unwrap();
        let both = load(&[source("server.yaml", server), source("scanned.yaml", &yaml)]);
        let both = both.map_err(|problems| {
            let problems: Vec<_> = problems.iter().map(|problem| problem.render(false)).collect();
            TestCaseError::fail(format!("{}\n{yaml}", problems.join("\n")))
        })?;
        let desired = both.desired("default");
        let observed = desired.servers.keys().map(|key| (key.clone(), Ok(state.clone()))).collect();
        let request = Request::default();
        let plan = plan(&PlanInput { desired: &desired, observed: &observed, request: &request, ids: &FreshIds::default(), journals: &[] });
        for server in &plan.servers {
            prop_assert!(server.groups.is_empty(), "{:#?}\n{}", server.groups, yaml);
            // What looks like the proxy is for a person to declare, and until then nobody's.
            let proxy = |note: &Note| {
                let name = scanned.comments.iter().find_map(|it| it.strip_suffix(" looks like the reverse proxy of this server. To have it connected to destinations, add to the spec of infra/edge:"));
                note.kind == NoteKind::Unmanaged && name.is_some_and(|name| note.message.contains(name))
            };
            let notes: Vec<_> = server.notes.iter().filter(|note| note.kind != NoteKind::Warning && !proxy(note)).collect();
            prop_assert!(notes.is_empty(), "{:#?}\n{}", notes, yaml);
        }
    }

    #[test]
    fn the_next_diff_is_empty(state in states()) {
        let scanned = scan(&ScanInput {
            observed: &state,
            server: ScannedServer::Undeclared { endpoint: "unix:///var/run/docker.sock" },
            namespace: None,
            set: "default",
            declared: &BTreeSet::new(),
        });
        let yaml = scanned.to_yaml().unwrap();
        let sources = [Source { name: "scanned.yaml".to_owned(), bytes: yaml.clone().into_bytes() }];
        let manifests = match load(&sources) {
            Ok(manifests) => manifests,
            Err(problems) => {
                let problems: Vec<_> = problems.iter().map(|problem| problem.render(false)).collect();
                return Err(TestCaseError::fail(format!("{}\n{yaml}", problems.join("\n"))));
            }
        };
        // What is written is what was meant.
        let read: BTreeMap<_, _> = manifests.objects().map(|it| (it.object.key(), it.object.clone())).collect();
        let meant: BTreeMap<_, _> = scanned.objects().map(|object| (object.key(), object.clone())).collect();
        prop_assert_eq!(read, meant);

        let desired = manifests.desired("default");
        let observed = desired.servers.keys().map(|key| (key.clone(), Ok(state.clone()))).collect();
        let request = Request::default();
        let plan = plan(&PlanInput { desired: &desired, observed: &observed, request: &request, ids: &FreshIds::default(), journals: &[] });
        for server in &plan.servers {
            prop_assert!(server.groups.is_empty(), "{:#?}\n{}", server.groups, yaml);
            for note in &server.notes {
                // A stale attachment and one alias for two are worth a word; everything else is declared as it is.
                prop_assert!(note.kind == NoteKind::Warning, "{:#?}\n{}", note, yaml);
            }
        }
        // Again, and in another order: the same text.
        let mut shuffled = state.clone();
        shuffled.containers.reverse();
        shuffled.networks.reverse();
        let again = scan(&ScanInput {
            observed: &shuffled,
            server: ScannedServer::Undeclared { endpoint: "unix:///var/run/docker.sock" },
            namespace: None,
            set: "default",
            declared: &BTreeSet::new(),
        });
        prop_assert_eq!(again.to_yaml().unwrap(), yaml);
    }
}
