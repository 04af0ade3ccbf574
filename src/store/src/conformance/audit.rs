//! The suite of the trait `AuditStore`.

use nearport_chat::audit::{Broken, Entry, Mark, Marks, Verified, Verifier};
use nearport_chat::directory::Directory;

pub(super) fn all(make: impl Fn() -> Box<dyn Directory>) {
    records_come_back_in_a_chain(&*make());
    what_is_old_goes_and_the_chain_holds(&*make());
}

fn entry(n: u64) -> Entry {
    Entry { time_ms: n, who: format!("ü{n}"), act: "test".to_owned(), ..Entry::default() }
}

fn verify(directory: &dyn Directory) -> (Vec<Broken>, Verified) {
    let marks = directory.audit_marks().expect("reads");
    let (mut verifier, mut broken) = (Verifier::new(marks, None), Vec::new());
    let mut after = marks.floor.seq;
    loop {
        let page = directory.audit_read(after, 7).expect("reads");
        let Some(last) = page.last() else { break };
        after = last.seq;
        page.iter().for_each(|record| verifier.take(record, &mut broken));
    }
    let verified = verifier.end(&mut broken);
    (broken, verified)
}

fn records_come_back_in_a_chain(directory: &dyn Directory) {
    assert_eq!(directory.audit_marks().expect("reads"), Marks::default());
    assert_eq!(directory.audit_append(&[]).expect("appends"), Mark::default());
    let head = directory.audit_append(&[entry(1), entry(2)]).expect("appends");
    assert_eq!(head.seq, 2);
    for n in 3..=40 {
        directory.audit_append(&[entry(n)]).expect("appends");
    }
    let (broken, verified) = verify(directory);
    assert_eq!((broken, verified.records), (Vec::new(), 40));
    let page = directory.audit_read(38, 1).expect("reads");
    assert_eq!(
        page.iter().map(|record| record.entry().expect("reads")).collect::<Vec<_>>(),
        [(39, entry(39))]
    );
    assert_eq!(directory.audit_read(0, 2).expect("reads").last().expect("two").hash, head.hash.0);
}

fn what_is_old_goes_and_the_chain_holds(directory: &dyn Directory) {
    let all: Vec<_> = (1..=20).map(entry).collect();
    directory.audit_append(&all).expect("appends");
    directory.audit_trim(99, &entry(0)).expect("does nothing");
    assert_eq!(verify(directory).1.records, 20);
    for (seq, kept) in [(5, 16), (12, 10)] {
        directory.audit_trim(seq, &entry(0)).expect("trims");
        let (broken, verified) = verify(directory);
        assert_eq!((broken, verified.records), (Vec::new(), kept));
        assert_eq!(verified.marks.floor.seq, seq);
    }
    directory.audit_append(&[entry(21)]).expect("appends");
    let (broken, verified) = verify(directory);
    assert_eq!((broken, verified.marks.head.seq), (Vec::new(), 23));
}
