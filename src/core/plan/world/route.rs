//! What an endpoint gives the container beside a name and an address: its default route, and a hardware address.

use super::context::Context;
use super::target::{Target, Wanted};
use crate::core::desired::DesiredEndpoint;
use crate::core::observed::{ApiVersion, EndpointSettings, ObservedContainer, ObservedEndpoint, ObservedNetwork};
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;

/// What the engine can be asked for. The rest is declared in vain, and said so.
pub(crate) fn possible(ctx: &Context<'_>, endpoint: &DesiredEndpoint) -> DesiredEndpoint {
    let engine = &ctx.host.state.engine;
    let mut endpoint = endpoint.clone();
    endpoint.gw_priority = endpoint.gw_priority.filter(|_| engine.knows(ApiVersion::GATEWAY_PRIORITY));
    endpoint.mac_address = endpoint.mac_address.filter(|_| engine.knows(ApiVersion::MAC_ADDRESS));
    endpoint
}

/// What is declared and cannot be had from this engine. The container is connected without.
pub(crate) fn refused(ctx: &Context<'_>, network: Option<&ObservedNetwork>, wanted: &Wanted<'_>) -> Vec<Note> {
    let engine = &ctx.host.state.engine;
    let refuse = |what: String, hint: &str| Note::refused(Reason::WrongScope, wanted.object, what).hint(hint);
    let declared = &wanted.endpoint;
    let mut notes = Vec::new();
    if let Some(priority) = declared.gw_priority.filter(|_| !engine.knows(ApiVersion::GATEWAY_PRIORITY)) {
        notes.push(refuse(
            format!(
                "spec.endpoint.gwPriority is {priority}, and Docker Engine {} takes the default route from the network whose name sorts \
                 first.",
                engine.version
            ),
            "it takes Docker 28 or newer (API 1.48)",
        ));
    }
    let mac_address = declared.mac_address.as_ref().filter(|_| !engine.knows(ApiVersion::MAC_ADDRESS));
    let attached = ctx.host.attachment(wanted.container, network, network.map_or("", |network| &network.name));
    let shown = attached.and_then(|it| it.endpoint.settings.as_ref()?.mac_address.clone());
    // One that is connected and not running shows none.
    let unknown = attached.is_some() && shown.is_none();
    if let Some(mac) = mac_address.filter(|mac| !unknown && !shown.is_some_and(|shown| shown.eq_ignore_ascii_case(mac)))
    {
        notes.push(refuse(
            format!(
                "spec.endpoint.macAddress is {mac}, and Docker Engine {} sets none on connecting; {:?} is connected without it.",
                engine.version, wanted.container.name
            ),
            "give it to the container when that is made (`docker run --mac-address`, `mac_address` in Compose); on connecting it takes API 1.54 \
             (Docker 29)",
        ));
    }
    notes
}

/// A priority with which a new endpoint leaves the default route where it is.
pub(crate) fn below_the_others(ctx: &Context<'_>, target: &Target<'_>, container: &ObservedContainer) -> Option<i64> {
    if !ctx.host.state.engine.knows(ApiVersion::GATEWAY_PRIORITY) {
        return None;
    }
    let others = container.endpoints.iter().filter(|endpoint| !is_on(target, endpoint));
    let lowest = others.map(priority).min()?;
    lowest.checked_sub(1)
}

pub(crate) fn priority(endpoint: &ObservedEndpoint) -> i64 {
    let inspected = endpoint.settings.as_ref().and_then(|settings: &EndpointSettings| settings.gw_priority);
    inspected.or(endpoint.gw_priority).unwrap_or_default()
}

fn is_on(target: &Target<'_>, endpoint: &ObservedEndpoint) -> bool {
    let is = |network: &ObservedNetwork| endpoint.network_id.as_ref() == Some(&network.id);
    target.network.is_some_and(is) || endpoint.network_name == target.create.name
}
