// The base of every browser test: a stage with hosts, the server under test, browsers and pages. All of them are
// removed when the test ends, however it ends.
import { spawn } from "node:child_process";
import { X509Certificate, randomInt } from "node:crypto";
import dgram from "node:dgram";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseMetrics } from "./metrics.mjs";
import { createInternet, createLan, whyNoNamespaces } from "./netns.mjs";

const HERE = path.dirname(fileURLToPath(import.meta.url));
export const BINARY = process.env.BIMCC_RTC_BINARY ?? path.resolve(HERE, "../../target/debug/bimcc-rtc");

const EXECUTABLES = {
  chromium: ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"],
  firefox: ["/usr/bin/firefox-esr", "/usr/bin/firefox"],
};

/** The path of a program by its names, or undefined. */
export function findProgram(...names) {
  const directories = [...(process.env.PATH ?? "").split(":"), "/usr/sbin", "/usr/bin"];
  return names.flatMap((name) => directories.map((directory) => path.join(directory, name))).find(existsSync);
}

/** The metrics of the server that help when a test has failed. */
const COUNTS_THAT_EXPLAIN = /^bimcc_rtc_(members$|turn_|signaling_errors)/;

function browserExecutable(kind) {
  return process.env[`${kind.toUpperCase()}_PATH`] ?? EXECUTABLES[kind].find(existsSync);
}

/** What `test.sh` says of network namespaces: "required" (tests fail without them), "skip", or nothing. */
const NETNS = process.env.BIMCC_RTC_NETNS;
const namespaceProblem = NETNS === "skip" ? "no network namespaces are wanted" : await whyNoNamespaces();

/** Fails a test that needs namespaces and was not skipped, with one line. */
function demandNamespaces() {
  if (!namespaceProblem) return;
  const failure = new Error(`${namespaceProblem}; ./test.sh --without-netns skips tests that need them`);
  failure.stack = failure.message;
  throw failure;
}

/** A reason to skip a test that needs these things, or undefined. Give it to `test` as `{ skip }`. */
export function missing(...needs) {
  for (const need of needs) {
    if (need === "namespaces") {
      if (namespaceProblem && NETNS !== "required") return namespaceProblem;
    } else if (need in EXECUTABLES) {
      if (!browserExecutable(need)) return `${need} is not installed`;
    } else if (!findProgram(need)) {
      return `${need} is not installed`;
    }
  }
  return undefined;
}

/** The first address of this machine that other machines could reach, else loopback. */
export function ownAddress() {
  const all = Object.values(os.networkInterfaces()).flat();
  return all.find((a) => a.family === "IPv4" && !a.internal)?.address ?? "127.0.0.1";
}

/** Makes the stage of one test; it is removed when the test ends. */
export async function setStage(t) {
  const stage = new Stage(await mkdtemp(path.join(os.tmpdir(), "bimcc-rtc-test-")));
  t.after(() => stage.clear(t));
  return stage;
}

class Stage {
  #cleanups = [];
  #servers = [];
  #pages = [];
  #names = 0;

  constructor(directory) {
    this.directory = directory;
  }

  /** A host: this machine as it is, or a host of a test network. */
  async host({ netns, address, names } = {}) {
    const host = await Host.start(this, netns, address ?? ownAddress(), names);
    this.#cleanups.push(() => host.stop());
    return host;
  }

  /** Hosts on a separate network, by name. */
  async lan(...names) {
    demandNamespaces();
    return this.#hostsOf(await createLan(...names));
  }

  /** A host `server` and those of `clients`, each connected in its own way: see `createInternet`. */
  async internet(clients) {
    demandNamespaces();
    return this.#hostsOf(await createInternet(clients));
  }

  async #hostsOf({ hosts, destroy }) {
    this.#cleanups.push(destroy);
    const started = {};
    for (const [name, host] of Object.entries(hosts)) started[name] = await this.host(host);
    return started;
  }

  /** A unique path in the directory of the stage. */
  path(name) {
    return path.join(this.directory, `${++this.#names}-${name}`);
  }

  rememberServer(server) {
    this.#servers.push(server);
  }

  rememberPage(page) {
    this.#pages.push(page);
  }

  /** The state of its pages and servers explains a failed test best. */
  async #explain() {
    for (const one of [...this.#pages.filter((page) => page.isOpen), ...this.#servers]) {
      console.error(await one.describe().catch(({ message }) => message));
    }
  }

  async clear(t) {
    if (!t.passed) await this.#explain();
    for (const cleanup of this.#cleanups.reverse()) await cleanup();
    await rm(this.directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}

/** A machine of the test: programs and browsers run on it through an agent. */
class Host {
  #agent;
  #pending = new Map();
  #nextId = 1;
  #pagePort;

  static async start(stage, netns, address, names) {
    const host = new Host();
    host.stage = stage;
    host.address = address;
    host.isolated = netns !== undefined;
    const command = [process.execPath, path.join(HERE, "host-agent.mjs")];
    if (names) command.unshift(...(await knowing(names, stage)));
    if (netns) command.unshift("ip", "netns", "exec", netns);
    host.#agent = spawn(command[0], command.slice(1), { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    host.#agent.on("message", ({ id, result, error }) => {
      const { resolve, reject } = host.#pending.get(id);
      host.#pending.delete(id);
      if (error) reject(new Error(error));
      else resolve(result);
    });
    host.#agent.on("exit", () => {
      for (const { reject } of host.#pending.values()) reject(new Error("the host's agent has ended"));
      host.#pending.clear();
    });
    host.#pagePort = await host.ask("servePages");
    return host;
  }

  ask(operation, argument) {
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      this.#pending.set(id, { resolve, reject });
      this.#agent.send({ id, operation, argument }, (error) => error && reject(error));
    });
  }

  /** The URL of a test page as this host's browsers see it. */
  pageUrl(name) {
    return `http://127.0.0.1:${this.#pagePort}/${name}`;
  }

  /** Runs a program to its end: `{ code, stdout, stderr }`. */
  exec(command, args, { cwd, timeout = 60_000 } = {}) {
    return this.ask("exec", { command, args, cwd, timeout });
  }

  /** Starts a program that is stopped with the host. */
  async start(command, args) {
    const log = this.stage.path("program.log");
    const program = await this.ask("start", { command, args, log });
    return { stop: () => this.ask("stop", { program }), output: () => this.ask("output", { program }) };
  }

  /** Disconnects the host from its network without notice. Returns a function that connects it again. */
  async cutOff() {
    const nft = async (text) => {
      const { code, stderr } = await this.exec("nft", [text]);
      if (code !== 0) throw new Error(`nft: ${stderr}`);
    };
    await nft("add table inet cut; add chain inet cut out { type filter hook output priority 0; oifname eth0 drop; }");
    await nft("add chain inet cut in { type filter hook input priority 0; iifname eth0 drop; }");
    return () => nft("delete table inet cut");
  }

  /** Starts the server under test and waits until it is ready; `args` may be made from the ports, `ports` chooses some. */
  async serve({ args = [], tls = false, ports = {} } = {}) {
    const server = new Server(this, tls);
    await server.start(args, ports);
    this.stage.rememberServer(server);
    return server;
  }

  /** Starts a browser, "chromium" or "firefox"; `ca` is a PEM file that it must trust. */
  async browse(kind, { ca, preferences, args } = {}) {
    const directory = this.stage.path(kind);
    const executable = browserExecutable(kind);
    const browser = await this.ask("launch", { kind, executable, directory, ca, preferences, args });
    return new Browser(this, browser);
  }

  async stop() {
    if (this.#agent.exitCode !== null) return;
    const ended = new Promise((resolve) => this.#agent.once("exit", resolve));
    this.#agent.disconnect();
    await ended;
  }
}

/**
 * The beginning of a command line that runs the rest within `ip netns exec` and with only these host names: mounts made
 * there only affect the command. Chromium looks up some names with a dot at the end.
 */
async function knowing(names, stage) {
  const [hosts, resolver] = [stage.path("hosts"), stage.path("resolv.conf")];
  const lines = Object.entries({ localhost: "127.0.0.1", ...names }).map(([name, ip]) => `${ip} ${name} ${name}.\n`);
  await writeFile(hosts, lines.join(""));
  await writeFile(resolver, "");
  const script = 'mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/resolv.conf && shift 2 && exec "$@"';
  return ["sh", "-c", script, "sh", hosts, resolver];
}

class Browser {
  constructor(host, id) {
    this.host = host;
    this.id = id;
  }

  /**
   * Opens a test page by name, or any page by its URL; the function `before` runs there before the page's own scripts.
   */
  async open(page, { before, ...options } = {}) {
    const url = /^https?:/.test(page) ? page : this.host.pageUrl(page);
    const argument = { browser: this.id, url, ...options, ...(before && { before: String(before) }) };
    const opened = new Page(this.host, await this.host.ask("open", argument), url);
    this.host.stage.rememberPage(opened);
    return opened;
  }

  close() {
    return this.host.ask("closeBrowser", { browser: this.id });
  }
}

class Page {
  constructor(host, id, url) {
    this.host = host;
    this.id = id;
    this.url = url;
    this.isOpen = true;
  }

  /** Calls a function in the page with arguments that JSON can represent, and awaits it there. */
  async run(pageFunction, ...args) {
    try {
      return await this.host.ask("evaluate", { page: this.id, source: String(pageFunction), args });
    } catch (error) {
      const lines = await this.console().catch(() => []);
      throw new Error(`${error.message}\nthe page's console: ${lines.slice(-20).join("\n  ")}`);
    }
  }

  /** Calls a function that makes the page go elsewhere, and waits until it is there. */
  navigate(pageFunction) {
    return this.host.ask("navigate", { page: this.id, source: String(pageFunction) });
  }

  /** Waits in the page until the function returns a true value, and returns that value. */
  until(pageFunction, ...args) {
    const source = `async (...args) => {
      const condition = ${pageFunction};
      for (const end = Date.now() + 60000; Date.now() < end; await new Promise((r) => setTimeout(r, 100))) {
        const value = await condition(...args);
        if (value) return value;
      }
      throw new Error("waited in vain for " + condition);
    }`;
    return this.run(source, ...args);
  }

  /**
   * Clicks like a person: a covered or missing element cannot be clicked, and the page may do things that need a click.
   */
  async click(selector) {
    try {
      await this.host.ask("click", { page: this.id, selector });
    } catch (error) {
      throw new Error(`cannot click ${selector}: ${error.message}`);
    }
  }

  /** Presses a key, or several at once: "Alt+KeyM". */
  press(keys) {
    return this.host.ask("press", { page: this.id, keys });
  }

  /** Drags the mouse along points of the page. */
  drag(points) {
    return this.host.ask("drag", { page: this.id, points });
  }

  /** Types text, also with characters that are not on the keyboard. */
  type(text) {
    return this.host.ask("type", { page: this.id, text });
  }

  /** The URLs that the page has asked for. */
  requests() {
    return this.host.ask("requestsOf", { page: this.id });
  }

  /**
   * Holds back requests whose URL contains this part. Returns a function that waits until there is one; its result
   * releases them.
   */
  async hold(part) {
    await this.host.ask("holdRequests", { page: this.id, part });
    return async () => {
      while ((await this.host.ask("heldRequestsOf", { page: this.id })) === 0) await new Promise((r) => setTimeout(r, 50));
      return () => this.host.ask("releaseRequests", { page: this.id });
    };
  }

  console() {
    return this.host.ask("consoleOf", { page: this.id });
  }

  /** What a person would look at to find out what is wrong with the page. */
  async describe() {
    const lines = await this.console();
    const source = "() => window.call?.describe?.() ?? []";
    // The test has already waited for a page that is stuck, so this limit is short.
    const state = await this.host
      .ask("evaluate", { page: this.id, source, args: [], limit: 5000 })
      .catch(({ message }) => [message]);
    return [`${this.url} on ${this.host.address}:`, ...lines.slice(-40), ...state].join("\n  ");
  }

  screenshot(file) {
    return this.host.ask("screenshot", { page: this.id, path: file });
  }

  close() {
    this.isOpen = false;
    return this.host.ask("closePage", { page: this.id });
  }
}

/** The server binary on a host, with its own state and certificates in the directory of the stage. */
class Server {
  #program;
  #args;

  constructor(host, tls) {
    this.host = host;
    this.tls = tls;
    this.directory = host.stage.path("server");
  }

  async start(args, ports) {
    await mkdir(this.directory, { recursive: true });
    this.ports = this.host.isolated
      ? { listen: 3000, turn: 3478, admin: 9641 }
      : await freePorts("listen", "turn", "admin");
    Object.assign(this.ports, ports);
    // In a separate network it listens at all addresses of both families. On this machine, IPv6 ports may be used by
    // other programs.
    const any = this.host.isolated ? "" : "0.0.0.0:";
    this.#args = [
      "serve",
      ...["--listen", `${any}${this.ports.listen}`],
      ...["--turn-listen", `${any}${this.ports.turn}`],
      ...["--admin-listen", `127.0.0.1:${this.ports.admin}`],
      ...["--state-dir", path.join(this.directory, "state")],
      ...(this.tls ? ["--tls"] : []),
      ...(typeof args === "function" ? args(this.ports) : args),
    ];
    await this.restart();
  }

  /** Starts it again after a stop: same ports, same state. */
  async restart() {
    this.#program = await this.host.ask("start", {
      command: BINARY,
      args: this.#args,
      cwd: this.directory,
      env: { RUST_BACKTRACE: "1" },
      log: path.join(this.directory, "log"),
    });
    await this.#ready();
  }

  /** Asks `/readyz` until it says yes; if the server has ended or takes too long, the error contains its output. */
  async #ready() {
    const giveUp = Date.now() + 30_000;
    for (;;) {
      const { text, ended } = await this.host.ask("output", { program: this.#program });
      if (ended) throw new Error(`the server ended at start:\n${text}`);
      const problem = await this.#whyNotReady();
      if (!problem) return;
      if (Date.now() > giveUp) throw new Error(`the server does not get ready: ${problem}\n${text}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async #whyNotReady() {
    try {
      this.ca = this.tls ? await findCa(path.join(this.directory, "state", "certs")) : undefined;
      const { status } = await this.host.ask("fetch", { url: `${this.url("127.0.0.1")}/readyz`, ca: this.ca });
      return status === 200 ? undefined : `/readyz says ${status}`;
    } catch (error) {
      return error.message;
    }
  }

  /** The URL of the server for a browser that reaches it at `address`. */
  url(address = this.host.address) {
    const host = address.includes(":") ? `[${address}]` : address;
    return `http${this.tls ? "s" : ""}://${host}:${this.ports.listen}`;
  }

  /** The URL of the server's WebSocket. */
  wsUrl(address) {
    return this.url(address).replace("http", "ws");
  }

  async metrics() {
    const { body } = await this.host.ask("fetch", { url: `http://127.0.0.1:${this.ports.admin}/metrics` });
    return parseMetrics(body);
  }

  /** Its last output, and its metrics. */
  async describe() {
    const { text } = await this.host.ask("output", { program: this.#program });
    const lines = text.split("\n").slice(-40);
    const samples = await this.metrics().catch(() => []);
    const counts = samples.filter(({ name, value }) => COUNTS_THAT_EXPLAIN.test(name) && value > 0);
    const told = counts.map(({ name, labels, value }) => `${name} ${JSON.stringify(labels)} ${value}`);
    return ["server:", ...lines, ...told].join("\n  ");
  }

  /** Stops the server like a service manager. Returns `{ code, signal }`. */
  stop() {
    return this.host.ask("stop", { program: this.#program });
  }

  /** Ends the server like a crash. */
  kill() {
    return this.host.ask("stop", { program: this.#program, signal: "SIGKILL" });
  }
}

/** The certificate of a CA in a directory. */
async function findCa(directory) {
  for (const name of await readdir(directory)) {
    if (!name.endsWith(".pem")) continue;
    const file = path.join(directory, name);
    const text = await readFile(file, "utf8");
    if (text.includes("BEGIN CERTIFICATE") && new X509Certificate(text).ca) return file;
  }
  throw new Error(`no CA in ${directory}`);
}

/** The ports that this process has given out. A server that is starting has not bound its ports yet. */
const given = new Set();

/**
 * Different ports, by name, that are free for TCP and UDP at this moment and are not given out again. They are below
 * the range from which the kernel chooses ports; otherwise another program could get one before the server does.
 */
export async function freePorts(...names) {
  const ports = {};
  for (const name of names) {
    let port;
    do {
      port = randomInt(15_000, 32_000);
    } while (given.has(port) || !given.add(port) || !(await isFree(port)));
    ports[name] = port;
  }
  return ports;
}

async function isFree(port) {
  const bind = (socket, method) =>
    new Promise((resolve) => {
      socket.on("error", () => resolve(false));
      socket[method](port, "0.0.0.0", () => socket.close(() => resolve(true)));
    });
  return (await bind(net.createServer(), "listen")) && (await bind(dgram.createSocket("udp4"), "bind"));
}
