// Reads the OpenMetrics text of the server's /metrics.

/** Parses the text into `[{ name, labels, value }]`; comments are left out. */
export function parseMetrics(text) {
  const samples = [];
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const match = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!match) throw new Error(`not a metric: ${line}`);
    const labels = {};
    for (const [, key, value] of (match[2] ?? "").matchAll(/([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"/g)) {
      labels[key] = value.replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c));
    }
    samples.push({ name: match[1], labels, value: Number(match[3]) });
  }
  return samples;
}

/** The sum of the samples of this name whose labels include `labels`; a metric without samples counts as 0. */
export function total(samples, name, labels = {}) {
  return samples
    .filter((s) => s.name === name && Object.entries(labels).every(([key, value]) => s.labels[key] === value))
    .reduce((sum, s) => sum + s.value, 0);
}

/** Payload bytes that TURN has relayed, on any path. */
export function relayedBytes(samples) {
  return total(samples, "bimcc_rtc_turn_relayed_bytes_total");
}

/** TURN's error answers as `{ "allocate 401": 3, … }`. */
export function turnErrors(samples) {
  const errors = {};
  for (const { name, labels, value } of samples) {
    if (name === "bimcc_rtc_turn_responses_total" && labels.code !== "success" && value > 0) {
      errors[`${labels.method} ${labels.code}`] = value;
    }
  }
  return errors;
}
