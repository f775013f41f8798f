//! Host names of an application as the labels that its proxy reads.

use std::collections::BTreeMap;

use crate::core::api::{ObjectKey, ProxyType};

/// What the proxy that Landfall runs calls the resolver of its certificates.
pub const RESOLVER: &str = "letsencrypt";

/// A host, and optionally a path, that the proxy routes to an application.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    pub tls: bool,
    pub host: String,
    /// Begins with `/`; empty: every path.
    pub path: String,
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.host, self.path)
    }
}

/// Reads `shop.example.com`, `http://…` or `https://shop.example.com/api`. The error says what is wrong with it.
pub fn parse(text: &str) -> Result<Route, String> {
    let (tls, rest) = match text.split_once("://") {
        Some(("https", rest)) => (true, rest),
        Some(("http", rest)) => (false, rest),
        Some((scheme, _)) => return Err(format!("the scheme `{scheme}` is neither http nor https")),
        None => (false, text),
    };
    let (host, path) = rest.split_once('/').map_or((rest, String::new()), |(host, path)| (host, format!("/{path}")));
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if host.is_empty() || host.len() > 253 || !host.split('.').all(label) {
        return Err(format!("{host:?} is not a host name"));
    }
    // A scheme without its colon is a host name, and what follows it no path that a browser would ask for.
    if path.starts_with("//") {
        return Err(format!("{text:?} has `//` where a path begins: is it meant to be `https://…`?"));
    }
    // What ends the rule or the line of a proxy's configuration.
    if path.chars().any(|c| c.is_control() || c.is_whitespace() || "`\"'{}\\".contains(c)) {
        return Err(format!("the path {path:?} has characters that no route can have"));
    }
    Ok(Route { tls, host: host.to_ascii_lowercase(), path: path.trim_end_matches('/').to_owned() })
}

/// The labels that have the proxy route to `port`, reached on `network`. Empty where no labels can say so.
pub fn labels(
    proxy: ProxyType,
    resource: &ObjectKey,
    network: &str,
    routes: &[Route],
    port: Option<u16>,
) -> BTreeMap<String, String> {
    if routes.is_empty() {
        return BTreeMap::new();
    }
    match proxy {
        ProxyType::Traefik => traefik(resource, network, routes, port),
        ProxyType::Caddy => caddy(network, routes, port),
        ProxyType::Nginx | ProxyType::Other => BTreeMap::new(),
    }
}

/// By which network Traefik reaches a container, and a service.
pub const TRAEFIK_NETWORK: &str = "traefik.docker.network";
pub const TRAEFIK_SWARM_NETWORK: &str = "traefik.swarm.network";

fn traefik(resource: &ObjectKey, network: &str, routes: &[Route], port: Option<u16>) -> BTreeMap<String, String> {
    let id = format!("{}-{}", resource.namespace, resource.name);
    let mut labels = BTreeMap::from([
        ("traefik.enable".to_owned(), "true".to_owned()),
        (TRAEFIK_NETWORK.to_owned(), network.to_owned()),
    ]);
    for (number, route) in routes.iter().enumerate() {
        let router = format!("traefik.http.routers.{id}-{number}");
        let mut rule = format!("Host(`{}`)", route.host);
        if !route.path.is_empty() {
            rule.push_str(&format!(" && PathPrefix(`{}`)", route.path));
        }
        labels.insert(format!("{router}.rule"), rule);
        labels.insert(format!("{router}.service"), id.clone());
        if route.tls {
            labels.insert(format!("{router}.tls"), "true".to_owned());
        }
    }
    // Traefik takes the only exposed port where none is given.
    if let Some(port) = port {
        labels.insert(format!("traefik.http.services.{id}.loadbalancer.server.port"), port.to_string());
    }
    labels
}

/// As caddy-docker-proxy reads them. The four about retrying keep requests from failing while a container is replaced.
fn caddy(network: &str, routes: &[Route], port: Option<u16>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([("caddy_ingress_network".to_owned(), network.to_owned())]);
    let upstreams = port.map_or("{{upstreams}}".to_owned(), |port| format!("{{{{upstreams {port}}}}}"));
    for (number, route) in routes.iter().enumerate() {
        let site = format!("caddy_{number}");
        let scheme = if route.tls { "https" } else { "http" };
        labels.insert(site.clone(), format!("{scheme}://{}", route.host));
        let within = if route.path.is_empty() {
            format!("{site}.reverse_proxy")
        } else {
            labels.insert(format!("{site}.handle"), format!("{}*", route.path));
            format!("{site}.handle.reverse_proxy")
        };
        labels.insert(within.clone(), upstreams.clone());
        for (key, value) in [
            ("lb_try_duration", "5s"),
            ("lb_try_interval", "50ms"),
            ("fail_duration", "2s"),
            ("transport", "http"),
            ("transport.dial_timeout", "500ms"),
        ] {
            labels.insert(format!("{within}.{key}"), value.to_owned());
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::api::Kind;

    fn resource() -> ObjectKey {
        ObjectKey::new(Kind::Application, "shop", "frontend")
    }

    #[test]
    fn domains_are_hosts_with_an_optional_scheme_and_path() {
        let route = |tls, host: &str, path: &str| Route { tls, host: host.to_owned(), path: path.to_owned() };
        assert_eq!(parse("Shop.example.com"), Ok(route(false, "shop.example.com", "")));
        assert_eq!(parse("https://shop.example.com/api/"), Ok(route(true, "shop.example.com", "/api")));
        for wrong in
            ["ftp://shop.example.com", "", "https://", "shop..example.com", "a.b/`)", "-a.example", "a b.example"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn traefik_is_told_the_network_the_rule_and_the_port() {
        let routes = [parse("shop.example.com").unwrap(), parse("https://shop.example.com/api").unwrap()];
        let labels = labels(ProxyType::Traefik, &resource(), "web-net", &routes, Some(8080));
        let expected = [
            ("traefik.docker.network", "web-net"),
            ("traefik.enable", "true"),
            ("traefik.http.routers.shop-frontend-0.rule", "Host(`shop.example.com`)"),
            ("traefik.http.routers.shop-frontend-0.service", "shop-frontend"),
            ("traefik.http.routers.shop-frontend-1.rule", "Host(`shop.example.com`) && PathPrefix(`/api`)"),
            ("traefik.http.routers.shop-frontend-1.service", "shop-frontend"),
            ("traefik.http.routers.shop-frontend-1.tls", "true"),
            ("traefik.http.services.shop-frontend.loadbalancer.server.port", "8080"),
        ];
        assert_eq!(labels, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn caddy_is_told_to_try_again_while_a_container_is_replaced() {
        let labels =
            labels(ProxyType::Caddy, &resource(), "web-net", &[parse("https://shop.example.com").unwrap()], Some(80));
        assert_eq!(labels["caddy_0"], "https://shop.example.com");
        assert_eq!(labels["caddy_0.reverse_proxy"], "{{upstreams 80}}");
        assert_eq!(labels["caddy_0.reverse_proxy.lb_try_duration"], "5s");
        assert_eq!(labels["caddy_ingress_network"], "web-net");
    }
}
