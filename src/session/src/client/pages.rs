//! The user log as one session follows it: what comes is given in order, and what is missing in front of it is asked for, a page at a time.

use std::time::{Duration, Instant};

use bytes::Bytes;
use nearport_wire::body::{self, SyncPage};
use nearport_wire::close::CloseCode;
use nearport_wire::{Kind, Lane};
use prost::Message as _;

use super::{Client, Event, Failure, Owner};
use crate::Closing;
use crate::tracker::Arrival;

/// Entries asked for in one page.
const PAGE_ENTRIES: u32 = 100;

impl Client {
    /// `patient`: the stream is likely to bring what is in front of it.
    pub(super) fn arrive(
        &mut self,
        now: Instant,
        position: u64,
        delivery: Option<body::Delivery>,
        patient: bool,
    ) {
        match self.tracker.arrive(position, delivery) {
            Arrival::Ready => self.pass_on(),
            Arrival::Duplicate => {}
            Arrival::Gap if patient => {
                self.gap_due.get_or_insert(now + self.patience);
            }
            Arrival::Gap => self.ask_for_page(now),
        }
        if !self.tracker.is_behind() {
            self.gap_due = None;
        }
    }

    fn pass_on(&mut self) {
        while let Some((position, delivery)) = self.tracker.pop_ready() {
            self.events.push_back(Event::Entry { position, delivery });
        }
    }

    /// Asks for a page that is read after this moment: one that is on its way may be older than what is missing.
    pub(super) fn ask_for_younger_page(&mut self, now: Instant) {
        self.page_again = self.page_in_flight;
        self.ask_for_page(now);
    }

    pub(super) fn ask_for_page(&mut self, now: Instant) {
        if !self.page_in_flight && self.page_retry_at.is_none() {
            self.page_in_flight = true;
            let sync = body::Sync { after: self.tracker.cursor(), limit: PAGE_ENTRIES };
            self.send_request(now, Owner::Page, Lane::Bulk, Kind::SYNC, &sync.encode_to_vec());
        }
    }

    pub(super) fn handle_page(&mut self, now: Instant, result: Result<Bytes, Failure>) {
        self.page_in_flight = false;
        match result.map(SyncPage::decode) {
            Ok(Ok(page)) => self.take_page(now, page),
            // Asking again and again would keep the heartbeat from noticing that the path is dead.
            Err(Failure::Timeout) if now >= self.last_received + self.config.answer_timeout => {
                let closing = Closing::new(CloseCode::LOST, "no answer to a page, nor anything else");
                self.end(closing, Duration::ZERO);
            }
            Ok(Err(_)) | Err(_) => self.page_retry_at = Some(now + self.config.page_retry),
        }
    }

    /// A page that was asked for, or that came with the welcome.
    pub(super) fn take_page(&mut self, now: Instant, page: SyncPage) {
        for entry in page.entries {
            // Without a delivery: nothing to show there, as with a message of one's own.
            self.tracker.arrive_in_page(entry.position, entry.delivery);
        }
        self.pass_on();
        if page.complete {
            self.tracker.complete(page.head);
            self.pass_on();
        }
        let again = std::mem::take(&mut self.page_again);
        if again || !page.complete || self.tracker.is_behind() {
            self.ask_for_page(now);
        } else {
            self.tell_caught_up();
        }
    }

    pub(super) fn tell_caught_up(&mut self) {
        if !std::mem::replace(&mut self.caught_up_told, true) {
            self.events.push_back(Event::CaughtUp);
        }
    }
}
