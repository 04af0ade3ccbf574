//! Assembly: settings become a running node, and the command line around it.
//!
//! [`config`] holds what can be set and [`config_load`] where it is read from; [`node::Node`] starts the store, the
//! chat backend, the edge and the operations server in one process; [`cli`] is the `nearport` program. The gateway
//! itself is in the crates below `src/`.

mod acme;
mod acme_challenge;
mod acme_http;
mod acme_order;
mod acme_schedule;
mod acme_store;
mod backup;
mod chat_ask;
mod chat_keys;
mod chat_line;
mod chat_screen;
mod chat_view;
mod cidrs;
pub mod cli;
mod cli_app;
mod cli_chat;
mod cli_client;
mod cli_client_locate;
mod cli_config;
mod cli_doctor;
mod cli_drain;
mod cli_group;
mod cli_load;
mod cli_locate;
mod cli_locate_ip;
mod cli_message;
mod cli_pop;
mod cli_secret;
mod cli_serve;
mod cli_store;
mod cli_trunk;
pub mod config;
mod config_dns;
mod config_keys;
pub mod config_load;
mod config_locate;
mod config_media;
mod config_people;
mod config_steer;
mod config_storage;
mod control;
mod control_server;
pub mod duration;
mod files;
mod first_run;
mod log;
pub mod node;
mod node_api;
mod node_backend;
pub mod node_core;
mod node_dns;
mod node_drain;
mod node_give;
pub mod node_locate;
mod node_media;
mod node_predecessor;
mod node_retired;
mod node_run;
mod node_steer;
mod node_storage;
mod node_take;
mod node_voices;
mod reload;
mod secret;
mod terminal;
mod tls;
mod tls_certificates;
mod tls_dev;
mod tls_expiry;
mod tls_pem;
mod tls_resolver;
mod tls_roots;
mod tls_source;
#[cfg(test)]
mod tls_testing;
mod trunk_certs;
mod trunk_tls;

pub use control::ControlError;
pub use files::FileError;
pub use first_run::DataError;
pub use tls::TlsError;
