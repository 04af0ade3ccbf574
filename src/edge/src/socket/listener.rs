//! TCP listeners of the shards: one group under one port, the same as that of UDP. The kernel spreads new connections
//! over the group; a connection stays with the listener that it came to.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel keeps ready for a shard; `net.core.somaxconn` may give fewer. A storm of 4,096 clients in
/// a moment is what one shard shakes hands with in a second.
const BACKLOG: i32 = 4096;

/// Bytes that the kernel takes for a connection beyond what is on its way. The default lets a client that reads slowly
/// pile up megabytes of the kernel's memory, and puts everything that is new behind them. What is on its way is bounded by
/// the client's own window.
const NOT_SENT_BYTES_MAX: u32 = 32 * 1024;

/// Binds one listener per shard to the same address.
///
/// # Errors
/// The operating system's error of bind, `AddrInUse` if another program has the port.
pub(crate) fn bind_group(address: SocketAddr, shards: usize) -> io::Result<Vec<TcpListener>> {
    // As for UDP: a plain bind first fails if somebody has the port, in a group or not.
    drop(socket(address, false)?);
    let sockets = (0..shards).map(|_| socket(address, true)).collect::<io::Result<Vec<_>>>()?;
    for socket in &sockets {
        socket.listen(BACKLOG)?;
    }
    Ok(sockets.into_iter().map(TcpListener::from).collect())
}

fn socket(address: SocketAddr, group: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of the last process that wait for their end do not keep the next one from the port.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(group)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Linux gives these on to every accepted socket, which saves two calls for each.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(NOT_SENT_BYTES_MAX)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use socket2::SockRef;

    use super::*;

    fn any() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[test]
    fn accepted_sockets_have_the_listeners_settings() {
        let listener = &bind_group(any(), 1).unwrap()[0];
        listener.set_nonblocking(false).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(accepted.nodelay().unwrap());
        assert_eq!(SockRef::from(&accepted).tcp_notsent_lowat().unwrap(), NOT_SENT_BYTES_MAX);
    }

    #[test]
    fn a_port_that_is_taken_is_not_shared() {
        let address = bind_group(any(), 1).unwrap();
        let taken = address[0].local_addr().unwrap();
        assert_eq!(bind_group(taken, 2).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_group_shares_one_port() {
        let probe = TcpListener::bind(any()).unwrap();
        let address = probe.local_addr().unwrap();
        drop(probe);
        let group = bind_group(address, 3).unwrap();
        assert!(group.iter().all(|listener| listener.local_addr().unwrap() == address));
    }
}
