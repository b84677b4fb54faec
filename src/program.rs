//! The program: parse, load the configuration, run. Exit codes: 0 success, 2 bad usage or configuration, 1 failure at
//! run time.
#![allow(clippy::disallowed_methods, reason = "it reads the clocks")]

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    app::{
        self, Settled,
        signals::{HeldSignals, Signals},
    },
    cli::{self, Command, MintArgs, Typed},
    config::{self, ConfigError, Draft},
    mint::{self, MintRequest},
    observe::log,
    values::host::Host,
};
use anyhow::Context;
use tokio::runtime::Runtime;

/// Runs the command of the command line.
pub fn main() -> ExitCode {
    let held = HeldSignals::hold();
    let Typed { command, settings } = match cli::typed(std::env::args_os()) {
        Ok(typed) => typed,
        // This includes --help and --version; the exit code is 2 for bad usage.
        Err(error) => error.exit(),
    };
    let file = match &command {
        Command::Serve(args) => args.config.as_deref(),
        Command::Mint(args) => args.config.as_deref(),
    };
    let env = |name: &str| std::env::var_os(name);
    match &command {
        Command::Serve(_) => serve(held, || Settled::to_serve(Draft::read(&settings, file, &env))),
        Command::Mint(args) => {
            // `mint` takes only a moment, and a signal ends it like any tool.
            drop(held);
            mint(Settled::to_mint(Draft::read(&settings, file, &env)), args)
        }
    }
}

fn serve(held: HeldSignals, load: impl FnOnce() -> Result<Settled, ConfigError>) -> ExitCode {
    let (runtime, signals) = match ready() {
        Ok(ready) => ready,
        Err(error) => return fail(&error),
    };
    drop(held);
    let settled = match load() {
        Ok(settled) => settled,
        Err(error) => return refuse(&error),
    };
    log::init(&settled.config.log, settled.config.log_format);
    for problem in config::unknown_variables(std::env::vars_os().map(|(name, _)| name)) {
        tracing::warn!("{problem}");
    }
    match runtime.block_on(app::run(settled, signals)) {
        Ok(()) => {
            log::flush();
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

fn ready() -> anyhow::Result<(Runtime, Signals)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let within = runtime.enter();
    let signals = Signals::catch().context("cannot install signal handlers")?;
    drop(within);
    Ok((runtime, signals))
}

fn mint(loaded: Result<Settled, ConfigError>, args: &MintArgs) -> ExitCode {
    let mut mistakes = Vec::new();
    let mut noted = |flag: &str, error: String| mistakes.push(format!("{flag}: {error}"));
    let ttl = args.ttl.as_deref().and_then(|ttl| config::credential_ttl(ttl).map_err(|e| noted("--ttl", e)).ok());
    // A host that is wrong is not reported as missing as well.
    let host = args.host.as_deref().map(|host| {
        config::public_host(host).unwrap_or_else(|error| {
            noted("--host", error);
            Host::from(IpAddr::V4(Ipv4Addr::LOCALHOST))
        })
    });
    let Settled { config, secrets, .. } = match loaded {
        Ok(settled) => settled,
        Err(mut error) => {
            error.mistakes.append(&mut mistakes);
            return refuse(&error);
        }
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
    let request = MintRequest { user: &args.user, ttl: ttl.unwrap_or(config.credential_ttl), host: host.as_ref() };
    match mint::mint(&config, &secrets, &request, now) {
        Ok(answer) if mistakes.is_empty() => match writeln!(std::io::stdout(), "{answer:#}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error.into()),
        },
        minted => {
            mistakes.extend(minted.err().into_iter().flatten());
            refuse(&ConfigError { mistakes })
        }
    }
}

/// Reports all mistakes of a bad configuration. Nothing has been started.
fn refuse(error: &ConfigError) -> ExitCode {
    let head = match error.mistakes.len() {
        1 => "one mistake in the configuration".to_owned(),
        n => format!("{n} mistakes in the configuration"),
    };
    eprintln!("bimcc-rtc: {head}, nothing was started");
    for mistake in &error.mistakes {
        eprintln!("  {mistake}");
    }
    ExitCode::from(2)
}

fn fail(error: &anyhow::Error) -> ExitCode {
    for line in format!("{error:#}").lines() {
        log::say(&format!("bimcc-rtc: {line}"));
    }
    log::flush();
    ExitCode::FAILURE
}
