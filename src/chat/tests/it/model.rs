//! Random runs against a model that is a few lists: what is acknowledged is there, once, in one order for both.

use std::collections::{BTreeMap, BTreeSet};

use nearport_chat::key::ConvKey;
use nearport_trunk::{Down, SessionId};
use nearport_wire::Kind;
use nearport_wire::body::{Delivery, Sent, Sync, SyncPage};
use proptest::prelude::*;
use prost::Message as _;

use crate::world::{World, answer, user};

const NAMES: [&str; 3] = ["alice", "bob", "carol"];

#[derive(Debug, Clone)]
enum Op {
    /// One turn of the writer with these messages: (from, to, client id). Few ids, so many are sent again.
    Turn(Vec<(usize, usize, u8)>),
    /// A page of so many entries from where the user stands.
    Sync(usize, u32),
    /// The user's device logs in again, on the other link.
    Relogin(usize),
    Restart,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let send = (0..3usize, 0..3usize, 0..12u8);
    let op = prop_oneof![
        6 => proptest::collection::vec(send, 1..8).prop_map(Op::Turn),
        3 => (0..3usize, 1..5u32).prop_map(|(who, limit)| Op::Sync(who, limit)),
        1 => (0..3usize).prop_map(Op::Relogin),
        1 => Just(Op::Restart),
    ];
    proptest::collection::vec(op, 1..30)
}

/// A message: sender and client id.
type Id = (usize, u8);

/// What must be true after the acknowledgements so far.
#[derive(Default)]
struct Model {
    convs: BTreeMap<ConvKey, Vec<Id>>,
    logs: [Vec<(Id, u64)>; 3],
    known: BTreeMap<Id, u64>,
}

impl Model {
    /// The seq of the message, its position in the sender's log, and whether it was known.
    fn send(&mut self, from: usize, to: usize, id: u8) -> (u64, u64, bool) {
        if let Some(seq) = self.known.get(&(from, id)) {
            return (*seq, 0, true);
        }
        let conv = self.convs.entry(ConvKey::pair(&user(NAMES[from]), &user(NAMES[to]))).or_default();
        conv.push((from, id));
        let seq = conv.len() as u64;
        self.known.insert((from, id), seq);
        for owner in BTreeSet::from([from, to]) {
            self.logs[owner].push(((from, id), seq));
        }
        (seq, self.logs[from].len() as u64, false)
    }
}

/// A device: its session, and how far it has come.
struct Device {
    session: SessionId,
    link: usize,
    /// What it has shown, in order, by push or by page.
    shown: u64,
}

fn login(world: &mut World, who: usize, link: usize, shown: u64) -> Device {
    let hello = nearport_wire::body::Hello { cursor: Some(shown), ..world.hello(NAMES[who], "phone") };
    let (session, welcome) = world.login_at(link, &hello);
    assert_eq!(welcome.cursor, shown);
    Device { session, link, shown }
}

fn id_of(delivery: &Delivery) -> (Id, u64) {
    let message = delivery.message.as_ref().unwrap();
    let from = NAMES.iter().position(|name| *name == message.from).unwrap();
    ((from, message.client_msg_id[0]), delivery.seq)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_run_agrees_with_the_model(ops in ops()) {
        let mut world = World::new();
        let mut model = Model::default();
        let mut devices: Vec<_> = (0..3).map(|who| login(&mut world, who, 0, 0)).collect();
        for op in ops {
            match op {
                Op::Turn(sends) => {
                    let request = |(id, (from, to, client)): (u64, &(usize, usize, u8))| {
                        world.text(devices[*from].session, NAMES[*to], *client, id)
                    };
                    let batch = (0..).zip(&sends).map(request).collect();
                    world.received(0);
                    world.received(1);
                    world.write(batch);
                    let links = [world.received(0), world.received(1)];
                    for (id, (from, to, client)) in (0u64..).zip(&sends) {
                        let (seq, position, duplicate) = model.send(*from, *to, *client);
                        let mine = |down: &&Down| matches!(down, Down::Reply { id: got, .. } if *got == id);
                        let reply = links[devices[*from].link].iter().find(mine);
                        let sent: Sent = answer(reply.expect("every SEND is answered")).unwrap();
                        prop_assert_eq!((sent.seq, sent.position, sent.duplicate), (seq, position, duplicate));
                    }
                    for (who, log) in model.logs.iter().enumerate() {
                        let pushes = links[devices[who].link].iter().filter_map(|down| match down {
                            Down::Publish { topic, kind: Kind::PUSH, id, body, except, .. }
                                if topic.0[..] == *user(NAMES[who]).as_bytes() =>
                            {
                                Some((*id, Delivery::decode(body.clone()).unwrap(), *except))
                            }
                            _ => None,
                        });
                        let mut last = 0;
                        for (position, delivery, except) in pushes {
                            prop_assert!(position > last, "pushes of one log come in its order");
                            last = position;
                            prop_assert_eq!(id_of(&delivery), log[usize::try_from(position).unwrap() - 1]);
                            prop_assert_ne!(except, Some(devices[who].session), "nobody else is there to hear it");
                        }
                    }
                }
                Op::Sync(who, limit) => {
                    let device = &mut devices[who];
                    world.received(device.link);
                    let request = Sync { after: device.shown, limit };
                    let page: SyncPage = world.ask(device.session, Kind::SYNC, &request).unwrap();
                    for entry in &page.entries {
                        device.shown += 1;
                        prop_assert_eq!(entry.position, device.shown, "no holes");
                        let place = usize::try_from(entry.position).unwrap() - 1;
                        prop_assert_eq!(id_of(entry.delivery.as_ref().unwrap()), model.logs[who][place]);
                    }
                    prop_assert_eq!(page.head, model.logs[who].len() as u64);
                    prop_assert_eq!(page.complete, device.shown == page.head);
                }
                Op::Relogin(who) => {
                    let Device { link, shown, .. } = devices[who];
                    devices[who] = login(&mut world, who, 1 - link, shown);
                }
                Op::Restart => {
                    world.restart();
                    for (who, device) in devices.iter_mut().enumerate() {
                        *device = login(&mut world, who, device.link, device.shown);
                    }
                }
            }
        }
        // Each device catches up, and both sides of a conversation have it in the conversation's order.
        for (who, device) in devices.iter().enumerate() {
            world.received(device.link);
            let request = Sync { after: 0, limit: 200 };
            let page: SyncPage = world.ask(device.session, Kind::SYNC, &request).unwrap();
            let got: Vec<_> = page.entries.iter().map(|entry| id_of(entry.delivery.as_ref().unwrap())).collect();
            prop_assert_eq!(&got, &model.logs[who]);
            for (conv, want) in &model.convs {
                let seqs: Vec<_> = got.iter().filter(|(id, _)| want.contains(id)).map(|(_, seq)| *seq).collect();
                if !seqs.is_empty() {
                    prop_assert_eq!(seqs, (1..=want.len() as u64).collect::<Vec<_>>(), "{:?}", conv);
                }
            }
        }
    }
}
