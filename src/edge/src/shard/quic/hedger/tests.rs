use super::*;

/// What a path of `sent` packets a second, of which one in `one_in` is lost, makes of a meter in `seconds`.
fn run(loss: &mut Loss, seconds: u64, sent: u64, one_in: u64) -> Vec<bool> {
    let (start, start_lost) = (loss.sent, loss.lost);
    (1..=seconds)
        .map(|second| {
            let sent = second * sent;
            loss.update(start + sent, start_lost + sent.checked_div(one_in).unwrap_or(0));
            loss.is_high
        })
        .collect()
}

#[test]
fn loss_turns_it_on_and_only_the_want_of_loss_off_again() {
    for packets in [4, 20, 500] {
        let mut loss = Loss::default();
        assert!(!run(&mut loss, 200, packets, 0).contains(&true));
        assert!(!run(&mut loss, 200, packets, 150).contains(&true), "{packets}: under one per cent");
        assert_eq!(run(&mut loss, 400, packets, 20).last(), Some(&true), "{packets}: five per cent");
        assert!(!run(&mut loss, 50, packets, 70).contains(&false), "{packets}: between the lines it stays");
        assert_eq!(run(&mut loss, 400, packets, 0).last(), Some(&false), "{packets}");
    }
}

#[test]
fn who_sends_little_is_looked_at_seldom_and_who_sends_nothing_never() {
    let start = Instant::now();
    let after = |ms| start + Duration::from_millis(ms);
    let mut hedger = Hedger::new(start);
    assert!(!hedger.is_sample_due(after(60_000)), "nothing was sent");
    (0..SAMPLE_DATAGRAMS - 1).for_each(|_| hedger.count_datagram());
    assert!(!hedger.is_sample_due(after(4_999)) && hedger.is_sample_due(after(5_000)));
    hedger.count_datagram();
    assert!(!hedger.is_sample_due(after(999)) && hedger.is_sample_due(after(1_000)));
}

#[test]
fn one_lost_packet_is_no_lossy_path_and_a_new_path_begins_anew() {
    let mut loss = Loss::default();
    loss.update(1, 1);
    loss.update(60, 1);
    assert!(!loss.is_high);
    loss.update(5, 0);
    assert!(loss.rate >= 0.0 && !loss.is_high);
}
