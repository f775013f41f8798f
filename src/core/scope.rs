//! The part of the manifests that a command is about: `-n` and `-l`.
//!
//! A selection narrows what is reconciled, never what is known. Everything is still planned with everything else in view, so that an object
//! left out is not mistaken for one that is no longer declared; only then is the plan cut down.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::api::{Kind, Object, ObjectKey};
use crate::core::desired::DesiredState;
use crate::core::plan::cut::{Lack, Stranded, cut};
use crate::core::plan::{Group, Note, Operation, Plan, Reason, ServerPlan};
use crate::core::selector::Selector;

/// What the user asked to see or to reconcile.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scope {
    pub namespace: Option<String>,
    pub selector: Option<Selector>,
}

impl Scope {
    pub fn takes(&self, object: &Object) -> bool {
        let namespace = self.namespace.as_ref().is_none_or(|namespace| *namespace == object.metadata.namespace);
        namespace && self.selector.as_ref().is_none_or(|selector| selector.matches(&object.metadata.labels))
    }

    /// Applied to all declared objects; `None` where it takes everything.
    pub fn select<'a>(&self, objects: impl IntoIterator<Item = &'a Object>) -> Option<Selection> {
        if *self == Scope::default() {
            return None;
        }
        let declared = objects.into_iter().map(|object| (object.key(), self.takes(object))).collect();
        Some(Selection { declared, scope: self.clone() })
    }
}

/// A scope applied to the declared objects.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// Whether the scope takes them.
    declared: BTreeMap<ObjectKey, bool>,
    scope: Scope,
}

impl Selection {
    /// These objects and no others.
    pub fn only(objects: impl IntoIterator<Item = ObjectKey>) -> Self {
        // A namespace without a name: no object is in it.
        let scope = Scope { namespace: Some(String::new()), selector: None };
        Self { declared: objects.into_iter().map(|object| (object, true)).collect(), scope }
    }

    /// Nothing that is declared is taken: most likely a slip of the pen.
    pub fn is_empty(&self) -> bool {
        !self.declared.values().any(|taken| *taken)
    }

    /// An object that no manifest declares has a namespace but no labels: a selector does not take it.
    pub fn has(&self, key: &ObjectKey) -> bool {
        self.declared.get(key).copied().unwrap_or_else(|| {
            self.scope.selector.is_none()
                && self.scope.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace)
        })
    }

    /// The desired state without the servers that have nothing to do with the selection. `undeclared`: what is no longer declared matters too,
    /// and it may be on any of them.
    pub fn narrow(&self, mut desired: DesiredState, undeclared: bool) -> DesiredState {
        if undeclared && self.scope.selector.is_none() {
            return desired;
        }
        desired.narrow(|key, server| {
            let about_destination = |destination: &crate::core::desired::DesiredDestination| {
                self.has(&destination.key) || destination.members.iter().any(|member| self.has(&member.resource))
            };
            self.has(key) || server.destinations.iter().any(about_destination)
        });
        desired
    }

    /// The plan without the operations and notes of other objects.
    pub fn restrict(&self, plan: Plan) -> Plan {
        Plan {
            set: plan.set,
            servers: plan.servers.into_iter().map(|server| self.restrict_server(server)).collect(),
            notes: plan.notes.into_iter().filter(|note| self.concerns(note)).collect(),
        }
    }

    fn restrict_server(&self, mut plan: ServerPlan) -> ServerPlan {
        plan.notes.retain(|note| self.concerns(note));
        // A group of several objects is done as a whole or not at all.
        let leaves =
            |group: &Group| !group.operations.iter().flat_map(Operation::objects).all(|object| self.has(object));
        let out = cut(&mut plan, leaves);
        let waits = |Stranded { group, creator, lacks }| {
            let (reason, message) = match lacks {
                Lack::Network => (
                    Reason::NetworkNotFound,
                    format!("The network of {creator} does not exist, and {creator} is not selected."),
                ),
                Lack::Connection => (
                    Reason::ContainerMissing,
                    format!(
                        "It stays connected until {creator} is connected as declared, and {creator} is not selected."
                    ),
                ),
            };
            Note::waiting(reason, &group.object, message)
                .hint(format!("apply {creator} first, or leave out `-n` and `-l`"))
        };
        plan.notes.extend(out.asked.iter().flat_map(|group| self.held_back(group)));
        plan.notes.extend(out.stranded.into_iter().map(waits));
        plan
    }

    /// What is said of the selected objects whose addresses are exchanged with others.
    fn held_back(&self, group: &Group) -> Vec<Note> {
        let objects: BTreeSet<&ObjectKey> = group.operations.iter().flat_map(Operation::objects).collect();
        let (selected, others): (Vec<&ObjectKey>, Vec<&ObjectKey>) = objects.into_iter().partition(|it| self.has(it));
        let others: Vec<String> = others.into_iter().map(ToString::to_string).collect();
        let others = others.join(", ");
        let waits = |object| {
            let message = format!("It takes an address from, or gives one to, {others}, which is not selected.");
            Note::waiting(Reason::AddressTaken, object, message).hint("leave out `-n` and `-l`, or select both")
        };
        selected.into_iter().map(waits).collect()
    }

    /// What is said about a server as a whole is said in any case.
    fn concerns(&self, note: &Note) -> bool {
        note.object.kind == Kind::Server || self.has(&note.object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::api::{ApplicationSpec, DestinationSpec, Metadata, ObjectRef, Spec};
    use crate::core::observed::{ContainerId, EndpointSettings, NetworkId};
    use crate::core::plan::{
        Call, Cause, ContainerTarget, Group, Journal, JournalPurpose, NetworkCreate, NetworkTarget, NoteKind,
        Operation, Reserved, ServerType,
    };

    fn metadata(namespace: &str, name: &str, tier: &str) -> Metadata {
        Metadata {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            labels: BTreeMap::from([("tier".to_owned(), tier.to_owned())]),
            annotations: BTreeMap::new(),
        }
    }

    fn destination(namespace: &str, name: &str) -> Object {
        let spec: DestinationSpec = serde_json::from_str(r#"{"server": "edge"}"#).expect("a valid spec");
        Object { metadata: metadata(namespace, name, "network"), spec: Spec::Destination(Box::new(spec)) }
    }

    fn application(namespace: &str, name: &str, tier: &str) -> Object {
        let mut spec: ApplicationSpec = serde_json::from_str(r#"{"destination": "web"}"#).expect("a valid spec");
        spec.destination = Some(ObjectRef("web".to_owned()));
        Object { metadata: metadata(namespace, name, tier), spec: Spec::Application(Box::new(spec)) }
    }

    fn key(text: &str) -> ObjectKey {
        text.parse().expect("a valid key")
    }

    fn operation(object: &str, call: Call) -> Operation {
        Operation { object: key(object), call, cause: Cause::NetworkMissing, disruptive: false, undo: None }
    }

    fn network(name: &str) -> NetworkCreate {
        NetworkCreate {
            name: name.to_owned(),
            driver: "bridge".to_owned(),
            attachable: false,
            internal: false,
            ipv4: true,
            ipv6: false,
            subnets: Vec::new(),
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
            replaces: Vec::new(),
            beside: Vec::new(),
            generated: false,
        }
    }

    fn create(object: &str, name: &str) -> Group {
        group(object, vec![operation(object, Call::CreateNetwork(network(name)))])
    }

    fn connect(object: &str, name: &str, exists: bool) -> Group {
        let network = NetworkTarget {
            name: name.to_owned(),
            id: exists.then(|| NetworkId::try_from("a".repeat(64)).expect("64 digits")),
        };
        let container =
            ContainerTarget { name: "c".to_owned(), id: ContainerId::try_from("c".repeat(64)).expect("64 digits") };
        let (settings, reserved) = (EndpointSettings::default(), Reserved::default());
        group(object, vec![operation(object, Call::ConnectEndpoint { network, container, settings, reserved })])
    }

    fn group(object: &str, operations: Vec<Operation>) -> Group {
        Group::new(&key(object), operations)
    }

    fn plan(groups: Vec<Group>, notes: Vec<Note>) -> Plan {
        Plan {
            set: "default".to_owned(),
            servers: vec![ServerPlan {
                server: key("Server/infra/edge"),
                server_type: Some(ServerType::Standalone),
                swarm: None,
                groups,
                settled: Vec::new(),
                withheld: None,
                notes,
            }],
            notes: Vec::new(),
        }
    }

    fn note(kind: NoteKind, object: &str) -> Note {
        Note::new(kind, Reason::Undeclared, &key(object), "")
    }

    fn selection(namespace: Option<&str>, selector: Option<&str>) -> Selection {
        let scope = Scope {
            namespace: namespace.map(str::to_owned),
            selector: selector.map(|text| text.parse().expect("a valid selector")),
        };
        let objects = [
            destination("shop", "web"),
            destination("blog", "web"),
            application("shop", "frontend", "front"),
            application("shop", "backend", "back"),
        ];
        scope.select(&objects).expect("it does not take everything")
    }

    fn objects(plan: &Plan) -> Vec<String> {
        plan.servers.iter().flat_map(|server| &server.groups).map(|group| group.object.to_string()).collect()
    }

    #[test]
    fn without_flags_everything_is_selected() {
        assert_eq!(Scope::default().select(&[destination("shop", "web")]), None);
    }

    #[test]
    fn a_namespace_leaves_the_other_teams_objects_alone_declared_or_not() {
        let groups = vec![create("Destination/shop/web", "a"), create("Destination/blog/web", "b")];
        let notes = vec![
            note(NoteKind::Unmanaged, "Destination/shop/gone"),
            note(NoteKind::Unmanaged, "Destination/blog/gone"),
            note(NoteKind::Warning, "Server/infra/edge"),
        ];
        let plan = selection(Some("shop"), None).restrict(plan(groups, notes));
        assert_eq!(objects(&plan), ["Destination/shop/web"]);
        let noted: Vec<String> = plan.servers[0].notes.iter().map(|note| note.object.to_string()).collect();
        assert_eq!(noted, ["Destination/shop/gone", "Server/infra/edge"]);
    }

    #[test]
    fn a_selector_never_takes_what_is_not_declared() {
        let by_label = selection(None, Some("tier=network"));
        assert!(by_label.has(&key("Destination/shop/web")));
        assert!(!by_label.has(&key("Destination/shop/gone")));
        assert!(!selection(None, Some("tier!=front")).has(&key("Destination/shop/gone")));
    }

    #[test]
    fn a_member_waits_for_a_network_that_is_not_selected() {
        let groups = vec![
            create("Destination/shop/web", "web"),
            connect("Application/shop/frontend", "web", false),
            connect("Application/shop/backend", "web", false),
        ];
        let plan = selection(None, Some("tier=front")).restrict(plan(groups, Vec::new()));
        assert_eq!(objects(&plan), [""; 0]);
        assert_eq!(
            plan.servers[0].notes[0].message,
            "The network of Destination/shop/web does not exist, and Destination/shop/web is not selected."
        );
        assert_eq!(plan.servers[0].notes.len(), 1, "nothing is said of what is not selected");
    }

    #[test]
    fn a_member_is_connected_to_a_network_that_exists_without_being_selected() {
        let groups =
            vec![connect("Application/shop/frontend", "web", true), connect("Application/shop/backend", "web", true)];
        let plan = selection(None, Some("tier=front")).restrict(plan(groups, Vec::new()));
        assert_eq!(objects(&plan), ["Application/shop/frontend"]);
    }

    #[test]
    fn nobody_is_let_go_when_what_takes_over_is_not_selected() {
        let make = connect("Application/shop/backend", "web", true);
        let needs = make.operations[0].call.connections();
        let leave = Group { needs, ..group("Application/shop/frontend", Vec::new()) };
        let plan = selection(None, Some("tier=front")).restrict(plan(vec![make, leave], Vec::new()));
        assert_eq!(objects(&plan), [""; 0]);
        assert_eq!(
            plan.servers[0].notes[0].message,
            "It stays connected until Application/shop/backend is connected as declared, and Application/shop/backend is not selected."
        );
    }

    #[test]
    fn who_exchanges_an_address_with_what_is_not_selected_waits() {
        let one = connect("Application/shop/frontend", "web-net", true).operations;
        let other = connect("Application/lab/probe", "web-net", true).operations;
        let both = group("Application/shop/frontend", one.into_iter().chain(other).collect());
        let restricted = selection(Some("shop"), None).restrict(plan(vec![both], Vec::new()));
        assert!(restricted.servers[0].groups.is_empty());
        let notes: Vec<String> = restricted.servers[0].notes.iter().map(ToString::to_string).collect();
        assert_eq!(
            notes,
            [
                "? waiting Application/shop/frontend: It takes an address from, or gives one to, Application/lab/probe, which is not \
              selected. (AddressTaken)\n    hint: leave out `-n` and `-l`, or select both"
            ]
        );
    }

    #[test]
    fn a_journal_stays_while_a_part_of_what_it_restores_is_left_out() {
        let journal = Journal {
            services: Vec::new(),
            server: key("Server/infra/edge"),
            destination: key("Destination/shop/web"),
            purpose: JournalPurpose::Reattach,
            network: network("web"),
            endpoints: Vec::new(),
        };
        let with_journal = |object| Group { completes: vec![journal.clone()], ..connect(object, "web", true) };
        let groups = vec![with_journal("Application/shop/frontend"), with_journal("Application/shop/backend")];
        let plan = selection(None, Some("tier=front")).restrict(plan(groups, Vec::new()));
        assert_eq!(plan.servers[0].groups.len(), 1);
        assert_eq!(plan.servers[0].groups[0].completes, []);
    }
}
