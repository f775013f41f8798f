//! `tcp://` without TLS, which the manifest has to ask for with `insecure: true`.

use std::time::Duration;

use async_trait::async_trait;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::{BoxedStream, DialError, Dialer, Ends};
use crate::core::observed::OwnAddress;
use crate::shell::engine::EngineErrorKind;

/// A server that acknowledges nothing for so long is not there any more. A call that changes something may take much longer to answer, and whoever
/// waits for it should not wait for a server that was cut off.
const SILENCE: Duration = Duration::from_secs(15);
/// The same where another controller may take the server over meanwhile.
const PROMPT: Duration = Duration::from_secs(3);
/// Between two questions to a server whether it is there, while nothing else is sent.
const ASK: Duration = Duration::from_secs(5);

/// Opens plain TCP streams.
#[derive(Debug, Clone)]
pub struct TcpDialer {
    host: String,
    port: u16,
    ends: Ends,
}

impl TcpDialer {
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port, ends: Ends::default() }
    }
}

#[async_trait]
impl Dialer for TcpDialer {
    async fn dial(&self) -> Result<BoxedStream, DialError> {
        let stream = connect(&self.host, self.port).await?;
        self.ends.keep(Ends::of(&stream));
        Ok(Box::new(stream))
    }

    async fn dial_abrupt(&self) -> Result<BoxedStream, DialError> {
        let stream = connect(&self.host, self.port).await?;
        self.ends.keep(Ends::of(&stream));
        Ok(Box::new(abrupt(stream)))
    }

    fn addresses(&self) -> Vec<OwnAddress> {
        self.ends.kept()
    }

    fn endpoint(&self) -> String {
        format!("tcp://{}", address(&self.host, self.port))
    }
}

/// A TCP stream as both kinds of `tcp://` use it.
pub(super) async fn connect(host: &str, port: u16) -> Result<TcpStream, DialError> {
    let connected = async {
        let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
        // A request is one small write that waits for its answer: Nagle would hold it back.
        stream.set_nodelay(true)?;
        let socket = SockRef::from(&stream);
        socket.set_tcp_user_timeout(Some(SILENCE))?;
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(ASK).with_interval(ASK))?;
        std::io::Result::Ok(stream)
    };
    connected.await.map_err(|error| DialError {
        kind: EngineErrorKind::Unreachable,
        message: format!("cannot connect to {}: {error}", address(host, port)),
        hint: Some(
            "check the server's `spec.endpoint`, that its daemon listens on TCP, and the firewall between".to_owned(),
        ),
    })
}

/// Closed by a reset, which throws away what is still to be sent; and what nobody acknowledges is not sent again for long.
pub(super) fn abrupt(stream: TcpStream) -> TcpStream {
    let socket = SockRef::from(&stream);
    if let Err(error) = socket.set_linger(Some(Duration::ZERO)).and_then(|()| socket.set_tcp_user_timeout(Some(PROMPT)))
    {
        tracing::warn!(%error, "a connection cannot be made to end at once");
    }
    stream
}

/// `host:port`, with the brackets that an IPv6 address needs.
pub(super) fn address(host: &str, port: u16) -> String {
    let host = host.trim_matches(['[', ']']);
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
