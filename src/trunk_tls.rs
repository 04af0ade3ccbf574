//! What both ends of the trunk and of the steering link show each other, from the files that the settings name.

use std::path::Path;
use std::sync::Arc;

use nearport_steer::tls::{dial_config, listen_config};
use nearport_trunk::tls::{CORE_NAME, LOCATE_NAME, core_config, edge_config, edge_name, is_for};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::config::Config;
use crate::node::Error;
use crate::tls::{pem_error, provider};
use crate::tls_pem::{Certificate, roots};

/// What the edge of `config` shows and trusts.
///
/// # Errors
/// [`Error::Missing`]; [`Error::Tls`] with the file and what to do.
pub(crate) fn edge(config: &Config) -> Result<Arc<ClientConfig>, Error> {
    let node = config.edge.node;
    let (path, roots, own) = load(config, "--role edge", &edge_name(node), &format!("edge --node {node}"))?;
    edge_config(provider(), roots, own).map_err(|error| pem_error(path, error).into())
}

/// What the core of `config` shows and trusts.
///
/// # Errors
/// As [`edge`].
pub(crate) fn core(config: &Config) -> Result<Arc<ServerConfig>, Error> {
    let (path, roots, own) = load(config, "--role core", CORE_NAME, "core")?;
    core_config(provider(), roots, own).map_err(|error| pem_error(path, error).into())
}

/// What a process that locates shows to edges and trusts.
///
/// # Errors
/// As [`edge`].
pub(crate) fn locate(config: &Config) -> Result<Arc<ServerConfig>, Error> {
    let (path, roots, own) = load(config, "steer.listen", LOCATE_NAME, "locate")?;
    listen_config(provider(), roots, own).map_err(|error| pem_error(path, error).into())
}

/// What the edge of `config` shows to processes that locate, and trusts.
///
/// # Errors
/// As [`edge`].
pub(crate) fn steered(config: &Config) -> Result<Arc<ClientConfig>, Error> {
    let node = config.edge.node;
    let (path, roots, own) =
        load(config, "steer.locators", &edge_name(node), &format!("edge --node {node}"))?;
    dial_config(provider(), roots, own).map_err(|error| pem_error(path, error).into())
}

fn load<'a>(
    config: &'a Config,
    needed_by: &'static str,
    name: &str,
    command: &str,
) -> Result<(&'a Path, RootCertStore, CertifiedKey), Error> {
    let trunk = &config.trunk;
    let ca = trunk.ca.as_deref().ok_or(Error::Missing("trunk.ca", needed_by))?;
    let cert = trunk.cert.as_deref().ok_or(Error::Missing("trunk.cert", needed_by))?;
    let key = trunk.key.as_deref().ok_or(Error::Missing("trunk.key", needed_by))?;
    let roots = roots(ca)?;
    let own = Certificate::load(cert, key)?.key;
    if !is_for(&own.cert[0], name) {
        let reason = format!("is not for {name}: make one with `nearport trunk cert {command}`");
        return Err(pem_error(cert, reason).into());
    }
    Ok((cert, roots, (*own).clone()))
}
