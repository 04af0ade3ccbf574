//! Counters of the server, read from its HTTP endpoint for operations.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is read at most: a page of a node with 256 shards is a tenth of it.
const BYTES_MAX: u64 = 4 << 20;

/// Datagrams that a shard gave to another in user space, because the kernel had not steered them.
const HANDED_OVER: &str = "nearport_edge_datagrams_handed_over_total";

/// Messages that the ledger holds: one row each.
const MESSAGES: &str = "nearport_ledger_messages_total";

/// Messages written to the ledger so far; `None` if the server does not say.
pub(crate) async fn messages_stored(ops: SocketAddr) -> Option<u64> {
    let page = timeout(PATIENCE, page(ops)).await.ok()?.ok()?;
    sum(&page, MESSAGES)
}

/// Datagrams handed over so far, over all shards; `None` if the server does not say.
pub(crate) async fn handed_over(ops: SocketAddr) -> Option<u64> {
    let page = timeout(PATIENCE, page(ops)).await.ok()?.ok()?;
    sum(&page, HANDED_OVER)
}

/// Live pushes that the edge left out for slow readers.
const LEFT_OUT: &str = "nearport_edge_pushes_folded_total";

/// Live pushes left out so far, over all shards. Shards carry their figures to the page once a second.
pub(crate) async fn left_out(ops: SocketAddr) -> Option<u64> {
    let page = timeout(PATIENCE, page(ops)).await.ok()?.ok()?;
    sum(&page, LEFT_OUT)
}

async fn page(ops: SocketAddr) -> std::io::Result<String> {
    let stream = TcpStream::connect(ops).await?;
    let mut page = String::new();
    let mut stream = stream.take(BYTES_MAX);
    let request = format!("GET /metrics HTTP/1.0\r\nhost: {ops}\r\n\r\n");
    stream.get_mut().write_all(request.as_bytes()).await?;
    stream.read_to_string(&mut page).await?;
    Ok(page)
}

/// Sum of the samples of a metric in the text format of Prometheus.
fn sum(page: &str, name: &str) -> Option<u64> {
    let samples = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        // The name is over here, or it is another's prefix.
        rest.starts_with(['{', ' ']).then(|| rest.rsplit(' ').next()?.parse::<u64>().ok())?
    });
    samples.fold(None, |sum, sample| Some(sum.unwrap_or(0) + sample))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_all_shards_add_up_and_neighbours_do_not() {
        let page = "# HELP a_total x\na_total{shard=\"0\"} 3\na_total{shard=\"1\"} 4\na_total_more 9\nb 1\n";
        assert_eq!(sum(page, "a_total"), Some(7));
        assert_eq!(sum(page, "b"), Some(1));
        assert_eq!(sum(page, "c"), None);
    }
}
