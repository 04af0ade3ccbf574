//! Clients that do not read, and what that costs the shard and the others.

use super::*;
use crate::budget::Level;

/// A client that reads nothing: no credit for its stream is ever given back.
fn login_deaf(world: &mut World, port: u16) {
    let mut transport = quinn_proto::TransportConfig::default();
    transport.stream_receive_window(VarInt::from_u32(16 * 1024));
    let others = world.client_config.clone();
    world.client_config.transport_config(Arc::new(transport));
    world.login(port);
    world.client_config = others;
    world.peers.get_mut(&port).unwrap().deaf = true;
}

fn reply(session: SessionId, id: u64, len: usize) -> Down {
    Down::Reply { session, lane: Lane::Bulk, kind: Kind::REPLY, id, body: vec![0; len].into() }
}

/// Answers of so many bytes together, one after the other.
fn give(world: &mut World, session: SessionId, bytes: usize) {
    for id in 0..bytes / 50_000 {
        world.script.state().downs.push(reply(session, id as u64, 50_000));
        world.run();
    }
}

fn publish_live(len: usize) -> Down {
    let topic = Topic::from(&b"all"[..]);
    // Not online-only: those go as datagrams, which wait for nobody.
    Down::Publish {
        topic,
        lane: Lane::Live,
        kind: Kind::PUSH,
        id: 1,
        body: vec![7; len].into(),
        except: None,
    }
}

fn limits() -> ServerLimits {
    ServerLimits { output_bytes_max: 300_000, ..ServerLimits::default() }
}

#[test]
fn answers_that_are_not_read_end_the_session_and_its_memory_comes_back() {
    let mut world = World::new(limits());
    login_deaf(&mut world, 1);
    world.login(2);
    let session = world.script.sessions()[0];
    let mut most = 0;
    for id in 0..200 {
        world.script.state().downs.push(reply(session, id, 50_000));
        world.run();
        most = most.max(world.shard.stats().output_bytes);
    }
    assert_eq!(world.close_code(1), Some(CloseCode::SLOW));
    assert_eq!(world.script.closed(), [session]);
    let stats = world.shard.stats();
    assert_eq!((stats.output_overflows, stats.sessions), (1, 1));
    assert!(most < 700_000, "the bound, a window of QUIC and one answer: {most}");
    world.pass(Duration::from_secs(5));
    assert_eq!(world.shard.stats().output_bytes, 0);
    world.script.state().downs.push(publish(1, None));
    world.run();
    assert_eq!(world.take(2), [Kind::PUSH]);
}

#[test]
fn who_reads_nothing_while_pushes_wait_is_behind_and_then_closed() {
    let mut world = World::new(limits());
    login_deaf(&mut world, 1);
    world.login(2);
    for id in 0..20_000 {
        world.script.state().downs.push(publish(id, None));
        if id % 100 == 0 {
            world.run();
        }
    }
    world.run();
    let stats = world.shard.stats();
    assert!(stats.pushes_dropped > 0, "behind");
    assert!(stats.output_bytes > 0 && stats.output_bytes < 500_000, "{}", stats.output_bytes);
    assert_eq!(world.close_code(1), None);
    // It pings, so it is not silent; but it reads nothing.
    for _ in 0..7 {
        world.pass(Duration::from_secs(10));
        for port in 1..=2 {
            if world.close_code(port).is_none() {
                world.send(port, Frame::new(Lane::Control, Kind::PING, 1, Bytes::new()));
            }
        }
    }
    assert_eq!(world.close_code(1), Some(CloseCode::SLOW));
    assert_eq!(world.close_code(2), None);
    assert_eq!(world.shard.stats().slow_closes, 1);
}

#[test]
fn short_of_memory_live_pushes_go_first_then_pushes_then_the_slowest() {
    let admission = Admission { output_bytes_max: 2_400_000, ..Admission::default() };
    let mut world = World::with(ServerLimits { output_bytes_max: 10 << 20, ..limits() }, admission);
    login_deaf(&mut world, 1);
    login_deaf(&mut world, 2);
    world.login(3);
    let sessions = world.script.sessions();
    // Half of the budget and a little: whoever has something waiting gets no live pushes.
    give(&mut world, sessions[0], 1_000_000);
    assert!(world.shard.is_squeezed());
    world.script.state().downs.push(publish_live(100));
    world.run();
    assert_eq!(world.shard.stats().pushes_folded, 1);
    assert_eq!(world.take(3), [Kind::PUSH], "it had nothing waiting");
    // Three quarters: no pushes either.
    give(&mut world, sessions[1], 500_000);
    let before = world.shard.stats();
    assert!(before.output_bytes > 1_800_000 && before.output_bytes <= 2_400_000, "{}", before.output_bytes);
    world.script.state().downs.push(publish(1, None));
    world.run();
    assert_eq!(world.shard.stats().pushes_dropped, before.pushes_dropped + 2);
    assert_eq!(world.take(3), [Kind::PUSH]);
    // All: the one with most waiting goes, and nobody else.
    give(&mut world, sessions[1], 500_000);
    let stats = world.shard.stats();
    assert_eq!((stats.output_sheds, stats.sessions), (1, 2));
    assert_eq!(world.close_code(1), Some(CloseCode::SLOW));
    assert_eq!((world.close_code(2), world.close_code(3)), (None, None));
}

#[test]
fn short_of_memory_what_waits_for_a_session_that_is_over_goes_first() {
    let admission = Admission { output_bytes_max: 2_400_000, ..Admission::default() };
    let mut world = World::with(ServerLimits { output_bytes_max: 10 << 20, ..limits() }, admission);
    (1..=2).for_each(|port| login_deaf(&mut world, port));
    let sessions = world.script.sessions();
    give(&mut world, sessions[0], 1_500_000);
    let (code, reason) = (CloseCode::KICKED, "another login".to_owned());
    world.script.state().downs.push(Down::Kick { session: sessions[0], code, reason });
    world.run();
    assert!(world.shard.stats().output_bytes > 1_400_000, "its good-bye stands behind all of it");
    give(&mut world, sessions[1], 1_200_000);
    let stats = world.shard.stats();
    assert!(stats.output_bytes < 1_800_000, "what QUIC holds of it comes back later: {}", stats.output_bytes);
    assert_eq!((stats.output_sheds, stats.sessions), (0, 1), "the other one stays");
}

#[test]
fn what_quic_holds_for_sessions_that_are_over_is_waited_for_and_sends_nobody_else_away() {
    let admission = Admission { output_bytes_max: 400_000, ..Admission::default() };
    let mut world = World::with(limits(), admission);
    (1..=3).for_each(|port| login_deaf(&mut world, port));
    let sessions = world.script.sessions();
    for session in &sessions[..2] {
        for id in 0..5 {
            world.script.state().downs.push(reply(*session, id, 50_000));
        }
        // Time stands still: what was closed is not gone. This ends, so the shard has nothing left to do.
        world.run();
    }
    let stats = world.shard.stats();
    assert!(stats.output_bytes > 400_000, "{}", stats.output_bytes);
    world.script.state().downs.push(reply(sessions[2], 1, 10_000));
    world.run();
    assert_eq!((world.close_code(3), world.shard.stats().sessions), (None, 1));
    world.pass(Duration::from_secs(5));
    assert!(world.shard.stats().output_bytes < 20_000);
}

#[test]
fn what_quic_has_taken_counts_until_it_is_acknowledged() {
    let mut world = World::new(limits());
    for port in 1..=2 {
        world.login(port);
    }
    let sessions = world.script.sessions();
    // Its packets vanish, and so do those to it.
    let gone = world.peers.remove(&1).unwrap();
    world.script.state().downs.push(reply(sessions[0], 1, 3_000));
    world.run();
    assert_eq!(world.shard.stats().output_bytes, 0, "so little is not counted");
    for (id, bytes) in [(2, 40_000..60_000), (3, 90_000..110_000)] {
        world.script.state().downs.push(reply(sessions[0], id, 48_000));
        world.run();
        let held = world.shard.stats().output_bytes;
        assert!(bytes.contains(&held), "{held}");
    }
    // The other one reads and acknowledges all that it gets.
    let before = world.shard.stats().output_bytes;
    for id in 1..20 {
        world.script.state().downs.push(reply(sessions[1], id, 48_000));
        world.run();
        assert_eq!(world.shard.stats().output_bytes, before, "{id}");
    }
    assert_eq!(world.take(2).len(), 19);
    // The first is there again.
    world.peers.insert(1, gone);
    world.pass(Duration::from_secs(20));
    assert_eq!(world.shard.stats().output_bytes, 0);
    assert_eq!(world.take(1), [Kind::REPLY; 3]);
    // What was acknowledged counts no more, the next time either.
    world.peers.remove(&1);
    world.script.state().downs.push(reply(sessions[0], 4, 8_000));
    world.run();
    let held = world.shard.stats().output_bytes;
    assert!((8_000..13_000).contains(&held), "{held}");
}

#[test]
fn short_of_memory_little_that_waits_is_reason_enough() {
    let admission = Admission { output_bytes_max: 4_000_000, ..Admission::default() };
    let mut world = World::with(ServerLimits { output_bytes_max: 10 << 20, ..limits() }, admission);
    (1..=3).for_each(|port| login_deaf(&mut world, port));
    let sessions = world.script.sessions();
    // More than QUIC takes, so that a little waits in the session.
    let fill = |world: &mut World, session: usize, waiting: usize| {
        let (index, _) = world.shard.find(sessions[session]).unwrap();
        while world.shard.conns.get_mut(index).unwrap().session.output_cost() < waiting {
            world.script.state().downs.push(reply(sessions[session], 1, 1_000));
            world.run();
        }
    };
    let lost = |world: &mut World, down: Down| {
        let before = world.shard.stats();
        world.script.state().downs.push(down);
        world.run();
        let after = world.shard.stats();
        (after.pushes_folded - before.pushes_folded, after.pushes_dropped - before.pushes_dropped)
    };
    fill(&mut world, 1, 500);
    fill(&mut world, 2, 10_000);
    assert_eq!(world.shard.budget.level(), Level::Calm);
    assert_eq!(lost(&mut world, publish(1, None)), (0, 0));
    while world.shard.budget.level() < Level::Thin {
        fill(&mut world, 0, 1_000_000);
        fill(&mut world, 0, 2_000_000);
    }
    assert_eq!(world.shard.budget.level(), Level::Thin);
    assert_eq!(lost(&mut world, publish_live(100)), (3, 0), "nobody who has something waiting gets it");
    assert_eq!(lost(&mut world, publish(2, None)), (0, 1), "the one that has too much in any case");
    fill(&mut world, 0, 2_800_000);
    assert_eq!(world.shard.budget.level(), Level::Hold);
    assert_eq!(lost(&mut world, publish(3, None)), (0, 2), "and who has more than a few");
}

#[test]
fn a_client_above_its_rate_is_told_when_to_come_and_the_backend_hears_nothing() {
    let mut world =
        World::new(ServerLimits { requests_per_s: 10, requests_burst: 5, ..ServerLimits::default() });
    world.login(1);
    for id in 1..=8 {
        world.send(1, request(id));
    }
    let ups = world.script.state().ups.len();
    assert_eq!(ups, 1 + 5, "the hello and the burst");
    assert_eq!(world.take(1), [Kind::ERROR; 3]);
    assert_eq!(world.shard.stats().requests_limited, 3);
}
