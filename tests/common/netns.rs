//! Network namespaces without names: they end when nobody uses them, however the test ends.

use std::{env, fs::File, os::fd::AsRawFd, process::Command, sync::Arc, thread};

use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace. Sockets that were made in it stay in it.
#[derive(Clone, Debug)]
pub struct Namespace(Arc<File>);

impl Namespace {
    /// Returns `None`, and reports it, if namespaces are not permitted or not wanted. Fails if they are required (see
    /// `test.sh`).
    pub fn new() -> Option<Self> {
        let wanted = env::var("BIMCC_RTC_NETNS").unwrap_or_default();
        let made = if wanted == "skip" { Err("not wanted".to_owned()) } else { Self::make() };
        match made {
            Ok(namespace) => Some(namespace),
            Err(why) if wanted == "required" => {
                panic!("no network namespace: {why}; ./test.sh --without-netns skips tests that need one")
            }
            Err(why) => {
                super::say_skipped(&format!("no network namespace: {why}"));
                None
            }
        }
    }

    fn make() -> Result<Self, String> {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        });
        let file = made.join().unwrap().map_err(|error| format!("{error} (run as root)"))?;
        let namespace = Self(Arc::new(file));
        namespace.try_ip("link set lo up")?;
        Ok(namespace)
    }

    /// Runs `action` in the namespace. Threads and processes that it starts are also in it.
    pub fn run<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let within = scope.spawn(|| {
                setns(&*self.0, CloneFlags::CLONE_NEWNET).unwrap();
                action()
            });
            within.join().unwrap()
        })
    }

    /// Runs `ip` in the namespace, with arguments separated by spaces.
    pub fn ip(&self, args: &str) {
        self.try_ip(args).unwrap();
    }

    fn try_ip(&self, args: &str) -> Result<(), String> {
        let output = self.run(|| Command::new("ip").args(args.split_whitespace()).output());
        let output = output.map_err(|error| format!("ip: {error} (install iproute2)"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("ip {args}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }

    /// A cable with an MTU of 1500 to another namespace, with these addresses at this end and at the other.
    pub fn cable(&self, name: &str, addresses: &[&str], other: &Self, others: &[&str]) {
        let far_end = format!("/proc/{}/fd/{}", std::process::id(), other.0.as_raw_fd());
        self.ip(&format!("link add {name} mtu 1500 type veth peer name {name} mtu 1500 netns {far_end}"));
        for (namespace, addresses) in [(self, addresses), (other, others)] {
            for address in addresses {
                // Without duplicate address detection, IPv6 addresses can be used at once.
                let nodad = if address.contains(':') { "nodad" } else { "" };
                namespace.ip(&format!("address add {address} dev {name} {nodad}"));
            }
            namespace.ip(&format!("link set {name} up"));
        }
    }
}
