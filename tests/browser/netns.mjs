// Small networks of Linux network namespaces: hosts on one switch, and nothing of it visible outside.
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Runs `ip` with these arguments; its complaint becomes the error's message. */
async function ip(...args) {
  try {
    return (await run("ip", args)).stdout;
  } catch (error) {
    throw new Error(`ip ${args.join(" ")}: ${error.stderr?.trim() || error.message}`);
  }
}

/** Why namespaces cannot be made here, or null if they can. Removes those of a run that was killed. */
export async function whyNoNamespaces() {
  const name = uniqueName("probe");
  try {
    await ip("netns", "add", name);
    await ip("-n", name, "link", "set", "lo", "up").finally(() => ip("netns", "del", name));
  } catch (error) {
    return `network namespaces need root with CAP_NET_ADMIN (${error.message})`;
  }
  for (const [, stale, pid] of (await ip("netns", "list")).matchAll(/^(rtc-(\d+)-\S+)/gm)) {
    if (!isAlive(Number(pid))) await ip("netns", "del", stale).catch(() => {});
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

/**
 * Makes one namespace per host name, each with loopback and one interface, `eth0`, on a common switch. There is no
 * default route and no way out. Returns `{ hosts: { [name]: { netns, address } }, destroy }`.
 */
export async function createLan(...names) {
  const made = [];
  const destroy = async () => {
    for (const netns of made.splice(0).reverse()) {
      // Whatever still runs in there was started there by us, and would keep the namespace alive.
      const pids = (await ip("netns", "pids", netns).catch(() => "")).split("\n").filter(Boolean);
      for (const pid of pids) {
        try {
          process.kill(Number(pid), "SIGKILL");
        } catch {
          // It has ended by itself.
        }
      }
      await ip("netns", "del", netns).catch(() => {});
    }
  };
  const add = async (purpose) => {
    const netns = uniqueName(purpose);
    await ip("netns", "add", netns);
    made.push(netns);
    await ip("-n", netns, "link", "set", "lo", "up");
    return netns;
  };
  try {
    const lan = await add("switch");
    await ip("-n", lan, "link", "add", "bridge", "type", "bridge");
    await ip("-n", lan, "link", "set", "bridge", "up");
    const hosts = {};
    for (const [index, name] of names.entries()) {
      const netns = await add(name);
      const port = `port${index}`;
      const address = `10.77.0.${index + 1}`;
      await ip("-n", lan, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", netns);
      await ip("-n", lan, "link", "set", port, "master", "bridge", "up");
      await ip("-n", netns, "address", "add", `${address}/24`, "dev", "eth0");
      await ip("-n", netns, "link", "set", "eth0", "up");
      hosts[name] = { netns, address };
    }
    return { hosts, destroy };
  } catch (error) {
    await destroy();
    throw error;
  }
}
