//! The file with the cluster's secrets: `secret` in the data directory.
//!
//! ```text
//! # comment
//! 1 5f1c…64 hex digits      ; epoch and secret of a node's first start
//! 2 90ab…64 hex digits      ; the current one stands last
//! ```
//!
//! The last two are in use: what clients hold is made with the last and may be of either. Lines above them are ignored.
//! A file of exactly 32 bytes is a secret as earlier versions wrote it, and counts as epoch 0.

use nearport_edge::{KeyRing, RingError, Secret};

/// Bytes of a secret.
pub(crate) const SECRET_BYTES: usize = 32;

/// Epoch of a secret that stands in its file as bare bytes.
const BARE_EPOCH: u32 = 0;

/// Secrets that are in use.
const USED: usize = 2;

/// What the file holds. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretFile {
    /// In the order of the file: newest last.
    secrets: Vec<Secret>,
}

impl SecretFile {
    /// A file of one secret, for a cluster that has none yet.
    pub(crate) fn first(bytes: [u8; SECRET_BYTES]) -> Self {
        Self { secrets: vec![Secret { epoch: BARE_EPOCH + 1, bytes }] }
    }

    /// Reads a file. The error says which line is wrong and never what it holds.
    pub(crate) fn parse(content: &[u8]) -> Result<Self, String> {
        if let Ok(bytes) = content.try_into() {
            return Ok(Self { secrets: vec![Secret { epoch: BARE_EPOCH, bytes }] });
        }
        let text = std::str::from_utf8(content).map_err(|_| "is neither text nor 32 bytes")?;
        let mut secrets = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                let secret = parse_line(line);
                secrets
                    .push(secret.ok_or_else(|| format!("line {number} must be an epoch and 64 hex digits"))?);
            }
        }
        if secrets.is_empty() {
            return Err("holds no secret".to_owned());
        }
        let file = Self { secrets };
        file.ring().map_err(|error| error.to_string())?;
        Ok(file)
    }

    /// The file with one more secret, and without those that are not in use any more: what they protected is to end.
    pub(crate) fn rotated(&self, bytes: [u8; SECRET_BYTES]) -> Option<Self> {
        let last = *self.secrets.last()?;
        let next = Secret { epoch: last.epoch.checked_add(1)?, bytes };
        Some(Self { secrets: vec![last, next] })
    }

    /// The keys of the secrets in use.
    pub(crate) fn ring(&self) -> Result<KeyRing, RingError> {
        match &self.secrets[..] {
            [] => unreachable!("a file without a secret was refused"),
            [only] => KeyRing::new(only, None),
            [.., previous, current] => KeyRing::new(current, Some(previous)),
        }
    }

    /// Epochs and bytes of the secrets in use, the current one first.
    pub(crate) fn used(&self) -> Vec<(u32, [u8; SECRET_BYTES])> {
        self.secrets.iter().rev().take(USED).map(|secret| (secret.epoch, secret.bytes)).collect()
    }

    /// Secrets that are too old to be used.
    pub(crate) fn ignored(&self) -> usize {
        self.secrets.len().saturating_sub(USED)
    }

    /// As [`Self::parse`] reads it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut text = "# The secrets of this cluster, the current one last: the same file on every node, and nowhere \
                        else.\n# `nearport secret rotate` adds one; SIGHUP makes a running server read them.\n"
            .to_owned();
        for secret in &self.secrets {
            text.push_str(&secret.epoch.to_string());
            text.push(' ');
            secret.bytes.iter().for_each(|byte| text.push_str(&format!("{byte:02x}")));
            text.push('\n');
        }
        text.into_bytes()
    }
}

fn parse_line(line: &str) -> Option<Secret> {
    let (epoch, digits) = line.split_once(char::is_whitespace)?;
    let digits = digits.trim().as_bytes();
    let mut bytes = [0; SECRET_BYTES];
    if digits.len() != 2 * SECRET_BYTES {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
    }
    Some(Secret { epoch: epoch.parse().ok()?, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_bare_secret_is_epoch_0_and_rotates_into_a_file_of_two() {
        let bare = SecretFile::parse(&[7; 32]).unwrap();
        assert_eq!(bare.ring().unwrap().epoch(), 0);
        let second = bare.rotated([8; 32]).unwrap();
        let third = second.rotated([9; 32]).unwrap();
        for (file, epochs) in [(&second, [1, 0]), (&third, [2, 1])] {
            let read = SecretFile::parse(&file.encode()).unwrap();
            assert_eq!(read, *file);
            let ring = read.ring().unwrap();
            assert_eq!(ring.fingerprints().map(|(epoch, _)| epoch).collect::<Vec<_>>(), epochs);
        }
        let bare_now: Vec<_> = bare.ring().unwrap().fingerprints().collect();
        let bare_then: Vec<_> = second.ring().unwrap().fingerprints().skip(1).collect();
        assert_eq!(bare_now, bare_then, "the same keys, in whichever format");
    }

    #[test]
    fn older_secrets_are_ignored_and_comments_skipped() {
        let line = |epoch: u32, digit: &str| format!("{epoch} {}\n", digit.repeat(64));
        let text = format!("# ours\n\n{}{}  {}", line(4, "a"), line(5, "B"), line(6, "c"));
        let file = SecretFile::parse(text.as_bytes()).unwrap();
        assert_eq!((file.ignored(), file.ring().unwrap().epoch()), (1, 6));
    }

    #[test]
    fn mistakes_are_named_and_secrets_are_not_repeated() {
        let good = "a".repeat(64);
        let cases = [
            (String::new(), "holds no secret"),
            ("# nothing".to_owned(), "holds no secret"),
            (format!("1 {good}\n2 {}", &good[1..]), "line 2 must be an epoch and 64 hex digits"),
            (format!("1 {good}a"), "line 1 must be an epoch and 64 hex digits"),
            (format!("x {good}"), "line 1 must be an epoch and 64 hex digits"),
            (format!("1 {}ü", &good[2..]), "line 1 must be an epoch and 64 hex digits"),
            (good.clone(), "line 1 must be an epoch and 64 hex digits"),
            (
                format!("2 {good}\n1 {good}"),
                "epoch 1 does not come after epoch 2: the newest secret stands last",
            ),
        ];
        for (text, why) in cases {
            assert_eq!(SecretFile::parse(text.as_bytes()).unwrap_err(), why);
        }
        assert_eq!(SecretFile::parse(&[0xff; 31]).unwrap_err(), "is neither text nor 32 bytes");
    }

    proptest! {
        #[test]
        fn no_content_is_too_strange(content in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = SecretFile::parse(&content);
        }
    }
}
