// The reader of the server's metrics, on which other tests depend.
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseMetrics, relayedBytes, total, turnErrors } from "./metrics.mjs";

const TEXT = `# HELP bimcc_rtc_rooms Rooms with at least one member
# TYPE bimcc_rtc_rooms gauge
bimcc_rtc_rooms 3
bimcc_rtc_turn_relayed_bytes_total{direction="to_peer",path="kernel"} 1000
bimcc_rtc_turn_relayed_bytes_total{direction="client_to_client",path="in_process"} 234
bimcc_rtc_turn_responses_total{method="allocate",code="success"} 5
bimcc_rtc_turn_responses_total{method="allocate",code="401"} 4
bimcc_rtc_turn_responses_total{method="refresh",code="437"} 0
odd{text="a \\"quoted\\" {brace}, and = sign"} 1
# EOF
`;

test("samples are read with their labels", () => {
  const samples = parseMetrics(TEXT);
  assert.equal(total(samples, "bimcc_rtc_rooms"), 3);
  assert.equal(total(samples, "bimcc_rtc_turn_responses_total", { method: "allocate" }), 9);
  assert.equal(samples.at(-1).labels.text, 'a "quoted" {brace}, and = sign');
  assert.equal(relayedBytes(samples), 1234);
  assert.deepEqual(turnErrors(samples), { "allocate 401": 4 });
});

test("what is no metric is an error", () => {
  assert.throws(() => parseMetrics("<html>"), /not a metric/);
});
