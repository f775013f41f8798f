//! Who is told what, how often, and what becomes of it when the other side does not listen.

mod deliver;
mod manifests;
mod proxies;
pub(crate) mod receiver;
mod transitions;

use landfall::core::api::{Kind, NotifierEvent, ObjectKey};
use landfall::core::manifest::{self, Source};
use landfall::core::notice::{Notice, Notifier};

pub(crate) fn destination(name: &str) -> ObjectKey {
    ObjectKey::new(Kind::Destination, "shop", name)
}

pub(crate) fn server() -> ObjectKey {
    ObjectKey::new(Kind::Server, "shop", "edge")
}

pub(crate) fn notice(event: NotifierEvent, name: &str) -> Notice {
    Notice {
        event,
        object: Some(destination(name)),
        server: Some(server()),
        reason: "ProxyDetached".to_owned(),
        message: "The proxy is \"off\" <it>.".to_owned(),
    }
}

/// The notifiers with these specs, in flow style without the braces.
pub(crate) fn notifiers(specs: &[String]) -> Vec<Notifier> {
    let document = |(number, spec): (usize, &String)| {
        format!(
            "---\napiVersion: landfall/v1\nkind: Notifier\nmetadata: {{ name: n{number}, namespace: shop }}\nspec: {{ {spec} }}\n"
        )
    };
    let text: String = specs.iter().enumerate().map(document).collect();
    let source = Source { name: "test.yaml".to_owned(), bytes: text.into_bytes() };
    manifest::load(&[source]).unwrap_or_else(|problems| panic!("{problems:#?}")).notifiers()
}
