import { plot, type Rate, scaleOf } from "../logic/rates";

const WIDTH = 240;
const HEIGHT = 32;
/** With fewer slots, the first minute would only be a dot at the edge. */
const FEWEST_SLOTS = 30;

interface SparklineProps {
  rates: readonly Rate[];
}

/** The rates of the last minutes. The numbers next to it show the same as text. */
export function Sparkline({ rates }: SparklineProps) {
  const receive = rates.map((rate) => rate.receive);
  const send = rates.map((rate) => rate.send);
  const scale = scaleOf(receive, send);
  const slots = Math.max(FEWEST_SLOTS, rates.length);
  return (
    <svg className="sparkline" viewBox={`0 -1 ${WIDTH} ${HEIGHT + 2}`} preserveAspectRatio="none" aria-hidden="true">
      <path className="axis" d={`M0,${HEIGHT}H${WIDTH}`} />
      <path className="send" d={plot(send, slots, scale, WIDTH, HEIGHT)} />
      <path className="receive" d={plot(receive, slots, scale, WIDTH, HEIGHT)} />
    </svg>
  );
}
