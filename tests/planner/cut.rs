//! Taking a part out of a plan: what is left is a plan like any other, and loses no journal.

use std::collections::BTreeSet;

use landfall::core::api::{Kind, ObjectKey};
use landfall::core::observed::{ContainerId, EndpointSettings, NetworkId};
use landfall::core::plan::cut::{CutOut, cut};
use landfall::core::plan::{
    Call, Cause, ContainerTarget, Group, Journal, JournalPurpose, NetworkCreate, NetworkTarget, Operation, Reserved,
    ServerPlan, ServerType,
};
use proptest::prelude::*;

/// A group of one object: the network that it creates, the one that it relies on, and the journals that it helps to complete.
type Sketch = (u8, Option<u8>, Option<u8>, BTreeSet<u8>);

fn sketches() -> impl Strategy<Value = Vec<Sketch>> {
    let sketch = (
        0..5u8,
        prop::option::weighted(0.4, 0..4u8),
        prop::option::weighted(0.6, 0..4u8),
        prop::collection::btree_set(0..4u8, 0..3),
    );
    prop::collection::vec(sketch, 0..9)
}

fn object(number: u8) -> ObjectKey {
    ObjectKey::new(Kind::Application, "shop", &format!("app-{number}"))
}

fn name(network: u8) -> String {
    format!("net-{network}")
}

fn create(network: u8) -> NetworkCreate {
    NetworkCreate {
        replaces: Vec::new(),
        beside: Vec::new(),
        generated: false,
        name: name(network),
        driver: "bridge".to_owned(),
        attachable: false,
        internal: false,
        ipv4: true,
        ipv6: false,
        subnets: Vec::new(),
        options: Default::default(),
        labels: Default::default(),
    }
}

fn journal(number: u8) -> Journal {
    Journal {
        server: ObjectKey::new(Kind::Server, "default", "edge"),
        destination: ObjectKey::new(Kind::Destination, "shop", &format!("web-{number}")),
        purpose: JournalPurpose::Reattach,
        network: create(number),
        endpoints: Vec::new(),
        services: Vec::new(),
    }
}

fn group((of, creates, awaits, journals): &Sketch) -> Group {
    let operation =
        |call| Operation { object: object(*of), call, cause: Cause::NetworkMissing, disruptive: false, undo: None };
    let connect = |network: u8, id: Option<NetworkId>| Call::ConnectEndpoint {
        network: NetworkTarget { name: name(network), id },
        container: ContainerTarget { name: "c".to_owned(), id: ContainerId::try_from("c".repeat(64)).unwrap() },
        settings: EndpointSettings::default(),
        reserved: Reserved::default(),
    };
    let mut operations: Vec<Operation> = creates.iter().map(|it| operation(Call::CreateNetwork(create(*it)))).collect();
    operations.extend(awaits.iter().map(|it| operation(connect(*it, None))));
    let there = NetworkId::try_from("a".repeat(64)).unwrap();
    operations.push(operation(connect(9, Some(there))));
    Group {
        object: object(*of),
        operations,
        journal: None,
        completes: journals.iter().copied().map(journal).collect(),
        needs: Vec::new(),
        after: Vec::new(),
    }
}

fn plan(sketches: &[Sketch]) -> ServerPlan {
    ServerPlan {
        server: ObjectKey::new(Kind::Server, "default", "edge"),
        server_type: Some(ServerType::Standalone),
        swarm: None,
        groups: sketches.iter().map(group).collect(),
        settled: Vec::new(),
        withheld: None,
        notes: Vec::new(),
    }
}

fn created(groups: &[Group]) -> BTreeSet<&str> {
    let calls = groups.iter().flat_map(|group| &group.operations).map(|operation| &operation.call);
    calls.filter_map(|call| if let Call::CreateNetwork(it) = call { Some(it.name.as_str()) } else { None }).collect()
}

fn awaited(group: &Group) -> impl Iterator<Item = &str> {
    group.operations.iter().flat_map(|operation| operation.call.awaits())
}

/// Whether `part` is `whole` with elements left out, completed journals aside.
fn is_part_of(part: &[Group], whole: &[Group]) -> bool {
    let mut rest = whole.iter();
    part.iter().all(|group| rest.any(|it| (&it.object, &it.operations) == (&group.object, &group.operations)))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_taken_out_what_is_left_holds_together(
        sketches in sketches(), leaving in prop::collection::btree_set(0..5u8, 0..4)
    ) {
        let whole = plan(&sketches);
        let mut kept = whole.clone();
        let leaving: BTreeSet<ObjectKey> = leaving.into_iter().map(object).collect();
        let out = cut(&mut kept, |group| leaving.contains(&group.object));

        prop_assert_eq!(kept.groups.len() + out.groups().count(), whole.groups.len(), "every group is somewhere");
        prop_assert!(is_part_of(&kept.groups, &whole.groups), "what stays keeps its order");
        prop_assert!(out.asked.iter().all(|group| leaving.contains(&group.object)));
        prop_assert!(kept.groups.iter().all(|group| !leaving.contains(&group.object)));

        // Nothing relies on a network that would have been created and is not.
        let (before, after) = (created(&whole.groups), created(&kept.groups));
        for group in &kept.groups {
            prop_assert!(awaited(group).all(|name| after.contains(name) || !before.contains(name)));
        }
        for stranded in &out.stranded {
            prop_assert!(awaited(&stranded.group).any(|name| before.contains(name) && !after.contains(name)));
        }

        // A journal is completed by what stays only if all of it stays; one that nothing of was taken out of is completed as before.
        let pending: Vec<&Journal> = out.groups().flat_map(|group| &group.completes).collect();
        let completed: Vec<&Journal> = kept.groups.iter().flat_map(|group| &group.completes).collect();
        prop_assert!(!completed.iter().any(|journal| pending.contains(journal)));
        for journal in whole.groups.iter().flat_map(|group| &group.completes) {
            prop_assert!(pending.contains(&journal) || completed.contains(&journal), "{} is nowhere", journal.destination);
        }

        let again = cut(&mut kept, |group| leaving.contains(&group.object));
        prop_assert_eq!(again, CutOut::default());
    }

    #[test]
    fn taking_nothing_out_changes_nothing(sketches in sketches()) {
        let mut kept = plan(&sketches);
        prop_assert_eq!(cut(&mut kept, |_| false), CutOut::default());
        prop_assert_eq!(kept, plan(&sketches));
    }
}
