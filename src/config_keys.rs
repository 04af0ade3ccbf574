//! What each setting is for, as `config explain` says it.

/// One key, for `config explain` and for the nearest-key hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The dotted path.
    pub name: &'static str,
    /// What it is for, and what it costs.
    pub doc: &'static str,
}

/// Every key, in the order in which they are explained.
pub const KEYS: &[Key] = &[
    Key { name: "data", doc: "directory of the store, the cluster secret and client.toml" },
    Key { name: "edge.listen", doc: "address of the gateway, UDP and TCP; port 0 takes any free one" },
    Key {
        name: "edge.node",
        doc: "number of this edge, 0 to 65535, of its own among all edges of a core; its trunk certificate holds it",
    },
    Key { name: "edge.tcp", doc: "whether clients without UDP may come by TLS over TCP and by WebSocket" },
    Key {
        name: "edge.proxy_protocol_from",
        doc: "ranges of load balancers that begin TCP connections with PROXY protocol v2, which they then must",
    },
    Key { name: "edge.shards", doc: "threads with their own socket, 1 to 32; unset: one per core" },
    Key { name: "edge.connections_max", doc: "connections of one shard, about 20 KB each; more are ignored" },
    Key {
        name: "edge.resume_ttl",
        doc: "how long a device may come back without its UserSig, but never longer than that is good; 0s: never",
    },
    Key {
        name: "edge.prefix_rate",
        doc: "handshakes that a shard begins in a second for one network (/24, /56); loopback and 0: unlimited",
    },
    Key {
        name: "edge.prefix_connections_max",
        doc: "connections of one network on one shard; more are ignored; loopback and 0: unlimited",
    },
    Key {
        name: "edge.session_rate",
        doc: "requests of one session in a second; more are answered with 60018 and a time to come back; 0: unlimited",
    },
    Key { name: "edge.session_burst", doc: "requests of one session at once, after a silence" },
    Key {
        name: "edge.output_bytes_max",
        doc: "memory for what clients have not read, of all sessions; the slowest are closed when it is used up",
    },
    Key {
        name: "edge.hedge",
        doc: "auto: on QUIC connections that lose 2 % of their packets, small chat frames go a second time as datagrams; off: never",
    },
    Key {
        name: "edge.handshakes_per_s",
        doc: "handshakes of the whole node in a second when a crowd comes back after a crash: clients are told a window \
              of (sessions / this) to do so; unset: by what a handshake costs here, as measured, on half of the cores",
    },
    Key {
        name: "edge.return_window_max",
        doc: "longest window that clients are told to come back in after a crash, at most 60s; 0s: none is told",
    },
    Key {
        name: "edge.ack_delay",
        doc: "how long QUIC clients are asked to wait with an acknowledgement; 0s: as long as they like (25ms)",
    },
    Key {
        name: "tls.cert",
        doc: "PEM chain of the gateway, its own certificate first; clients that ask for no or for an unknown name get \
              it. With neither tls.cert nor tls.dir nor acme.*: a certificate of the development CA",
    },
    Key { name: "tls.key", doc: "PEM private key of tls.cert (PKCS#8, SEC1 or PKCS#1, without passphrase)" },
    Key {
        name: "tls.dir",
        doc: "directory of further certificates, chosen by the name that a client asks for (SNI): NAME.crt with \
              NAME.key, or folders NAME/ with tls.crt and tls.key (Kubernetes) or fullchain.pem and privkey.pem \
              (certbot); at most 1,000. Without tls.cert the first one by file name is for clients that ask for none",
    },
    Key {
        name: "tls.poll",
        doc: "how often certificate files are looked at; what has changed is taken for new connections, as on SIGHUP",
    },
    Key { name: "tls.dev_dir", doc: "directory of the development CA, made at the first start" },
    Key {
        name: "acme.directory",
        doc: "https:// address of an ACME directory that issues and renews the certificate, such as Let's Encrypt's \
              https://acme-v02.api.letsencrypt.org/directory; setting it agrees to its terms of service",
    },
    Key {
        name: "acme.names",
        doc: "names for that certificate, for example [\"chat.example.org\"]: no wildcards, no addresses; each must \
              lead to this node alone, or to a proxy that passes the challenge on",
    },
    Key { name: "acme.email", doc: "mail address that the directory may write to" },
    Key {
        name: "acme.challenge",
        doc: "http-01: the directory comes to port 80 of each name; tls-alpn-01: to port 443, which must lead to the \
              edge's TCP port",
    },
    Key {
        name: "acme.http_listen",
        doc: "TCP address that answers http-01, open only while an order is under way; ports below 1024 need \
              CAP_NET_BIND_SERVICE",
    },
    Key { name: "acme.ca", doc: "PEM file of the CA of a private directory; unset: what this system trusts" },
    Key { name: "ops.listen", doc: "TCP address of /livez, /readyz and /metrics: for operators only" },
    Key {
        name: "storage.ledger",
        doc: "embedded: messages are in the data directory; postgres: in a database that several cores may share",
    },
    Key {
        name: "storage.directory",
        doc: "embedded: Apps, accounts, groups and people are in a SQLite file of the data directory; postgres: in a database",
    },
    Key {
        name: "storage.postgres.url",
        doc: "postgres://user@host:port/database; TLS for every host but this one unless it says sslmode=disable",
    },
    Key {
        name: "storage.postgres.password_file",
        doc: "file whose text is the password; keeps it out of the URL, and so out of the file of settings",
    },
    Key {
        name: "storage.postgres.ca",
        doc: "PEM file of the CA that the database's certificate must be from; unset: what this system trusts",
    },
    Key {
        name: "storage.postgres.connections",
        doc: "most connections for reads and the directory, 2 to 1000; two more are for commits of the ledger",
    },
    Key { name: "storage.postgres.connect_timeout", doc: "longest time to connect, 100ms to 10m" },
    Key {
        name: "storage.postgres.statement_timeout",
        doc: "longest time of one statement, waiting for locks included, 100ms to 10m",
    },
    Key { name: "store.cache_bytes", doc: "memory for recently read blocks of the ledger" },
    Key {
        name: "store.flush_bytes",
        doc: "rows in memory before they become files: larger means less compaction, a longer start after a crash",
    },
    Key {
        name: "store.accept_missing_commits",
        doc: "open a ledger although acknowledged commits are missing, for one start, knowing that they stay missing",
    },
    Key {
        name: "chat.heartbeat",
        doc: "silence after which a client pings; NATs forget a UDP flow after 30s",
    },
    Key {
        name: "chat.ack_delay",
        doc: "longest time that a device's read position waits for a commit to share",
    },
    Key {
        name: "chat.user_sessions_max",
        doc: "devices of one user that are online; one more ends the oldest",
    },
    Key {
        name: "chat.app_sessions_max",
        doc: "sessions of one App; a login above is refused with BUSY and told to come back in 5s; 0: unlimited",
    },
    Key {
        name: "chat.guests_max",
        doc: "guests: browsers without an account that hear live rooms and may do nothing else; 0: none are let in",
    },
    Key {
        name: "chat.guests_per_network",
        doc: "guests from one address, or one IPv6 network of 64 bits; more are refused for a while (60018)",
    },
    Key {
        name: "chat.recall_window",
        doc: "how long after sending it a message may be taken back by its sender; 0s: not at all. Administrators always may",
    },
    Key { name: "chat.edit_window", doc: "the same for changing what a message says" },
    Key {
        name: "chat.roaming_days",
        doc: "how many days back history and sync show messages, whether they are still kept or not; 0: all that are kept",
    },
    Key {
        name: "chat.receipts",
        doc: "whether senders may ask for read receipts; if not, messages go out without",
    },
    Key {
        name: "chat.multi_device",
        doc: "which platforms of one user are online together: all; single: one; two: one native platform and browsers; three: one \
              phone or tablet, one computer, and browsers. What does not go with a new login ends with KICKED",
    },
    Key {
        name: "chat.native_instances",
        doc: "sessions of one user on the same native platform; 0: one for each device with multi_device all, else one",
    },
    Key { name: "chat.web_instances", doc: "the same in browsers" },
    Key {
        name: "chat.presence_native",
        doc: "how long a user counts as online after the last sign of a client that went without a word; an edge notices the silence \
              after 75s. 0s: no longer than that",
    },
    Key {
        name: "chat.presence_web",
        doc: "the same of a client in a browser, whose silence is noticed after 60s",
    },
    Key { name: "chat.people.friends_max", doc: "friends of one user (30010, 30014)" },
    Key { name: "chat.people.blocks_max", doc: "users in one blocklist (30013)" },
    Key { name: "chat.people.friend_groups_max", doc: "friend groups of one user (30011)" },
    Key {
        name: "chat.people.following_max",
        doc: "users that one user may follow (30010); how many follow one is not limited",
    },
    Key {
        name: "chat.people.applications_unread_max",
        doc: "applications for a friendship that one user has not read (30012); five times as many are kept",
    },
    Key {
        name: "chat.people.allow_type",
        doc: "how a user who has not said so takes applications: allow_any, need_confirm, deny_any",
    },
    Key {
        name: "chat.people.fields",
        doc: "custom fields of an App's profiles and friendships, [{ app = 1400000000, of = \"profile\", key = \"Shoe\", holds = \"text\", \
              app_reads = true, app_writes = true }]: at most 20 of each kind; key is 1 to 8 letters, of is profile or friend, holds \
              is text or bytes; without app_reads or app_writes a field is for admins only",
    },
    Key {
        name: "chat.people.refused_words",
        doc: "words, in whatever case, that names, signatures, remarks and wordings must not hold (40005, 30005)",
    },
    Key { name: "chat.people.friend_check", doc: "1:1 messages only among friends (20009, 20010, 20011)" },
    Key {
        name: "chat.people.block_silently",
        doc: "a message to somebody who has blocked its sender looks sent and goes nowhere; false: 20007",
    },
    Key {
        name: "chat.people.push_online",
        doc: "how long a phone that lost its session counts as reachable by push",
    },
    Key { name: "chat.people.watched_max", doc: "users whose presence one user may watch" },
    Key { name: "chat.people.watchers_max", doc: "users that may watch the presence of one user" },
    Key { name: "chat.people.conversations_max", doc: "conversations in a user's list, 1 to 3000" },
    Key { name: "chat.people.pins_max", doc: "pinned conversations of one user (51012)" },
    Key {
        name: "chat.push.enabled",
        doc: "pushes to all members of an App over REST; if not, they are refused (90045)",
    },
    Key { name: "chat.push.per_day", doc: "pushes of an App in a day, UTC (90047)" },
    Key { name: "chat.push.interval", doc: "the least time from one push of an App to the next one (90024)" },
    Key {
        name: "chat.push.waiting_max",
        doc: "pushes of an App that are under way or wait for that; one more is refused for a while (60018)",
    },
    Key {
        name: "chat.push.accounts_per_s",
        doc: "users that get pushed messages in a second, of all Apps together: what is above waits, so that other messages do not",
    },
    Key {
        name: "chat.live_last_n",
        doc: "messages that a live room keeps for newcomers, at most 20; 0: none",
    },
    Key {
        name: "chat.login_failures_max",
        doc: "refused logins of one user in a minute before answer 70050",
    },
    Key {
        name: "chat.retention_days",
        doc: "days for which messages of pairs and system notices are kept; older ones are removed, slowly; 0: for ever",
    },
    Key { name: "chat.group_retention_days", doc: "the same for messages of groups; 0: for ever" },
    Key {
        name: "chat.history_files",
        doc: "a file of what was said is made for each hour, each App, and pairs and groups apart, and kept for seven days (get_history)",
    },
    Key {
        name: "chat.groups.types",
        doc: "types of groups beside those of the public contract: [[chat.groups.types]] tables, each with a name, a base \
              and the capabilities that differ from it; see docs/protocol.md",
    },
    Key {
        name: "chat.groups.fields",
        doc: "custom fields that exist: [[chat.groups.fields]] tables with name, of (group or member), app, types, read \
              and write (anyone, member, admin, owner, app), own",
    },
    Key {
        name: "chat.groups.joined_max",
        doc: "groups that one user may be in; further ones are refused with 10037; 0: unlimited",
    },
    Key {
        name: "chat.groups.created_per_day",
        doc: "new groups of an App in a day (UTC) that still exist; further ones are refused with 10006; 0: unlimited",
    },
    Key { name: "chat.groups.groups_max", doc: "groups of an App (10058 above); 0: unlimited" },
    Key { name: "chat.groups.communities_max", doc: "communities of an App (10036 above); 0: unlimited" },
    Key { name: "chat.groups.rooms_max", doc: "live rooms of an App (10036 above); 0: unlimited" },
    Key {
        name: "chat.groups.topics",
        doc: "whether communities may have topics; off: none is made, changed or named (11000), those that there are stay",
    },
    Key { name: "chat.groups.topics_max", doc: "topics of one community (10037 above)" },
    Key { name: "chat.groups.app_topics_max", doc: "topics of an App (10036 above); 0: unlimited" },
    Key {
        name: "chat.groups.applications_max",
        doc: "applications that a group keeps; the oldest handled one makes room, and if all are open 10006 is the answer",
    },
    Key {
        name: "chat.groups.notices_max",
        doc: "members that are each told by a notice when their group is dismissed, one message each; in larger groups \
              clients hear of it by an event, or when they ask",
    },
    Key { name: "chat.groups.members_cached", doc: "members of groups held in memory, about 200 bytes each" },
    Key { name: "trunk.listen", doc: "TCP address where a core (--role core) takes the links of its edges" },
    Key { name: "trunk.core", doc: "HOST:PORT of the core, for an edge (--role edge)" },
    Key {
        name: "trunk.ca",
        doc: "PEM file of the cluster's private CA: whoever has a certificate of it is let in. `nearport trunk ca` makes one",
    },
    Key {
        name: "trunk.cert",
        doc: "PEM certificate of this core, or of this edge and its edge.node: `nearport trunk cert` makes it; read again on SIGHUP",
    },
    Key { name: "trunk.key", doc: "PEM private key of trunk.cert" },
    Key {
        name: "trunk.silence",
        doc: "a link on which nothing comes for this long, not even a heartbeat, is given up and made again",
    },
    Key {
        name: "trunk.away_max",
        doc: "how long an edge keeps its clients while its core is away; then they are told to come back later",
    },
    Key {
        name: "drain.delay",
        doc: "how long /readyz says no before clients are sent away, for a load balancer",
    },
    Key {
        name: "api.listen",
        doc: "address of the HTTP API: /v4 for back ends, /v1/locate, /v1/rtt, /v1/map, /v1/media, /dns-query; port 0 takes any free one",
    },
    Key {
        name: "api.tls",
        doc: "auto: the API speaks TLS, with the gateway's certificates, unless it listens on loopback; always; never: for a \
              proxy in front that does",
    },
    Key {
        name: "rest.enabled",
        doc: "whether back ends of Apps are answered: the routes /v4 of the HTTP API",
    },
    Key {
        name: "rest.allow",
        doc: "ranges of addresses from which back ends may call, for example [\"10.0.0.0/8\"]; empty: from anywhere; others are \
              answered 60021",
    },
    Key {
        name: "rest.app_calls_per_s",
        doc: "calls of one App in a second, above which 60011 is answered; 0: no limit",
    },
    Key {
        name: "rest.command_rates",
        doc: "whether the rates that the contract has for each command count (200 in a second for most), above which 60007 is answered",
    },
    Key {
        name: "rest.docs",
        doc: "whether the HTTP API has a page about its commands, to try them (/docs), and their OpenAPI document (/openapi.json)",
    },
    Key {
        name: "apps",
        doc: "what single Apps have other than chat.*, rest.* and callback.* say: [[apps]] tables with app, the number, and settings by the names \
              that `nearport app settings` lists. What `nearport app set` or the API has set comes before them",
    },
    Key {
        name: "audit.messages",
        doc: "whether each message that a back end sends has a record in the audit log, instead of a count each minute",
    },
    Key {
        name: "audit.retention_days",
        doc: "days for which records of the audit log are kept; older ones are removed 4,096 at a time, with a record of it; 0: for ever",
    },
    Key {
        name: "audit.records_max",
        doc: "records of the audit log that are kept, about 400 bytes each; the oldest are removed in the same way; 0: all",
    },
    Key {
        name: "media.enabled",
        doc: "whether files are taken: the routes /v1/media of the HTTP API, and the calls of sessions for their URLs",
    },
    Key {
        name: "media.url",
        doc: "what clients write in front of /v1/media, for example https://files.example.org: this node, or a proxy before it; \
              unset: http(s):// and the address of api.listen",
    },
    Key {
        name: "media.dir",
        doc: "directory of uploads under way, and of all files unless media.s3_bucket is set; unset: media in the data directory",
    },
    Key { name: "media.image_bytes_max", doc: "largest image that is taken" },
    Key { name: "media.sound_bytes_max", doc: "largest sound that is taken" },
    Key { name: "media.video_bytes_max", doc: "largest video that is taken" },
    Key { name: "media.file_bytes_max", doc: "largest other file that is taken" },
    Key {
        name: "media.user_bytes_max",
        doc: "bytes that uploads of one user may have announced before they are complete",
    },
    Key {
        name: "media.app_bytes_max",
        doc: "the same of all users of an App: the disk space that unfinished uploads can take",
    },
    Key {
        name: "media.upload_ttl",
        doc: "time for an upload, interruptions included; what is not complete then is forgotten",
    },
    Key {
        name: "media.expiry_days",
        doc: "days after which what was uploaded cannot be downloaded any more; it is removed within a day after that; 0: never",
    },
    Key {
        name: "media.url_ttl",
        doc: "how long a URL for downloading is good; clients ask for fresh ones. The second rotation of the secret ends it too",
    },
    Key {
        name: "media.chunk_bytes",
        doc: "how much one request of an upload should carry, as clients are told",
    },
    Key {
        name: "media.origins",
        doc: "origins of web pages that may upload and download by script (CORS), for example [\"https://app.example.org\"], or \
              [\"*\"]",
    },
    Key {
        name: "media.s3_endpoint",
        doc: "http(s):// address of a store that speaks S3, for example https://s3.eu-central-1.amazonaws.com; the bucket is \
              appended as a path",
    },
    Key { name: "media.s3_bucket", doc: "bucket for complete files; it must be there" },
    Key { name: "media.s3_region", doc: "region of the bucket; stores of one's own as a rule say us-east-1" },
    Key { name: "media.s3_access_key", doc: "id of the key for the bucket" },
    Key {
        name: "media.s3_secret_key",
        doc: "the key itself, better given as NEARPORT__MEDIA__S3_SECRET_KEY or in a file; `config print` hides it",
    },
    Key { name: "media.s3_secret_key_file", doc: "file with the key instead, in its first line" },
    Key { name: "media.s3_ca", doc: "PEM file of the CA of a private store; unset: what this system trusts" },
    Key {
        name: "callback.url",
        doc: "where the back end of each App hears what happens (callbacks of the public contract), http:// or https://; unset: nowhere",
    },
    Key {
        name: "callback.events",
        doc: "what it hears of, and is asked about before it happens: names as C2C.CallbackAfterSendMsg; empty: nothing",
    },
    Key {
        name: "callback.before_failure",
        doc: "what happens if it does not answer a question within 2 s: allow, or refuse",
    },
    Key {
        name: "callback.retry_after",
        doc: "whether what it could not be told is told again until it was; else it is given up at once, and kept for `nearport callbacks`",
    },
    Key {
        name: "callback.token",
        doc: "secret that requests to it are signed with; unset: they are not signed. An App with a URL of its own has a token of its own, or none",
    },
    Key { name: "callback.sign", doc: "whether requests are signed, if there is a token" },
    Key {
        name: "callback.ca",
        doc: "PEM file of the CA that it is checked by; unset: what this system trusts",
    },
    Key {
        name: "callback.client_cert",
        doc: "PEM file of a certificate that is shown to it, for mutual TLS",
    },
    Key { name: "callback.client_key", doc: "PEM file with the private key of callback.client_cert" },
    Key {
        name: "callback.allow_private",
        doc: "whether its address may be one that is not public: loopback, private networks, link-local. Administrators of Apps may set a URL \
              of their own, and are let into these networks by it too",
    },
    Key { name: "callback.concurrency", doc: "events that it is told of at once, 1 to 256" },
    Key {
        name: "callback.sends_from",
        doc: "ranges of addresses that callbacks come from, as back ends see them and ConfigSvc/GetIPList says them; empty: what the routes \
              of this host say, which behind a NAT is not what others see",
    },
    Key {
        name: "locate.databases",
        doc: "MMDB files that say where addresses are, asked in order: countries, cities, AS numbers, in MaxMind's layout or \
              flat; at most 16. Read again when they change. Unset: geo/country.mmdb, if it is there",
    },
    Key {
        name: "locate.pops",
        doc: "table of PoPs with their endpoints, like geo/pops.toml; read again when it changes. Unset: this node is the only one",
    },
    Key {
        name: "locate.forwarders",
        doc: "ranges of proxies whose word about a client's address counts, and who may ask for others (?ip=)",
    },
    Key {
        name: "locate.forwarded_header",
        doc: "the one header in which they give it: x-forwarded-for or forwarded (RFC 7239); the other is not read",
    },
    Key { name: "locate.ttl", doc: "how long clients use an answer, 10s to 1d" },
    Key { name: "locate.poll", doc: "how often files are looked at and the map is built anew, 1s to 1h" },
    Key {
        name: "locate.map_key",
        doc: "key that signs the map for offline starts (Ed25519, PKCS#8), the same on every node that locates; unset: \
              map-key in the data directory, made at the first start. Its public half is in map-key.pub there",
    },
    Key {
        name: "dns.listen",
        doc: "addresses of the DNS responder, UDP and TCP, [\"192.0.2.53:53\", \"[2001:db8::53]:53\"]; write the addresses themselves where \
              a host has several, so that answers leave from the one that was asked. Empty: none; /dns-query is on the API all the same",
    },
    Key { name: "dns.zone", doc: "the zone that is answered for, delegated to dns.ns; unset: no DNS at all" },
    Key {
        name: "dns.ns",
        doc: "its name servers, [{ name = \"ns1\", addresses = [\"192.0.2.53\"] }, { name = \"ns.provider.example.\" }]; names are \
              relative to the zone unless they end in a dot, and only those inside of it have addresses",
    },
    Key {
        name: "dns.names",
        doc: "names in the zone that lead to the best PoP, relative to it, @ is the zone itself; at most 16. Each PoP has its id as a name",
    },
    Key {
        name: "dns.contact",
        doc: "mailbox of who is responsible, as a name (admin.example.org. is admin@example.org); unset: hostmaster in the zone",
    },
    Key { name: "dns.ttl", doc: "how long resolvers keep what depends on who asks, 20s to 60s" },
    Key { name: "dns.zone_ttl", doc: "how long they keep name servers and the SOA, 1m to 2d" },
    Key {
        name: "dns.threads",
        doc: "threads with their own socket for each address, 1 to 32; unset: one per core",
    },
    Key {
        name: "dns.rate",
        doc: "answers over UDP that one network (/24, /48) gets in a second; of the rest every second one says to come over TCP, \
              the others are dropped; loopback and 0: unlimited",
    },
    Key {
        name: "steer.listen",
        doc: "TCP address where a process that locates takes the links of edges, which say how they are and check each other; \
              unset: nobody is checked. Needs trunk.ca, and trunk.cert of `nearport trunk cert locate`",
    },
    Key {
        name: "steer.pop",
        doc: "id of the PoP that this edge belongs to, as in locate.pops of its locators; several edges may be of one PoP",
    },
    Key {
        name: "steer.capacity",
        doc: "sessions that this edge is good for; unset: its PoP takes as many as locate.pops says",
    },
    Key {
        name: "steer.locators",
        doc: "[\"HOST:PORT\"] of all processes that locate, their steer.listen; at most 8. Needs trunk.ca, and trunk.cert of this edge",
    },
    Key { name: "drain.within", doc: "longest wait for clients to leave before they are closed" },
    Key {
        name: "drain.targets",
        doc: "where leaving clients are sent, best first, [\"IP:PORT\", \"IP:PORT/NAME\"]; empty: they come back here",
    },
    Key {
        name: "log.level",
        doc: "error, warn, info, debug, trace, or directives such as info,nearport_edge=debug",
    },
    Key { name: "log.format", doc: "auto (text on a terminal, JSON elsewhere), json or text" },
];

#[cfg(test)]
#[path = "config_keys_tests.rs"]
mod tests;
