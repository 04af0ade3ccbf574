//! UDP sockets of the shards: one group under one port, steered by connection id in the kernel, read and written
//! in batches; and TCP listeners beside them.

mod listener;
mod sender;

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage};
use nix::sys::socket::{recvmmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

pub(crate) use sender::{Outgoing, Sender};

/// Datagrams read or written by one system call. 64 keeps a batch in the second-level cache (our own figure).
pub(crate) const BATCH: usize = 64;

/// What is asked for while calls bring fewer: each place costs some nanoseconds to prepare, used or not.
const BATCH_QUIET: usize = 8;

/// Largest datagram that is read; a longer one is cut and then fails to decrypt. Our limit towards peers is 1472.
const DATAGRAM_BYTES_MAX: usize = 2048;

/// What the kernel is asked for; `net.core.rmem_max` may give less. Half a second of 10,000 datagrams/s.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// How often a free port of UDP is looked for that is free for TCP too.
const PORT_ATTEMPTS: usize = 16;

/// The sockets of an edge, in shard order.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) udp: Vec<UdpSocket>,
    /// Whether the kernel steers datagrams to their shard.
    pub(crate) steered: bool,
    /// None without TCP.
    pub(crate) tcp: Vec<TcpListener>,
}

/// Binds one socket per shard for UDP, and one for TCP with the same port.
///
/// # Errors
/// The operating system's error of bind, `AddrInUse` if another program has the port.
pub(crate) fn bind_all(listen: SocketAddr, shards: usize, steer: bool, tcp: bool) -> io::Result<Bound> {
    let mut attempts = if listen.port() == 0 { PORT_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        let (udp, steered) = bind_group(listen, shards, steer)?;
        if !tcp {
            return Ok(Bound { udp, steered, tcp: Vec::new() });
        }
        match listener::bind_group(udp[0].local_addr()?, shards) {
            Ok(tcp) => return Ok(Bound { udp, steered, tcp }),
            // The system chose a port that only UDP has free.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts > 0 => {}
            Err(error) => return Err(error),
        }
    }
}

/// Binds one socket per shard to the same address, in shard order, and steers by connection id.
///
/// The second value says whether the kernel steers. If not (an old kernel, a sandbox), datagrams arrive at any
/// shard and are handed over in user space.
///
/// # Errors
/// The operating system's error of bind, `AddrInUse` if another program has the port.
fn bind_group(listen: SocketAddr, shards: usize, steer: bool) -> io::Result<(Vec<UdpSocket>, bool)> {
    // SO_REUSEPORT lets any process of the same user join a group silently and take its share of the packets. A
    // plain bind first fails if somebody has the port, in a group or not.
    let probe = UdpSocket::bind(listen)?;
    let address = probe.local_addr()?;
    drop(probe);
    // The kernel picks a member by its position, which is the order of bind; no member is closed while others live.
    let sockets = (0..shards).map(|_| bind(address)).collect::<io::Result<Vec<_>>>()?;
    let steered = shards == 1 || steer && attach_steering(&sockets[0], shards).is_ok();
    Ok((sockets, steered))
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // More than rmem_max is cut silently; `nearport doctor` reports what was granted.
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// The kernel's version of [`crate::cid::steer`], in classic BPF: it needs no privilege. Offsets count from the UDP
/// payload.
fn attach_steering(first: &UdpSocket, shards: usize) -> nix::Result<()> {
    let op = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter {
        code: u16::try_from(code).expect("BPF codes have 16 bits"),
        jt,
        jf,
        k,
    };
    let load = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
    let shards = u32::try_from(shards).expect("at most 32");
    let mut program = [
        op(load, 0, 0, 0),
        op(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 0, 2, 0x80), // long header: next, else skip two
        op(load, 0, 0, 6),
        op(libc::BPF_JMP | libc::BPF_JA, 0, 0, 1),
        op(load, 0, 0, 1),
        op(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, 0x1f),
        op(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, 0, 0, shards),
        op(libc::BPF_RET | libc::BPF_A, 0, 0, 0),
    ];
    let len = u16::try_from(program.len()).expect("eight instructions");
    let program = libc::sock_fprog { len, filter: program.as_mut_ptr() };
    setsockopt(first, sockopt::AttachReusePortCbpf, &program)
}

/// Buffers for reading a batch, allocated once.
pub(crate) struct Receiver {
    headers: MultiHeaders<SockaddrStorage>,
    buffers: Vec<u8>,
    /// Datagrams that the next call asks for.
    max: usize,
}

impl Receiver {
    pub(crate) fn new() -> Self {
        Self {
            headers: MultiHeaders::preallocate(BATCH, None),
            buffers: vec![0; BATCH * DATAGRAM_BYTES_MAX],
            max: BATCH,
        }
    }

    /// Reads up to [`BATCH`] datagrams with one call and gives each to `handle`. Returns whether more may wait.
    ///
    /// # Errors
    /// `WouldBlock` if none is there; otherwise the operating system's error.
    pub(crate) fn receive(
        &mut self,
        socket: &impl AsRawFd,
        mut handle: impl FnMut(SocketAddr, &[u8]),
    ) -> io::Result<bool> {
        let max = self.max;
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = self
            .buffers
            .chunks_exact_mut(DATAGRAM_BYTES_MAX)
            .take(max)
            .map(|buffer| [IoSliceMut::new(buffer)])
            .collect();
        let received =
            recvmmsg(socket.as_raw_fd(), &mut self.headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None)?;
        let mut count = 0;
        for message in received {
            count += 1;
            if let (Some(from), Some(datagram)) = (message.address.and_then(to_std), message.iovs().next()) {
                handle(from, datagram);
            }
        }
        let more = count == max;
        self.max = if count >= BATCH_QUIET { BATCH } else { BATCH_QUIET };
        Ok(more)
    }
}

fn to_std(address: SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::new(IpAddr::V4(v4.ip()), v4.port()));
    }
    let v6 = address.as_sockaddr_in6()?;
    Some(SocketAddr::new(IpAddr::V6(v6.ip()), v6.port()))
}
