//! `tcp://` without TLS, which the manifest has to ask for with `insecure: true`.

use async_trait::async_trait;
use tokio::net::TcpStream;

use super::{BoxedStream, DialError, Dialer};
use crate::engine::EngineErrorKind;

/// Opens plain TCP streams.
#[derive(Debug, Clone)]
pub struct TcpDialer {
    host: String,
    port: u16,
}

impl TcpDialer {
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }
}

#[async_trait]
impl Dialer for TcpDialer {
    async fn dial(&self) -> Result<BoxedStream, DialError> {
        let connected = async {
            let stream = TcpStream::connect((self.host.trim_matches(['[', ']']), self.port)).await?;
            // A request is one small write that waits for its answer: Nagle would hold it back.
            stream.set_nodelay(true)?;
            std::io::Result::Ok(stream)
        };
        match connected.await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(DialError {
                kind: EngineErrorKind::Unreachable,
                message: format!("cannot connect to {}:{}: {error}", self.host, self.port),
                hint: Some(
                    "check the server's `spec.endpoint`, that its daemon listens on TCP, and the firewall between"
                        .to_owned(),
                ),
            }),
        }
    }

    fn endpoint(&self) -> String {
        format!("tcp://{}:{}", self.host, self.port)
    }
}
