//! What a failed call means. The status misleads (an exhausted address pool is 404, connecting twice is 403, disconnecting twice
//! 500), so the operation and the daemon's words count too.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

use crate::shell::engine::transport::{BodyError, TransportError};
use crate::shell::engine::{EngineError, EngineErrorKind};

/// The calls whose failures are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Read,
    CreateNetwork,
    Connect,
    Disconnect,
    RemoveNetwork,
    StartContainer,
    StopContainer,
    UpdateService,
    PullImage,
    /// What makes, changes or removes a container, or a volume.
    ChangeContainer,
    /// What makes or removes a Swarm service or a secret.
    ChangeService,
}

impl Operation {
    fn changes(self) -> bool {
        self != Operation::Read
    }

    /// What an allow-list before the daemon has to let through, and the settings of docker-socket-proxy that do.
    fn permission(self) -> (&'static str, &'static str) {
        match self {
            Operation::Read => (
                "`GET` on /info, /networks, /containers and /events, on a Swarm also /services, /tasks and /nodes",
                "INFO=1 NETWORKS=1 CONTAINERS=1 EVENTS=1, on a Swarm also SERVICES=1 TASKS=1 NODES=1",
            ),
            Operation::CreateNetwork => ("`POST /networks/create`", "POST=1 NETWORKS=1"),
            Operation::Connect => ("`POST /networks/*/connect`", "POST=1 NETWORKS=1"),
            Operation::Disconnect => ("`POST /networks/*/disconnect`", "POST=1 NETWORKS=1"),
            Operation::RemoveNetwork => ("`DELETE /networks/*`", "POST=1 NETWORKS=1"),
            Operation::StartContainer => ("`POST /containers/*/start`", "CONTAINERS=1 ALLOW_START=1"),
            Operation::StopContainer => ("`POST /containers/*/stop`", "CONTAINERS=1 ALLOW_STOP=1"),
            Operation::UpdateService => ("`POST /services/*/update`", "POST=1 SERVICES=1"),
            Operation::PullImage => ("`POST /images/create` and `GET /distribution`", "POST=1 IMAGES=1 DISTRIBUTION=1"),
            Operation::ChangeContainer => (
                "`POST`, `PUT` and `DELETE` on /containers, /exec and /volumes",
                "POST=1 CONTAINERS=1 EXEC=1 VOLUMES=1",
            ),
            Operation::ChangeService => {
                ("`POST` and `DELETE` on /services and /secrets", "POST=1 SERVICES=1 SECRETS=1")
            }
        }
    }

    /// What Podman's Docker-compatible API does otherwise than it says: it connects without the address and the options that it was given, and
    /// removes by its id a network that is in use.
    pub(super) fn is_beyond_podman(self) -> bool {
        matches!(self, Operation::Connect | Operation::Disconnect | Operation::RemoveNetwork)
    }
}

/// A call that did not succeed, before anyone made sense of it.
#[derive(Debug)]
pub(super) enum Failure {
    Transport(TransportError),
    /// The answer broke off.
    Broken(String),
    TimedOut(Duration),
    /// The daemon says no.
    Refused {
        status: u16,
        message: String,
    },
    /// An answer that is not what it should be.
    Unreadable(String),
    /// Not asked for, because it is Podman.
    Podman,
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        Failure::Transport(error)
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge(_) => Failure::Unreadable(error.to_string()),
            BodyError::Broken(error) => Failure::Broken(error.to_string()),
        }
    }
}

impl Failure {
    /// From the body of an answer that is no success: the daemon's JSON, or whatever a proxy before it says.
    pub(super) fn refused(status: StatusCode, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Message {
            message: String,
        }
        let message = match serde_json::from_slice::<Message>(body) {
            Ok(message) => message.message,
            Err(_) => String::from_utf8_lossy(body).into_owned(),
        };
        Failure::Refused { status: status.as_u16(), message: shortened(&message) }
    }

    /// The error for whoever has to act: `what` was attempted on `server`.
    pub(super) fn explain(self, operation: Operation, server: &str, what: &str) -> EngineError {
        let (kind, message, hint) = match self {
            Failure::Transport(error) => match (error.dial_error(), &error) {
                (Some(dial_error), _) => (dial_error.kind, dial_error.message.clone(), dial_error.hint.clone()),
                (None, TransportError::TooOld(_)) => (EngineErrorKind::TooOld, error.to_string(), None),
                (None, _) => (EngineErrorKind::Unreachable, chain(&error), None),
            },
            Failure::Broken(message) => {
                (EngineErrorKind::Unreachable, format!("the connection broke: {message}"), None)
            }
            Failure::TimedOut(limit) => (EngineErrorKind::Unreachable, format!("no answer within {limit:?}"), None),
            Failure::Refused { message, .. } if message.contains(TLS_EXPECTED) => (
                EngineErrorKind::Unreachable,
                "the daemon expects TLS on this port and was spoken to in plain text".to_owned(),
                Some("declare the server's `tls` (caFile, certFile, keyFile) instead of `insecure: true`".to_owned()),
            ),
            // Said of any request, so nothing follows from it about what was asked.
            Failure::Refused { status: 400, message } if is_too_new(&message) => (EngineErrorKind::TooNew, message, None),
            Failure::Refused { status, message } => {
                let kind = classify(operation, status, &message);
                let message =
                    if message.is_empty() { format!("the daemon answers with status {status}") } else { message };
                (kind, message, None)
            }
            Failure::Podman => (
                EngineErrorKind::Other,
                "this is Podman, whose Docker-compatible API loses addresses and options on the way and removes networks that are in use"
                    .to_owned(),
                Some("only Docker's networks can be kept; on Podman networks are looked at and created".to_owned()),
            ),
            Failure::Unreadable(message) => {
                (EngineErrorKind::Protocol, format!("the answer cannot be read: {message}"), None)
            }
        };
        let hint = hint.or_else(|| advice(kind, operation)).or_else(|| unattached(operation, &message));
        EngineError { kind, attempted: format!("{what} on {server}"), message, hint }
    }
}

/// The next step where a node did not get its container onto a network of the Swarm: its daemon asks the managers and waits 20 s for them.
fn unattached(operation: Operation, message: &str) -> Option<String> {
    let is_one = matches!(operation, Operation::Connect | Operation::StartContainer | Operation::ChangeContainer)
        && ["attaching to network failed", "context deadline exceeded"].iter().any(|words| message.contains(words));
    is_one.then(|| UNATTACHED.to_owned())
}

/// Said by Docker itself, by `docker network connect` as well.
const UNATTACHED: &str = "Docker's own answer where the managers of the Swarm do not take the container in within 20 s: see on one of them, with \
     `docker node ls`, whether the node is ready and active; if it is, restart Docker on that node";

/// What Go's HTTP server, and so dockerd, answers to plain text on a port with TLS.
const TLS_EXPECTED: &str = "Client sent an HTTP request to an HTTPS server";

/// As a daemon refuses a version of its API that it no longer speaks.
fn is_too_new(message: &str) -> bool {
    message.contains("client version") && message.contains("too old")
}

/// The daemon's message on one line, and not a whole page of HTML.
fn shortened(message: &str) -> String {
    const MOST: usize = 500;
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let words = error.to_string();
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        source = error.source();
    }
    text
}

const ADDRESS_TAKEN: [&str; 2] = ["Address already in use", "address already in use"];

fn classify(operation: Operation, status: u16, message: &str) -> EngineErrorKind {
    use EngineErrorKind as Kind;
    let says = |words: &[&str]| words.iter().any(|words| message.contains(words));

    // Words that mean the same whatever was attempted.
    if says(&["is not a swarm manager", "multi-host network from a worker node", "node is not part of a swarm"]) {
        return Kind::NotASwarmManager;
    }
    if says(&["is ambiguous", "matches found on name", "matches found based on"]) {
        return Kind::Ambiguous;
    }
    if status == 401 || says(&["authorization denied by plugin"]) {
        return Kind::PermissionDenied;
    }
    // Nothing that another program says is a statement about networks and containers: its 404 does not mean that one is absent.
    match status {
        403 | 405 if is_of_a_proxy(message) => return Kind::PermissionDenied,
        404 if is_page(message) => return Kind::Protocol,
        _ => {}
    }
    if says(&["port is already allocated", "address already in use"])
        && matches!(operation, Operation::StartContainer | Operation::ChangeContainer)
    {
        return Kind::PortTaken;
    }
    match operation {
        Operation::PullImage => Kind::ImageUnavailable,
        Operation::ChangeContainer if says(&["No such image"]) => Kind::ImageUnavailable,
        Operation::ChangeContainer if status == 404 => Kind::NotFound,
        Operation::ChangeContainer if status == 409 && says(&["is already in use by container", "already in use"]) => {
            Kind::NameTaken
        }
        Operation::ChangeContainer => Kind::Other,
        Operation::ChangeService if status == 404 => Kind::NotFound,
        Operation::ChangeService if says(&["already exists", "conflicts with an existing object"]) => Kind::NameTaken,
        Operation::ChangeService if says(&["is already in use by service", "port is already"]) => Kind::PortTaken,
        Operation::ChangeService => Kind::Other,
        Operation::Read if status == 403 => Kind::PermissionDenied,
        Operation::Read | Operation::StopContainer | Operation::UpdateService if status == 404 => Kind::NotFound,
        // A network that the definition names and that does not exist, as a bad request.
        Operation::UpdateService if says(&["not found"]) => Kind::NotFound,
        Operation::StartContainer if says(&ADDRESS_TAKEN) => Kind::AddressTaken,
        // A container that is pinned to a removed network fails to start with 404 as well.
        Operation::StartContainer if status == 404 && says(&["No such container", "no such container"]) => {
            Kind::NotFound
        }
        Operation::Read | Operation::StartContainer | Operation::StopContainer | Operation::UpdateService => {
            Kind::Other
        }

        // 404 is an exhausted pool here, or an unknown driver; never a network that is missing.
        Operation::CreateNetwork => {
            if says(&["non-overlapping", "predefined address pools have been fully subnetted", "pool is exhausted"]) {
                Kind::AddressPoolExhausted
            } else if says(&[
                "Pool overlaps with other one",
                "networks have overlapping",
                "overlaps with",
                // Podman
                "is already used on the host or by another config",
            ]) {
                Kind::SubnetOverlap
            } else if says(&["have same bridge name"]) {
                Kind::BridgeNameTaken
            } else if says(&["already exists"]) {
                Kind::NameTaken
            } else if status == 403 || says(&["conflicts with a valid network mode"]) {
                Kind::Forbidden
            } else {
                Kind::Other
            }
        }
        Operation::Connect => {
            if says(&["already exists in network", "is already attached to network", "is already connected to network"])
            {
                Kind::AlreadyConnected
            } else if says(&ADDRESS_TAKEN) {
                Kind::AddressTaken
            } else if says(&["no available IPv4 addresses", "no available IPv6 addresses", "no available addresses on"])
            {
                Kind::AddressPoolExhausted
            } else if says(&[
                "user specified IP address",
                "not belong to any of this network's subnets",
                "no configured subnet",
                "Invalid address",
            ]) {
                Kind::AddressUnavailable
            } else if status == 404 {
                Kind::NotFound
            } else if status == 403
                || says(&[
                    "cannot be connected to",
                    "container sharing network namespace",
                    "not manually attachable",
                    "host network",
                ])
            {
                Kind::Forbidden
            } else {
                Kind::Other
            }
        }
        Operation::Disconnect => {
            if says(&["is not connected to"]) {
                Kind::NotConnected
            } else if status == 404 {
                Kind::NotFound
            } else if status == 403
                || says(&["cannot be disconnected from host network", "cannot disconnect container from host network"])
            {
                Kind::Forbidden
            } else {
                Kind::Other
            }
        }
        Operation::RemoveNetwork => {
            if says(&["has active endpoints", "is in use by"]) {
                Kind::NetworkInUse
            } else if status == 404 {
                Kind::NotFound
            } else if status == 403 || says(&["pre-defined network"]) {
                Kind::Forbidden
            } else {
                Kind::Other
            }
        }
    }
}

/// Whether the answer is from a proxy before the daemon. The daemon answers with JSON that has a `message`, and that message is a sentence
/// about what was asked for; proxies answer with HTML, JSON of their own, the name of the status, or nothing.
fn is_of_a_proxy(message: &str) -> bool {
    const WORDS: [&str; 6] =
        ["forbidden", "access denied", "permission denied", "not allowed", "denied by", "blocked by"];
    let lower = message.to_lowercase();
    lower.is_empty()
        || is_page(&lower)
        || lower.starts_with(['{', '['])
        || WORDS.iter().any(|words| lower.contains(words))
}

fn is_page(message: &str) -> bool {
    message.trim_start().starts_with('<')
}

/// The next step, where there is one that does not depend on the server.
fn advice(kind: EngineErrorKind, operation: Operation) -> Option<String> {
    if kind == EngineErrorKind::PermissionDenied {
        let (calls, settings) = operation.permission();
        return Some(format!(
            "an authorization plugin or a proxy before the daemon denies the call: allow {calls} for Landfall \
             (docker-socket-proxy: {settings})"
        ));
    }
    let advice = match kind {
        EngineErrorKind::Unreachable if operation.changes() => {
            "whether the change was made is not known; run the command again, it looks before it acts"
        }
        EngineErrorKind::Unreachable => {
            "check that the Docker daemon answers (`docker version`), or give it more `--timeout`"
        }
        EngineErrorKind::TooNew => "this Landfall is too old for the Docker on that server: install a newer Landfall",
        EngineErrorKind::TooOld => "upgrade Docker on that server to 19.03 or newer",
        EngineErrorKind::AddressPoolExhausted if operation == Operation::Connect => {
            "the network has no address left: disconnect unused containers, or declare a larger `spec.network.subnets`"
        }
        EngineErrorKind::AddressPoolExhausted => {
            "add to `default-address-pools` in /etc/docker/daemon.json and restart Docker, declare `spec.network.subnets`, \
             or remove unused networks"
        }
        EngineErrorKind::SubnetOverlap => {
            "choose another `spec.network.subnets`: a network or route of the server has this one"
        }
        EngineErrorKind::AddressUnavailable => {
            "choose a free address within a subnet that the Destination declares in `spec.network.subnets`"
        }
        EngineErrorKind::AddressTaken => "`docker network inspect` shows who has it; declare another one, or free it",
        EngineErrorKind::BridgeNameTaken => "choose another `com.docker.network.bridge.name`, or leave it to Docker",
        EngineErrorKind::PortTaken => {
            "`docker ps` on that server shows which container publishes it; free it, or publish another"
        }
        EngineErrorKind::ImageUnavailable => {
            "check the image's name and tag; for a private registry run `docker login` where Landfall runs"
        }
        EngineErrorKind::NotASwarmManager => "declare a manager of the Swarm as a Server and use that",
        EngineErrorKind::Ambiguous => "remove or rename one of the networks, then run the command again",
        EngineErrorKind::Protocol => "is this really a Docker Engine? Check the server's `spec.endpoint`",
        EngineErrorKind::PermissionDenied
        | EngineErrorKind::HostKeyMismatch
        | EngineErrorKind::NotFound
        | EngineErrorKind::AlreadyConnected
        | EngineErrorKind::NotConnected
        | EngineErrorKind::NetworkInUse
        | EngineErrorKind::NameTaken
        | EngineErrorKind::Forbidden
        | EngineErrorKind::RolloutInProgress
        | EngineErrorKind::Other => return None,
    };
    Some(advice.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_a_swarm_does_not_take_in_is_explained() {
        let message = "attaching to network failed, make sure your network options are correct and check manager logs: context deadline exceeded";
        let hint = |operation, message: &str| {
            let refused = Failure::Refused { status: 500, message: message.to_owned() };
            refused.explain(operation, "default/w1", "connecting").hint
        };
        for operation in [Operation::Connect, Operation::StartContainer] {
            let hint = hint(operation, message).unwrap();
            assert!(hint.contains("restart Docker on that node"), "{hint}");
        }
        assert_eq!(hint(Operation::Connect, "some other trouble"), None);
    }

    /// The body of docker-socket-proxy's refusals.
    const HAPROXY: &str =
        "<html><body><h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.\n</body></html>\n";

    /// The daemon's own words, from 20.10 where no version is named.
    #[test]
    fn the_daemons_messages_are_told_apart() {
        use EngineErrorKind as Kind;
        use Operation::*;
        let cases: &[(Operation, u16, &str, Kind)] = &[
            (
                CreateNetwork,
                404,
                "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network",
                Kind::AddressPoolExhausted,
            ),
            // 27.0
            (CreateNetwork, 400, "all predefined address pools have been fully subnetted", Kind::AddressPoolExhausted),
            (CreateNetwork, 403, "Pool overlaps with other one on this address space", Kind::SubnetOverlap),
            // 27.0
            (
                CreateNetwork,
                403,
                "invalid pool request: Pool overlaps with other one on this address space",
                Kind::SubnetOverlap,
            ),
            (
                CreateNetwork,
                403,
                "cannot create network 0f (br-0f): conflicts with network 1e (br-1e): networks have overlapping IPv4",
                Kind::SubnetOverlap,
            ),
            (CreateNetwork, 409, "network with name web already exists", Kind::NameTaken),
            (CreateNetwork, 403, "operation is not permitted on predefined bridge network ", Kind::Forbidden),
            (
                CreateNetwork,
                403,
                "Cannot create a multi-host network from a worker node. Please create the network from a manager node.",
                Kind::NotASwarmManager,
            ),
            (
                CreateNetwork,
                503,
                "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to \
                 swarm and try again.",
                Kind::NotASwarmManager,
            ),
            (CreateNetwork, 404, "legacy plugin: plugin \"weave\" not found", Kind::Other),
            (Connect, 403, "endpoint with name app already exists in network web", Kind::AlreadyConnected),
            (Connect, 403, "Address already in use", Kind::AddressTaken),
            // 26
            (Connect, 503, "no available addresses on this pool", Kind::AddressPoolExhausted),
            (
                Connect,
                503,
                "no available IPv4 addresses on this network's address pools: web (0f)",
                Kind::AddressPoolExhausted,
            ),
            // 28 and 29
            (
                Disconnect,
                403,
                "cannot disconnect container from host network - container was created in host network mode",
                Kind::Forbidden,
            ),
            (
                CreateNetwork,
                403,
                "cannot create network 0f (brx): conflicts with network 1e (brx): networks have same bridge name",
                Kind::BridgeNameTaken,
            ),
            (StartContainer, 403, "Address already in use", Kind::AddressTaken),
            (
                Connect,
                400,
                "user specified IP address is supported only when connecting to networks with user configured subnets",
                Kind::AddressUnavailable,
            ),
            (Connect, 404, "No such container: app", Kind::NotFound),
            (Connect, 404, "network web not found", Kind::NotFound),
            (
                Connect,
                403,
                "container sharing network namespace with another container or host cannot be connected to any other network",
                Kind::Forbidden,
            ),
            (Connect, 403, "container cannot be connected to host network", Kind::Forbidden),
            (Disconnect, 500, "container 4f is not connected to network web", Kind::NotConnected),
            (Disconnect, 404, "network web not found", Kind::NotFound),
            (Disconnect, 403, "container cannot be disconnected from host network", Kind::Forbidden),
            (
                RemoveNetwork,
                403,
                "error while removing network: network web id 0f has active endpoints",
                Kind::NetworkInUse,
            ),
            (
                RemoveNetwork,
                400,
                "rpc error: code = FailedPrecondition desc = network 0f is in use by service 1e",
                Kind::NetworkInUse,
            ),
            (RemoveNetwork, 404, "network 0f not found", Kind::NotFound),
            (RemoveNetwork, 403, "bridge is a pre-defined network and cannot be removed", Kind::Forbidden),
            (
                RemoveNetwork,
                503,
                "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state.",
                Kind::NotASwarmManager,
            ),
            (Read, 400, "6 matches found based on name: network web is ambiguous", Kind::Ambiguous),
            // 27.0
            (Read, 400, "network web is ambiguous (2 matches found on name)", Kind::Ambiguous),
            (Read, 404, "No such container: 4f", Kind::NotFound),
            (Read, 403, "<html><body><h1>403 Forbidden</h1>Request forbidden</body></html>", Kind::PermissionDenied),
            (Connect, 403, "authorization denied by plugin casbin: no", Kind::PermissionDenied),
            // Proxies that filter: docker-socket-proxy's page, others in plain text or JSON of their own.
            (CreateNetwork, 403, HAPROXY, Kind::PermissionDenied),
            (Connect, 403, HAPROXY, Kind::PermissionDenied),
            (Disconnect, 403, HAPROXY, Kind::PermissionDenied),
            (RemoveNetwork, 403, HAPROXY, Kind::PermissionDenied),
            (StartContainer, 403, HAPROXY, Kind::PermissionDenied),
            (UpdateService, 403, HAPROXY, Kind::PermissionDenied),
            (CreateNetwork, 403, "Forbidden", Kind::PermissionDenied),
            (Connect, 403, "", Kind::PermissionDenied),
            (RemoveNetwork, 405, "Method Not Allowed", Kind::PermissionDenied),
            (Disconnect, 403, "{\"error\":\"rule 7\"}", Kind::PermissionDenied),
            (CreateNetwork, 403, "Request blocked by policy", Kind::PermissionDenied),
            (Read, 404, "<html><head><title>404 Not Found</title></head></html>", Kind::Protocol),
            (RemoveNetwork, 404, "<html><head><title>404 Not Found</title></head></html>", Kind::Protocol),
            (
                Connect,
                403,
                "Could not attach to network web: rpc error: code = PermissionDenied desc = network web not manually attachable",
                Kind::Forbidden,
            ),
            (StartContainer, 404, "network 0f not found", Kind::Other),
            (StartContainer, 404, "No such container: 4f", Kind::NotFound),
            (StopContainer, 500, "cannot stop container: 4f: tried to kill container", Kind::Other),
            (UpdateService, 404, "service 6yuvzemddvv4wc8x0ahvc9mva not found", Kind::NotFound),
            (UpdateService, 500, "network 0123456789abcdefghijklmno not found", Kind::NotFound),
            (UpdateService, 500, "rpc error: code = Unknown desc = update out of sequence", Kind::Other),
        ];
        for (operation, status, message, kind) in cases {
            assert_eq!(classify(*operation, *status, message), *kind, "{operation:?} {status} {message}");
        }
    }

    #[test]
    fn an_error_says_what_was_attempted_where() {
        let failure = Failure::refused(
            StatusCode::FORBIDDEN,
            br#"{"message":"Pool overlaps with other one on this address space"}"#,
        );
        let error =
            failure.explain(Operation::CreateNetwork, "default/edge-1 (unix:///d.sock)", "creating network \"web\"");
        assert_eq!(
            error.to_string(),
            "creating network \"web\" on default/edge-1 (unix:///d.sock): Pool overlaps with other one on this address space"
        );
        assert!(error.hint.is_some());
    }

    #[test]
    fn a_page_of_html_is_cut_short() {
        let failure = Failure::refused(StatusCode::BAD_GATEWAY, "<p>\n".repeat(1000).as_bytes());
        let error = failure.explain(Operation::Read, "s", "listing the networks");
        assert!(error.message.len() < 600 && !error.message.contains('\n'), "{}", error.message);
    }

    #[test]
    fn a_change_without_an_answer_has_an_unknown_outcome() {
        let error = Failure::TimedOut(Duration::from_secs(5)).explain(Operation::Connect, "s", "connecting");
        assert_eq!(error.kind, EngineErrorKind::Unreachable);
        assert!(error.hint.unwrap().contains("not known"));
    }
}
