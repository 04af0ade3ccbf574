//! Acknowledgements that wait for company: what they save, and what they must not hold up.

use super::*;

/// One message of 100 bytes to all, which each gets at once.
fn publish_live(world: &mut World) {
    world.script.state().downs.push(live(2, 100));
    world.run();
}

/// Members of a room whose acknowledgements of a message wait.
fn room(members: u16) -> World {
    let mut world = World::new(ServerLimits::default());
    (1..=members).for_each(|port| world.login(port));
    world.pass(Duration::from_secs(5));
    publish_live(&mut world);
    world.pass(Duration::from_millis(400));
    assert_eq!(world.shard.stats().deferred, u64::from(members), "as many as there are members");
    world
}

fn rtt(world: &mut World, port: u16) -> Duration {
    let (index, _) = world.shard.find(world.script.sessions()[usize::from(port) - 1]).unwrap();
    world.shard.quic_mut(index).unwrap().quic.rtt()
}

#[test]
fn an_acknowledgement_waits_for_the_next_message_and_counts_from_when_it_came() {
    let mut world = room(3);
    let sent = world.shard.stats().datagrams_out;
    publish_live(&mut world);
    let stats = world.shard.stats();
    assert_eq!((stats.deferred, stats.datagrams_out - sent), (0, 3));
    assert!(rtt(&mut world, 1) < Duration::from_millis(30), "not the time that it waited");
    world.pass(Duration::from_secs(10));
    let stats = world.shard.stats();
    assert_eq!(
        (stats.deferred, stats.datagrams_deferred, stats.datagrams_out - sent),
        (0, 6, 3),
        "nothing is sent again"
    );
    assert!((1..=3).all(|port| world.take(port) == [Kind::LIVE; 2]));
}

#[test]
fn what_nothing_comes_for_is_worked_on_after_a_second() {
    let mut world = room(150);
    let sent = world.shard.stats().datagrams_out;
    world.pass(Duration::from_millis(580));
    assert_eq!(world.shard.stats().deferred, 150);
    world.pass(Duration::from_millis(100));
    let stats = world.shard.stats();
    assert_eq!((stats.deferred, stats.datagrams_out - sent), (0, 0));
    assert!(!world.shard.has_work());
}

#[test]
fn a_message_that_is_lost_is_sent_again_as_ever() {
    let mut world = room(3);
    publish_live(&mut world);
    world.pass(Duration::from_millis(100));
    let away = world.peers.remove(&2).unwrap();
    publish_live(&mut world);
    world.peers.insert(2, away);
    world.pass(Duration::from_millis(200));
    assert_eq!(world.take(2), [Kind::LIVE; 3], "well before a second is over");
    assert_eq!(
        world.shard.stats().deferred,
        2,
        "the acknowledgement of what was sent twice is not one to wait"
    );
}

/// Two messages to one member, of which `lost` vanish. The acknowledgements of the first wait, and those of the second.
fn two_under_way(lost: usize) -> (World, u64) {
    let mut world = room(1);
    publish_live(&mut world);
    world.pass(Duration::from_millis(100));
    for left in (0..2).rev() {
        world.script.state().downs.push(live(2, 100));
        while world.shard.has_work() || !world.script.state().downs.is_empty() {
            turn(&mut world.shard, world.now);
        }
        while let Some((to, datagram)) = world.shard.transmits().pop() {
            if left >= lost {
                world.peers.get_mut(&to.port()).unwrap().receive(world.now, &datagram);
            }
        }
    }
    let sent = world.shard.stats().datagrams_out;
    (world, sent)
}

#[test]
fn with_more_under_way_the_loss_timer_takes_it_along() {
    let (mut world, sent) = two_under_way(0);
    world.pass(Duration::from_millis(300));
    let stats = world.shard.stats();
    assert_eq!((stats.deferred, stats.datagrams_out - sent), (0, 0), "nothing was lost");
    let (mut world, sent) = two_under_way(1);
    world.pass(Duration::from_millis(300));
    assert!(world.shard.stats().datagrams_out > sent, "not after a second");
    assert_eq!(world.take(1), [Kind::LIVE; 4]);
}

#[test]
fn a_request_takes_what_waits_along() {
    let mut world = room(3);
    world.send(2, request(1));
    assert_eq!(world.shard.stats().deferred, 2);
    assert_eq!(world.script.state().ups.iter().filter(|up| matches!(up, Up::Frame { .. })).count(), 1);
}

#[test]
fn what_is_no_acknowledgement_waits_for_it_and_no_longer() {
    let mut world = room(1);
    publish_live(&mut world);
    world.pass(Duration::from_millis(100));
    // A ping, while a message is on its way to the client.
    let away = world.peers.remove(&1).unwrap();
    world.script.state().downs.push(live(2, 100));
    turn(&mut world.shard, world.now);
    world.peers.insert(1, away);
    let (from, mut ping) = (SocketAddr::from(([127, 0, 0, 1], 1)), Vec::new());
    let peer = world.peers.get_mut(&1).unwrap();
    peer.quic.ping();
    assert!(peer.quic.poll_transmit(world.now, 1, &mut ping).is_some());
    world.shard.handle_datagram(world.now, from, None, &ping);
    assert_eq!(world.shard.stats().deferred, 1, "it is as long as one");
    let sent = world.shard.stats().datagrams_out;
    world.pass(Duration::from_millis(60));
    let stats = world.shard.stats();
    assert_eq!(stats.deferred, 0);
    assert!(stats.datagrams_out > sent, "the ping is acknowledged");
    assert_eq!(world.take(1), [Kind::LIVE; 3]);
}

#[test]
fn a_lane_may_have_a_stream_of_its_own_whose_end_does_not_wait() {
    let mut world = World::new(ServerLimits::default());
    world.login(1);
    let side = world.open_stream(1);
    world.send_on(1, side, &Frame::new(Lane::Bulk, Kind::SYNC, 5, Bytes::new()).encode());
    world.pass(Duration::from_secs(5));
    publish_live(&mut world);
    world.pass(Duration::from_millis(100));
    assert_eq!(world.shard.stats().deferred, 1, "the stream is open");
    world.pass(Duration::from_secs(5));
    // It ends. A message goes out while the client does not know yet that the server has ended it too.
    let (from, mut end) = (SocketAddr::from(([127, 0, 0, 1], 1)), Vec::new());
    let peer = world.peers.get_mut(&1).unwrap();
    peer.quic.send_stream(side).finish().unwrap();
    assert!(peer.quic.poll_transmit(world.now, 1, &mut end).is_some());
    world.shard.handle_datagram(world.now, from, None, &end);
    turn(&mut world.shard, world.now);
    world.script.state().downs.push(live(2, 100));
    while world.shard.has_work() || !world.script.state().downs.is_empty() {
        turn(&mut world.shard, world.now);
    }
    while let Some((_, datagram)) = world.shard.transmits().pop() {
        world.peers.get_mut(&1).unwrap().receive(world.now, &datagram);
    }
    let came = world.shard.stats().datagrams_in;
    world.run();
    let stats = world.shard.stats();
    assert_eq!((stats.datagrams_in - came, stats.deferred), (1, 0), "the client may open another one");
    world.pass(Duration::from_secs(5));
    publish_live(&mut world);
    world.pass(Duration::from_millis(100));
    assert_eq!(world.shard.stats().deferred, 1);
    assert_eq!(world.take(1), [Kind::LIVE; 3]);
}

#[test]
fn a_connection_that_ends_leaves_nothing_behind() {
    let mut world = room(1);
    // It goes without a word, with a message on its way to it.
    world.peers.remove(&1);
    publish_live(&mut world);
    assert!(world.shard.deferred.expects_any());
    world.pass(Duration::from_secs(120));
    assert!(!world.shard.deferred.expects_any());
    assert!(world.shard.is_empty());
    // Its number is used again.
    world.login(2);
    publish_live(&mut world);
    world.pass(Duration::from_secs(5));
    assert_eq!(world.take(2), [Kind::LIVE]);
    assert_eq!((world.shard.stats().deferred, world.shard.stats().panics), (0, 0));
}
