// What to show of a board that is too large for the window even at the smallest zoom. Its middle may be empty, so it is
// shown in parts, the fullest part first. Nothing here knows Excalidraw.

/** The fields of an element that matter here. */
export interface Shape {
  readonly type: string;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly angle: number;
  readonly updated: number;
  /** The points of lines and strokes, relative to (x, y). */
  readonly points?: readonly (readonly [number, number])[];
}

export interface Size {
  readonly width: number;
  readonly height: number;
}

export interface Bounds {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

type Point = readonly [x: number, y: number];

/** A place where something can be seen. */
interface Spot {
  readonly shape: Shape;
  readonly at: Point;
  readonly bounds: Bounds;
  /** Its share of the element; all shares of an element add up to one. */
  readonly share: number;
}

/** A quarter of a window. */
interface Cell {
  readonly column: number;
  readonly row: number;
  spots: readonly Spot[];
}

interface Window {
  readonly column: number;
  readonly row: number;
  readonly number: number;
  readonly latest: number;
}

const MAX_VIEWS = 30;
/** How many points of a line or stroke are used. */
const SAMPLES = 16;

/**
 * Views of this size that together show a part of every element. The fullest view comes first, and among equals the one
 * with the latest element. A view is smaller if its content is smaller. There is one view if everything fits.
 */
export function viewsOf(shapes: readonly Shape[], size: Size): Bounds[] {
  const spots = shapes.flatMap((shape) => spotsOf(shape, size));
  if (spots.length === 0) return [];
  const all = boundsOf(shapes.flatMap(cornersOf));
  if (fits(all, size)) return [all];
  const places = new Places(spots, size);
  const views: Bounds[] = [];
  while (views.length < MAX_VIEWS) {
    const view = places.takeFullest();
    if (!view) break;
    views.push(view);
  }
  return views;
}

/** What is still to be shown, by place. */
class Places {
  readonly #cells = new Map<string, Cell>();
  readonly #windows = new Map<string, Window>();
  readonly #spots = new Map<Shape, Spot[]>();
  readonly #size: Size;

  constructor(spots: readonly Spot[], size: Size) {
    this.#size = size;
    const all = new Map<string, Cell & { spots: Spot[] }>();
    for (const spot of spots) {
      const [column, row] = this.#cellOf(spot);
      const key = keyOf(column, row);
      const cell = all.get(key) ?? { column, row, spots: [] };
      cell.spots.push(spot);
      all.set(key, cell);
      const others = this.#spots.get(spot.shape) ?? [];
      others.push(spot);
      this.#spots.set(spot.shape, others);
    }
    for (const [key, cell] of all) this.#cells.set(key, cell);
    this.#sum(all.values());
  }

  /** Takes the view that shows most; its content then no longer needs to be shown. */
  takeFullest(): Bounds | undefined {
    let fullest: Window | undefined;
    for (const window of this.#windows.values()) {
      const more = window.number - (fullest?.number ?? 0);
      // Because of rounding, the shares may add up to slightly more or less than one.
      const isMore = more > 1e-6 || (fullest && more > -1e-6 && window.latest > fullest.latest);
      if (isMore) fullest = window;
    }
    if (!fullest) return undefined;
    const { column, row } = fullest;
    const seen = this.#cellsOf(column, row).flatMap(({ spots }) => spots);
    this.#remove(new Set(seen.map(({ shape }) => shape)));
    const bounds = mergeBounds(seen.map((spot) => spot.bounds));
    const { width, height } = this.#size;
    if (fits(bounds, this.#size)) return bounds;
    const [left, top] = [(column * width) / 2, (row * height) / 2];
    return { left, top, right: left + width, bottom: top + height };
  }

  #remove(shapes: ReadonlySet<Shape>): void {
    const changed = new Set<Cell>();
    for (const shape of shapes) {
      for (const spot of this.#spots.get(shape) ?? []) {
        const cell = this.#cells.get(keyOf(...this.#cellOf(spot)));
        if (cell) changed.add(cell);
      }
    }
    for (const cell of changed) cell.spots = cell.spots.filter(({ shape }) => !shapes.has(shape));
    this.#sum(changed);
  }

  /** Sums up all windows that contain these cells. A window has two by two cells and the name of the first one. */
  #sum(changed: Iterable<Cell>): void {
    const stale = new Map<string, [number, number]>();
    for (const { column, row } of changed) {
      for (const x of [column - 1, column]) for (const y of [row - 1, row]) stale.set(keyOf(x, y), [x, y]);
    }
    for (const [key, [column, row]] of stale) {
      let [number, latest] = [0, 0];
      for (const { spots } of this.#cellsOf(column, row)) {
        for (const { share, shape } of spots) {
          number += share;
          latest = Math.max(latest, shape.updated);
        }
      }
      if (number > 0) this.#windows.set(key, { column, row, number, latest });
      else this.#windows.delete(key);
    }
  }

  #cellsOf(column: number, row: number): Cell[] {
    const cells: Cell[] = [];
    for (const x of [column, column + 1]) {
      for (const y of [row, row + 1]) {
        const cell = this.#cells.get(keyOf(x, y));
        if (cell) cells.push(cell);
      }
    }
    return cells;
  }

  #cellOf({ at: [x, y] }: Spot): [column: number, row: number] {
    return [Math.floor((x * 2) / this.#size.width), Math.floor((y * 2) / this.#size.height)];
  }
}

function keyOf(column: number, row: number): string {
  return `${column} ${row}`;
}

/** The middle of a small shape is enough. A larger shape has several spots, where it certainly has visible lines. */
function spotsOf(shape: Shape, size: Size): Spot[] {
  const bounds = boundsOf(cornersOf(shape));
  const isSmall = fits(bounds, { width: size.width / 2, height: size.height / 2 });
  const spots: readonly Point[] = isSmall ? [middleOf(bounds)] : drawnPointsOf(shape);
  return spots.map((at) => ({ shape, at, bounds: isSmall ? bounds : around(at, size), share: 1 / spots.length }));
}

function drawnPointsOf(shape: Shape): Point[] {
  const { x, y, width, height, points } = shape;
  if (points) {
    const step = Math.max(1, Math.ceil(points.length / SAMPLES));
    return turned(
      shape,
      points.flatMap(([px, py], i): Point[] => (i % step === 0 ? [[x + px, y + py]] : [])),
    );
  }
  // Rectangles, diamonds and ellipses all touch their boxes at these points.
  return turned(shape, [
    [x + width / 2, y],
    [x + width, y + height / 2],
    [x + width / 2, y + height],
    [x, y + height / 2],
  ]);
}

function cornersOf(shape: Shape): Point[] {
  const { left, top, right, bottom } = boxOf(shape);
  return turned(shape, [
    [left, top],
    [right, top],
    [right, bottom],
    [left, bottom],
  ]);
}

/** The box before rotation. */
function boxOf({ x, y, width, height, points }: Shape): Bounds {
  if (points) return boundsOf(points.map(([px, py]) => [x + px, y + py]));
  return boundsOf([
    [x, y],
    [x + width, y + height],
  ]);
}

function turned(shape: Shape, points: readonly Point[]): Point[] {
  const [sin, cos] = [Math.sin(shape.angle), Math.cos(shape.angle)];
  const [cx, cy] = middleOf(boxOf(shape));
  return points.map(([x, y]) => [cx + (x - cx) * cos - (y - cy) * sin, cy + (x - cx) * sin + (y - cy) * cos]);
}

function middleOf({ left, top, right, bottom }: Bounds): Point {
  return [(left + right) / 2, (top + bottom) / 2];
}

/** An area large enough to see what the spot belongs to. */
function around([x, y]: Point, { width, height }: Size): Bounds {
  return { left: x - width / 4, top: y - height / 4, right: x + width / 4, bottom: y + height / 4 };
}

function boundsOf(points: readonly Point[]): Bounds {
  return mergeBounds(points.map(([x, y]) => ({ left: x, top: y, right: x, bottom: y })));
}

function mergeBounds(all: readonly Bounds[]): Bounds {
  const none = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
  return all.reduce<Bounds>(
    (merged, { left, top, right, bottom }) => ({
      left: Math.min(merged.left, left),
      top: Math.min(merged.top, top),
      right: Math.max(merged.right, right),
      bottom: Math.max(merged.bottom, bottom),
    }),
    none,
  );
}

function fits({ left, top, right, bottom }: Bounds, { width, height }: Size): boolean {
  return right - left <= width && bottom - top <= height;
}
