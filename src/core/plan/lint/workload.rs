//! What a plan does to what Landfall runs.

use super::Simulation;
use crate::core::desired::DesiredMember;
use crate::core::plan::document::target::ServiceTarget;
use crate::core::plan::document::workload_call::WorkloadCall;
use crate::core::plan::input::PlanInput;
use crate::core::plan::world::{predecessors, service};
use crate::core::workload::identity;

impl<'a> Simulation<'a> {
    pub(super) fn scale_service(
        &self,
        input: &PlanInput<'_>,
        service: &ServiceTarget,
        replicas: u64,
        say: &mut impl FnMut(String),
    ) {
        let Some(observed) = self.state.services.iter().find(|it| it.id == service.id) else {
            say(format!("{} does not exist", service.name));
            return;
        };
        let named = |member: &DesiredMember| {
            let runs = member.workload.is_some() || member.stack.is_some();
            member.selector.swarm_services.contains(&service.name) || runs
        };
        if observed.replicas.is_none_or(|before| before == replicas || before.min(replicas) > 0) {
            say(format!("{} is scaled from {:?} to {replicas}", service.name, observed.replicas));
        }
        if !input.desired.destinations().any(|(_, it)| it.members.iter().any(named)) {
            say(format!("{} is scaled, and no resource declares it", service.name));
        }
    }

    pub(super) fn workload(&mut self, input: &PlanInput<'_>, call: &'a WorkloadCall, say: &mut impl FnMut(String)) {
        if let WorkloadCall::ComposeUp(up) = call
            && let Ok(made) = &up.stack.made
        {
            self.created.extend(made.networks.values().map(|network| network.name.as_str()));
        }
        if let WorkloadCall::StackDeploy(deploy) = call
            && let Ok(made) = &deploy.stack.made
        {
            self.created.extend(made.on_swarm.networks.iter().map(String::as_str));
        }
        if let WorkloadCall::StackRemove { services, .. } = call {
            let names = || services.iter().map(|service| service.name.as_str());
            let networks = self.state.networks.iter().map(|it| it.id.as_str());
            self.detached.extend(networks.flat_map(|network| names().map(move |name| (network, name))));
        }
        if let Some(target) = call.service_target() {
            let observed = self.state.services.iter().find(|it| it.id == target.id);
            let identity = observed.and_then(service::identity_of_service);
            let taken_over = || {
                let mut members = input.desired.destinations().flat_map(|(_, it)| &it.members);
                observed.is_some_and(|it| members.any(|member| predecessors::service_may_be_replaced(it, member)))
            };
            if identity.is_none_or(|identity| identity.set != input.desired.set) && !taken_over() {
                say(format!("{}: the service {} is not the set's own", call.name(), target.name));
            }
            if matches!(call, WorkloadCall::RemoveService { .. }) {
                let networks = self.state.networks.iter();
                self.detached.extend(networks.map(|it| (it.id.as_str(), target.name.as_str())));
            }
        }
        let Some(target) = call.target() else { return };
        self.container(&target.id, &target.name, say);
        let observed = self.state.containers.iter().find(|it| it.id == target.id);
        let identity = observed.and_then(|it| self.host.identities.get(it));
        // What ran a resource while it was adopted goes where the resource says so.
        let handed_over = || {
            let mut members = input.desired.destinations().flat_map(|(_, it)| &it.members);
            observed.is_some_and(|it| members.any(|member| predecessors::may_be_replaced(it, member)))
        };
        let job = observed.and_then(|it| identity::of_job(&it.name, &it.labels));
        let own = identity.or(job.as_ref()).is_some_and(|identity| identity.set == input.desired.set);
        if !own && !handed_over() {
            say(format!("{}: {} is not the set's own", call.name(), target.name));
        }
    }
}
