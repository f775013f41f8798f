//! `/objects/KIND/NAMESPACE/NAME`: one object with its conditions.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::lane::Lane;
use super::parts::{ChangeLine, ConditionLine, Mark, NoteLine, OperationLine, count, word};
use super::pending::Pending;
use super::{Frame, render};
use crate::api::{Condition, Kind, ObjectKey};
use crate::plan::Reason;
use crate::web::view::{DestinationView, View, kind};
use crate::web::{Problem, WebState};

/// Wires of a page.
const LANES: usize = 100;
/// Ends of a wire.
const ENDS: usize = 500;
const CHANGES: usize = 30;

#[derive(Template)]
#[template(path = "object.html")]
struct ObjectPage {
    frame: Frame,
    kind: &'static str,
    name: String,
    standing: Mark,
    word: &'static str,
    says: String,
    pending: Option<Pending>,
    notes: Vec<NoteLine>,
    lanes_head: &'static str,
    lanes: Vec<Lane>,
    conditions: Vec<ConditionLine>,
    operations: Vec<OperationLine>,
    changes: Vec<ChangeLine>,
}

pub(in crate::web) async fn object(
    State(state): State<WebState>,
    Path((of, namespace, name)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let missing = || Problem::new(StatusCode::NOT_FOUND, "NotFound", "No such object is declared.");
    let key = ObjectKey::new(kind(&of).ok_or_else(missing)?, &namespace, &name);
    let view = View::new(state.board.snapshot());
    let server = key.path();
    let pending = (key.kind == Kind::Server).then(|| Pending::new(&view, &state, Some(&server))).flatten();
    let page = fill(&view, &key, pending).ok_or_else(missing)?;
    render(StatusCode::OK, &page)
}

fn fill(view: &View, key: &ObjectKey, pending: Option<Pending>) -> Option<ObjectPage> {
    let mut says = Vec::new();
    let (destinations, conditions, lanes_head): (Vec<DestinationView<'_>>, Vec<Condition>, &str) = match key.kind {
        Kind::Server => {
            let server = view.server(key)?;
            if let Some(facts) = server.facts() {
                says.push(format!("Docker {} on {}", facts.engine.version, facts.engine.name));
                says.push(count(facts.networks, "network"));
                says.push(count(facts.containers, "container"));
            }
            says.push(count(server.declared.destinations.len(), "destination"));
            (
                server.destinations().take(LANES).collect(),
                server.conditions(key).to_vec(),
                "Networks and who is on them",
            )
        }
        Kind::Destination => {
            let destination = view.destination(key)?;
            says.extend(destination.display_name());
            says.push(format!("on {}", destination.server.declared.key.path()));
            (vec![destination], destination.conditions().to_vec(), "The network and who is on it")
        }
        Kind::Application | Kind::Database | Kind::Service => {
            let resource = view.resource(key)?;
            let conditions = resource.conditions();
            says.push(format!("on {}", count(resource.destinations.len(), "destination")));
            (resource.destinations.into_iter().take(LANES).collect(), conditions, "The networks it is on")
        }
        // Its address is a secret, and it has no status.
        Kind::Notifier => return None,
    };
    let standing = crate::web::view::Standing::of(&conditions);
    let object = key.to_string();
    Some(ObjectPage {
        frame: Frame::new(format!("{} {} · Landfall", key.path(), word(standing).to_lowercase()), view.content()),
        kind: key.kind.as_str(),
        name: key.path(),
        standing: standing.into(),
        word: word(standing),
        says: says.join(" · "),
        notes: view
            .notes()
            .into_iter()
            .filter(|note| note.object == object)
            .filter(|note| pending.is_none() || note.reason != Reason::MassDeletionRefused)
            .map(|note| NoteLine::new(note, false))
            .collect(),
        pending,
        lanes_head,
        lanes: destinations.iter().map(|destination| Lane::new(destination, ENDS)).collect(),
        conditions: conditions.iter().map(ConditionLine::new).collect(),
        operations: view.operations().filter(|it| it.concerns(&object)).map(OperationLine::new).collect(),
        changes: view
            .content()
            .recent
            .iter()
            .filter(|change| change.object.as_ref() == Some(key))
            .take(CHANGES)
            .map(|event| ChangeLine::new(event, |_| false))
            .collect(),
    })
}
