//! What every engine does, whether it is a Docker daemon or the stand-in that the other tests run against.
//!
//! A subject is an engine and the means to make what [`Writer`] cannot make: containers. Every case in [`cases`] is run against
//! every subject; a stand-in that passes may be believed.

mod cases;
mod docker;
mod memory;
mod podman;

use std::collections::BTreeMap;

use landfall::core::observed::{ContainerId, ContainerState, EndpointSettings, ServiceId};
use landfall::shell::engine::Writer;

/// An engine under test.
pub(crate) trait Subject {
    /// One engine, the same every time.
    fn engine(&self) -> &dyn Writer;

    /// Makes a container, with an image of the subject's choice.
    fn add_container(&self, spec: &ContainerSpec) -> ContainerId;

    /// Removes a container, whatever its state.
    fn remove_container(&self, id: &ContainerId);

    /// Makes a Swarm service without tasks. The engine is a manager then.
    fn add_service(&self, name: &str) -> ServiceId;

    fn remove_service(&self, id: &ServiceId);
}

/// A container that a case needs.
#[derive(Debug, Clone)]
pub(crate) struct ContainerSpec {
    pub(crate) name: String,
    /// Created, Running, Paused or Exited.
    pub(crate) state: ContainerState,
    /// Names of networks and how it is connected to them from its creation. Empty: on the default bridge.
    pub(crate) networks: Vec<(String, EndpointSettings)>,
    pub(crate) labels: BTreeMap<String, String>,
    /// `NAME=value`
    pub(crate) env: Vec<String>,
    /// `host` or `none` in place of networks.
    pub(crate) network_mode: Option<String>,
}

impl ContainerSpec {
    pub(crate) fn new(name: &str, state: ContainerState) -> Self {
        Self {
            name: name.to_owned(),
            state,
            networks: Vec::new(),
            labels: BTreeMap::new(),
            env: Vec::new(),
            network_mode: None,
        }
    }

    pub(crate) fn network(self, name: &str) -> Self {
        self.network_with(name, EndpointSettings::default())
    }

    pub(crate) fn network_with(mut self, name: &str, settings: EndpointSettings) -> Self {
        self.networks.push((name.to_owned(), settings));
        self
    }
}

/// A case passes.
async fn passes(_name: &str, case: impl Future<Output = ()>) {
    case.await;
}

/// One test a case: `conformance!(docker, DockerSubject::start());`. An engine that is known to differ has its own judge of how a case
/// should end.
macro_rules! conformance {
    ($module:ident, $subject:expr) => {
        $crate::conformance::conformance!($module, $subject, $crate::conformance::passes);
    };
    ($module:ident, $subject:expr, $judge:path) => {
        $crate::conformance::conformance!(@ $module, $subject, $judge,
            a_created_network_is_listed_as_it_was_asked_for
            a_network_without_a_subnet_gets_one
            names_are_not_unique
            an_overlapping_subnet_is_refused
            predefined_networks_are_there_and_cannot_be_removed
            a_removed_network_is_gone_and_not_found_again
            a_running_container_keeps_a_network_in_use
            a_stopped_container_does_not_and_is_pinned_to_what_was_removed
            a_pinned_container_does_not_start_until_it_is_reconnected
            a_created_container_is_on_a_network_by_name
            a_live_container_has_an_address_and_a_stopped_one_has_none
            settings_are_kept_and_shown_by_inspection_alone
            connecting_a_stopped_container_keeps_the_settings_until_it_starts
            connecting_twice_is_refused
            disconnecting_twice_is_refused
            nothing_is_connected_to_what_is_missing
            a_static_address_needs_a_subnet_of_ones_own
            a_static_address_is_given_once
            a_container_on_the_hosts_network_stays_there
            starting_and_stopping_twice_is_no_error
            a_missing_container_inspects_as_none
            labels_and_environment_are_shown
        );
    };
    // What takes a Swarm.
    (swarm $module:ident, $subject:expr) => {
        $crate::conformance::conformance!(@ $module, $subject, $crate::conformance::passes,
            a_service_is_on_the_networks_of_its_definition
            a_service_is_put_on_no_network_that_is_missing
            a_service_is_scaled
            a_service_is_what_it_was_asked_to_be
            a_secret_stays_while_a_service_refers_to_it
        );
    };
    (@ $module:ident, $subject:expr, $judge:path, $($case:ident)*) => {
        mod $module {
            use super::*;
            $(
                #[tokio::test]
                async fn $case() {
                    let subject = $subject;
                    $judge(stringify!($case), $crate::conformance::cases::$case(&subject)).await;
                }
            )*
        }
    };
}
pub(crate) use conformance;
