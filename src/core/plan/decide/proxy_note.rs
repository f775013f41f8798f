//! Why the proxy cannot be connected at present.

use crate::core::desired::ProxyInstance;
use crate::core::plan::document::note::Note;
use crate::core::plan::document::reason::Reason;
use crate::core::plan::world::container;
use crate::core::plan::world::context::Context;

/// Why the proxy cannot be connected at present. One note a server: it concerns all of its destinations alike.
pub(crate) fn server_note(ctx: &Context<'_>) -> Option<Note> {
    let wanting = ctx.server.destinations.iter().filter(|it| it.proxy && it.active && !it.suspend).count();
    if wanting == 0 {
        return None;
    }
    let proxy = ctx.server.proxy.as_ref()?;
    // What Landfall runs itself it makes rather than waits for.
    if proxy.run_by.as_ref().is_some_and(|resource| !ctx.is_deleted(resource)) {
        return None;
    }
    let waiting = |message: String, field: &str| {
        Note::waiting(Reason::ContainerMissing, &ctx.server.key, message).hint(format!(
            "it is connected as soon as it is there; correct `spec.proxy.{field}` if it goes by another name"
        ))
    };
    let name = match &proxy.instance {
        ProxyInstance::Container(name) => name,
        ProxyInstance::Service(name) if ctx.host.service_named(name).is_some() => return None,
        ProxyInstance::Service(name) => {
            let message = format!("The proxy, a Swarm service named {name:?}, does not exist.");
            return Some(waiting(message, "service"));
        }
    };
    let waiting = |message| waiting(message, "container");
    match ctx.host.container_named(name) {
        None => Some(waiting(format!("The proxy {name:?} does not exist."))),
        Some(container) if container::is_going(container) => {
            Some(waiting(format!("The proxy {name:?} is in state {}.", container.state.as_str())))
        }
        Some(container) => ctx.host.unconnectable_note(&ctx.server.key, container, true),
    }
}
