// Runs on a test host (a network namespace, or this machine as it is) and does there what the harness asks over
// IPC: serves the pages on the host's own loopback, drives a browser, runs programs, fetches URLs. When the harness
// goes away, for whatever reason, everything that was started here ends.
import { execFile, spawn } from "node:child_process";
import { createReadStream } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import http from "node:http";
import https from "node:https";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import puppeteer from "puppeteer-core";

const run = promisify(execFile);
const HERE = path.dirname(fileURLToPath(import.meta.url));
const PAGES = path.join(HERE, "pages");
/** The built client, which is served next to the test pages. */
const CLIENT = path.join(HERE, "../../web/client/dist");
const EXAMPLES = path.join(HERE, "../../examples/web");
const CLIENT_FILES = ["client.js", "BimccWebRTC.js"];
const EVALUATION_LIMIT = 70_000;
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8" };

const browsers = new Map();
const pages = new Map();
const programs = new Map();
let nextId = 1;
let pageServer;

const operations = {
  /** Serves the test pages; 127.0.0.1 makes them a secure context without a certificate. */
  async servePages() {
    pageServer = http.createServer((request, response) => {
      const { pathname } = new URL(request.url, "http://localhost");
      const name = path.basename(pathname);
      const folder = pathname.startsWith("/examples/") ? EXAMPLES : CLIENT_FILES.includes(name) ? CLIENT : PAGES;
      const stream = createReadStream(path.join(folder, name));
      stream.on("error", () => response.writeHead(404).end());
      stream.on("open", () => response.writeHead(200, { "content-type": TYPES[path.extname(name)] ?? "text/plain" }));
      stream.pipe(response);
    });
    await new Promise((resolve) => pageServer.listen(0, "127.0.0.1", resolve));
    return pageServer.address().port;
  },

  async launch({ kind, executable, directory, ca, preferences, args }) {
    await mkdir(directory, { recursive: true });
    const browser = await (kind === "firefox" ? launchFirefox : launchChromium)({
      executable,
      directory,
      ca,
      preferences,
      args,
    });
    const id = nextId++;
    browsers.set(id, browser);
    return id;
  },

  /** `before` is the source of a function that runs in the page before its own scripts. */
  async open({ browser, url, viewport, colorScheme, before }) {
    const page = await browsers.get(browser).newPage();
    const id = nextId++;
    const lines = [];
    page.on("console", (message) => lines.push(message.text()));
    page.on("pageerror", (error) => lines.push(`uncaught: ${error.message ?? error}`));
    const requests = [];
    page.on("request", (request) => requests.push(request.url()));
    if (viewport) await page.setViewport(viewport);
    if (before) await page.evaluateOnNewDocument(`(${before})()`);
    if (colorScheme) await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: colorScheme }]);
    await page.goto(url, { waitUntil: "domcontentloaded" });
    pages.set(id, { page, lines, requests });
    return id;
  },

  /** Calls a function in a page. A promise that never settles becomes an error in the end. */
  async evaluate({ page, source, args, limit = EVALUATION_LIMIT }) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`the page does not get done with ${source}`)), limit);
    });
    const result = pages.get(page).page.evaluate(`(${source})(...${JSON.stringify(args)})`);
    return Promise.race([result, late]).finally(() => clearTimeout(timer));
  },

  /** The same for a function that makes the page go elsewhere. Resolves when the new page is there. */
  async navigate({ page, source }) {
    const arrived = pages.get(page).page.waitForNavigation({ waitUntil: "domcontentloaded" });
    await pages.get(page).page.evaluate(`void setTimeout(${source})`);
    await arrived;
  },

  async click({ page, selector }) {
    const tab = pages.get(page).page;
    // A tab behind another one renders nothing, so nothing in it becomes visible.
    await tab.bringToFront();
    const element = await tab.waitForSelector(selector, { visible: true });
    await element.click();
    await element.dispose();
  },

  async press({ page, keys }) {
    const tab = pages.get(page).page;
    await tab.bringToFront();
    const { keyboard } = tab;
    const all = keys.split("+");
    for (const key of all) await keyboard.down(key);
    for (const key of all.reverse()) await keyboard.up(key);
  },

  /** Presses the mouse at the first point, moves it along the others and lets it go. */
  async drag({ page, points }) {
    const { mouse } = pages.get(page).page;
    const [[x, y], ...rest] = points;
    await mouse.move(x, y);
    await mouse.down();
    for (const [x, y] of rest) await mouse.move(x, y);
    await mouse.up();
  },

  type({ page, text }) {
    return pages.get(page).page.keyboard.type(text);
  },

  /** Holds back requests whose URL contains this part, until they are released. */
  async holdRequests({ page, part }) {
    const opened = pages.get(page);
    opened.held = [];
    await opened.page.setRequestInterception(true);
    opened.page.on("request", (request) => {
      if (opened.held && request.url().includes(part)) opened.held.push(request);
      else void request.continue();
    });
  },

  /** How many requests are held. */
  heldRequestsOf({ page }) {
    return pages.get(page).held?.length ?? 0;
  },

  async releaseRequests({ page }) {
    const { held } = pages.get(page);
    pages.get(page).held = undefined;
    await Promise.all(held.map((request) => request.continue()));
  },

  requestsOf({ page }) {
    return pages.get(page).requests;
  },

  consoleOf({ page }) {
    return pages.get(page).lines;
  },

  async screenshot({ page, path: file }) {
    await pages.get(page).page.screenshot({ path: file });
  },

  async closePage({ page }) {
    await pages.get(page).page.close();
    pages.delete(page);
  },

  async closeBrowser({ browser }) {
    await browsers.get(browser).close();
    browsers.delete(browser);
  },

  /** Starts a long-running program; `log` receives what it prints. */
  start({ command, args, cwd, env, log }) {
    // Variables with the server's prefix belong to the tests or to a person, and are not settings for this server.
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("BIMCC_RTC_"));
    return new Promise((resolve, reject) => {
      const child = spawn(command, args, {
        cwd,
        env: { ...Object.fromEntries(inherited), ...env },
        stdio: ["ignore", "pipe", "pipe"],
      });
      let text = "";
      const keep = (chunk) => (text += chunk);
      child.stdout.on("data", keep);
      child.stderr.on("data", keep);
      child.on("error", reject);
      child.on("close", () => writeFile(log, text).catch(() => {}));
      child.on("spawn", () => {
        const id = nextId++;
        const ended = new Promise((done) => child.on("close", (code, signal) => done({ code, signal })));
        programs.set(id, { child, ended, output: () => text });
        resolve(id);
      });
    });
  },

  output({ program }) {
    const { child, output } = programs.get(program);
    return { text: output(), ended: child.exitCode !== null || child.signalCode !== null };
  },

  /** Asks a program to stop like a service manager, or by another signal, and waits. */
  async stop({ program, signal = "SIGTERM" }) {
    const { child, ended } = programs.get(program);
    child.kill(signal);
    const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
    const end = await ended;
    clearTimeout(timer);
    return end;
  },

  async exec({ command, args, cwd, timeout }) {
    try {
      const { stdout, stderr } = await run(command, args, { cwd, timeout, maxBuffer: 1 << 26 });
      return { code: 0, stdout, stderr };
    } catch (error) {
      return { code: error.code ?? error.signal, stdout: error.stdout ?? "", stderr: error.stderr || error.message };
    }
  },

  async fetch({ url, ca }) {
    const options = ca ? { ca: await readFile(ca) } : {};
    return new Promise((resolve, reject) => {
      const request = (url.startsWith("https:") ? https : http).get(url, { ...options, agent: false }, (response) => {
        let body = "";
        response.on("data", (chunk) => (body += chunk));
        response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, body }));
        response.on("error", reject);
      });
      request.on("error", reject);
      request.setTimeout(5000, () => request.destroy(new Error(`no answer from ${url}`)));
    });
  },
};

async function launchChromium({ executable, directory, ca, args = [] }) {
  const home = path.join(directory, "home");
  if (ca) await trust(path.join(home, ".pki", "nssdb"), ca);
  return puppeteer.launch({
    browser: "chrome",
    executablePath: executable,
    headless: true,
    pipe: true,
    userDataDir: path.join(directory, "profile"),
    env: { ...process.env, HOME: home },
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--use-fake-device-for-media-stream",
      "--use-fake-ui-for-media-stream",
      ...args,
    ],
  });
}

async function launchFirefox({ executable, directory, ca, preferences, args = [] }) {
  const profile = path.join(directory, "profile");
  await mkdir(profile, { recursive: true });
  if (ca) await trust(profile, ca);
  return puppeteer.launch({
    browser: "firefox",
    executablePath: executable,
    headless: true,
    userDataDir: profile,
    env: { ...process.env, HOME: directory, MOZ_DISABLE_CONTENT_SANDBOX: "1" },
    extraPrefsFirefox: {
      "media.navigator.streams.fake": true,
      // The permission to use the camera is given in advance. Firefox gives a page its addresses (the only usable ones
      // without a default route) only while the camera is on or allowed, and a fake camera does not count.
      "permissions.default.camera": 1,
      "permissions.default.microphone": 1,
      "media.autoplay.default": 0,
      "network.captive-portal-service.enabled": false,
      "network.connectivity-service.enabled": false,
      // Without a default route the browser believes that it is offline, and refuses to load anything.
      "network.manage-offline-status": false,
      ...preferences,
    },
    args,
  });
}

/** Puts a CA into the NSS store in `directory`, where the browser looks for trusted CAs. */
async function trust(directory, ca) {
  await mkdir(directory, { recursive: true });
  await run("certutil", ["-d", `sql:${directory}`, "-N", "--empty-password"]);
  await run("certutil", ["-d", `sql:${directory}`, "-A", "-t", "C,,", "-n", "test CA", "-i", ca]);
}

process.on("message", async ({ id, operation, argument }) => {
  let answer;
  try {
    answer = { id, result: await operations[operation](argument ?? {}) };
  } catch (error) {
    answer = { id, error: error.stack ?? String(error) };
  }
  if (process.connected) process.send(answer);
});

process.on("disconnect", async () => {
  const killAll = () => {
    for (const { child } of programs.values()) child.kill("SIGKILL");
    for (const browser of browsers.values()) browser.process()?.kill("SIGKILL");
    process.exit();
  };
  setTimeout(killAll, 10_000);
  for (const { child } of programs.values()) child.kill("SIGTERM");
  await Promise.allSettled([...browsers.values()].map((browser) => browser.close()));
  await Promise.allSettled([...programs.values()].map(({ ended }) => ended));
  killAll();
});
