//! The command line: flags, their help texts and the subcommands. This module decides nothing.
//!
//! Every flag is text here and is checked in [`crate::config`], together with the environment and the file, so
//! that all mistakes can be reported at once. `bimcc-rtc` alone means `bimcc-rtc serve`.
#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::bare_urls,
    reason = "the flags' doc comments are help texts, no Markdown"
)]

use std::ffi::OsString;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, builder::styling};

use crate::config::KEYS;

/// What was typed.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "bimcc-rtc",
    version,
    about = "Room signaling, STUN/TURN and short-lived credentials for WebRTC, in one process",
    after_help = FOOTER,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    max_term_width = 100,
    styles = STYLES,
)]
pub struct Cli {
    /// The subcommand; none means `serve`.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The flags of `serve`, when no subcommand was named.
    #[command(flatten)]
    pub serve: ServeArgs,
}

const FOOTER: &str = "\
Every flag can also be set in the environment (--relay-ports: BIMCC_RTC_RELAY_PORTS, lists with commas) and \
in the file of --config (relay-ports = \"…\"). A flag beats the environment, the environment beats the file.";

const MINT_FOOTER: &str = "\
The server's settings can also come from the environment (--public-host: BIMCC_RTC_PUBLIC_HOST, lists with commas) and \
from the file of --config (public-host = \"…\"), those that are no flags here too. A flag beats the environment, the \
environment beats the file.";

const STYLES: styling::Styles = styling::Styles::styled()
    .header(styling::AnsiColor::Green.on_default().bold())
    .usage(styling::AnsiColor::Green.on_default().bold())
    .literal(styling::AnsiColor::Cyan.on_default().bold())
    .placeholder(styling::AnsiColor::Cyan.on_default());

/// What to do.
#[derive(Clone, Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one, for a moment")]
pub enum Command {
    /// Run the server (this is what happens without a command)
    #[command(after_help = FOOTER, max_term_width = 100)]
    Serve(ServeArgs),
    /// Print credentials and iceServers as JSON, for an app with a back end of its own
    #[command(after_help = MINT_FOOTER, max_term_width = 100)]
    Mint(MintArgs),
}

/// Flags of `serve`. The doc comments are the help texts; the fields are read by name (see [`typed`]).
#[derive(Args, Clone, Debug)]
#[allow(rustdoc::all, reason = "the doc comments are help texts, for terminals")]
pub struct ServeArgs {
    /// TOML file with settings; keys are the long flag names
    #[arg(long, value_name = "FILE")]
    pub config: Option<String>,

    /// HTTP, WebSocket and TURN over TCP [default: all addresses, port 3000]
    ///
    /// With --tls also https, wss and TURN over TLS, so that a firewall need let one port through. IP:PORT, [IPv6]:PORT, or a port alone for all addresses. Repeatable.
    #[arg(long, value_name = "ADDR", help_heading = "Addresses")]
    pub listen: Vec<String>,
    /// STUN/TURN address, UDP and TCP [default: all addresses, port 3478]
    ///
    /// Same forms as --listen. Repeatable.
    #[arg(long, value_name = "ADDR", help_heading = "Addresses")]
    pub turn_listen: Vec<String>,
    /// TURN over TLS [default: with --tls all addresses, port 5349]
    ///
    /// Same forms as --listen. Repeatable. Where the default port is taken, the server does without it.
    #[arg(long, value_name = "ADDR", help_heading = "Addresses")]
    pub turns_listen: Vec<String>,
    /// Address that peers see relayed media come from, one per family [default: found]
    ///
    /// Needed where this host does not have its public address itself (1:1 NAT of a cloud VPS, a container). Found
    /// means: the address of the interface with the default route; without one the first private, then any global
    /// address of an interface that is up.
    #[arg(long, value_name = "IP", help_heading = "Addresses")]
    pub public_ip: Vec<String>,
    /// Host in the iceServers URLs [default: the one by which each client reached us]
    #[arg(long, value_name = "NAME", help_heading = "Addresses")]
    pub public_host: Option<String>,
    /// UDP ports of relayed addresses [default: 49152-65535]
    ///
    /// "none" opens no relay port: relaying then works between clients of this server only.
    #[arg(long, value_name = "LO-HI", help_heading = "Addresses")]
    pub relay_ports: Option<String>,
    /// Metrics and admin API (a loopback address) [default: 127.0.0.1:9641, or the next free port]
    #[arg(long, value_name = "ADDR", help_heading = "Addresses")]
    pub admin_listen: Option<String>,

    /// Secure mode: https, wss and turns on the --listen port
    ///
    /// Plain HTTP on that port is redirected. Browsers give camera and microphone to secure pages only (and to
    /// localhost), so you want this for everything but a try-out on one machine.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          hide_possible_values = true, help_heading = "TLS")]
    pub tls: Option<String>,
    /// Certificate chain, PEM [default: certs/cert.pem in --state-dir]
    ///
    /// Watched and reloaded without a restart. Without it and --tls-key, a local CA and a certificate for this host's
    /// names and addresses are made in certs/ of --state-dir; if there is none yet, but certs/ of the current directory
    /// has a pair, belongs to this user and cannot be written by others, that is used.
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    pub tls_cert: Option<String>,
    /// Private key, PEM [default: certs/key.pem in --state-dir]
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    pub tls_key: Option<String>,
    /// Make the local CA without IP constraints, for clients that cannot verify them
    ///
    /// BoringSSL, mbed TLS, wolfSSL and Botan refuse such constraints; browsers and OpenSSL check them. The risk: whoever
    /// steals ca-key.pem can then certify any IP address to devices that trust this CA, and any name too to programs that
    /// do not know constraints (mbed TLS). Counts when the CA is made; one that is there stays as it is.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          hide_possible_values = true, help_heading = "TLS")]
    pub local_ca_any_ip: Option<String>,

    /// TURN realm [default: bimcc-rtc]
    #[arg(long, value_name = "TEXT", help_heading = "Credentials")]
    pub realm: Option<String>,
    /// TURN shared secret: the first mints, all verify [default: made at first start]
    ///
    /// Other users of this machine can see it in the process list: prefer --secret-file or BIMCC_RTC_SECRET.
    /// Repeatable, to replace a secret while credentials of the old one are still about.
    #[arg(long, value_name = "SECRET", help_heading = "Credentials")]
    pub secret: Vec<String>,
    /// File that holds a TURN shared secret
    ///
    /// A line break at its end does not count. Repeatable, like --secret.
    #[arg(long, value_name = "FILE", help_heading = "Credentials")]
    pub secret_file: Vec<String>,
    /// Life of credentials; members get fresh ones at half of it [default: 6h]
    #[arg(long, value_name = "DURATION", help_heading = "Credentials")]
    pub credential_ttl: Option<String>,

    /// Whom members of rooms may relay to: members, public or any [default: members]
    ///
    /// members: only members of the same room. public: public addresses too, and this server's other clients.
    /// any: everything but loopback, link-local, metadata services, multicast and this host's gateways.
    #[arg(long, value_name = "POLICY", help_heading = "Who may reach what")]
    pub peer_policy: Option<String>,
    /// The same for credentials of `mint`: public or any [default: public]
    #[arg(long, value_name = "POLICY", help_heading = "Who may reach what")]
    pub api_peer_policy: Option<String>,
    /// Addresses that may be relayed to as well (an SFU, another TURN server)
    #[arg(long, value_name = "CIDR", help_heading = "Who may reach what")]
    pub allow_peer: Vec<String>,
    /// Addresses that may not be relayed to; wins over --allow-peer
    #[arg(long, value_name = "CIDR", help_heading = "Who may reach what")]
    pub deny_peer: Vec<String>,
    /// Reverse proxies whose X-Forwarded-For, -Host and -Proto, or PROXY protocol (v1, v2), count
    #[arg(long, value_name = "CIDR", help_heading = "Who may reach what")]
    pub trusted_proxy: Vec<String>,
    /// Web origins that may open WebSockets, e.g. https://example.org [default: any]
    #[arg(long, value_name = "ORIGIN", help_heading = "Who may reach what")]
    pub origin: Vec<String>,
    /// For tests on one machine: lift the ban on loopback peers
    ///
    /// Whoever has TURN credentials can then reach every UDP service on this host's loopback addresses.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          help_heading = "Who may reach what")]
    pub dangerously_allow_loopback_peers: Option<String>,

    /// Members in one room [default: 32]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub max_peers_per_room: Option<String>,
    /// Rooms [default: 100000]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub max_rooms: Option<String>,
    /// Bytes in one signaling message [default: 65536]
    #[arg(long, value_name = "BYTES", help_heading = "Limits")]
    pub max_message_bytes: Option<String>,
    /// Unproven connections per address [default: 256]
    ///
    /// Counted until a room is joined or TURN credentials are proven; loopback and trusted proxies are not.
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub max_connections_per_ip: Option<String>,
    /// WebSockets, joined or not [default: what files allow]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub max_websockets: Option<String>,
    /// WebSockets of one address, joined or not [default: as many as are left for others]
    ///
    /// So one address has half of all at most, and each has less the more addresses take so many. In IPv6 a /48 counts
    /// as one address. Loopback and trusted proxies have no such limit; clients behind proxies have.
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub max_websockets_per_ip: Option<String>,
    /// TURN allocations [default: what ports, files and memory allow]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub max_allocations: Option<String>,
    /// TURN allocations of one user [default: 24 × --max-peers-per-room]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub max_allocations_per_user: Option<String>,
    /// TURN allocations of one address, whoever the users are [default: as many as are left for others]
    ///
    /// As with WebSockets: half of all at most, less the more addresses take so many; in IPv6 a /48 counts as one
    /// address, loopback has no such limit.
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub max_allocations_per_ip: Option<String>,
    /// Longest life granted to a TURN allocation at once [default: 1h]
    ///
    /// Clients refresh in time, so a call may last as long as it likes. 10 minutes are granted to clients that do not
    /// ask for more; a value below shortens that too, and clients then refresh more often. For tests: a client that
    /// misses its chance to refresh, for example because its page sleeps, loses the relay.
    #[arg(long, value_name = "DURATION", help_heading = "Limits")]
    pub allocation_lifetime: Option<String>,
    /// Payload that one TURN allocation may relay each way, in bit/s: 500k, 20M [default: unlimited]
    ///
    /// What is beyond it is dropped, so set it well above what a call needs: a video call takes 2 to 4 Mbit/s each way.
    #[arg(long, value_name = "BITS", help_heading = "Limits")]
    pub max_bitrate_per_allocation: Option<String>,
    /// Send TURN clients there instead: new allocations are answered with 300 (Try Alternate) [repeatable]
    ///
    /// One address per family, IP:PORT. Members of rooms stay here, where their room is. Calls that are relayed go on here: that is how to empty a server before it is
    /// taken down.
    #[arg(long, value_name = "ADDR", help_heading = "Limits")]
    pub alternate_server: Vec<String>,

    /// TURN worker threads [default: number of cores]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub workers: Option<String>,
    /// How long relayed packets may wait for others, to be sent together: 300us, 1ms; 0 for not at all [default: 300us]
    ///
    /// A worker rests so long at most, and only while so many packets come that it pays: from about 10,000 in a second
    /// on. It then needs half the processor time. A quiet server delays nothing.
    #[arg(long, value_name = "TIME", help_heading = "Limits")]
    pub relay_latency_budget: Option<String>,

    /// Where secrets are kept [default: $STATE_DIRECTORY, else ~/.local/state/bimcc-rtc]
    #[arg(long, value_name = "DIR", help_heading = "State and logs")]
    pub state_dir: Option<String>,
    /// error, warn, info, debug or trace [default: info]
    ///
    /// info: start and stop, certificates, rooms opened and closed, who joined and left, TURN allocations and what they
    /// relayed; at most 20 lines of a kind per minute for one address and 200 in all, the rest in one line a minute.
    /// debug: also what was refused, and why. trace: also packets. Or a list for single modules:
    /// "info,bimcc_rtc::turn=trace", "warn,bimcc_rtc::signaling=info". Standard error gets it.
    #[arg(long, value_name = "LEVEL", help_heading = "State and logs")]
    pub log: Option<String>,
    /// text or json [default: text]
    #[arg(long, value_name = "FORMAT", help_heading = "State and logs")]
    pub log_format: Option<String>,
    /// Log names of rooms and people and their addresses as they are
    ///
    /// Without it a room is a short hash, people are the ids that the server gave them, and no client's address is logged.
    /// Whoever knows the name of a room can enter it: treat such a log accordingly.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          hide_possible_values = true, help_heading = "State and logs")]
    pub log_people: Option<String>,
}

/// Flags of `mint`: some of its own, and those of `serve` that say what the server accepts.
#[derive(Args, Clone, Debug)]
#[allow(rustdoc::all, reason = "the doc comments are help texts, for terminals")]
pub struct MintArgs {
    /// User name in the credential (shows in logs and quotas; not the form of a member id)
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub user: String,
    /// Life of the credential [default: that of --credential-ttl]
    #[arg(long, value_name = "DURATION")]
    pub ttl: Option<String>,
    /// Host in the iceServers URLs [default: that of --public-host]
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,

    /// TOML file with the server's settings
    #[arg(long, value_name = "FILE", help_heading = "The server's settings")]
    pub config: Option<String>,
    /// The server's --public-host
    #[arg(long, value_name = "NAME", help_heading = "The server's settings")]
    pub public_host: Option<String>,
    /// The server's --turn-listen [default: port 3478]
    #[arg(long, value_name = "ADDR", help_heading = "The server's settings")]
    pub turn_listen: Vec<String>,
    /// The server's --secret [default: the one in --state-dir]
    #[arg(long, value_name = "SECRET", help_heading = "The server's settings")]
    pub secret: Vec<String>,
    /// The server's --secret-file
    #[arg(long, value_name = "FILE", help_heading = "The server's settings")]
    pub secret_file: Vec<String>,
    /// The server's --state-dir
    #[arg(long, value_name = "DIR", help_heading = "The server's settings")]
    pub state_dir: Option<String>,
}

/// A parsed command line: the command, and every setting that was typed, by its key.
#[derive(Clone, Debug)]
pub struct Typed {
    /// The command; `serve` if none was given.
    pub command: Command,
    /// The settings of [`crate::config`] among the flags, in the order of [`KEYS`].
    pub settings: Vec<(&'static str, Vec<String>)>,
}

/// Parses a command line.
///
/// # Errors
/// The errors of clap: bad usage, but also `--help` and `--version`. [`clap::Error::exit`] prints them and ends the
/// program with the right code.
pub fn typed(args: impl IntoIterator<Item = OsString>) -> Result<Typed, clap::Error> {
    let matches = Cli::command().try_get_matches_from(args)?;
    let cli = Cli::from_arg_matches(&matches)?;
    let leaf = matches.subcommand().map_or(&matches, |(_, matches)| matches);
    let settings = KEYS
        .iter()
        .filter_map(|key| {
            let id = key.name.replace('-', "_");
            let values = leaf.try_get_many::<String>(&id).ok().flatten()?;
            Some((key.name, values.cloned().collect()))
        })
        .collect();
    Ok(Typed { command: cli.command.unwrap_or(Command::Serve(cli.serve)), settings })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Typed, clap::Error> {
        typed(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn clap_finds_no_fault() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_setting_is_a_flag_of_serve_and_the_other_way_round() {
        let command = Cli::command();
        let serve = command.find_subcommand("serve").unwrap();
        let mut flags: Vec<_> = serve.get_arguments().filter_map(|arg| arg.get_long()).collect();
        flags.retain(|flag| !["help", "version", "config"].contains(flag));
        let mut keys: Vec<_> = KEYS.iter().map(|key| key.name).collect();
        flags.sort_unstable();
        keys.sort_unstable();
        assert_eq!(flags, keys);
    }

    #[test]
    fn repeatable_settings_are_repeatable_flags() {
        let command = Cli::command();
        for key in KEYS {
            let id = key.name.replace('-', "_");
            let arg = command.get_arguments().find(|arg| arg.get_id() == id.as_str()).unwrap();
            assert_eq!(matches!(arg.get_action(), clap::ArgAction::Append), key.repeatable, "{}", key.name);
        }
    }

    #[test]
    fn mint_promises_no_variables_that_there_are_not() {
        let help = Cli::command().find_subcommand_mut("mint").unwrap().render_help().to_string();
        assert!(!help.contains("Every flag"), "{help}");
        let variables =
            help.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.contains("RTC_"));
        assert_eq!(crate::config::unknown_variables(variables.map(OsString::from)), [""; 0]);
    }

    #[test]
    fn no_command_means_serve() {
        for line in ["bimcc-rtc --tls --listen 1 --listen 2", "bimcc-rtc serve --tls --listen 1 --listen 2"] {
            let typed = parse(line).unwrap();
            assert!(matches!(typed.command, Command::Serve(_)));
            assert_eq!(
                typed.settings,
                [("listen", vec!["1".to_owned(), "2".to_owned()]), ("tls", vec!["true".to_owned()])]
            );
        }
    }

    #[test]
    fn a_switch_can_be_switched_off() {
        assert_eq!(parse("bimcc-rtc --tls=false").unwrap().settings, [("tls", vec!["false".to_owned()])]);
    }

    #[test]
    fn flags_of_serve_do_not_leak_into_mint() {
        assert!(parse("bimcc-rtc mint --max-rooms 5").is_err());
        assert!(parse("bimcc-rtc --max-rooms 5 mint").is_err());
        let typed = parse("bimcc-rtc mint --user u --secret s").unwrap();
        assert_eq!(typed.settings, [("secret", vec!["s".to_owned()])]);
    }
}
