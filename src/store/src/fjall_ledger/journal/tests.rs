use proptest::prelude::*;

use super::*;

const STORE: StoreId = [0xA5; 16];

fn item(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    out.extend_from_slice(&[TAG_ITEM, 0, 0]);
    out.extend_from_slice(&9u64.to_le_bytes());
    out.extend_from_slice(&u16::try_from(key.len()).unwrap().to_le_bytes());
    out.extend_from_slice(&u32::try_from(value.len()).unwrap().to_le_bytes().repeat(2));
    out.extend_from_slice(key);
    out.extend_from_slice(value);
}

/// A batch as fjall writes it: one row and the commit row.
fn commit(number: u64, row: &[u8], store: &StoreId) -> Vec<u8> {
    let mut items = Vec::new();
    item(&mut items, b"row", row);
    item(&mut items, COMMIT_KEY, &Commit { number, store: *store, next_user: 0, next_conv: 0 }.encode());
    let mut out = vec![TAG_START];
    out.extend_from_slice(&2u32.to_le_bytes());
    out.extend_from_slice(&(number + 70).to_le_bytes());
    out.extend_from_slice(&items);
    out.push(TAG_END);
    out.extend_from_slice(&xxhash_rust::xxh3::xxh3_64(&items).to_le_bytes());
    out.extend_from_slice(&TRAILER);
    out
}

fn journal(numbers: RangeInclusive<u64>) -> Vec<u8> {
    let mut bytes: Vec<u8> = numbers.flat_map(|number| commit(number, b"some text", &STORE)).collect();
    bytes.resize(bytes.len() + 300, 0);
    bytes
}

fn read(bytes: &[u8]) -> Journal {
    Journal { path: "1.jnl".into(), content: content(bytes, &STORE) }
}

#[test]
fn a_whole_journal_is_sound() {
    let content = content(&journal(3..=9), &STORE);
    assert_eq!((content.commits, content.tail), (vec![3..=9], Tail::Clean));
    assert_eq!(judge(&[read(&journal(3..=9)), read(&journal(10..=10))], 0, 10), Verdict::Sound);
    assert_eq!(judge(&[read(&[0; 64])], 0, 10), Verdict::Sound, "all flushed: only the tables can tell");
}

#[test]
fn every_flipped_byte_before_the_last_commit_is_damage_and_in_the_last_one_a_torn_end() {
    let bytes = journal(1..=4);
    let last_at = commit(1, b"some text", &STORE).len() * 3;
    let end = commit(1, b"some text", &STORE).len() * 4;
    for at in 0..end {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x10;
        let verdict = judge(&[read(&bytes)], 0, 3);
        if at < last_at {
            assert!(matches!(verdict, Verdict::Damaged(_)), "byte {at}: {verdict:?}");
        } else if (5..13).contains(&(at - last_at)) {
            // The checksum leaves fjall's sequence number out. A larger one on the last batch does no harm.
            assert_eq!(verdict, Verdict::Sound, "byte {at}");
        } else {
            assert_eq!(verdict, Verdict::Cut { certain: true }, "byte {at}");
            assert!(matches!(judge(&[read(&bytes)], 0, 4), Verdict::Damaged(_)), "commit 4 was acknowledged");
        }
    }
}

#[test]
fn a_torn_end_is_cut_at_every_length() {
    let bytes = journal(1..=4);
    let size = commit(1, b"some text", &STORE).len();
    for len in size * 3 + 1..size * 4 {
        for filler in [0, 300] {
            let mut torn = bytes[..len].to_vec();
            torn.resize(len + filler, 0);
            assert_eq!(judge(&[read(&torn)], 0, 3), Verdict::Cut { certain: true }, "cut at {len}");
            assert_eq!(read(&torn).content.readable, size * 3);
        }
    }
}

#[test]
fn holes_and_a_torn_sealed_journal_are_damage() {
    let torn = &journal(1..=4)[..150];
    assert!(matches!(judge(&[read(torn), read(&journal(5..=6))], 0, 6), Verdict::Damaged(_)));
    assert!(matches!(judge(&[read(&journal(1..=3)), read(&journal(5..=6))], 0, 6), Verdict::Damaged(_)));
    assert_eq!(
        judge(&[read(&journal(1..=3)), read(&journal(5..=6))], 5, 6),
        Verdict::Sound,
        "accepted earlier"
    );
}

#[test]
fn a_body_that_imitates_a_commit_does_not_turn_a_torn_end_into_damage() {
    let forged = commit(9, b"", &[0; 16]);
    let mut bytes = journal(1..=3);
    bytes.truncate(bytes.len() - 300);
    let whole = commit(4, &forged, &STORE);
    bytes.extend_from_slice(&whole[..whole.len() - 1]);
    assert_eq!(judge(&[read(&bytes)], 0, 3), Verdict::Cut { certain: true });
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(0u8..4, 0..600), cut in 0usize..600) {
        let _ = content(&bytes, &STORE);
        let mut spliced = journal(1..=3);
        let at = cut.min(spliced.len());
        spliced.splice(at..at, bytes);
        let content = content(&spliced, &STORE);
        prop_assert!(content.readable <= spliced.len());
    }
}
