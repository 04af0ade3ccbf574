//! The shell around a [`Part`]: its thread, its sockets, its clock. No runtime: what waits is one `epoll`.

use std::io;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll};
use rustix::process::{getpriority_process, setpriority_process};
use rustix::time::{ClockId, clock_gettime};

use super::part::Part;
use super::pipes::Batches;
use super::{Board, Witness};

/// Sockets with something to read, looked at in one go.
const EVENTS: usize = 64;

/// How much these threads stand back, in steps of `nice`: the instrument yields to what it measures. Ten steps are a tenth of the weight.
const NICE: i32 = 10;

/// The least of all.
const NICE_MAX: i32 = 19;

/// While a burst goes on, how long datagrams gather before the sockets are looked at again: a wake-up and two calls for each datagram would cost
/// as much as the rest of it, and part of that the server, which wakes us. Deliveries count as so much later at most.
const GATHER: Duration = Duration::from_millis(2);

/// Datagrams of a look at the sockets that make a burst.
const BURST: usize = 16;

/// How long what is due waits while the sockets hold more than one look reads: the answer that is overdue may be in one of them.
const OVERDUE: Duration = Duration::from_millis(100);

/// How often a thread says how much CPU time it has taken.
const CPU_EVERY: Duration = Duration::from_millis(100);

/// The name of the order book in epoll; sockets have their numbers.
const ORDERS: u64 = u64::MAX;

/// What a thread is told.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    LogIn,
    /// So many in a second; `None`: as fast as they are answered.
    Join(Option<f64>),
    Leave,
    Quit,
}

/// Orders for a thread: a handful in its life.
#[derive(Debug)]
pub(super) struct Inbox {
    orders: Mutex<Vec<Order>>,
    wake: OwnedFd,
}

impl Inbox {
    pub(super) fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { orders: Mutex::default(), wake })
    }

    pub(super) fn order(&self, order: Order) {
        lock(&self.orders).push(order);
        // Only fails if it is woken already.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// Waits for an order, or so long.
    fn wait(&self, within: Duration) {
        let within = Timespec::try_from(within).expect("a short time");
        let _ = poll(&mut [PollFd::new(&self.wake, PollFlags::IN)], Some(&within));
    }

    fn take(&self) -> Vec<Order> {
        let _ = rustix::io::read(&self.wake, &mut [0u8; 8]);
        std::mem::take(&mut *lock(&self.orders))
    }
}

/// No holder leaves anything half written, so poison says nothing about it.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says on the board that this thread has ended, whatever ended it.
struct Ending<'a>(&'a Board, Option<io::Error>);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.ended(self.1.take());
    }
}

/// Runs `part` until it is told to quit. `index`: which thread this is.
pub(super) fn run(
    part: Part,
    sockets: &[UdpSocket],
    witness: &Mutex<impl Witness>,
    board: &Board,
    inbox: &Inbox,
    index: usize,
) {
    let mut ending = Ending(board, None);
    ending.1 = drive(part, sockets, witness, board, inbox, index).err();
}

fn drive(
    mut part: Part,
    sockets: &[UdpSocket],
    witness: &Mutex<impl Witness>,
    board: &Board,
    inbox: &Inbox,
    index: usize,
) -> io::Result<()> {
    stand_back();
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &inbox.wake, epoll::EventData::new_u64(ORDERS), epoll::EventFlags::IN)?;
    for (socket, number) in sockets.iter().zip(0u64..) {
        epoll::add(&epoll, socket, epoll::EventData::new_u64(number), epoll::EventFlags::IN)?;
    }
    let (mut batches, mut events) = (Batches::new(), Vec::with_capacity(EVENTS));
    let (mut cpu_told, mut fired) = (Instant::now(), Instant::now());
    loop {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), Some(&wait_until(part.poll_timeout()))) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let (mut count, mut more) = (0, false);
        for event in events.drain(..) {
            match event.data.u64() {
                ORDERS => {
                    for order in inbox.take() {
                        match order {
                            Order::LogIn => part.log_in(),
                            Order::Join(rate) => part.join(rate, Instant::now()),
                            Order::Leave => part.leave(),
                            Order::Quit => return Ok(()),
                        }
                    }
                }
                // One batch of each socket, answered before the next is read: it stays in the cache.
                number => {
                    let pipe = u16::try_from(number).expect("a socket's number");
                    let now = Instant::now();
                    more |= batches.receive(&sockets[usize::from(pipe)], |datagram| {
                        count += 1;
                        part.handle_datagram(pipe, datagram, now);
                    });
                    part.serve(now, &mut *lock(witness));
                    flush(&mut part, sockets, &mut batches);
                    // Whoever else wants the core has it now, not when a slice of the system's is over: 4 ms where it ticks 250 times a second.
                    rustix::thread::sched_yield();
                }
            }
        }
        let now = Instant::now();
        if !more || now.saturating_duration_since(fired) >= OVERDUE {
            fired = now;
            part.turn(now, &mut *lock(witness));
            flush(&mut part, sockets, &mut batches);
        }
        board.tell(part.take_news());
        if now.saturating_duration_since(cpu_told) >= CPU_EVERY {
            cpu_told = now;
            board.tell_cpu(index, cpu_time());
        }
        if count >= BURST && !more {
            inbox.wait(GATHER);
        }
    }
}

fn flush(part: &mut Part, sockets: &[UdpSocket], batches: &mut Batches) {
    while let Some((pipe, datagrams)) = part.outgoing().take() {
        batches.send(&sockets[usize::from(pipe)], &datagrams);
        part.outgoing().sent(pipe, datagrams);
    }
}

/// What is left until then; a while if there is nothing to wait for, for the CPU time that is to be told.
fn wait_until(deadline: Option<Instant>) -> Timespec {
    let wait = deadline.map_or(CPU_EVERY, |at| at.saturating_duration_since(Instant::now()).min(CPU_EVERY));
    Timespec::try_from(wait).expect("at most what is told of CPU time")
}

/// Lowers the priority of this thread. Where the system does not let it, it stays as it is.
fn stand_back() {
    // On Linux both are about the calling thread alone, whatever their names say (setpriority(2), C library/kernel differences).
    let now = getpriority_process(None).unwrap_or(0);
    let _ = setpriority_process(None, (now + NICE).min(NICE_MAX));
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
