//! Metrics of media. Handles are made once.

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

use crate::kind::Kind;

/// How a request ends, by its name in the metrics; what is not here counts as the last one.
const UPLOADS: [&str; 18] = [
    "complete",
    "partial",
    "known",
    "user_full",
    "app_full",
    "full",
    "no_slot",
    "signature",
    "expired",
    "size",
    "gap",
    "displaced",
    "slow",
    "hash",
    "type",
    "image",
    "store",
    "malformed",
];
const DOWNLOADS: [&str; 9] =
    ["ok", "not_modified", "signature", "expired", "banned", "missing", "range", "no_slot", "store"];

#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) begun: [Counter; 4],
    pub(crate) refused: Counter,
    pub(crate) signed: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    pub(crate) made_files: Counter,
    pub(crate) made_bytes: Counter,
    pub(crate) underway: Gauge,
    pub(crate) underway_bytes: Gauge,
    pub(crate) uploading: Gauge,
    pub(crate) downloading: Gauge,
    pub(crate) examined: Histogram,
    pub(crate) expired_uploads: Counter,
    pub(crate) expired_objects: Counter,
    pub(crate) sweep_errors: Counter,
    uploads: [Counter; UPLOADS.len()],
    downloads: [Counter; DOWNLOADS.len()],
}

impl Metrics {
    pub(crate) fn new() -> Self {
        describe();
        Self {
            begun: Kind::ALL.map(|kind| counter!("nearport_media_begun_total", "kind" => kind.word())),
            refused: counter!("nearport_media_refused_total"),
            signed: counter!("nearport_media_signed_total"),
            bytes_in: counter!("nearport_media_received_bytes_total"),
            bytes_out: counter!("nearport_media_sent_bytes_total"),
            made_files: counter!("nearport_media_made_files_total"),
            made_bytes: counter!("nearport_media_made_bytes_total"),
            underway: gauge!("nearport_media_uploads_underway"),
            underway_bytes: gauge!("nearport_media_uploads_underway_bytes"),
            uploading: gauge!("nearport_media_requests", "what" => "upload"),
            downloading: gauge!("nearport_media_requests", "what" => "download"),
            examined: histogram!("nearport_media_examined_seconds"),
            expired_uploads: counter!("nearport_media_expired_total", "what" => "upload"),
            expired_objects: counter!("nearport_media_expired_total", "what" => "object"),
            sweep_errors: counter!("nearport_media_sweep_errors_total"),
            uploads: UPLOADS.map(|outcome| counter!("nearport_media_uploads_total", "outcome" => outcome)),
            downloads: DOWNLOADS
                .map(|outcome| counter!("nearport_media_downloads_total", "outcome" => outcome)),
        }
    }

    /// Counts a request of an upload that carried content, or was to.
    pub(crate) fn uploaded(&self, outcome: &str) {
        let at = UPLOADS.iter().position(|known| *known == outcome).unwrap_or(UPLOADS.len() - 1);
        self.uploads[at].increment(1);
    }

    /// Counts a download.
    pub(crate) fn downloaded(&self, outcome: &str) {
        let at = DOWNLOADS.iter().position(|known| *known == outcome).unwrap_or(DOWNLOADS.len() - 1);
        self.downloads[at].increment(1);
    }
}

fn describe() {
    describe_counter!(
        "nearport_media_begun_total",
        Unit::Count,
        "Uploads that clients were given a URL for."
    );
    describe_counter!("nearport_media_refused_total", Unit::Count, "Media calls that were refused.");
    describe_counter!("nearport_media_signed_total", Unit::Count, "Calls that asked for fresh URLs.");
    describe_counter!("nearport_media_uploads_total", Unit::Count, "Requests of uploads by how they ended.");
    describe_counter!("nearport_media_downloads_total", Unit::Count, "Downloads by how they began.");
    describe_counter!("nearport_media_received_bytes_total", Unit::Bytes, "Content that came.");
    describe_counter!("nearport_media_sent_bytes_total", Unit::Bytes, "Content that went.");
    describe_counter!(
        "nearport_media_made_files_total",
        Unit::Count,
        "Files that the server made itself and put into the store."
    );
    describe_counter!("nearport_media_made_bytes_total", Unit::Bytes, "Their sizes.");
    describe_gauge!(
        "nearport_media_uploads_underway",
        Unit::Count,
        "Uploads that began and are not complete."
    );
    describe_gauge!("nearport_media_uploads_underway_bytes", Unit::Bytes, "Their announced sizes.");
    describe_gauge!("nearport_media_requests", Unit::Count, "Requests that carry content now.");
    describe_histogram!(
        "nearport_media_examined_seconds",
        Unit::Seconds,
        "From an upload's last octet to its object: hash, type, smaller forms, storing."
    );
    describe_counter!(
        "nearport_media_expired_total",
        Unit::Count,
        "What was removed because its time was over."
    );
    describe_counter!("nearport_media_sweep_errors_total", Unit::Count, "Sweeps that failed; tried again.");
}
