//! A box in the middle for tests: it passes UDP and TCP on to a server until it is told to swallow them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    pub(crate) gates: Arc<Gates>,
    _tasks: JoinSet<()>,
}

/// What passes. Closed gates swallow: nobody is told.
pub(crate) struct Gates {
    pub(crate) udp: AtomicBool,
    pub(crate) tcp: AtomicBool,
    /// Addresses that UDP came from.
    pub(crate) sources: AtomicUsize,
    /// TCP connections.
    pub(crate) connections: AtomicUsize,
}

impl Relay {
    pub(crate) async fn start(server: SocketAddr, udp: bool, tcp: bool) -> Self {
        let (socket, listener) = loop {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            if let Ok(listener) = TcpListener::bind(socket.local_addr().unwrap()).await {
                break (Arc::new(socket), listener);
            }
        };
        let address = socket.local_addr().unwrap();
        let gates = Arc::new(Gates {
            udp: udp.into(),
            tcp: tcp.into(),
            sources: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(pass_udp(socket, server, Arc::clone(&gates)));
        tasks.spawn(pass_tcp(listener, server, Arc::clone(&gates)));
        Self { address, gates, _tasks: tasks }
    }
}

async fn pass_udp(front: Arc<UdpSocket>, server: SocketAddr, gates: Arc<Gates>) {
    let mut backs: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut answers = JoinSet::new();
    let mut buffer = [0; 2048];
    loop {
        let Ok((length, source)) = front.recv_from(&mut buffer).await else { continue };
        if !gates.udp.load(Ordering::SeqCst) {
            continue;
        }
        if let Entry::Vacant(entry) = backs.entry(source) {
            gates.sources.fetch_add(1, Ordering::SeqCst);
            let back = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
            back.connect(server).await.unwrap();
            entry.insert(Arc::clone(&back));
            let (front, gates) = (Arc::clone(&front), Arc::clone(&gates));
            answers.spawn(async move {
                let mut buffer = [0; 2048];
                loop {
                    let Ok(length) = back.recv(&mut buffer).await else { continue };
                    if gates.udp.load(Ordering::SeqCst) {
                        let _ = front.send_to(&buffer[..length], source).await;
                    }
                }
            });
        }
        let _ = backs[&source].send(&buffer[..length]).await;
    }
}

async fn pass_tcp(listener: TcpListener, server: SocketAddr, gates: Arc<Gates>) {
    let mut connections = JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        gates.connections.fetch_add(1, Ordering::SeqCst);
        let open = gates.tcp.load(Ordering::SeqCst);
        connections.spawn(async move {
            if !open {
                // Accepted, and then silence.
                return std::future::pending().await;
            }
            if let Ok(mut far) = TcpStream::connect(server).await {
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            }
        });
    }
}
