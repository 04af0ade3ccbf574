//! A node at work: what it serves, and what it is told to do meanwhile.

use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nearport_api::{Health, OpsServer};
use nearport_steer::Order;
use nearport_steer::locator::Locator;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::acme;
use crate::control::{Answer, BackupOrder, Channel, DrainOrder, What};
use crate::control_server::{ControlServer, Request, refuse};
use crate::first_run::Layout;
use crate::node::Error;
use crate::node_drain::{self, Plan, drain};
use crate::node_give::{Estate, Given};
use crate::node_predecessor::Predecessor;
use crate::node_retired::Retired;
use crate::node_steer::{self, Steered, Steering};

/// How often predecessors are looked after.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A drain that goes on or is over.
#[derive(Debug)]
struct Drain {
    task: JoinHandle<u64>,
    undone: Arc<AtomicBool>,
    ended: bool,
    /// The process ends when the drain has.
    exit: bool,
    /// Only the order for its PoP asks for it: it ends when that does. One by hand ends by hand.
    ordered: bool,
}

/// What is ordered from outside of the process, and who can say something of the network.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    steered: Option<Arc<Steered>>,
    changes: Option<watch::Receiver<Option<Order>>>,
    locator: Option<Locator>,
}

impl Orders {
    pub(crate) fn new(steered: Option<&Arc<Steered>>, steering: Option<&Steering>) -> Self {
        Self {
            steered: steered.cloned(),
            changes: steered.map(|steered| steered.orders()),
            locator: steering.map(|steering| steering.locator().clone()),
        }
    }

    /// The PoP, if the last order that was told wants it empty.
    fn drained(&self) -> Option<String> {
        let order = self.changes.as_ref()?.borrow();
        order.as_ref().filter(|order| order.drained).map(|order| order.pop.clone())
    }

    /// The next order for this edge's PoP. Cancel safe.
    async fn next(&mut self) -> Order {
        if let Some(changes) = &mut self.changes {
            while changes.changed().await.is_ok() {
                if let Some(order) = changes.borrow_and_update().clone() {
                    return order;
                }
            }
        }
        std::future::pending().await
    }
}

impl Drain {
    fn undo(&self) {
        self.undone.store(true, Ordering::Release);
        self.task.abort();
    }
}

/// The operations server at work. It goes on from serving into leaving: an orchestrator that asks just then gets its
/// answer.
type Serving = Pin<Box<dyn Future<Output = Result<(), nearport_api::Error>> + Send>>;

pub(crate) struct Running {
    ops: Arc<OpsServer>,
    control: ControlServer,
    estate: Estate,
    predecessors: Vec<Predecessor>,
    health: Arc<Health>,
    /// Closed while the node leaves.
    orders: acme::Gate,
    drain: Option<Drain>,
    orders_from: Orders,
    /// A process that has an offer and thinks about it.
    offer: Option<JoinHandle<Option<Channel>>>,
}

/// How a node's work ends.
pub(crate) enum Ended {
    /// Everything is closed.
    Left,
    /// Another process serves; the last clients are still here.
    HandedOver(Retired),
}

/// What ends a phase of serving.
enum Turn {
    Leave(Serving),
    Give(Channel),
    Failed(Error),
}

impl Running {
    pub(crate) fn new(
        ops: OpsServer,
        control: ControlServer,
        estate: Estate,
        predecessors: Vec<Predecessor>,
        health: Arc<Health>,
        orders: acme::Gate,
        orders_from: Orders,
    ) -> Self {
        let ops = Arc::new(ops);
        Self { ops, control, estate, predecessors, health, orders, drain: None, orders_from, offer: None }
    }

    pub(crate) async fn run(
        mut self,
        leave: &mut (impl Future<Output = ()> + Unpin),
    ) -> Result<Ended, Error> {
        loop {
            match self.serve(leave).await {
                Turn::Leave(serving) => return self.leave(serving).await.map(|()| Ended::Left),
                Turn::Failed(error) => return Err(error),
                Turn::Give(channel) => {
                    self.health.withdraw("handing over");
                    self.orders.close();
                    let (estate, predecessors) =
                        (self.estate.clone(), std::mem::take(&mut self.predecessors));
                    let giving = tokio::task::spawn_blocking(move || estate.give(channel, predecessors));
                    match giving.await.unwrap_or_else(|panic| Err(Error::Unclean(panic.to_string())))? {
                        Given::Kept(predecessors) => {
                            self.predecessors = predecessors;
                            match &self.drain {
                                Some(_) => self.health.withdraw("draining"),
                                None => {
                                    self.health.restore();
                                    self.orders.open();
                                }
                            }
                        }
                        Given::Away(channel) => {
                            let Self { estate, drain, .. } = self;
                            // What it asked for stays asked; from now on clients come back to the other process.
                            drain.iter().for_each(Drain::undo);
                            let within = estate.config.drain.within;
                            let edge = estate.edge;
                            return Ok(Ended::HandedOver(Retired { edge, channel, within }));
                        }
                    }
                }
            }
        }
    }

    /// Serves `/readyz` and the control socket until something else has to be done.
    async fn serve(&mut self, leave: &mut (impl Future<Output = ()> + Unpin)) -> Turn {
        let Self { ops, control, estate, predecessors, health, orders, drain, orders_from, offer } = self;
        let server = ops.clone();
        let mut serving: Serving = Box::pin(async move { server.run().await });
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                served = &mut serving => {
                    // It never ends by itself without an error.
                    return Turn::Failed(served.map_or_else(Error::Ops, |()| Error::Unclean("operations".to_owned())));
                }
                () = &mut *leave => return Turn::Leave(serving),
                decision = pending(offer.as_mut()) => {
                    *offer = None;
                    if let Ok(Some(channel)) = decision {
                        return Turn::Give(channel);
                    }
                }
                ended = pending(drain.as_mut().filter(|drain| !drain.ended).map(|drain| &mut drain.task)) => {
                    if let Some(drain) = drain {
                        drain.ended = true;
                        if drain.exit && ended.is_ok() {
                            return Turn::Leave(serving);
                        }
                    }
                }
                Request { what, pid, channel } = control.next() => match what {
                    // Examined here: whoever has heard a refusal may ask again at once.
                    What::TakeOver(claim) => match estate.examine(&claim, predecessors.len()) {
                        Err(reason) => {
                            tracing::info!(pid, reason, "take-over refused");
                            refuse(&channel, &reason);
                        }
                        Ok(()) if offer.is_some() => refuse(&channel, "another process is taking over"),
                        Ok(()) => {
                            tracing::info!(pid, "a process wants to take over");
                            let handle = ops.handle().ok().map(OwnedFd::from);
                            let alive = predecessors.iter().map(|predecessor| predecessor.generation).collect();
                            *offer = Some(make_offer(estate.clone(), channel, handle, alive));
                        }
                    },
                    What::Drain(order) => {
                        begin_drain(estate, health, drain, order, orders_from.drained(), channel);
                        if drain.is_some() {
                            orders.close();
                        }
                    }
                    // An order is not for one edge to overrule. What was begun by hand ends with it from now on.
                    What::Undrain if let Some(pop) = orders_from.drained() => {
                        if let Some(drain) = drain {
                            (drain.ordered, drain.exit) = (true, false);
                        }
                        refuse(&channel, &by_order(&pop));
                    }
                    What::Undrain => {
                        undrain(estate, health, drain, Some(&channel));
                        orders.open();
                    }
                    What::Backup(order) => {
                        tracing::info!(pid, to = %order.to.display(), "a backup is made");
                        spawn_backup(estate, order, channel);
                    }
                    What::Callbacks(order) => spawn_callbacks(estate, order, channel),
                    What::Pops => node_steer::answer(orders_from.locator.as_ref(), None, &channel),
                    What::Pop(order) => node_steer::answer(orders_from.locator.as_ref(), Some(order), &channel),
                },
                order = orders_from.next() => {
                    // While one by hand goes on nothing is to be done: its end by hand asks what is ordered.
                    let ordered = drain.as_ref().is_some_and(|drain| drain.ordered);
                    if order.drained && drain.is_none() {
                        let mut plan = plan(estate, None);
                        if let Some(steered) = orders_from.steered.as_ref().filter(|_| plan.targets.is_empty()) {
                            plan.targets = steered.elsewhere();
                        }
                        tracing::info!(by = order.by, targets = ?plan.targets, "the PoP is drained");
                        *drain = Some(spawn_drain(estate, health, plan, None, false, true));
                        orders.close();
                    } else if !order.drained && ordered {
                        undrain(estate, health, drain, None);
                        orders.open();
                    }
                }
                _ = looks.tick(), if !predecessors.is_empty() => predecessors.retain(|predecessor| {
                    let gone = predecessor.is_gone();
                    if gone {
                        tracing::info!(generation = predecessor.generation, "a process that had handed over has left");
                    }
                    !gone
                }),
            }
        }
    }

    /// Leaves in phases; `/readyz` goes on saying no.
    async fn leave(self, serving: Serving) -> Result<(), Error> {
        let Self { control, estate, predecessors, health, orders, drain: drained, .. } = self;
        orders.close();
        let leaving = async {
            // One that is over need not be waited for again.
            if drained.as_ref().is_none_or(|drained| !drained.ended) {
                drained.iter().for_each(Drain::undo);
                let mut plan = plan(&estate, None);
                if drained.is_some() {
                    plan.delay = Duration::ZERO;
                }
                let _ = drain(estate.edge.clone(), health, plan, None, Arc::default()).await;
            }
            let Estate { edge, backend, .. } = estate;
            let stop = move || {
                edge.close();
                // Who still drains loses its backend now and closes its clients.
                drop(predecessors);
                backend.close()
            };
            let stopping = tokio::task::spawn_blocking(stop).await;
            stopping.unwrap_or_else(|panic| Err(Error::Unclean(panic.to_string())))?;
            drop(control);
            tracing::info!("left");
            Ok(())
        };
        tokio::select! {
            served = serving => served.map_err(Error::Ops),
            left = leaving => left,
        }
    }
}

/// The end of a task, if there is one. Cancel safe.
async fn pending<T>(task: Option<&mut JoinHandle<T>>) -> Result<T, tokio::task::JoinError> {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}

fn make_offer(
    estate: Estate,
    channel: Channel,
    ops: Option<OwnedFd>,
    predecessors: Vec<u32>,
) -> JoinHandle<Option<Channel>> {
    tokio::task::spawn_blocking(move || estate.offer(channel, ops, &predecessors))
}

fn plan(estate: &Estate, order: Option<&DrainOrder>) -> Plan {
    let settings = &estate.config.drain;
    let within = order.and_then(|order| order.within_ms).map_or(settings.within, Duration::from_millis);
    // Both were checked when they were read.
    let targets = order.map(|order| &order.targets).filter(|targets| !targets.is_empty());
    let targets = node_drain::targets(targets.unwrap_or(&settings.targets)).unwrap_or_default();
    Plan { delay: settings.delay, within, targets }
}

fn begin_drain(
    estate: &Estate,
    health: &Arc<Health>,
    drain: &mut Option<Drain>,
    order: DrainOrder,
    drained: Option<String>,
    channel: Channel,
) {
    if drain.is_some() {
        let undo =
            || "the node drains or has drained already: `nearport drain --undo` takes it back".to_owned();
        return refuse(&channel, &drained.map_or_else(undo, |pop| by_order(&pop)));
    }
    if let Err(reason) = node_drain::targets(&order.targets) {
        return refuse(&channel, &reason);
    }
    let plan = plan(estate, Some(&order));
    *drain = Some(spawn_drain(estate, health, plan, Some(channel), order.exit, false));
}

fn by_order(pop: &str) -> String {
    format!(
        "the whole PoP {pop} is drained by an order: `nearport pop undrain {pop}` at a process that locates takes it back"
    )
}

/// The copy is made beside everything else; its end is told to whoever asked. It ends early when the backend closes.
fn spawn_backup(estate: &Estate, order: BackupOrder, channel: Channel) {
    let backend = estate.backend.clone();
    let data = Layout(estate.config.data.clone());
    tokio::task::spawn_blocking(move || {
        let answer = match backend.backup(&data, &order.to) {
            Ok(page) => Answer::BackedUp { page },
            Err(reason) => {
                tracing::warn!(reason, "the backup failed");
                Answer::Failed { reason }
            }
        };
        let _ = channel.send(&answer, &[]);
    });
}

/// The outbox is looked at beside everything else.
fn spawn_callbacks(estate: &Estate, order: crate::node_callback::Order, channel: Channel) {
    let backend = estate.backend.clone();
    tokio::task::spawn_blocking(move || {
        let answer = match backend.callbacks(&order) {
            Ok(rows) => Answer::Callbacks { rows },
            Err(reason) => Answer::Failed { reason },
        };
        let _ = channel.send(&answer, &[]);
    });
}

fn spawn_drain(
    estate: &Estate,
    health: &Arc<Health>,
    plan: Plan,
    channel: Option<Channel>,
    exit: bool,
    ordered: bool,
) -> Drain {
    let undone = Arc::new(AtomicBool::new(false));
    let running = self::drain(estate.edge.clone(), health.clone(), plan, channel, undone.clone());
    Drain { task: tokio::spawn(running), undone, ended: false, exit, ordered }
}

fn undrain(estate: &Estate, health: &Health, drain: &mut Option<Drain>, channel: Option<&Channel>) {
    let Some(undone) = drain.take() else {
        return channel.into_iter().for_each(|channel| refuse(channel, "the node does not drain"));
    };
    undone.undo();
    estate.edge.stay();
    health.restore();
    tracing::info!("the drain is undone");
    if let Some(channel) = channel {
        let _ = channel.send(&Answer::Done { sessions: estate.edge.sessions() }, &[]);
    }
}
