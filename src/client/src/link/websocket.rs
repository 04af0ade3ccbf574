//! WebSocket: the payloads of binary messages, one after the other, are the stream.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_core::Stream as _;
use futures_sink::Sink as _;
use nearport_session::Closing;
use nearport_wire::close::CloseCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_websockets::{CloseCode as WsClose, Error, Message, WebSocketStream};

use super::bytes_link::Stream;
use super::{CHUNKS, Progress, Unwritten};

/// Payload of one message. Many small frames share one, so that they share its mask and header.
const MESSAGE_BYTES: usize = 16 * 1024;

/// A connected WebSocket.
pub(crate) struct WebSocketLink {
    socket: WebSocketStream<Capped<Box<dyn Stream>>>,
    dirty: bool,
}

impl fmt::Debug for WebSocketLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketLink").field("dirty", &self.dirty).finish_non_exhaustive()
    }
}

impl WebSocketLink {
    pub(crate) fn new(mut socket: WebSocketStream<Capped<Box<dyn Stream>>>) -> Self {
        socket.get_mut().left = None;
        Self { socket, dirty: false }
    }

    pub(super) async fn progress(
        &mut self,
        reads: bool,
        out: &mut Unwritten,
        chunks: &mut [Bytes; CHUNKS],
    ) -> Progress {
        poll_fn(|cx| {
            if let Poll::Ready(result) = self.poll_write(cx, &mut out.main) {
                return Poll::Ready(result.map_or_else(|error| broken(&error), |()| Progress::Wrote));
            }
            if !reads {
                return Poll::Pending;
            }
            self.poll_read(cx).map(|result| match result {
                Ok(chunk) => {
                    chunks[0] = chunk;
                    Progress::Read(1)
                }
                Err(closing) => Progress::Lost(closing),
            })
        })
        .await
    }

    /// Ready when some bytes were taken, pending when there is nothing to write or no room for it.
    fn poll_write(&mut self, cx: &mut Context<'_>, chunks: &mut Vec<Bytes>) -> Poll<Result<(), Error>> {
        let mut socket = Pin::new(&mut self.socket);
        if chunks.is_empty() {
            if self.dirty && socket.poll_flush(cx)?.is_ready() {
                self.dirty = false;
            }
            return Poll::Pending;
        }
        if socket.as_mut().poll_ready(cx)?.is_pending() {
            return Poll::Pending;
        }
        socket.start_send(Message::binary(payload(chunks)))?;
        self.dirty = true;
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Closing>> {
        loop {
            let message = match Pin::new(&mut self.socket).poll_next(cx) {
                Poll::Ready(Some(Ok(message))) => message,
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Err(Closing::new(CloseCode::LOST, error.to_string())));
                }
                Poll::Ready(None) => {
                    let closing = Closing::new(CloseCode::LOST, "the server ended the stream");
                    return Poll::Ready(Err(closing));
                }
                Poll::Pending => return Poll::Pending,
            };
            if message.is_binary() && !message.as_payload().is_empty() {
                return Poll::Ready(Ok(message.into_payload().into()));
            }
            if let Some((code, reason)) = message.as_close() {
                let reason = format!("websocket closed: {} {reason}", u16::from(code));
                return Poll::Ready(Err(Closing::new(CloseCode::LOST, reason)));
            }
            if message.is_text() {
                let closing = Closing::new(CloseCode::BAD_FRAME, "a text message on the websocket");
                return Poll::Ready(Err(closing));
            }
            // A ping is answered below this level; a pong or an empty message says nothing.
        }
    }

    /// Writes what is left and the close message, and waits for the server's.
    pub(super) async fn close(&mut self, out: &mut Unwritten) {
        let written = poll_fn(|cx| {
            while !out.main.is_empty() {
                if self.poll_write(cx, &mut out.main)?.is_pending() {
                    return Poll::Pending;
                }
            }
            Poll::Ready(Ok::<_, Error>(()))
        });
        let farewell = Message::close(Some(WsClose::NORMAL_CLOSURE), "");
        if written.await.is_ok() && Pin::new(&mut self.socket).start_send(farewell).is_ok() {
            let _ = poll_fn(|cx| Pin::new(&mut self.socket).poll_close(cx)).await;
        }
    }
}

/// Takes bytes for one message from the front.
fn payload(chunks: &mut Vec<Bytes>) -> BytesMut {
    let whole = chunks.iter().scan(0, |sum, chunk| {
        *sum += chunk.len();
        (*sum <= MESSAGE_BYTES).then_some(())
    });
    let whole = whole.count();
    if whole == 0 {
        return BytesMut::from(&chunks[0].split_to(MESSAGE_BYTES)[..]);
    }
    let mut payload = BytesMut::with_capacity(chunks[..whole].iter().map(Bytes::len).sum());
    chunks.drain(..whole).for_each(|chunk| payload.extend_from_slice(&chunk));
    payload
}

fn broken(error: &Error) -> Progress {
    Progress::Lost(Closing::new(CloseCode::LOST, error.to_string()))
}

/// A stream that gives so many bytes at most: the answer to an upgrade comes before anybody has proved to be an edge
/// of ours, and the library would read headers without end.
#[derive(Debug)]
pub(crate) struct Capped<S> {
    io: S,
    /// `None`: no limit any more.
    left: Option<usize>,
}

impl<S> Capped<S> {
    pub(crate) fn new(io: S, bytes_max: usize) -> Self {
        Self { io, left: Some(bytes_max) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Capped<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if self.left == Some(0) {
            return Poll::Ready(Err(io::Error::other("the answer to the upgrade has no end")));
        }
        let result = Pin::new(&mut self.io).poll_read(cx, buffer);
        let read = buffer.filled().len() - before;
        self.left = self.left.map(|left| left.saturating_sub(read));
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Capped<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn messages_are_bounded_and_lose_nothing(
            sizes in proptest::collection::vec(1usize..40_000, 1..12),
        ) {
            let all: Vec<u8> = (0..=255).cycle().take(sizes.iter().sum()).collect();
            let mut rest = Bytes::from(all.clone());
            let mut chunks: Vec<Bytes> = sizes.iter().map(|size| rest.split_to(*size)).collect();
            let mut got = Vec::new();
            while !chunks.is_empty() {
                let message = payload(&mut chunks);
                prop_assert!((1..=MESSAGE_BYTES).contains(&message.len()));
                got.extend_from_slice(&message);
            }
            prop_assert_eq!(got, all);
        }
    }

    #[tokio::test]
    async fn a_capped_stream_ends_with_an_error() {
        let mut capped = Capped::new(tokio::io::repeat(7), 10);
        let mut got = Vec::new();
        let error = tokio::io::AsyncReadExt::read_to_end(&mut capped, &mut got).await.unwrap_err();
        assert!(got.len() >= 10 && got.len() < 1000, "{}", got.len());
        assert!(error.to_string().contains("no end"));
    }
}
