//! How the object store reaches a bucket: HTTP/1.1 by hyper over rustls, with the process's one provider and the roots that it is told.
//!
//! `object_store` brings a client of its own, with a verifier of the platform, a pool of names, redirects and proxies from the
//! environment. It needs one request and one answer.

use std::error::Error as _;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper_util::client::legacy::{Client, Error as ClientError};
use nearport_dial::Dial;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
    HttpResponseBody, HttpService,
};
use rustls::ClientConfig;

/// From the name to the end of the TLS handshake.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// From a request's first octet to the answer's head: a piece of 5 MiB at 200 KB/s.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Connections that are kept for the next request.
const IDLE_CONNECTIONS_MAX: usize = 16;

/// Makes the client.
#[derive(Debug)]
pub(crate) struct Connector(Arc<ClientConfig>);

impl Connector {
    pub(crate) fn new(tls: Arc<ClientConfig>) -> Self {
        Self(tls)
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        // The operator says where the bucket is, also in a network of its own.
        let client = Dial::new(self.0.clone(), CONNECT_MAX, |_| true).client(IDLE_CONNECTIONS_MAX);
        Ok(HttpClient::new(Service(client)))
    }
}

#[derive(Debug)]
struct Service(Client<Dial, HttpRequestBody>);

// What `async_trait` makes of the trait's method.
impl HttpService for Service {
    fn call<'a, 'b>(
        &'a self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let answer = tokio::time::timeout(ANSWER_MAX, self.0.request(request)).await;
            let late = |_| HttpError::new(HttpErrorKind::Timeout, io::Error::from(io::ErrorKind::TimedOut));
            let (head, body) = answer.map_err(late)?.map_err(failed)?.into_parts();
            let body = body.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error));
            Ok(HttpResponse::from_parts(head, HttpResponseBody::new(body)))
        })
    }
}

fn failed(error: ClientError) -> HttpError {
    let hyper = error.source().and_then(|source| source.downcast_ref::<hyper::Error>());
    let kind = match hyper {
        _ if error.is_connect() => HttpErrorKind::Connect,
        // A connection that the server closed while it rested: nothing was looked at.
        Some(hyper) if hyper.is_closed() || hyper.is_canceled() => HttpErrorKind::Request,
        _ => HttpErrorKind::Interrupted,
    };
    HttpError::new(kind, error)
}
