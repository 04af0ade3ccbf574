//! A byte stream: TLS over TCP. The frames are the stream.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use nearport_session::Closing;
use nearport_wire::close::CloseCode;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::{CHUNKS, Progress, SLICES, Unwritten};

/// Bytes read at once: the plaintext of one TLS record. On the stack, so that an idle connection owns no buffer.
const READ_BYTES: usize = 16 * 1024;

/// Anything that bytes go through.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connected byte stream.
pub(crate) struct BytesLink {
    io: Box<dyn Stream>,
    /// Something was written since the last flush. TLS keeps records back while the socket is full.
    dirty: bool,
}

impl fmt::Debug for BytesLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BytesLink").field("dirty", &self.dirty).finish_non_exhaustive()
    }
}

impl BytesLink {
    pub(crate) fn new(io: impl Stream + 'static) -> Self {
        Self { io: Box::new(io), dirty: false }
    }

    pub(super) async fn progress(
        &mut self,
        reads: bool,
        out: &mut Unwritten,
        chunks: &mut [Bytes; CHUNKS],
    ) -> Progress {
        poll_fn(|cx| {
            if let Poll::Ready(result) = self.poll_write(cx, &mut out.main) {
                return Poll::Ready(result.map_or_else(broken, |()| Progress::Wrote));
            }
            if !reads {
                return Poll::Pending;
            }
            self.poll_read(cx).map(|result| match result {
                Ok(chunk) if chunk.is_empty() => {
                    Progress::Lost(Closing::new(CloseCode::LOST, "the server ended the stream"))
                }
                Ok(chunk) => {
                    chunks[0] = chunk;
                    Progress::Read(1)
                }
                Err(error) => broken(error),
            })
        })
        .await
    }

    /// Ready when some bytes were taken, pending when there is nothing to write or no room for it.
    fn poll_write(&mut self, cx: &mut Context<'_>, chunks: &mut Vec<Bytes>) -> Poll<io::Result<()>> {
        if chunks.is_empty() {
            if self.dirty && Pin::new(&mut self.io).poll_flush(cx)?.is_ready() {
                self.dirty = false;
            }
            return Poll::Pending;
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count =
            chunks.iter().take(SLICES).zip(&mut slices).map(|(chunk, slice)| *slice = IoSlice::new(chunk));
        let count = count.count();
        let written = match Pin::new(&mut self.io).poll_write_vectored(cx, &slices[..count])? {
            Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(written) => written,
            Poll::Pending => return Poll::Pending,
        };
        self.dirty = true;
        take(chunks, written);
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let mut room = [MaybeUninit::uninit(); READ_BYTES];
        let mut buffer = ReadBuf::uninit(&mut room);
        match Pin::new(&mut self.io).poll_read(cx, &mut buffer)? {
            Poll::Ready(()) => Poll::Ready(Ok(Bytes::copy_from_slice(buffer.filled()))),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Writes what is left, says that nothing follows and waits for the server to end its side.
    pub(super) async fn close(&mut self, out: &mut Unwritten) {
        for mut chunk in out.main.drain(..) {
            if self.io.write_all_buf(&mut chunk).await.is_err() {
                return;
            }
        }
        // close_notify, then the FIN.
        if self.io.shutdown().await.is_ok() {
            while poll_fn(|cx| self.poll_read(cx)).await.is_ok_and(|chunk| !chunk.is_empty()) {}
        }
    }
}

/// Removes `written` bytes from the front.
fn take(chunks: &mut Vec<Bytes>, mut written: usize) {
    let whole = chunks.iter().take_while(|chunk| {
        let fits = chunk.len() <= written;
        written -= if fits { chunk.len() } else { 0 };
        fits
    });
    let whole = whole.count();
    chunks.drain(..whole);
    if let Some(first) = chunks.first_mut() {
        first.advance(written);
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function of the error")]
fn broken(error: io::Error) -> Progress {
    Progress::Lost(Closing::new(CloseCode::LOST, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_taken_is_gone_and_the_rest_stays(
            sizes in proptest::collection::vec(1usize..20, 1..12), share in 0usize..=100,
        ) {
            let all: Vec<u8> = (0u8..).take(sizes.iter().sum()).collect();
            let mut rest = Bytes::from(all.clone());
            let mut chunks: Vec<Bytes> = sizes.iter().map(|size| rest.split_to(*size)).collect();
            let written = all.len() * share / 100;
            take(&mut chunks, written);
            prop_assert_eq!(chunks.concat(), &all[written..]);
            prop_assert!(chunks.iter().all(|chunk| !chunk.is_empty()));
        }
    }

    /// The chunks leave in order, however little the stream takes at once, and reading ends with the stream.
    #[tokio::test]
    async fn a_narrow_stream_takes_everything_in_order() {
        let (near, mut far) = tokio::io::duplex(7);
        let mut link = BytesLink::new(near);
        let main = (0u8..40).map(|byte| Bytes::copy_from_slice(&[byte; 3])).collect();
        let mut out = Unwritten { main, ..Unwritten::default() };
        let expected = out.main.concat();
        let writer = async {
            let mut chunks = Default::default();
            while !out.main.is_empty() {
                assert!(matches!(link.progress(false, &mut out, &mut chunks).await, Progress::Wrote));
            }
        };
        let reader = async {
            let mut got = vec![0; expected.len()];
            tokio::io::AsyncReadExt::read_exact(&mut far, &mut got).await.unwrap();
            got
        };
        let ((), got) = tokio::join!(writer, reader);
        assert_eq!(got, expected);
        drop(far);
        let mut chunks = Default::default();
        let end = link.progress(true, &mut Unwritten::default(), &mut chunks).await;
        assert!(matches!(end, Progress::Lost(closing) if closing.code == CloseCode::LOST));
    }
}
