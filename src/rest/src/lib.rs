//! REST `v4`: what the back ends of Apps call, with the names, types and codes of the public contract.
//!
//! A request is a `POST /v4/{service}/{command}` with who asks in the query and a JSON object as its body; the answer to every
//! handled request has status 200 and says in its body how it went. `table::commands` is the whole surface: one line
//! for each command, with its handler, its rate and its codes. A module per service holds the handlers and the shapes of their
//! bodies, from which the OpenAPI document is made ([`document`]).
//!
//! The way of a request (`http`): path, size, who asks (`sign_in`), rate, room in the audit log, JSON, handler, record. Handlers translate; what they ask
//! for is done by [`nearport_chat::admin::Admin`].

mod accounts;
mod answer;
mod contacts;
mod effect;
mod elements;
mod extensions;
mod field;
mod groups;
mod http;
mod items;
pub mod lines;
mod live_config;
mod messages;
mod mutes;
mod nearport;
mod openapi;
mod operations;
mod profile;
mod push;
mod rates;
mod service;
pub mod sheet;
mod sign_in;
mod sns;
mod status;
mod table;

pub use elements::{msg_body, read_msg_body};
pub use http::{Allowed, CallbacksFrom, Open, Rest};
pub use openapi::{docs, document};
