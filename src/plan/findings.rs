//! What is wrong with a declared container and no operation puts right: it is said in the plan, and counts as drift.

use std::collections::BTreeSet;

use super::operation::{Note, Reason};
use super::{Context, host, member, proxy};

/// Everything of that kind on one server.
pub(super) fn notes(ctx: &Context<'_>) -> Vec<Note> {
    restarting(ctx)
}

/// Declared containers that end again and again. They are connected, and serve nobody.
fn restarting(ctx: &Context<'_>) -> Vec<Note> {
    if !ctx.host.state.containers.iter().any(|it| it.is_restarting() && !host::is_task(it)) {
        return Vec::new();
    }
    let find = |object, what: &str, name: &str| {
        Note::finding(
            Reason::Restarting,
            object,
            name,
            format!("{what} {name:?} ends again and again after it was started."),
        )
        .hint(format!("docker logs {name}"))
    };
    let proxy = proxy::container(ctx).filter(|it| it.is_restarting());
    let wanted = ctx.located.iter().any(|(it, _)| it.proxy && it.active && !it.suspend);
    let mut notes: Vec<Note> =
        proxy.filter(|_| wanted).map(|it| find(&ctx.server.key, "The proxy", &it.name)).into_iter().collect();
    let mut said = BTreeSet::new();
    for (destination, located) in
        ctx.located.iter().filter(|(it, _)| it.active && !it.suspend && !ctx.is_deleted(&it.key))
    {
        let members = member::resolve(ctx, destination, located.network());
        for (resource, container) in members.all {
            if container.is_restarting() && !host::is_task(container) && said.insert((resource, &container.id)) {
                notes.push(find(resource, "The container", &container.name));
            }
        }
    }
    notes
}
