import { plot, type Rate, scaleOf } from "../logic/rates";

const WIDTH = 240;
const HEIGHT = 32;
/** So that the first minute is not a dot at the edge. */
const FEWEST_SLOTS = 30;

interface SparklineProps {
  rates: readonly Rate[];
}

/** What came and went in the last minutes. The figures beside it say it in words. */
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
