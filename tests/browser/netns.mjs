// Small networks of Linux network namespaces, which are not visible outside: hosts on one switch, or hosts on separate
// networks behind routers, as on the Internet.
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";

const execute = promisify(execFile);

/** Runs a program with text as its input. If it fails, its error output is the message of the error. */
async function run(program, args, input = "") {
  const running = execute(program, args);
  // A program that ended early has reported the reason itself.
  running.child.stdin.on("error", () => {});
  running.child.stdin.end(input);
  try {
    return (await running).stdout;
  } catch (error) {
    throw new Error(`${program} ${args.join(" ")}: ${error.stderr?.trim() || error.message} ${input}`.trim());
  }
}

const ip = (args) => run("ip", args.split(" "));

/** Many commands for `ip`, in a namespace, if one is given. */
function ipBatch(lines, netns) {
  return run("ip", [...(netns ? ["-n", netns] : []), "-batch", "-"], `${lines.flat(Infinity).join("\n")}\n`);
}

/** Why namespaces cannot be made here, or null if they can. Also removes namespaces of a run that was killed. */
export async function whyNoNamespaces() {
  const name = uniqueName("probe");
  try {
    await ip(`netns add ${name}`);
    await ip(`-n ${name} link set lo up`).finally(() => ip(`netns del ${name}`));
  } catch (error) {
    return `network namespaces need root with CAP_NET_ADMIN (${error.message})`;
  }
  for (const [, stale, pid] of (await ip("netns list")).matchAll(/^(rtc-(\d+)-\S+)/gm)) {
    if (!isAlive(Number(pid))) await ip(`netns del ${stale}`).catch(() => {});
  }
  return null;
}

function isAlive(pid) {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error.code === "EPERM";
  }
}

function uniqueName(purpose) {
  return `rtc-${process.pid}-${randomBytes(3).toString("hex")}-${purpose}`;
}

/** Namespaces that belong together, and are removed together. */
class Network {
  #made = [];

  /** Makes one namespace for each purpose, with loopback. Returns their names in the same order. */
  async add(...purposes) {
    const names = purposes.map(uniqueName);
    this.#made.push(...names);
    await ipBatch(names.map((name) => `netns add ${name}`));
    // Without duplicate address detection (RFC 4862 section 5.4), which takes seconds, addresses can be used at once.
    const detection = "/proc/sys/net/ipv6/conf/default/accept_dad";
    const without = `[ ! -e ${detection} ] || echo 0 > ${detection}`;
    await Promise.all(names.map((name) => run("ip", ["netns", "exec", name, "sh", "-c", without])));
    return names;
  }

  async destroy() {
    const names = this.#made.splice(0).reverse();
    for (const netns of names) {
      // Everything that still runs in the namespace was started by this test, and would keep the namespace alive.
      const pids = (await ip(`netns pids ${netns}`).catch(() => "")).split("\n").filter(Boolean);
      for (const pid of pids) {
        try {
          process.kill(Number(pid), "SIGKILL");
        } catch {
          // The process has ended by itself.
        }
      }
    }
    await run("ip", ["-force", "-batch", "-"], `${names.map((name) => `netns del ${name}`).join("\n")}\n`).catch(
      () => {},
    );
  }
}

/**
 * Lets `make` make a network and describe it, and waits until the interfaces of its hosts no longer change. If there is
 * an error, everything made before it is removed.
 */
async function build(make) {
  const network = new Network();
  try {
    const hosts = await make(network);
    await Promise.all(Object.values(hosts).map(({ netns }) => settled(netns)));
    return { hosts, destroy: () => network.destroy() };
  } catch (error) {
    await network.destroy();
    throw error;
  }
}

/**
 * Resolves when all interfaces of a namespace are up and have their automatic IPv6 address. The kernel does both some
 * time after they are configured, and a browser aborts loading when an address is added (ERR_NETWORK_CHANGED).
 */
async function settled(netns) {
  for (let left = 100; left > 0; left -= 1) {
    const interfaces = JSON.parse(await run("ip", ["-n", netns, "-json", "address", "show", "up"]));
    const isLoopback = ({ flags }) => flags.includes("LOOPBACK");
    const hasIpv6 = interfaces.find(isLoopback).addr_info.some(({ family }) => family === "inet6");
    const isSettled = interfaces.filter((one) => !isLoopback(one)).every(
      ({ operstate, addr_info }) =>
        operstate === "UP" &&
        !addr_info.some(({ tentative }) => tentative) &&
        (!hasIpv6 || addr_info.some(({ family, scope }) => family === "inet6" && scope === "link")),
    );
    if (isSettled) return;
    await delay(50);
  }
  throw new Error(`the interfaces of ${netns} do not come up: ${await run("ip", ["-n", netns, "address"])}`);
}

const LOOPBACK = "link set lo up";
const BRIDGE = [LOOPBACK, "link add bridge type bridge", "link set bridge up"];

/** A cable from this namespace to another. */
const cable = (port, netns, interfaceName) => [
  `link add ${port} type veth peer name ${interfaceName} netns ${netns}`,
  `link set ${port} up`,
];

/** The same, plugged into a switch. */
const plug = (port, netns, interfaceName) => [...cable(port, netns, interfaceName), `link set ${port} master bridge`];

const address = (interfaceName, own) =>
  `address add ${own}/${own.includes(":") ? 64 : 24} dev ${interfaceName}`;

/**
 * Makes one namespace per host name, each with loopback and one interface, `eth0`, on a common switch. There is no
 * default route and no way out. Returns `{ hosts: { [name]: { netns, address } }, destroy }`.
 */
export function createLan(...names) {
  return build(async (network) => {
    const [lan, ...netns] = await network.add("switch", ...names);
    await ipBatch([BRIDGE, ...netns.map((host, index) => plug(`port${index}`, host, "eth0"))], lan);
    const hosts = {};
    for (const [index, name] of names.entries()) {
      const own = `10.77.0.${index + 1}`;
      await ipBatch([LOOPBACK, address("eth0", own), "link set eth0 up"], netns[index]);
      hosts[name] = { netns: netns[index], address: own };
    }
    return hosts;
  });
}

/**
 * The ways in which a host can be connected. `nat` is how its router translates: to the same outside port for every
 * destination ("endpoint-independent", RFC 4787), to another port for each ("symmetric"), or not at all if it is
 * absent; then there is no IPv4. `out` is what the router lets out; only answers come in.
 */
const CONNECTIONS = {
  "endpoint-independent NAT": { nat: "masquerade", out: "accept" },
  "symmetric NAT": { nat: "masquerade fully-random", out: "accept" },
  "no UDP": { nat: "masquerade", out: "meta l4proto tcp accept" },
  "TCP port 443 only": { nat: "masquerade", out: "tcp dport 443 accept" },
  "TCP port 80 only": { nat: "masquerade", out: "tcp dport 80 accept" },
  "IPv6 only": { out: "accept" },
};

// Documentation addresses (RFC 5737, RFC 3849) stand for public ones.
const EXCHANGE = { v4: "203.0.113.254", v6: "2001:db8::ffff" };
/** The name of the server for the clients of an Internet. */
export const SERVER_NAME = "rtc.example";
const SERVER = { v4: "203.0.113.1", v6: "2001:db8::1" };

/**
 * Makes an Internet: a public segment with the host `server`, and for each of `clients`, `{ [name]: connection }` with
 * one of `CONNECTIONS`, a router and behind it a network with the host of that name. If all clients have only IPv6, so
 * has the server. Returns `{ hosts: { [name]: { netns, address, names } }, destroy }`; `names` is for the host's hosts
 * file.
 */
export function createInternet(clients) {
  return build(async (network) => {
    const sites = Object.entries(clients).map(([name, connection], index) => {
      const { nat, out } = CONNECTIONS[connection];
      const prefix = nat ? `192.168.${index + 1}.` : `2001:db8:${index + 1}::`;
      const outside = { v4: `203.0.113.${index + 11}`, v6: `2001:db8::${index + 11}` };
      return { name, nat, out, prefix, outside };
    });
    const families = sites.some(({ nat }) => nat) ? ["v4", "v6"] : ["v6"];
    const onSegment = (interfaceName, addresses) => [
      ...families.map((family) => address(interfaceName, addresses[family])),
      `link set ${interfaceName} up`,
      ...families.map((family) => `route add default via ${EXCHANGE[family]}`),
    ];

    const purposes = sites.flatMap(({ name }) => [`${name}-router`, name]);
    const [exchange, server, ...others] = await network.add("exchange", "server", ...purposes);
    for (const site of sites) [site.router, site.host] = others.splice(0, 2);
    await ipBatch(
      [
        BRIDGE,
        families.map((family) => address("bridge", EXCHANGE[family])),
        // Packets to addresses that nobody has get lost without errors, as on the Internet.
        "route add blackhole 0.0.0.0/0",
        "route add blackhole ::/0",
        plug("server", server, "eth0"),
        sites.map(({ router }, index) => plug(`router${index}`, router, "wan")),
        sites.filter(({ nat }) => !nat).map(({ prefix, outside }) => `route add ${prefix}/64 via ${outside.v6}`),
      ],
      exchange,
    );
    await route(exchange);
    await ipBatch([LOOPBACK, onSegment("eth0", SERVER)], server);
    for (const { nat, out, prefix, outside, router, host } of sites) {
      const gateway = `${prefix}1`;
      await ipBatch([LOOPBACK, onSegment("wan", outside), cable("lan", host, "eth0"), address("lan", gateway)], router);
      await route(router, routerRules(nat, out));
      await ipBatch(
        [LOOPBACK, address("eth0", `${prefix}2`), "link set eth0 up", `route add default via ${gateway}`],
        host,
      );
    }
    const hosts = { server: { netns: server, address: SERVER[families[0]] } };
    for (const { name, nat, prefix, host } of sites) {
      hosts[name] = { netns: host, address: `${prefix}2`, names: { [SERVER_NAME]: SERVER[nat ? "v4" : "v6"] } };
    }
    return hosts;
  });
}

/** Lets a namespace forward packets, as far as these nftables rules allow. */
async function route(netns, rules = "") {
  const keys = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"];
  const script = `${keys.map((key) => `echo 1 > /proc/sys/${key}`).join(" && ")} && ${rules ? "nft -f -" : "true"}`;
  await run("ip", ["netns", "exec", netns, "sh", "-c", script], rules);
}

/**
 * Unexpected incoming packets are dropped silently, also those for the router itself: an answer would create an entry
 * that occupies the port which is needed for punching a hole through the NAT.
 */
function routerRules(nat, out) {
  const known = "ct state established,related accept";
  const neighbours = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept";
  const translate = `chain translate { type nat hook postrouting priority srcnat; oifname "wan" ${nat}; }`;
  return `table inet router {
    chain input { type filter hook input priority filter; policy drop; ${neighbours}; ${known}; }
    chain forward { type filter hook forward priority filter; policy drop; ${known}; iifname "lan" ${out}; }
    ${nat ? translate : ""}
  }`;
}
