//! The daemon's events as they happen.

use std::collections::VecDeque;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use http::Method;
use tokio::time::Instant;

use super::classify::{Failure, Operation};
use super::{DockerReader, request, succeeded, wire, within};
use crate::shell::engine::{EngineError, EngineEvent};

/// What can change who is on which network, or whether somebody may leave one: `health_status` comes when it changes, and for any result; `exec`,
/// with which each check begins, would be a constant stream. Services are a Swarm manager's; an engine that is none refuses the word, if it is
/// not Docker.
const SUBSCRIPTIONS: [&str; 2] = [r#""network","container","service""#, r#""network","container""#];
const ACTIONS: &str =
    r#""create","connect","disconnect","destroy","remove","start","die","rename","update","health_status""#;
/// A line longer than this is no event.
const LONGEST_LINE: usize = 256 << 10;
/// More bytes than this within [`MOMENT`] are not the events of any daemon. Who goes on reading them does nothing else.
const FLOOD: usize = 16 << 20;
const MOMENT: Duration = Duration::from_secs(10);

pub(super) async fn subscribe(
    reader: &DockerReader,
) -> Result<BoxStream<'static, Result<EngineEvent, EngineError>>, EngineError> {
    const WHAT: &str = "subscribing to the daemon's events";
    let opened = async {
        let mut refused = None;
        for types in SUBSCRIPTIONS {
            let filters = format!(r#"{{"type":[{types}],"event":[{ACTIONS}]}}"#);
            let path = format!("/events?filters={}", escape(&filters));
            match succeeded(reader.transport.send(request(Method::GET, &path, &())?).await?).await {
                Err(refusal @ Failure::Refused { .. }) => refused.get_or_insert(refusal),
                answer => return answer,
            };
        }
        Err(refused.unwrap_or_else(|| Failure::Broken("nothing to subscribe to".to_owned())))
    };
    let answer = within(reader.options.read_timeout, opened)
        .await
        .map_err(|failure| failure.explain(Operation::Read, &reader.server, WHAT))?;
    let server = reader.server.clone();
    let state = (answer.pieces(), Lines::default(), VecDeque::new(), false);
    let stream = futures::stream::unfold(state, move |(mut body, mut lines, mut ready, ended)| {
        let server = server.clone();
        async move {
            let broken = |message: String| Failure::Broken(message).explain(Operation::Read, &server, WHAT);
            loop {
                if let Some(event) = ready.pop_front() {
                    return Some((Ok(event), (body, lines, ready, ended)));
                }
                if ended {
                    return None;
                }
                match body.next().await {
                    Some(Ok(bytes)) => match lines.take(&bytes) {
                        Ok(events) => ready.extend(events),
                        Err(message) => return Some((Err(broken(message)), (body, lines, ready, true))),
                    },
                    Some(Err(error)) => return Some((Err(broken(error.to_string())), (body, lines, ready, true))),
                    None => return Some((Err(broken("the daemon ended it".to_owned())), (body, lines, ready, true))),
                }
            }
        }
    });
    Ok(stream.boxed())
}

/// Cuts a stream of bytes into events.
struct Lines {
    rest: Vec<u8>,
    /// Bytes since then.
    lately: (Instant, usize),
}

impl Default for Lines {
    fn default() -> Self {
        Self { rest: Vec::new(), lately: (Instant::now(), 0) }
    }
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) -> Result<Vec<EngineEvent>, String> {
        if self.lately.0.elapsed() > MOMENT {
            self.lately = (Instant::now(), 0);
        }
        self.lately.1 += bytes.len();
        if self.lately.1 > FLOOD {
            return Err(format!("more than {} MiB of events within {MOMENT:?}", FLOOD >> 20));
        }
        self.rest.extend_from_slice(bytes);
        let complete = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.rest.drain(..complete).collect();
        if self.rest.len() > LONGEST_LINE {
            return Err(format!("a line of more than {LONGEST_LINE} bytes"));
        }
        Ok(wire::events(&lines))
    }
}

/// Percent-encoding of what a query must not contain literally.
fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        match byte {
            b'{' | b'}' | b'"' | b'[' | b']' | b',' | b':' => {
                use std::fmt::Write as _;
                let _ = write!(escaped, "%{byte:02X}");
            }
            _ => escaped.push(char::from(byte)),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_cut_at_line_ends_wherever_the_packets_end() {
        let event = |name: &str| {
            format!(
                r#"{{"Type":"network","Action":"connect","Actor":{{"ID":"1","Attributes":{{"name":"{name}"}}}},"time":1,"timeNano":1000000000}}"#
            )
        };
        let text = format!("{}\n{}\n", event("a"), event("b"));
        for cut in 0..text.len() {
            let mut lines = Lines::default();
            let mut events = lines.take(&text.as_bytes()[..cut]).unwrap();
            events.extend(lines.take(&text.as_bytes()[cut..]).unwrap());
            let names: Vec<_> = events.iter().map(|event| event.name.as_str()).collect();
            assert_eq!(names, ["a", "b"], "cut at {cut}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_an_error_and_a_daemon_that_tells_much_is_none() {
        let line = format!("{}\n", "x".repeat(LONGEST_LINE / 2));
        let pour = |lines: &mut Lines, megabytes: usize| {
            (0..megabytes << 20).step_by(line.len()).find_map(|_| lines.take(line.as_bytes()).err())
        };
        let mut lines = Lines::default();
        for _ in 0..5 {
            assert_eq!(pour(&mut lines, 15), None);
            tokio::time::advance(MOMENT * 2).await;
        }
        assert_eq!(pour(&mut lines, 18), Some("more than 16 MiB of events within 10s".to_owned()));
    }

    #[test]
    fn a_line_without_end_is_an_error() {
        let mut lines = Lines::default();
        assert!(lines.take(&vec![b'x'; LONGEST_LINE + 1]).is_err());
    }
}
