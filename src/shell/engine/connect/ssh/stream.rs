//! TCP as SSH needs it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::error::SshError;

/// One address of the host.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(5);
/// Sent bytes that nobody acknowledges for so long end the connection.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Connects to the first address that answers.
pub(super) async fn connect(host: &str, port: u16) -> Result<QuickAck, SshError> {
    let address = format!("{host}:{port}");
    let failed = |problem: String| SshError::Connect { address: address.clone(), problem };
    let addresses: Vec<_> =
        tokio::net::lookup_host((host, port)).await.map_err(|error| failed(error.to_string()))?.collect();
    let mut problem = "the name has no address".to_owned();
    for candidate in addresses {
        match tokio::time::timeout(ADDRESS_TIMEOUT, TcpStream::connect(candidate)).await {
            Ok(Ok(stream)) => return QuickAck::new(stream).map_err(|error| failed(error.to_string())),
            Ok(Err(error)) => problem = error.to_string(),
            Err(_) => problem = format!("{} does not answer", candidate.ip()),
        }
    }
    Err(failed(problem))
}

/// sshd leaves Nagle's algorithm on for forwarded streams: unless its packets are acknowledged at once, every second one waits 40 ms.
pub(super) struct QuickAck(TcpStream);

impl QuickAck {
    fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let socket = SockRef::from(&stream);
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        socket.set_tcp_keepalive(
            &TcpKeepalive::new().with_time(USER_TIMEOUT).with_interval(USER_TIMEOUT / 3).with_retries(3),
        )?;
        Ok(Self(stream))
    }

    pub(super) fn tcp(&self) -> &TcpStream {
        &self.0
    }
}

impl AsyncRead for QuickAck {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // The kernel takes the flag back whenever it likes.
        let _ = SockRef::from(&self.0).set_tcp_quickack(true);
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for QuickAck {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
