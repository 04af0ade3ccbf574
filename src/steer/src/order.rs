//! What operators order for PoPs, and how it spreads. Pure.
//!
//! An order is given at one locator, goes to every edge that is linked to it, and from there to all other locators. Of two
//! orders for one PoP the later counts ([`Order::is_later_than`]), wherever they meet and in whatever order they come, so that all end
//! with the same one. Orders are never taken back, only followed by others: what says "as usual" stays, or an older one would
//! come back from an edge that was away.
//!
//! Edges carry orders and must not be able to make them: whoever breaks into one edge would move the whole network. So a locator seals
//! what it orders with the key that all locators share ([`Seal`]), and believes no order without a seal.

use std::collections::BTreeMap;
use std::fmt;

use nearport_geo::is_id;
use serde::{Deserialize, Serialize};

/// Orders that are kept: those of a full table, and as many of PoPs that are in other tables only.
pub const ORDERS_MAX: usize = 128;

/// Octets of who ordered.
const BY_BYTES_MAX: usize = 64;

/// The whole of a PoP's capacity, in the unit of [`Order::weight`].
pub const WHOLE: u16 = 1_000;

/// What an operator wants of one PoP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its name.
    pub pop: String,
    /// Nobody is sent there, and its clients are sent elsewhere.
    pub drained: bool,
    /// How much of its capacity counts, in thousandths, at most [`WHOLE`].
    pub weight: u16,
    /// When it was given, in Unix milliseconds; later than any order for this PoP that was known where it was given.
    pub at_ms: u64,
    /// By whom, for people; it decides between two of one millisecond.
    pub by: String,
}

impl Order {
    /// Of two orders for one PoP, whether this one counts. Total: two that differ never both do.
    #[must_use]
    pub fn is_later_than(&self, other: &Self) -> bool {
        let key = |order: &Self| (order.at_ms, order.by.clone(), order.drained, order.weight);
        key(self) > key(other)
    }

    /// Whether it can be an order at all.
    fn is_sound(&self) -> bool {
        let by = &self.by;
        let is_named =
            (1..=BY_BYTES_MAX).contains(&by.len()) && by.bytes().all(|octet| octet.is_ascii_graphic());
        is_id(&self.pop) && is_named && self.weight <= WHOLE
    }

    /// What is sealed. No field holds a space or a line's end.
    fn text(&self) -> Vec<u8> {
        let Self { pop, drained, weight, at_ms, by } = self;
        format!("nearport order 1\n{pop} {drained} {weight} {at_ms} {by}\n").into_bytes()
    }
}

/// `text` as it may stand in [`Order::by`].
#[must_use]
pub fn by(text: &str) -> String {
    let mut by: String = text.chars().filter(char::is_ascii_graphic).take(BY_BYTES_MAX).collect();
    if by.is_empty() {
        by.push('?');
    }
    by
}

/// An order and the proof that a locator gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The order.
    #[serde(flatten)]
    pub order: Order,
    /// Hexadecimal.
    pub seal: String,
}

/// The key that all locators share.
pub trait Seal: Send + Sync + fmt::Debug {
    /// Seals a text.
    fn seal(&self, text: &[u8]) -> Vec<u8>;

    /// Whether it was sealed with the same key.
    fn is_sealed(&self, text: &[u8], seal: &[u8]) -> bool;
}

impl Sealed {
    /// Seals an order.
    #[must_use]
    pub fn new(order: Order, seal: &dyn Seal) -> Self {
        let octets = seal.seal(&order.text());
        Self { order, seal: octets.iter().map(|octet| format!("{octet:02x}")).collect() }
    }

    /// Whether it is an order and sealed.
    #[must_use]
    pub fn is_good(&self, seal: &dyn Seal) -> bool {
        let octets = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        // No signature is longer.
        let fits = self.seal.len() <= 256 && self.seal.len().is_multiple_of(2);
        let bytes: Option<Vec<u8>> =
            fits.then(|| self.seal.as_bytes().chunks(2).map(octets).collect()).flatten();
        self.order.is_sound() && bytes.is_some_and(|bytes| seal.is_sealed(&self.order.text(), &bytes))
    }

    /// Itself if it is good. Costs a signature's check: not to be done with anything locked.
    #[must_use]
    pub fn prove(self, seal: &dyn Seal) -> Option<Proven> {
        self.is_good(seal).then_some(Proven(self))
    }
}

/// An order whose seal was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven(Sealed);

impl Proven {
    /// The order as it came.
    #[must_use]
    pub fn into_sealed(self) -> Sealed {
        self.0
    }
}

/// The latest orders that are known, one for each PoP, at most [`ORDERS_MAX`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orders(BTreeMap<String, Sealed>);

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merged {
    /// It counts now.
    Taken,
    /// It is known, or a later one is.
    Known,
    /// It cannot be an order, or there is no room for another PoP.
    Refused,
}

impl Orders {
    /// Takes an order if it is later than what is known. Whether it is sealed is the caller's question.
    pub fn merge(&mut self, sealed: Sealed) -> Merged {
        if !sealed.order.is_sound() {
            return Merged::Refused;
        }
        match self.0.get(&sealed.order.pop) {
            Some(known) if !sealed.order.is_later_than(&known.order) => return Merged::Known,
            None if self.0.len() >= ORDERS_MAX => return Merged::Refused,
            _ => {}
        }
        self.0.insert(sealed.order.pop.clone(), sealed);
        Merged::Taken
    }

    /// The order for a PoP.
    #[must_use]
    pub fn get(&self, pop: &str) -> Option<&Order> {
        self.0.get(pop).map(|sealed| &sealed.order)
    }

    /// All of them, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Sealed> {
        self.0.values().cloned().collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A seal for tests: who knows the word may seal.
    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Word(pub(crate) u8);

    impl Seal for Word {
        fn seal(&self, text: &[u8]) -> Vec<u8> {
            vec![text.iter().fold(self.0, |sum, octet| sum.wrapping_mul(31).wrapping_add(*octet)); 4]
        }

        fn is_sealed(&self, text: &[u8], seal: &[u8]) -> bool {
            self.seal(text) == seal
        }
    }

    pub(crate) fn order(pop: &str, drained: bool, at_ms: u64) -> Order {
        Order { pop: pop.to_owned(), drained, weight: WHOLE, at_ms, by: "ann@desk".to_owned() }
    }

    #[test]
    fn only_what_was_sealed_with_the_key_is_good() {
        let good = Sealed::new(order("a", true, 1), &Word(7));
        assert!(good.is_good(&Word(7)) && !good.is_good(&Word(8)));
        for change in [
            |sealed: &mut Sealed| sealed.order.drained = false,
            |sealed: &mut Sealed| sealed.order.pop.push('b'),
            |sealed: &mut Sealed| sealed.order.weight = 999,
            |sealed: &mut Sealed| sealed.order.at_ms = 2,
            |sealed: &mut Sealed| sealed.order.by.push('x'),
            |sealed: &mut Sealed| sealed.seal = "zz".repeat(4),
            |sealed: &mut Sealed| sealed.seal = "é".repeat(4),
            |sealed: &mut Sealed| sealed.seal.clear(),
        ] {
            let mut bad = good.clone();
            change(&mut bad);
            assert!(!bad.is_good(&Word(7)), "{bad:?}");
        }
    }

    #[test]
    fn what_cannot_be_an_order_is_refused_and_there_is_a_bound() {
        let mut orders = Orders::default();
        for bad in [
            Order { weight: 1_001, ..order("a", true, 1) },
            order("", true, 1),
            order("a b", true, 1),
            order("A", true, 1),
            order(&"a".repeat(33), true, 1),
            Order { by: "b\n".to_owned(), ..order("a", true, 1) },
        ] {
            assert_eq!(orders.merge(Sealed::new(bad, &Word(1))), Merged::Refused);
        }
        for number in 0..=ORDERS_MAX {
            let merged = orders.merge(Sealed::new(order(&format!("p{number}"), true, 1), &Word(1)));
            assert_eq!(merged == Merged::Taken, number < ORDERS_MAX, "{number}");
        }
        assert_eq!(orders.merge(Sealed::new(order("p0", false, 2), &Word(1))), Merged::Taken);
        assert_eq!(by(" ann marie@désk "), "annmarie@dsk");
        assert_eq!(by("ß"), "?");
    }

    fn any_order() -> impl Strategy<Value = Sealed> {
        let fields = ("[a-c]", any::<bool>(), 0..=WHOLE, 0..4_u64, "[xy]");
        fields.prop_map(|(pop, drained, weight, at_ms, by)| {
            Sealed::new(Order { pop, drained, weight, at_ms, by }, &Word(3))
        })
    }

    proptest! {
        #[test]
        fn all_end_with_the_same_orders_however_they_come(
            mut some in proptest::collection::vec(any_order(), 0..20),
            turn in any::<prop::sample::Index>(),
            doubled in any::<prop::sample::Index>(),
        ) {
            let merged = |list: &[Sealed]| {
                let mut orders = Orders::default();
                list.iter().for_each(|sealed| { orders.merge(sealed.clone()); });
                orders
            };
            let one = merged(&some);
            if !some.is_empty() {
                let (turn, doubled) = (turn.index(some.len()), doubled.index(some.len()));
                some.rotate_left(turn);
                some.reverse();
                some.push(some[doubled].clone());
            }
            prop_assert_eq!(&one, &merged(&some));
            // One that has some of them already, and hears the rest from it.
            let mut late = merged(&some[..some.len() / 2]);
            one.all().into_iter().for_each(|sealed| { late.merge(sealed); });
            prop_assert_eq!(late, one);
        }

        #[test]
        fn a_sealed_order_survives_json(sealed in any_order()) {
            let json = serde_json::to_string(&sealed).unwrap();
            let back: Sealed = serde_json::from_str(&json).unwrap();
            prop_assert!(back.is_good(&Word(3)));
            prop_assert_eq!(back, sealed);
        }
    }
}
