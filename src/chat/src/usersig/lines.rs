//! The text that is signed: one line for each field, in a fixed order, each ended by a line feed, the last one too.
//!
//! Both sides build it here, so signing and checking cannot drift apart.

/// The fields that both versions sign, in text form.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines<'a> {
    pub(super) user: &'a str,
    pub(super) sdkappid: &'a str,
    pub(super) issued_s: &'a str,
    /// Validity in seconds, counted from `issued_s`.
    pub(super) expire_s: &'a str,
    /// Standard base64. Present and empty signs another text than absent.
    pub(super) userbuf: Option<&'a str>,
}

impl Lines<'_> {
    pub(super) fn v2(&self) -> String {
        let Self { user, sdkappid, issued_s, expire_s, userbuf } = self;
        let mut text = format!(
            "TLS.identifier:{user}\nTLS.sdkappid:{sdkappid}\nTLS.time:{issued_s}\nTLS.expire:{expire_s}\n"
        );
        push_userbuf(&mut text, *userbuf);
        text
    }

    pub(super) fn v1(&self, appid_at_3rd: &str, account_type: &str) -> String {
        let Self { user, sdkappid, issued_s, expire_s, userbuf } = self;
        let mut text = format!(
            "TLS.appid_at_3rd:{appid_at_3rd}\nTLS.account_type:{account_type}\nTLS.identifier:{user}\n\
             TLS.sdk_appid:{sdkappid}\nTLS.time:{issued_s}\nTLS.expire_after:{expire_s}\n"
        );
        push_userbuf(&mut text, *userbuf);
        text
    }
}

fn push_userbuf(text: &mut String, userbuf: Option<&str>) {
    if let Some(userbuf) = userbuf {
        text.push_str("TLS.userbuf:");
        text.push_str(userbuf);
        text.push('\n');
    }
}
