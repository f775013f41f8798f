//! What the history remembers: events and passes, newest first.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::Asked;
use super::{Problem, WebState};

const MOST: usize = 1000;
const USUAL: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HowMany {
    limit: Option<usize>,
}

#[derive(Serialize)]
pub(super) struct Records {
    kind: &'static str,
    items: Vec<Value>,
}

/// What could not be written is told from memory, as far back as that goes.
pub(super) async fn events(
    State(state): State<WebState>,
    Asked(most): Asked<HowMany>,
) -> Result<Json<Records>, Problem> {
    let most = most.limit.unwrap_or(USUAL).min(MOST);
    Ok(match state.store.events(0, most).await {
        Ok(kept) => records(&kept),
        Err(_) => records(state.board.snapshot().recent.iter().take(most)),
    })
}

pub(super) async fn passes(
    State(state): State<WebState>,
    Asked(most): Asked<HowMany>,
) -> Result<Json<Records>, Problem> {
    let most = most.limit.unwrap_or(USUAL).min(MOST);
    let kept = state.store.passes(most).await.map_err(|error| Problem::internal(&error))?;
    Ok(records(&kept))
}

fn records<T: Serialize>(records: impl IntoIterator<Item = T>) -> Json<Records> {
    let items = records.into_iter().filter_map(|record| serde_json::to_value(record).ok()).collect();
    Json(Records { kind: "List", items })
}
