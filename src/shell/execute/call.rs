//! One call to one engine, with the looks before and after it that make it safe to repeat and safe against others.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use tokio::time::{Instant, sleep, timeout};

use super::removal::{Depth, Leaving, User};
use super::{Limits, Progress};
use crate::core::api::ObjectKey;
use crate::core::observed::{
    ContainerId, ContainerState, EndpointSettings, NetworkId, ObservedContainer, ObservedEndpoint, ObservedNetwork,
    Rollout, ServiceNetwork,
};
use crate::core::plan::{
    Call, Cause, ContainerTarget, Group, NetworkChange, NetworkCreate, Note, Reason, Reserved, ServiceTarget,
    UNALLOCATED, is_mac_address_on_record, ownership, park,
};
use crate::core::report::{Failure, Outcome};
use crate::shell::engine::{EngineError, EngineErrorKind, ServiceNetworkUpdate, ServiceUpdate, Writer};

/// How often a creation is begun anew because others remove what was just made.
const ATTEMPTS: usize = 3;
/// Between two looks at something that is about to finish.
pub(super) const POLL: Duration = Duration::from_millis(100);
/// What helps a node that does not know a network of its Swarm.
const UNKNOWN_THERE: &str = "Docker's own answer where the node does not get the network from the managers of its Swarm, although they have it: see on one of \
     them, with `docker node ls`, whether the node is ready; if it is, restart Docker on that node";
/// A manager gives a new network its driver and addresses some moments after it has answered.
const ALLOCATION: Duration = Duration::from_secs(10);

/// A call that succeeded.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// The network to go on with: the one created, or the one that another applier created first.
    pub(super) created: Option<NetworkId>,
    /// The container that was made, by the name that it was made with.
    pub(super) container: Option<(String, ContainerId)>,
    /// It was done by another applier at the same time.
    pub(super) by_another: bool,
    /// Further networks that there are now, by their names.
    pub(super) networks: Vec<(String, NetworkId)>,
    pub(super) warning: Option<Warning>,
}

/// Something to tell about a call that succeeded.
#[derive(Debug)]
pub(super) struct Warning {
    pub(super) reason: Reason,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Warning {
    pub(super) fn about(self, object: &ObjectKey) -> Note {
        Note { hint: self.hint, ..Note::warning(self.reason, object, self.message) }
    }
}

/// A container that is on a network.
struct Connected {
    /// By this call, and not before.
    made: bool,
    addresses: Vec<IpAddr>,
    warning: Option<Warning>,
}

impl Connected {
    /// The addresses that the daemon has given it although they are declared for others.
    fn trespasses(&self, asked: &EndpointSettings, reserved: &Reserved) -> Vec<IpAddr> {
        let asked: Vec<IpAddr> =
            asked.ipv4_address.iter().chain(&asked.ipv6_address).filter_map(|address| address.parse().ok()).collect();
        let given = self.addresses.iter().filter(|address| self.made && !asked.contains(address));
        given.filter(|address| reserved.addresses.contains(address)).copied().collect()
    }
}

/// `instead`: what it has now; `None` where it could not be given anything else.
fn reserved_given(container: &ContainerTarget, network: &str, given: &[IpAddr], instead: Option<&[IpAddr]>) -> Warning {
    let list = |addresses: &[IpAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let what = match instead {
        Some(addresses) => format!("It was connected again, at {}.", list(addresses)),
        None => "No other could be had.".to_owned(),
    };
    Warning {
        reason: Reason::AddressTaken,
        message: format!(
            "The daemon gave {} the address {} on {network:?}, which is declared for another that does not hold it now. {what}",
            container.name,
            list(given)
        ),
        hint: Some("an `ipRange` keeps what the daemon gives apart from the addresses that are declared".to_owned()),
    }
}

/// A call that did not succeed.
#[derive(Debug)]
pub(super) struct Mishap {
    pub(super) failure: Failure,
    /// It happened all the same, though not as it should have.
    pub(super) applied: bool,
    /// The server does not answer any more.
    pub(super) lost: bool,
    /// What the plan relies on has been replaced by another process: only a new one goes on.
    pub(super) outdated: bool,
    /// What was called to remove what the failed call left behind.
    pub(super) cleanup: Vec<(Call, Outcome)>,
}

impl From<Failure> for Mishap {
    fn from(failure: Failure) -> Self {
        Self { failure, applied: false, lost: false, outdated: false, cleanup: Vec::new() }
    }
}

/// From a look, or from a call whose outcome was looked for in vain: without an answer there is no use in going on. A call that is denied was
/// answered, and others may be allowed: what undoes the group's earlier ones above all.
impl From<EngineError> for Mishap {
    fn from(error: EngineError) -> Self {
        let lost = matches!(error.kind, EngineErrorKind::Unreachable | EngineErrorKind::HostKeyMismatch);
        Self { lost, ..Failure::from(error).into() }
    }
}

pub(super) fn failed(reason: Reason, message: String) -> Mishap {
    Failure { reason: Some(reason), message, hint: None }.into()
}

/// Calls one engine.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    pub(super) engine: &'a dyn Writer,
    /// Where the networks of the Swarm are listed: a worker shows only those that somebody who runs there is on.
    pub(super) manager: Option<&'a dyn Writer>,
    /// The engines of the Swarm's nodes, this one among them: whoever is on a network of the Swarm may be on any.
    pub(super) others: &'a [(&'a ObjectKey, &'a dyn Writer)],
    pub(super) limits: Limits,
    pub(super) server: &'a ObjectKey,
    pub(super) progress: &'a dyn Progress,
}

impl Caller<'_> {
    /// `call` names networks by id.
    pub(super) async fn call(&self, call: &Call) -> Result<Done, Mishap> {
        match call {
            Call::CreateNetwork(create) => {
                let created = self.create(create).await?;
                self.allocated(&created).await?;
                Ok(Done { created: Some(created), ..Done::default() })
            }
            Call::ConnectEndpoint { network, container, settings, reserved } => {
                let id = known(network.id.as_ref(), &network.name)?;
                let warning = self.connect_off(id, &network.name, container, settings, reserved).await?;
                Ok(Done { warning, ..Done::default() })
            }
            Call::DisconnectEndpoint { network, container, force } => {
                let id = known(network.id.as_ref(), &network.name)?;
                self.disconnect(id, container, *force).await?;
                Ok(Done::default())
            }
            Call::RemoveNetwork { network } => {
                let id = known(network.id.as_ref(), &network.name)?;
                let warning = self.remove(id).await?;
                Ok(Done { warning, ..Done::default() })
            }
            Call::StartContainer { container } => {
                let started = self.answer(self.engine.start_container(&container.id)).await;
                self.in_state(container, started, ContainerState::is_live).await
            }
            Call::StopContainer { container } => {
                let stopped = self.answer(self.engine.stop_container(&container.id)).await;
                self.in_state(container, stopped, |state| !state.is_live()).await
            }
            Call::UpdateService { service, changes } => {
                let mut updates = Vec::with_capacity(changes.len());
                for NetworkChange { network, attachment, .. } in changes {
                    let id = known(network.id.as_ref(), &network.name)?;
                    updates.push(ServiceNetworkUpdate { id, name: &network.name, attachment: attachment.as_ref() });
                }
                // What puts things back is not held up by the rollout of what it puts back.
                let undoes = changes.iter().all(|change| change.cause == Cause::Rollback);
                let update = if undoes { ServiceUpdate::Restored(&updates) } else { ServiceUpdate::Networks(&updates) };
                self.update_service(service, update).await?;
                Ok(Done::default())
            }
            Call::ScaleService { service, replicas } => {
                self.update_service(service, ServiceUpdate::Replicas(*replicas)).await?;
                Ok(Done::default())
            }
            Call::RefreshProxy { proxy, image, set } => Ok(self.refresh(proxy, image, set).await),
            Call::Workload(call) => self.workload(call).await,
        }
    }

    /// Before anything of a group that removes a network is done: nobody else may have come to be on it since the plan was made, or the
    /// proxy would be disconnected for nothing.
    pub(super) async fn check_group(&self, group: &Group) -> Result<(), Mishap> {
        let mut leaving = Leaving::default();
        for operation in &group.operations {
            match &operation.call {
                Call::DisconnectEndpoint { container, .. } => {
                    leaving.containers.insert(&container.id);
                }
                Call::UpdateService { service, changes } if changes.iter().any(|it| it.attachment.is_none()) => {
                    leaving.services.insert(&service.name);
                }
                _ => {}
            }
        }
        for operation in &group.operations {
            if let Call::RemoveNetwork { network } = &operation.call
                && let Some(id) = &network.id
                && let Some(network) = self.network(id).await?
            {
                self.check_unused(&network, &leaving, Depth::Inspected).await?;
            }
        }
        Ok(())
    }

    /// Bounds a call that the transport does not bound.
    pub(super) async fn answer<T>(&self, call: impl Future<Output = Result<T, EngineError>>) -> Result<T, EngineError> {
        timeout(self.limits.call, call).await.unwrap_or_else(|_| {
            Err(EngineError {
                kind: EngineErrorKind::Unreachable,
                attempted: "waiting for the server".to_owned(),
                message: format!("no answer within {} s", self.limits.call.as_secs()),
                hint: None,
            })
        })
    }

    async fn networks(&self) -> Result<Vec<ObservedNetwork>, EngineError> {
        self.answer(self.engine.networks()).await
    }

    /// Asked by its id: a list may leave out what is there.
    pub(super) async fn network(&self, id: &NetworkId) -> Result<Option<ObservedNetwork>, EngineError> {
        let engine = self.manager.filter(|_| id.is_of_swarm()).unwrap_or(self.engine);
        Ok(self.answer(engine.network(id)).await?.map(|detail| detail.network))
    }

    /// The networks of that name, and those that were made for the same destination under another: a destination without a declared name gets
    /// a different one from each applier.
    ///
    /// Where the list shows none of the name, or not the one that was `made`, it is asked for by itself.
    async fn rivals(
        &self,
        create: &NetworkCreate,
        made: Option<&NetworkId>,
    ) -> Result<Vec<ObservedNetwork>, EngineError> {
        let made_alike = |network: &ObservedNetwork| {
            ownership::of(network).is_some_and(|owner| owner.sealed) && is_rival(create, network)
        };
        let mut networks = self.networks().await?;
        networks.retain(|network| network.name == create.name || made_alike(network));
        let hidden = match made {
            Some(made) if networks.iter().all(|network| network.id != *made) => self.network(made).await?,
            None if networks.iter().all(|network| network.name != create.name) => {
                self.answer(self.engine.network_named(&create.name)).await?.map(|detail| detail.network)
            }
            _ => None,
        };
        networks.extend(hidden);
        Ok(networks)
    }

    // Creation

    /// The id of the network of that name: the one made here, or that of another applier of the same set who was first.
    async fn create(&self, create: &NetworkCreate) -> Result<NetworkId, Mishap> {
        let mut overlapped = false;
        for _ in 0..ATTEMPTS {
            if let Some(id) = self.created_by_another(create).await? {
                return Ok(id);
            }
            let made = match self.answer(self.engine.create_network(create)).await {
                Ok(id) => id,
                Err(error) if error.kind == EngineErrorKind::NameTaken => continue,
                Err(error) if error.kind == EngineErrorKind::SubnetOverlap => {
                    let found = self.overtaken(create).await?;
                    // What took the subnet may have come to nothing, its maker being killed: once more, then.
                    let again = !std::mem::replace(&mut overlapped, true);
                    if found == Overlap::Rival || (found == Overlap::Unseen && again) {
                        continue;
                    }
                    return Err(error.into());
                }
                Err(error) => self.look_for(create, error).await?,
            };
            if let Some(id) = self.settle(create, &made).await? {
                return Ok(id);
            }
        }
        let message = format!("Something else keeps creating and removing networks named {:?}.", create.name);
        Err(failed(Reason::NameAmbiguous, message))
    }

    async fn created_by_another(&self, create: &NetworkCreate) -> Result<Option<NetworkId>, Mishap> {
        // Whoever has the oldest waits for the others, and gives way only then.
        let deadline = Instant::now() + 2 * self.limits.settle;
        loop {
            let named = self.rivals(create, None).await?;
            refuse_foreign(create, &named)?;
            if let Some(other) = named.iter().find(|network| network.name != create.name && !create.generated) {
                let message = format!(
                    "The network {:?} ({}) was made for the same destination, and was not seen when the plan was made.",
                    other.name,
                    other.id.short()
                );
                let hint = Some("apply again: it is dealt with as the network of a former name".to_owned());
                return Err(Failure { reason: Some(Reason::NameAmbiguous), message, hint }.into());
            }
            match named.as_slice() {
                [] => return Ok(None),
                [network] => return Ok(Some(network.id.clone())),
                // Others have made two at once and are about to agree on one.
                _ if Instant::now() < deadline => sleep(POLL).await,
                _ => return Err(ambiguous(&create.name, &named)),
            }
        }
    }

    /// A subnet is taken from the moment that the daemon begins to make a network, which is to be seen only at the end. So what overlaps with
    /// nothing that is to be seen may well be this very network, in the making for another applier.
    async fn overtaken(&self, create: &NetworkCreate) -> Result<Overlap, Mishap> {
        let wanted: Vec<IpNet> = create.subnets.iter().filter_map(|subnet| subnet.subnet.parse().ok()).collect();
        let in_the_way = |network: &ObservedNetwork| {
            let subnets = network.subnets.iter().filter_map(|subnet| subnet.subnet.parse::<IpNet>().ok());
            subnets.into_iter().any(|it| wanted.iter().any(|wanted| it.contains(wanted) || wanted.contains(&it)))
        };
        let deadline = Instant::now() + self.limits.settle;
        loop {
            let networks = self.networks().await?;
            if networks.iter().any(|it| it.name == create.name || (create.generated && is_rival(create, it))) {
                return Ok(Overlap::Rival);
            }
            if networks.iter().any(in_the_way) {
                return Ok(Overlap::Foreign);
            }
            if Instant::now() >= deadline {
                return Ok(Overlap::Unseen);
            }
            sleep(POLL).await;
        }
    }

    /// A creation failed: the network may exist all the same, and where no answer came it may be about to. Its labels, the unique id among them,
    /// tell.
    async fn look_for(&self, create: &NetworkCreate, failed: EngineError) -> Result<NetworkId, Mishap> {
        let patience = match failed.kind {
            EngineErrorKind::Unreachable => self.limits.settle,
            _ => Duration::ZERO,
        };
        let deadline = Instant::now() + patience;
        loop {
            let looked = self.rivals(create, None).await;
            if let Ok(named) = &looked
                && let Some(network) = named.iter().find(|network| network.labels == create.labels)
            {
                return Ok(network.id.clone());
            }
            if Instant::now() >= deadline {
                let lost = looked.is_err();
                let mishap = answered(failed);
                return Err(Mishap { lost: lost || mishap.lost, ..mishap });
            }
            sleep(POLL).await;
        }
    }

    /// Whether the network just made is the only one of its name. If not, the oldest one stays, as every applier will find, and the makers
    /// of the others remove theirs. `None`: begin anew.
    ///
    /// A daemon shows a network some time after the moment it gives as its creation, so the maker of a younger one may have seen no other and
    /// go on with his. Whoever has the oldest therefore waits for the others to go, and gives way to one that stays.
    async fn settle(&self, create: &NetworkCreate, made: &NetworkId) -> Result<Option<NetworkId>, Mishap> {
        let deadline = Instant::now() + self.limits.settle;
        loop {
            let named = self.rivals(create, Some(made)).await?;
            let Some(own) = named.iter().find(|network| network.id == *made) else { return Ok(None) };
            let others = named.iter().filter(|network| network.name == create.name || create.generated);
            let others: Vec<ObservedNetwork> = others.filter(|network| network.id != *made).cloned().collect();
            let Some(oldest) = others.iter().min_by_key(|network| age(network)) else {
                return Ok(Some(made.clone()));
            };
            if let Err(foreign) = refuse_foreign(create, &others) {
                self.withdraw(own).await?;
                return Err(foreign.into());
            }
            if age(oldest) < age(own) || Instant::now() >= deadline {
                if !self.withdraw(own).await? {
                    return Err(ambiguous(&create.name, &named));
                }
                let stays = self.network(&oldest.id).await?;
                return Ok(stays.map(|network| network.id));
            }
            sleep(POLL).await;
        }
    }

    /// Waits until a network of a Swarm is what it was asked to be. Whoever looks earlier sees one without driver and subnets.
    async fn allocated(&self, id: &NetworkId) -> Result<(), Mishap> {
        if !id.is_of_swarm() {
            return Ok(());
        }
        let deadline = Instant::now() + ALLOCATION;
        while let Some(network) = self.network(id).await?.filter(ObservedNetwork::is_unallocated) {
            if Instant::now() >= deadline {
                return Err(Failure {
                    reason: Some(Reason::AddressPoolExhausted),
                    message: format!(
                        "The network {:?} exists, and the Swarm has given it no addresses within {} s.",
                        network.name,
                        ALLOCATION.as_secs()
                    ),
                    hint: Some(UNALLOCATED.to_owned()),
                }
                .into());
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Removes a network that was just made, unless somebody is on it already.
    async fn withdraw(&self, own: &ObservedNetwork) -> Result<bool, Mishap> {
        // Another applier may have gone on already: what it has made is for the network that stays.
        if !self.users(own, Depth::Listed).await?.iter().all(User::takes_another) {
            return Ok(false);
        }
        match self.answer(self.engine.remove_network(&own.id)).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind == EngineErrorKind::NotFound => Ok(true),
            Err(error) if error.kind == EngineErrorKind::NetworkInUse => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    // Endpoints

    /// Connects, and connects anew where the daemon gives an address that is declared for others. Each spare address is tried once; in between the
    /// container is on the network as the daemon would have it, and stays so where none can be had.
    async fn connect_off(
        &self,
        id: &NetworkId,
        name: &str,
        container: &ContainerTarget,
        settings: &EndpointSettings,
        reserved: &Reserved,
    ) -> Result<Option<Warning>, Mishap> {
        let mut wanted = settings.clone();
        let mut spare = reserved.spare.clone();
        let mut now = self.connect(id, name, container, &wanted).await?;
        let mut evaded = Vec::new();
        loop {
            let given = now.trespasses(&wanted, reserved);
            if given.is_empty() {
                break;
            }
            let mut parked = wanted.clone();
            for taken in &given {
                let instead = spare.iter().position(|spare| spare.is_ipv4() == taken.is_ipv4());
                parked = instead.map_or_else(|| parked.clone(), |at| park(&parked, spare.remove(at)));
            }
            if parked == wanted {
                return Ok(Some(reserved_given(container, name, &given, None)));
            }
            self.disconnect(id, container, false).await?;
            match self.connect(id, name, container, &parked).await {
                Ok(connected) => {
                    evaded.extend(given);
                    (now, wanted) = (connected, parked);
                }
                Err(mishap) if mishap.lost => return Err(mishap),
                Err(_) => now = self.connect(id, name, container, &wanted).await?,
            }
        }
        let moved = (!evaded.is_empty()).then(|| reserved_given(container, name, &evaded, Some(&now.addresses)));
        Ok(moved.or(now.warning))
    }

    async fn connect(
        &self,
        id: &NetworkId,
        name: &str,
        container: &ContainerTarget,
        settings: &EndpointSettings,
    ) -> Result<Connected, Mishap> {
        // The daemon takes the id of a network that does not exist for a stopped container, which then cannot start.
        let Some(network) = self.network(id).await? else {
            let message = format!("The network {name:?} ({}) has been removed since the plan was made.", id.short());
            return Err(failed(Reason::NetworkNotFound, message));
        };
        let name = network.name.as_str();
        let connected = self.answer(self.engine.connect(id, &container.id, settings)).await;
        // Whatever was answered: already connected as wanted is as good as connected, and what failed may have taken effect.
        let applied = !matches!(&connected, Err(error) if error.kind == EngineErrorKind::AlreadyConnected);
        if let Err(error) = connected {
            let seen = match self.inspect(container).await {
                Ok(seen) => seen,
                Err(unknown) if error.kind == EngineErrorKind::Unreachable => return Err(unknown.into()),
                Err(unknown) => return Err(unseen(error, &unknown)),
            };
            let on = seen.as_ref().is_some_and(|seen| endpoint_on(seen, id, name).is_some());
            match error.kind {
                _ if on => {}
                EngineErrorKind::NotFound if seen.is_none() => return Err(gone(container)),
                // The managers have the network, and the node's daemon does not get it from them.
                EngineErrorKind::NotFound if id.is_of_swarm() => {
                    let hint = error.hint.clone().unwrap_or_else(|| UNKNOWN_THERE.to_owned());
                    return Err(Failure { hint: Some(hint), ..Failure::from(error) }.into());
                }
                EngineErrorKind::NotFound => return Err(error.into()),
                // Of one that nobody sees on the network, the daemon's word is passed on.
                EngineErrorKind::AlreadyConnected => {
                    let hint =
                        format!("remove the daemon's leftover: docker network disconnect -f {name} {}", container.name);
                    let failure = Failure::from(error);
                    return Err(Failure { hint: failure.hint.clone().or(Some(hint)), ..failure }.into());
                }
                EngineErrorKind::Unreachable => return Err(answered(error)),
                _ => return Err(self.clean_up(id, name, container, error).await),
            }
        }
        let Some(seen) = self.inspect(container).await? else { return Err(gone(container)) };
        let Some(endpoint) = endpoint_on(&seen, id, name) else {
            let message =
                format!("The container {} was disconnected from {name:?} again by something else.", seen.name);
            return Err(failed(Reason::Contended, message));
        };
        let have = endpoint.settings.clone().unwrap_or_default();
        // A deploy tool that is just bringing the container up has connected it itself, with all that is declared: only Landfall's mark is missing,
        // and neither is anything wrong nor is the endpoint Landfall's. Of a container that does not run the daemon answers that as it would a success.
        let by_another = !have.driver_opts.contains_key(ownership::SET);
        let mut wanted = settings.clone();
        if by_another {
            wanted.driver_opts.retain(|option, _| !option.starts_with(ownership::OWN));
        }
        let differs = differences(&wanted, &have);
        if !differs.is_empty() {
            let message = format!(
                "The container {} is connected to {name:?}, but not as it should be: {}.",
                container.name,
                differs.join("; ")
            );
            return Err(Mishap { applied, ..failed(Reason::EndpointDiffers, message) });
        }
        let addresses = [&endpoint.ipv4_address, &endpoint.ipv6_address];
        Ok(Connected {
            made: applied && !(by_another && settings.driver_opts.contains_key(ownership::SET)),
            addresses: addresses.into_iter().filter_map(|address| address.parse().ok()).collect(),
            warning: other_mac(settings, &have, &container.name, name),
        })
    }

    async fn disconnect(&self, id: &NetworkId, container: &ContainerTarget, force: bool) -> Result<(), Mishap> {
        match self.answer(self.engine.disconnect(id, &container.id, force)).await {
            Ok(()) => Ok(()),
            Err(error) if matches!(error.kind, EngineErrorKind::NotConnected | EngineErrorKind::NotFound) => {
                if id.is_of_swarm() {
                    return self.disconnect_unknown(id, container).await;
                }
                // The daemon says so; it is believed unless it shows an endpoint all the same. An entry without one is left of a removed network.
                let on = |it: &ObservedEndpoint| it.network_id.as_ref() == Some(id) && !it.endpoint_id.is_empty();
                match self.inspect(container).await? {
                    Some(seen) if seen.endpoints.iter().any(on) => Err(answered(error)),
                    _ => Ok(()),
                }
            }
            Err(error) => {
                let on = |endpoint: &ObservedEndpoint| endpoint.network_id.as_ref() == Some(id);
                match self.inspect(container).await {
                    Ok(Some(seen)) if seen.endpoints.iter().any(on) => Err(answered(error)),
                    Ok(_) => Ok(()),
                    Err(unknown) if error.kind == EngineErrorKind::Unreachable => Err(unknown.into()),
                    Err(unknown) => Err(unseen(error, &unknown)),
                }
            }
        }
    }

    /// A worker that has nobody running on a network of the Swarm does not know its id, and a stopped container that was on it is connected all
    /// the same: by the name under which it knows it.
    async fn disconnect_unknown(&self, id: &NetworkId, container: &ContainerTarget) -> Result<(), Mishap> {
        let Some(seen) = self.inspect(container).await? else { return Ok(()) };
        let on = seen.endpoints.iter().find(|endpoint| endpoint.network_id.as_ref() == Some(id));
        let Some(endpoint) = on else { return Ok(()) };
        let name = &endpoint.network_name;
        Ok(self.answer(self.engine.disconnect_by_name(name, &container.id)).await?)
    }

    pub(super) async fn inspect(&self, container: &ContainerTarget) -> Result<Option<ObservedContainer>, EngineError> {
        let detail = self.answer(self.engine.container(&container.id)).await?;
        Ok(detail.map(|detail| detail.container))
    }

    /// The daemon leaves an entry on a running container that it could not connect, and with it the container does not start again. The
    /// entry goes only by way of a connection that succeeds.
    async fn clean_up(&self, id: &NetworkId, name: &str, container: &ContainerTarget, error: EngineError) -> Mishap {
        let mut mishap = Mishap::from(error);
        let Ok(Some(seen)) = self.inspect(container).await else { return mishap };
        let left_behind =
            |endpoint: &ObservedEndpoint| endpoint.network_name == name && endpoint.endpoint_id.is_empty();
        if !seen.state.is_live() || !seen.endpoints.iter().any(left_behind) {
            return mishap;
        }
        let network = crate::core::plan::NetworkTarget { name: name.to_owned(), id: Some(id.clone()) };
        let settings = EndpointSettings::default();
        let connected = self.answer(self.engine.connect(id, &container.id, &settings)).await;
        let failed = connected.is_err();
        let (on, reserved) = (network.clone(), Reserved::default());
        let call = Call::ConnectEndpoint { network: on, container: container.clone(), settings, reserved };
        mishap.cleanup.push((call, outcome(connected)));
        if !failed {
            let disconnected = self.answer(self.engine.disconnect(id, &container.id, false)).await;
            let call = Call::DisconnectEndpoint { network, container: container.clone(), force: false };
            mishap.cleanup.push((call, outcome(disconnected)));
        }
        mishap
    }

    // Containers

    async fn in_state(
        &self,
        container: &ContainerTarget,
        called: Result<(), EngineError>,
        reached: impl Fn(ContainerState) -> bool,
    ) -> Result<Done, Mishap> {
        match called {
            Ok(()) => Ok(Done::default()),
            Err(error) => match self.inspect(container).await {
                Ok(Some(seen)) if reached(seen.state) => Ok(Done::default()),
                Ok(None) if error.kind == EngineErrorKind::NotFound => Err(gone(container)),
                Ok(_) => Err(answered(error)),
                Err(unknown) if error.kind == EngineErrorKind::Unreachable => Err(unknown.into()),
                Err(unknown) => Err(unseen(error, &unknown)),
            },
        }
    }
}

impl Caller<'_> {
    // Swarm services

    pub(super) async fn update_service(
        &self,
        service: &ServiceTarget,
        update: ServiceUpdate<'_>,
    ) -> Result<(), Mishap> {
        let changes = match update {
            ServiceUpdate::Networks(changes) | ServiceUpdate::Restored(changes) => changes,
            ServiceUpdate::Replicas(_) | ServiceUpdate::Definition { .. } | ServiceUpdate::RolledBack => &[],
        };
        let added: Vec<_> = changes.iter().filter(|change| change.attachment.is_some()).collect();
        for ServiceNetworkUpdate { id, name, .. } in &added {
            if self.network(id).await?.is_none() {
                let message =
                    format!("The network {name:?} ({}) has been removed since the plan was made.", id.short());
                return Err(failed(Reason::NetworkNotFound, message));
            }
        }
        match self.answer(self.engine.update_service(&service.id, update)).await {
            Ok(()) => Ok(()),
            // One that is gone is off every network, and has no tasks.
            Err(error) if error.kind == EngineErrorKind::NotFound => match update {
                ServiceUpdate::Networks(_) | ServiceUpdate::Restored(_) if added.is_empty() => Ok(()),
                ServiceUpdate::Replicas(0) => Ok(()),
                _ => {
                    let name = &service.name;
                    let message = format!("The Swarm service {name} has been removed since the plan was made.");
                    Err(failed(Reason::ContainerMissing, message))
                }
            },
            Err(error) => {
                let services = match self.answer(self.engine.services()).await {
                    Ok(services) => services,
                    Err(unknown) if error.kind == EngineErrorKind::Unreachable => return Err(unknown.into()),
                    Err(unknown) => return Err(unseen(error, &unknown)),
                };
                let seen = services.iter().find(|seen| seen.id == service.id);
                let is_done = match update {
                    ServiceUpdate::Networks(changes) | ServiceUpdate::Restored(changes) => {
                        changes.iter().all(|change| {
                            let is_it = |known: &&ServiceNetwork| known.is(change.id, change.name);
                            let network = seen.and_then(|seen| seen.networks.iter().find(is_it));
                            network.map(|network| &network.attachment) == change.attachment
                        })
                    }
                    ServiceUpdate::Definition { create, anew, .. } => {
                        let seen = seen.and_then(|seen| Some((seen, seen.definition.as_deref()?)));
                        !anew && seen.is_some_and(|(seen, definition)| create.is_as(seen, definition))
                    }
                    ServiceUpdate::RolledBack => {
                        seen.and_then(|it| it.rollout).is_some_and(|it| it == Rollout::RollbackStarted)
                    }
                    ServiceUpdate::Replicas(replicas) => {
                        seen.map_or(replicas == 0, |seen| seen.replicas == Some(replicas))
                    }
                };
                if is_done { Ok(()) } else { Err(answered(error)) }
            }
        }
    }
}

/// What a subnet overlaps with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overlap {
    /// This very network, of another applier.
    Rival,
    Foreign,
    /// Nothing that is to be seen.
    Unseen,
}

fn known<'a>(id: Option<&'a NetworkId>, name: &str) -> Result<&'a NetworkId, Mishap> {
    id.ok_or_else(|| failed(Reason::NetworkNotFound, format!("The network {name:?} has not been created.")))
}

fn gone(container: &ContainerTarget) -> Mishap {
    let message = format!(
        "The container {} ({}) has been removed since the plan was made.",
        container.name,
        container.id.short()
    );
    failed(Reason::ContainerMissing, message)
}

/// It failed, and a look that was answered says that nothing came of it. A server that is not the one it was is not called again.
fn answered(error: EngineError) -> Mishap {
    let lost = error.kind == EngineErrorKind::HostKeyMismatch;
    Mishap { lost, ..Failure::from(error).into() }
}

/// It failed, and whether it took effect all the same is not known.
fn unseen(error: EngineError, unknown: &EngineError) -> Mishap {
    let lost = matches!(unknown.kind, EngineErrorKind::Unreachable | EngineErrorKind::HostKeyMismatch);
    let failure = Failure::from(error);
    let message = format!("{}; whether it took effect could not be seen: {unknown}", failure.message);
    Mishap { lost, ..Failure { message, ..failure }.into() }
}

fn outcome(result: Result<(), EngineError>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(error) => Outcome::Failed(error.into()),
    }
}

fn ambiguous(name: &str, named: &[ObservedNetwork]) -> Mishap {
    let ids: Vec<&str> = named.iter().map(|network| network.id.short()).collect();
    let message = format!("{} networks are named {name:?}: {}.", named.len(), ids.join(", "));
    Failure {
        reason: Some(Reason::NameAmbiguous),
        message,
        hint: Some("remove all but one of them: docker network rm ID".to_owned()),
    }
    .into()
}

/// Two appliers of one set mark what they make for the same destination alike, but for the unique id.
fn refuse_foreign(create: &NetworkCreate, named: &[ObservedNetwork]) -> Result<(), Failure> {
    let Some(foreign) = named.iter().find(|network| !is_ours(create, network)) else { return Ok(()) };
    let (reason, whose) = match foreign.labels.get(ownership::SET) {
        Some(set) => (Reason::OwnershipConflict, format!("by the set {set:?}")),
        None => (Reason::AdoptionRequired, "by something else".to_owned()),
    };
    Err(Failure {
        reason: Some(reason),
        message: format!(
            "A network named {:?} ({}) has been created {whose} since the plan was made.",
            create.name,
            foreign.id.short()
        ),
        hint: (reason == Reason::AdoptionRequired).then(|| "set adopt: true to take it over".to_owned()),
    })
}

const MARKS: [&str; 2] = [ownership::SET, ownership::DESTINATION];

fn is_ours(create: &NetworkCreate, network: &ObservedNetwork) -> bool {
    MARKS.iter().all(|mark| create.labels.contains_key(*mark) && network.labels.get(*mark) == create.labels.get(*mark))
}

/// Made for the same destination, and not known to the plan.
fn is_rival(create: &NetworkCreate, network: &ObservedNetwork) -> bool {
    is_ours(create, network) && !create.beside.contains(&network.id)
}

/// Oldest first; the id decides between two of the same moment.
fn age(network: &ObservedNetwork) -> (Option<jiff::Timestamp>, NetworkId) {
    (network.created.parse().ok(), network.id.clone())
}

/// The container's endpoint on the network. A live container with an entry and no endpoint is not on it: that is what a failed attempt leaves.
fn endpoint_on<'a>(container: &'a ObservedContainer, id: &NetworkId, name: &str) -> Option<&'a ObservedEndpoint> {
    container.endpoints.iter().find(|endpoint| match &endpoint.network_id {
        Some(on) => on == id,
        None => {
            let known = endpoint.network_name == name || endpoint.network_name == id.as_str();
            !container.state.is_live() && known
        }
    })
}

/// What of the wanted settings the endpoint does not have. More than was asked for is no difference: the daemon adds aliases of its own.
fn differences(want: &EndpointSettings, have: &EndpointSettings) -> Vec<String> {
    let EndpointSettings {
        aliases,
        links,
        ipv4_address,
        ipv6_address,
        link_local_ips,
        mac_address: _,
        driver_opts,
        gw_priority,
    } = want;
    let mut found = Vec::new();
    let lists = [
        ("alias", aliases, &have.aliases),
        ("link", links, &have.links),
        ("link-local address", link_local_ips, &have.link_local_ips),
    ];
    for (what, want, have) in lists {
        for missing in want.iter().filter(|one| !have.contains(one)) {
            found.push(format!("the {what} {missing} is missing"));
        }
    }
    let addresses = [("IPv4", ipv4_address, &have.ipv4_address), ("IPv6", ipv6_address, &have.ipv6_address)];
    for (family, want, have) in addresses {
        if let Some(want) = want
            && have.as_ref().is_none_or(|have| !same_address(want, have))
        {
            let have = have.as_deref().unwrap_or("chosen by the daemon");
            found.push(format!("the {family} address is {have} instead of {want}"));
        }
    }
    for (key, value) in driver_opts.iter().filter(|(key, _)| !ownership::NOTES.contains(&key.as_str())) {
        if have.driver_opts.get(key) != Some(value) {
            found.push(format!("the driver option {key}={value} is missing"));
        }
    }
    // An engine that does not know the field reports none.
    if let (Some(want), Some(have)) = (gw_priority, have.gw_priority)
        && *want != have
    {
        found.push(format!("the gateway priority is {have} instead of {want}"));
    }
    found
}

fn same_address(left: &str, right: &str) -> bool {
    match (left.parse::<IpAddr>(), right.parse::<IpAddr>()) {
        (Ok(left), Ok(right)) => left == right,
        _ => left == right,
    }
}

/// Engines before API 1.54 choose the MAC address themselves: from the IPv4 address (`02:42:…`), and from Docker 28 on by chance. What was
/// chosen so before is no loss.
fn other_mac(wanted: &EndpointSettings, have: &EndpointSettings, container: &str, network: &str) -> Option<Warning> {
    let (Some(want), Some(have)) = (&wanted.mac_address, &have.mac_address) else { return None };
    let derives = have.starts_with("02:42:") && !want.starts_with("02:42:");
    if want.eq_ignore_ascii_case(have) || !(derives || is_mac_address_on_record(wanted)) {
        return None;
    }
    Some(Warning {
        reason: Reason::EndpointDiffers,
        message: format!(
            "The engine gave {container} the MAC address {have} on {network:?} instead of {want}: it does not set one on connecting."
        ),
        hint: None,
    })
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let reason = match error.kind {
            EngineErrorKind::Unreachable => Some(Reason::ServerUnreachable),
            EngineErrorKind::PermissionDenied => Some(Reason::PermissionDenied),
            EngineErrorKind::HostKeyMismatch => Some(Reason::HostKeyMismatch),
            EngineErrorKind::NotFound => Some(Reason::NetworkNotFound),
            EngineErrorKind::Ambiguous | EngineErrorKind::NameTaken => Some(Reason::NameAmbiguous),
            EngineErrorKind::NetworkInUse => Some(Reason::NetworkInUse),
            EngineErrorKind::AddressPoolExhausted => Some(Reason::AddressPoolExhausted),
            EngineErrorKind::SubnetOverlap => Some(Reason::SubnetOverlap),
            EngineErrorKind::AddressUnavailable => Some(Reason::AddressUnavailable),
            EngineErrorKind::AddressTaken => Some(Reason::AddressTaken),
            EngineErrorKind::BridgeNameTaken => Some(Reason::NameTaken),
            EngineErrorKind::PortTaken => Some(Reason::PortTaken),
            EngineErrorKind::ImageUnavailable => Some(Reason::ImageUnavailable),
            EngineErrorKind::NotASwarmManager => Some(Reason::NotASwarmManager),
            EngineErrorKind::Forbidden => Some(Reason::WrongScope),
            EngineErrorKind::RolloutInProgress => Some(Reason::RolloutInProgress),
            EngineErrorKind::TooOld
            | EngineErrorKind::TooNew
            | EngineErrorKind::AlreadyConnected
            | EngineErrorKind::NotConnected
            | EngineErrorKind::Protocol
            | EngineErrorKind::Other => None,
        };
        Self { reason, message: error.to_string(), hint: error.hint }
    }
}
