//! Who asks: the query of a request.

use std::borrow::Cow;
use std::net::IpAddr;

use nearport_chat::admin::{Admin, Asker, NotAdmin, SignIn};
use nearport_chat::audit::Entry;

use crate::answer::Refusal;
use crate::http::door_entry;
use crate::service::Service;

/// Codes of the contract.
const BAD_IDENTIFIER: u32 = 60004;
const APP_MISSING: u32 = 60012;
const APP_INVALID: u32 = 60006;
const SIG_EMPTY: u32 = 70002;

/// Checks the query of a request to `service`. The order: App, identifier, UserSig, administrator.
/// One that is refused is in the audit log, by itself or in a count.
pub(crate) fn sign_in(admin: &Admin, service: Service, query: &str, peer: IpAddr) -> Result<Asker, Refusal> {
    let (mut app, mut identifier, mut usersig) = (None, None, None);
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let place = match &*name {
            "sdkappid" => &mut app,
            "identifier" => &mut identifier,
            "usersig" => &mut usersig,
            // `random` and `contenttype` say nothing: clients in the field leave them out or never change them.
            _ => continue,
        };
        place.get_or_insert(value);
    }
    let who = identifier.as_deref().unwrap_or_default().to_owned();
    let claimed = app.as_deref().and_then(|app| app.parse().ok()).unwrap_or(0);
    let asker = check(admin, service, (app, identifier, usersig), peer);
    asker.inspect_err(|refusal| {
        let entry = door_entry(admin, "rest login refused", peer, refusal.code);
        // Ids that are nobody's are not told apart: their number has no bound.
        let app = if admin.knows(claimed) { claimed } else { 0 };
        admin.audit().refused(Entry { app, who, ..entry });
    })
}

type Part<'a> = Option<Cow<'a, str>>;

fn check(
    admin: &Admin,
    service: Service,
    (app, identifier, usersig): (Part<'_>, Part<'_>, Part<'_>),
    peer: IpAddr,
) -> Result<Asker, Refusal> {
    let app = app.filter(|app| !app.is_empty());
    let app = app.ok_or_else(|| Refusal::new(APP_MISSING, "sdkappid is missing in the URL"))?;
    let app = app.parse().map_err(|_| Refusal::new(APP_INVALID, "sdkappid is no App id"))?;
    let identifier = identifier.filter(|identifier| !identifier.is_empty());
    let identifier =
        identifier.ok_or_else(|| Refusal::new(BAD_IDENTIFIER, "identifier is missing in the URL"))?;
    let usersig = usersig.ok_or_else(|| Refusal::new(BAD_IDENTIFIER, "usersig is missing in the URL"))?;
    if usersig.is_empty() {
        return Err(Refusal::new(SIG_EMPTY, "usersig is empty"));
    }
    let request = SignIn { app, identifier: &identifier, usersig: &usersig, peer };
    admin.sign_in(request).map_err(|refused| match refused {
        NotAdmin::Code(code, info) => Refusal::new(code, info),
        NotAdmin::User => {
            Refusal::new(service.not_admin, format!("{identifier} is no administrator of app {app}"))
        }
    })
}
