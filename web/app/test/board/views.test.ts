// Where to look on boards that are too large for the window.
import { expect, test } from "vitest";
import { type Bounds, type Shape, viewsOf } from "../../src/board/views";
import { seeded } from "./simulation";

const SIZE = { width: 10_000, height: 6_000 };

function shape(x: number, y: number, fields: Partial<Shape> = {}): Shape {
  return { type: "rectangle", x, y, width: 100, height: 80, angle: 0, updated: 1, ...fields };
}

function stroke(points: readonly (readonly [number, number])[], fields: Partial<Shape> = {}): Shape {
  return shape(0, 0, { type: "freedraw", points, ...fields });
}

/** As it is shown: in the middle of the window, at a zoom that may be the least. */
function isSeen(view: Bounds, x: number, y: number): boolean {
  const [width, height] = [Math.max(view.right - view.left, 1), Math.max(view.bottom - view.top, 1)];
  return x >= view.left && x <= view.left + width && y >= view.top && y <= view.top + height;
}

const middle = ({ left, right, top, bottom }: Bounds) => [(left + right) / 2, (top + bottom) / 2];

test("what fits is one view, and nothing is none", () => {
  expect(viewsOf([], SIZE)).toEqual([]);
  expect(viewsOf([shape(0, 0), shape(9_900, 5_920)], SIZE)).toEqual([
    { left: 0, top: 0, right: 10_000, bottom: 6_000 },
  ]);
});

test("the fullest part comes first, and then all the others", () => {
  const crowd = Array.from({ length: 9 }, (_, i) => shape(200_000 + i * 300, -50_000));
  const views = viewsOf([shape(0, 0), shape(0, 500), ...crowd, shape(-90_000, 9)], SIZE);
  expect(views).toEqual([
    { left: 200_000, top: -50_000, right: 202_500, bottom: -49_920 },
    { left: 0, top: 0, right: 100, bottom: 580 },
    { left: -90_000, top: 9, right: -89_900, bottom: 89 },
  ]);
});

test("among equally full ones the latest comes first", () => {
  const places = [0, 50_000, 100_000, 150_000];
  const views = viewsOf(
    places.map((x, i) => shape(x, 0, { updated: [5, 7, 9, 6][i] ?? 0 })),
    SIZE,
  );
  expect(views.map(({ left }) => left)).toEqual([100_000, 50_000, 150_000, 0]);
});

test("a crowd that lies across the borders of cells is seen as one", () => {
  for (const [x, y] of [
    [-50, -40],
    [4_950, 2_960],
    [-5_050, 0],
    [14_950, -3_040],
  ] as const) {
    const crowd = Array.from({ length: 8 }, (_, i) => shape(x + (i % 2 ? 400 : -400), y + (i % 3 ? 300 : -300)));
    const [first] = viewsOf([...crowd, shape(90_000, 90_000), shape(90_200, 90_000)], SIZE);
    for (const one of crowd) expect(isSeen(first as Bounds, one.x, one.y)).toBe(true);
  }
});

test("what is itself too large is shown where it was drawn", () => {
  const far = 300_000;
  const corner = stroke([...Array.from({ length: 50 }, (_, i) => [i * 6_000, 0] as const), [far, far]]);
  const [view] = viewsOf([corner], SIZE);
  const seen = corner.points?.filter(([x, y]) => isSeen(view as Bounds, x, y)) ?? [];
  expect(seen.length).toBeGreaterThan(0);

  const [edge] = viewsOf([shape(0, 0, { width: far, height: far })], SIZE);
  const [x = 0, y = 0] = middle(edge as Bounds);
  expect([x, y].some((along) => along === 0 || along === far)).toBe(true);

  // A line that is turned by a quarter stands upright in the middle.
  const line = stroke(
    [
      [0, 0],
      [far, 0],
    ],
    { type: "line", angle: Math.PI / 2, width: far },
  );
  const [turned] = viewsOf([line], SIZE);
  expect(middle(turned as Bounds)[0]).toBeCloseTo(far / 2);
  expect(Math.abs(middle(turned as Bounds)[1] ?? 0)).toBeCloseTo(far / 2);
});

test("whatever is on the board: no view is empty, none is larger than the window, all is seen by one", () => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = seeded(seed);
    const spread = 10 ** (3 + random() * 3);
    const place = () => (random() - 0.5) * spread;
    const shapes = Array.from({ length: 1 + Math.floor(random() * 25) }, (_, i) => {
      const extent = { width: random() * 3_000, height: random() * 2_000, updated: i, angle: random() * 6 };
      if (random() < 0.5) return shape(place(), place(), extent);
      const points = Array.from({ length: 1 + Math.floor(random() * 40) }, () => [place() / 4, place() / 4] as const);
      return stroke(points, { x: place(), y: place(), angle: 0 });
    });
    const views = viewsOf(shapes, SIZE);
    const places = ({ x, y, width, height, points }: Shape): [number, number][] =>
      points ? points.map(([px, py]) => [x + px, y + py]) : [[x + width / 2, y + height / 2]];
    const isSeenBy = (view: Bounds, one: Shape) => {
      const own = places(one);
      // Of a small one the middle counts, which of a stroke need not be a point.
      const [xs, ys] = [own.map(([x]) => x), own.map(([, y]) => y)];
      const center = [(Math.min(...xs) + Math.max(...xs)) / 2, (Math.min(...ys) + Math.max(...ys)) / 2] as const;
      return [...own, center].some(([x, y]) => isSeen(view, x, y));
    };
    for (const view of views) {
      expect(view.right - view.left).toBeLessThanOrEqual(SIZE.width + 1e-6);
      expect(view.bottom - view.top).toBeLessThanOrEqual(SIZE.height + 1e-6);
      expect(
        shapes.some((one) => isSeenBy(view, one)),
        `seed ${seed}`,
      ).toBe(true);
    }
    for (const one of shapes)
      expect(
        views.some((view) => isSeenBy(view, one)),
        `seed ${seed}`,
      ).toBe(true);
  }
});

test("a board of as much as there may be is looked through at once", () => {
  const random = seeded(5);
  const shapes = Array.from({ length: 20_000 }, () => shape(random() * 1e6, random() * 1e6));
  const views = viewsOf(shapes, SIZE);
  expect(views).toHaveLength(30);
});
