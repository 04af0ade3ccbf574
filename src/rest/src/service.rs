//! The services of the contract, and what each says in its own numbers.

/// A service: the part of a path behind `v4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) name: &'static str,
    /// The body is no JSON object.
    pub(crate) bad_json: u32,
    /// Who asks is no administrator.
    pub(crate) not_admin: u32,
    /// There is no such command.
    pub(crate) unknown: u32,
    /// Something went wrong here; the same request may succeed later.
    pub(crate) internal: u32,
    /// The answer would be longer than 1 MB.
    pub(crate) too_long: Option<u32>,
    /// Answers have `ErrorDisplay`.
    pub(crate) display: bool,
}

const fn service(name: &'static str, bad_json: u32, not_admin: u32, internal: u32) -> Service {
    Service { name, bad_json, not_admin, unknown: 60009, internal, too_long: None, display: false }
}

const fn group(name: &'static str) -> Service {
    Service { unknown: 10003, too_long: Some(10018), ..service(name, 10011, 10007, 10002) }
}

const fn displayed(name: &'static str, bad_json: u32, not_admin: u32, internal: u32) -> Service {
    Service { display: true, ..service(name, bad_json, not_admin, internal) }
}

pub(crate) const ACCOUNTS: Service = service("im_open_login_svc", 70402, 70403, 70500);
pub(crate) const MESSAGES: Service = service("openim", 90001, 90009, 91000);
pub(crate) const EXTENSIONS: Service = service("openim_msg_ext_http_svc", 10004, 10007, 10002);
pub(crate) const PROFILES: Service = displayed("profile", 40001, 40004, 40006);
pub(crate) const RELATIONS: Service = displayed("sns", 30001, 30004, 30006);
/// The same under the name that newer documents have for follows.
pub(crate) const FOLLOWS: Service = displayed("follow", 30001, 30004, 30006);
pub(crate) const CONTACTS: Service = displayed("recentcontact", 50002, 50003, 50004);
pub(crate) const GROUPS: Service = group("group_open_http_svc");
pub(crate) const GROUP_ATTRIBUTES: Service = group("group_open_attr_http_svc");
pub(crate) const LIVE_ROOMS: Service = group("group_open_avchatroom_http_svc");
pub(crate) const TOPICS: Service = group("million_group_open_http_svc");
pub(crate) const MUTES: Service = service("openconfigsvr", 130001, 60010, 130014);
pub(crate) const HISTORY_FILES: Service = service("open_msg_svc", 1001, 1002, 1003);
pub(crate) const CONFIG: Service = service("ConfigSvc", 60003, 60010, 60008);
pub(crate) const PUSH: Service = service("all_member_push", 90001, 90009, 91000);
pub(crate) const FILES: Service = service("im_cos_msg", 60003, 60010, 60008);
pub(crate) const LIVE_CONFIG: Service = service("live_config", 60003, 60010, 60008);

/// What this server has beside the contract.
pub(crate) const NEARPORT: Service = service("nearport", 60003, 60010, 60008);

/// All of them.
pub(crate) const ALL: [Service; 18] = [
    ACCOUNTS,
    MESSAGES,
    EXTENSIONS,
    PROFILES,
    RELATIONS,
    FOLLOWS,
    CONTACTS,
    GROUPS,
    GROUP_ATTRIBUTES,
    LIVE_ROOMS,
    TOPICS,
    MUTES,
    HISTORY_FILES,
    CONFIG,
    PUSH,
    FILES,
    LIVE_CONFIG,
    NEARPORT,
];

/// The service of this name; upper and lower case differ.
pub(crate) fn find(name: &str) -> Option<Service> {
    ALL.into_iter().find(|service| service.name == name)
}
