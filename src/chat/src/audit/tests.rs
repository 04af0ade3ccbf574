use proptest::prelude::*;

use super::*;

fn entry(n: u64) -> Entry {
    Entry {
        time_ms: 1_700_000_000_000 + n,
        app: 1_400_000_000,
        who: format!("admin{n}"),
        from: "192.0.2.1".to_owned(),
        act: "rest im_open_login_svc/kick".to_owned(),
        code: 0,
        detail: BTreeMap::new(),
    }
    .with("digest", "ab")
}

/// A chain of so many records, with its marks.
fn chain(records: u64) -> (Vec<Record>, Marks) {
    let mut head = Mark::default();
    let mut all = Vec::new();
    for n in 0..records {
        let (record, next) = Record::next(&head, &entry(n));
        all.push(record);
        head = next;
    }
    (all, Marks { floor: Mark::default(), head })
}

fn verify(records: &[Record], marks: Marks, noted: Option<Mark>) -> Vec<Broken> {
    let (mut verifier, mut broken) = (Verifier::new(marks, noted), Vec::new());
    records.iter().for_each(|record| verifier.take(record, &mut broken));
    verifier.end(&mut broken);
    broken
}

#[test]
fn a_whole_chain_verifies_and_says_what_was_put_in() {
    let (records, marks) = chain(5);
    assert_eq!(verify(&records, marks, None), []);
    assert_eq!(records[2].entry().unwrap(), (3, entry(2)));
    let noted = Mark { seq: 3, hash: Hash::read(&records[2].hash).unwrap() };
    assert_eq!(verify(&records, marks, Some(noted)), []);
    assert_eq!(noted.to_string().parse::<Mark>(), Ok(noted));
    for bad in ["", "3", "3:ab", "x:00", &format!("3:{}", "é".repeat(32))] {
        assert!(bad.parse::<Mark>().is_err(), "{bad}");
    }
}

/// The one who knows how: the whole chain made anew from a changed record on.
#[test]
fn a_chain_that_was_made_anew_is_not_the_one_that_was_noted() {
    let (records, marks) = chain(5);
    let mut forged = records[..2].to_vec();
    let mut head = Mark { seq: 2, hash: Hash::read(&records[1].hash).unwrap() };
    for n in [9, 3, 4] {
        let (record, next) = Record::next(&head, &entry(n));
        forged.push(record);
        head = next;
    }
    let forged_marks = Marks { head, ..marks };
    assert_eq!(verify(&forged, forged_marks, None), []);
    assert_eq!(verify(&forged, forged_marks, Some(marks.head)), [Broken::NotAsNoted { noted: marks.head }]);
}

#[test]
fn records_that_are_gone_moved_or_cut_off_are_named() {
    let (records, marks) = chain(9);
    let without = |gone: std::ops::Range<usize>| {
        let mut left = records.clone();
        left.drain(gone);
        verify(&left, marks, None)
    };
    assert_eq!(without(3..5), [Broken::Missing { first: 4, last: 5 }]);
    assert_eq!(without(0..1), [Broken::Missing { first: 1, last: 1 }]);
    let found = Mark { seq: 7, hash: Hash::read(&records[6].hash).unwrap() };
    assert_eq!(without(7..9), [Broken::Head { marked: marks.head, found }]);

    // Two change places, and keep their numbers as the store has them.
    let mut swapped = records.clone();
    swapped.swap(2, 3);
    (swapped[2].seq, swapped[3].seq) = (3, 4);
    let broken = verify(&swapped, marks, None);
    assert!(broken.contains(&Broken::Moved { at: 3, says: 4 }), "{broken:?}");
    assert!(broken.contains(&Broken::Changed { seq: 3 }), "{broken:?}");

    // A gap that is closed by counting anew.
    let mut closed = records.clone();
    closed.remove(4);
    closed.iter_mut().zip(1..).for_each(|(record, seq)| record.seq = seq);
    let broken = verify(&closed, Marks { head: Mark { seq: 8, ..marks.head }, ..marks }, None);
    assert_eq!(broken[0], Broken::Moved { at: 5, says: 6 });

    // A beginning that is gone without a word.
    let floor = Mark { seq: 2, hash: Hash::read(&records[1].hash).unwrap() };
    assert_eq!(verify(&records[2..], Marks { floor, ..marks }, None), [Broken::Floor { marked: floor }]);
    let (record, head) = Record::next(&marks.head, &trimmed(&entry(0), &floor));
    let kept: Vec<_> = records[2..].iter().cloned().chain([record]).collect();
    assert_eq!(verify(&kept, Marks { floor, head }, None), []);
}

#[test]
fn long_texts_are_cut_where_a_letter_ends() {
    let long = Entry { who: "é".repeat(400), ..entry(0) }.with("x", "ü".repeat(5000));
    let (record, _) = Record::next(&Mark::default(), &long);
    let (_, read) = record.entry().unwrap();
    assert_eq!(read.who, format!("{}…", "é".repeat(256)));
    assert!(record.text.len() < 1600);
    assert!(Record { text: b"{\"v\":2}".to_vec(), ..record.clone() }.entry().is_err());
    assert!(Record { text: Vec::new(), ..record }.entry().is_err());
}

proptest! {
    /// Any change of any byte of any record's text, hash or number is found, and at that record.
    #[test]
    fn any_changed_byte_is_found(count in 1u64..12, at: prop::sample::Index, byte: prop::sample::Index, flip in 1u8..=255, part in 0..3) {
        let (mut records, marks) = chain(count);
        let at = at.index(records.len());
        let record = &mut records[at];
        match part {
            0 => { let byte = byte.index(record.text.len()); record.text[byte] ^= flip; }
            1 => { let byte = byte.index(record.hash.len()); record.hash[byte] ^= flip; }
            _ => { let byte = byte.index(record.hash.len()); record.hash.truncate(byte); }
        }
        let seq = at as u64 + 1;
        let broken = verify(&records, marks, None);
        prop_assert!(broken.contains(&Broken::Changed { seq }), "{broken:?}");
    }

    #[test]
    fn marks_read_anything(text in ".{0,80}") {
        let _ = text.parse::<Mark>();
    }
}
