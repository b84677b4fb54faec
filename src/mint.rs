//! `bimcc-rtc mint`: credentials and iceServers as JSON, for apps with their own back end.
//!
//! It works on the machine of a running server or on another one: only the shared secret is needed.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};

use crate::{
    config::Config,
    credentials::User,
    ice_servers::{Issuer, Transports},
    state_dir::{self, SecretSource},
    values::host::Host,
};

/// What to mint.
#[derive(Clone, Debug)]
pub struct MintRequest<'a> {
    /// The user part of the username, which may be empty.
    pub user: &'a str,
    /// The lifetime of the credential.
    pub ttl: Duration,
    /// The host in the URLs. Without it, `--public-host` is used.
    pub host: Option<&'a Host>,
}

/// Mints at `now` (Unix seconds).
///
/// # Errors
/// Sentences that name the relevant flags.
pub fn mint(
    config: &Config,
    secrets: &SecretSource,
    request: &MintRequest<'_>,
    now: u64,
) -> Result<Value, Vec<String>> {
    let mut mistakes = Vec::new();
    let secrets = state_dir::existing_secrets(&config.state_dir, secrets).map_err(|error| {
        mistakes.push(format!(
            "--secret: there is none ({:#}): give the server's --secret, --secret-file or --state-dir, or start the \
             server once",
            anyhow::Error::new(error)
        ));
    });
    let user = User::api(request.user).map_err(|error| mistakes.push(format!("--user: {error}")));
    let host = request.host.or(config.public_host.as_ref());
    if host.is_none() {
        mistakes.push(
            "--host: the iceServers URLs need a host: give --host, or --public-host as for the server".to_owned(),
        );
    }
    let port = |listen: &[SocketAddr]| listen.first().map(SocketAddr::port).filter(|port| *port != 0);
    let (turn, tls) = (port(&config.turn_listen), port(&config.turns_listen));
    if turn.is_none() {
        mistakes.push("--turn-listen: the iceServers URLs need the port that the server has got, not 0".to_owned());
    }
    let (Ok(secrets), Ok(user), Some(host), Some(_)) = (secrets, user, host, turn) else { return Err(mistakes) };
    let transports = Transports { udp: turn, tcp: turn, tls, ..Transports::default() };
    let issuer = Issuer { secret: secrets[0].clone(), ttl: request.ttl, transports };
    let issued = issuer.issue(&user, now, &host.clone().into());
    let turn = issued.servers.last();
    Ok(json!({
        "username": turn.and_then(|server| server.username.as_ref()),
        "password": turn.and_then(|server| server.credential.as_ref()),
        "ttl": request.ttl.as_secs(),
        "expiresAt": issued.expires_at,
        "iceServers": issued.servers,
    }))
}
