//! The daemon's events as they happen.

use std::collections::VecDeque;

use futures::StreamExt;
use futures::stream::BoxStream;
use http_body_util::BodyExt;

use super::classify::{Failure, Operation};
use super::{DockerReader, TransportError, wire, within};
use crate::engine::{EngineError, EngineEvent};

/// What can change who is on which network. Health checks and `exec` alone would be a constant stream of the rest. Services are a Swarm
/// manager's; an engine that is none refuses the word, if it is not Docker.
const SUBSCRIPTIONS: [&str; 2] = [r#""network","container","service""#, r#""network","container""#];
const ACTIONS: &str = r#""create","connect","disconnect","destroy","remove","start","die","rename","update""#;
/// A line longer than this is no event.
const LONGEST_LINE: usize = 1 << 20;

pub(super) async fn subscribe(
    reader: &DockerReader,
) -> Result<BoxStream<'static, Result<EngineEvent, EngineError>>, EngineError> {
    const WHAT: &str = "subscribing to the daemon's events";
    let opened = async {
        let mut refused = None;
        for types in SUBSCRIPTIONS {
            let filters = format!(r#"{{"type":[{types}],"event":[{ACTIONS}]}}"#);
            let path = format!("http://docker/events?filters={}", escape(&filters));
            let request: bollard::BollardRequest = http::Request::get(path)
                .body(bollard::body_full(hyper::body::Bytes::new()))
                .map_err(TransportError::from)?;
            let response = reader.transport.send(request).await?;
            let status = response.status();
            if status.is_success() {
                return Ok(response.into_body());
            }
            let body = response.into_body().collect().await.map_err(|error| Failure::Broken(error.to_string()))?;
            refused.get_or_insert(Failure::refused(status, &body.to_bytes()));
        }
        Err(refused.unwrap_or_else(|| Failure::Broken("nothing to subscribe to".to_owned())))
    };
    let body = within(reader.options.read_timeout, opened)
        .await
        .map_err(|failure| failure.explain(Operation::Read, &reader.server, WHAT))?;
    let server = reader.server.clone();
    let state = (body.into_data_stream(), Lines::default(), VecDeque::new(), false);
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
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) -> Result<Vec<EngineEvent>, String> {
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

    #[test]
    fn a_line_without_end_is_an_error() {
        let mut lines = Lines::default();
        assert!(lines.take(&vec![b'x'; LONGEST_LINE + 1]).is_err());
    }
}
