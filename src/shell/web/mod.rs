//! What `run` shows and takes over HTTP: the status page, metrics, health, the JSON API, and the actions behind a token.
//!
//! The same [`router`] is served on a TCP address and on the socket in the set's state directory. Whoever may open the socket may act: the
//! file's mode guards it. Over TCP an action needs the token, and without one configured there is none.
//!
//! What is absent: decisions. Reading comes from the [`Board`] and the history; an action is a [`Command`] that the loop takes.

mod act;
mod answer;
mod api;
mod guard;
mod health;
mod inquiry;
mod listen;
mod meter;
mod metrics;
mod page;
mod places;
mod plan;
mod records;
mod stream;
mod token;
mod view;
mod webhook;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post};
use tokio::sync::{Semaphore, mpsc};

pub use answer::Problem;
pub use api::{InForce, Text};
pub use guard::{AllowedHosts, Via};
pub use listen::{BindError, Limits, Listeners, SOCKET, connect_socket, controllers, resolve};
pub use plan::Planner;
pub use token::{Token, TokenError};
pub use webhook::{SecretError, Webhook, WebhookSecret};

use crate::shell::controller::board::Board;
use crate::shell::controller::run::Command;
use crate::shell::store::Records;

/// The largest body a request may have where its route does not say otherwise.
const BODY: usize = 64 * 1024;

/// The one request that reads and has a body.
const PLAN: &str = "/api/v1/plan";

/// Readers of the stream of changes at a time. There are more connections, so that they cannot keep others out.
const STREAMS: usize = 64;

/// What every handler is given.
#[derive(Clone)]
pub struct WebState {
    shared: Arc<Shared>,
    streams: Arc<Semaphore>,
    /// Of requests that ask servers.
    inquiries: Arc<Semaphore>,
    meter: Arc<meter::Meter>,
}

/// The content of a [`WebState`].
pub struct Shared {
    pub board: Board,
    pub store: Arc<dyn Records>,
    /// The directory of `--state`, absolute, where it is not the usual one: commands that are shown have to find this controller.
    pub state: Option<PathBuf>,
    /// To the loop.
    pub commands: mpsc::Sender<Command>,
    /// `None`: nobody may act over TCP.
    pub token: Option<Token>,
    /// `None`: whoever reaches it may read.
    pub read_token: Option<Token>,
    pub hosts: AllowedHosts,
    /// `None`: nobody may say that there is something to fetch.
    pub webhook: Option<Webhook>,
    pub limits: Limits,
    /// With which manifests of others are planned, and servers are asked.
    pub planner: Planner,
    /// Whether it is measured and shown what containers use.
    pub usage: bool,
}

impl WebState {
    pub fn new(shared: Shared) -> Self {
        let (streams, inquiries) = (Semaphore::new(STREAMS), Semaphore::new(inquiry::AT_ONCE));
        Self {
            shared: Arc::new(shared),
            streams: Arc::new(streams),
            inquiries: Arc::new(inquiries),
            meter: Arc::default(),
        }
    }

    fn streams_open(&self) -> usize {
        STREAMS - self.streams.available_permits()
    }
}

impl std::ops::Deref for WebState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

/// Everything that is served, to requests that arrive that way.
pub fn router(state: WebState, via: Via) -> Router {
    let reading = Router::new()
        .route("/", get(page::overview))
        .route("/objects/{kind}/{namespace}/{name}", get(page::object))
        .route("/topology.svg", get(page::topology))
        .route("/assets/{file}", get(page::asset))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/api/v1/openapi.yaml", get(api::openapi))
        .route("/api/v1/status", get(api::status))
        .route("/api/v1/manifests", get(api::manifests))
        .route("/api/v1/servers", get(api::servers))
        .route("/api/v1/destinations", get(api::destinations))
        .route("/api/v1/resources", get(api::resources))
        .route("/api/v1/objects/{kind}/{namespace}/{name}", get(api::object))
        .route("/api/v1/diff", get(api::diff))
        .route("/api/v1/doctor", get(inquiry::doctor))
        .route("/api/v1/logs", get(inquiry::logs))
        .route("/api/v1/usage", get(inquiry::usage))
        .route("/api/v1/events", get(records::events))
        .route("/api/v1/history", get(records::passes))
        .route("/api/v1/pending", get(act::pending))
        .route("/api/v1/stream", get(stream::changes));
    let acting = Router::new()
        .route("/api/v1/reconcile", post(act::reconcile))
        .route("/api/v1/approve", post(act::approve))
        .route("/api/v1/restart", post(act::restart))
        .route("/api/v1/suspend", post(act::suspend))
        .route_layer(middleware::from_fn_with_state((state.clone(), via), guard::authorized));
    // Manifests may hold secrets in clear: they are for whoever may open the socket, and for nobody over TCP. What attempts are called means
    // something to commands of this version alone.
    let own = match via {
        Via::Socket => Router::new()
            .route("/api/v1/manifests/sources", get(api::sources))
            .route("/api/v1/attempts", get(api::attempts)),
        Via::Tcp => Router::new(),
    };
    // Changes nothing, so that it is for whoever may read.
    let planning = Router::new().route("/api/v1/plan", post(plan::plan)).layer(DefaultBodyLimit::max(plan::BODY));
    // Signed, each in itself.
    let deliveries = Router::new().route("/api/v1/webhook/git", post(webhook::git));
    reading
        .merge(acting)
        .merge(own)
        .merge(deliveries)
        .layer(DefaultBodyLimit::max(BODY))
        .merge(planning)
        .fallback(answer::not_found)
        .method_not_allowed_fallback(answer::method_not_allowed)
        .layer(middleware::from_fn_with_state((state.clone(), via), guard::readable))
        .layer(middleware::from_fn_with_state(state.clone(), guard::in_time))
        .layer(middleware::from_fn_with_state((state.clone(), via), guard::named_right))
        .layer(middleware::from_fn(guard::with_headers))
        .with_state(state)
}
