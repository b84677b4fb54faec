// Elements from other peers (and from opened files) are rebuilt from known fields, so unknown fields never get in. An
// element that could do harm is refused as a whole; one that only looks odd is corrected, by every page in the same
// way. Nothing here keeps state or looks at other elements.

import type { BoardElement } from "./element";
import { FINAL_VERSION, MAX_NONCE, MAX_POINTS, MAX_TEXT } from "./limits";
import { isRecord } from "./protocol";
import {
  clampNumber,
  colorOf,
  type Fields,
  idOrNull,
  isFractionalIndex,
  isId,
  linkOf,
  listOf,
  oneOf,
  pointOf,
  pointsOf,
  Refused,
  requireCount,
  requireNumber,
  textOf,
} from "./read_fields";

export type Sanitized = { element: BoardElement } | { refused: string };

const FAR = 1e7;
const LARGE = 1e6;

/** More lines than this to fill one shape would block the page. */
const MAX_FILL_LINES = 5_000;
const MAX_DASHED_LENGTH = 1e5;

const FONT_FAMILIES = [1, 2, 3, 5, 6, 7, 8, 9] as const;
const USUAL_FONT_FAMILY = 5;

const ARROWHEADS = [
  "arrow",
  "bar",
  "dot",
  "circle",
  "circle_outline",
  "triangle",
  "triangle_outline",
  "diamond",
  "diamond_outline",
  "crowfoot_one",
  "crowfoot_many",
  "crowfoot_one_or_many",
] as const;

export function sanitizeElement(value: unknown): Sanitized {
  if (!isRecord(value)) return { refused: "an element that is none" };
  try {
    return { element: { ...commonFields(value), ...ownFields(value) } };
  } catch (error) {
    if (error instanceof Refused) return { refused: error.message };
    throw error;
  }
}

function commonFields(fields: Fields): BoardElement {
  const { id, index } = fields;
  if (!isId(id)) throw new Refused("an id that is none");
  if (!isFractionalIndex(index)) throw new Refused("an index that is none");
  const isDeleted = fields.isDeleted === true;
  const version = requireCount(fields, "version", FINAL_VERSION);
  if (version === FINAL_VERSION && !isDeleted) throw new Refused("version out of range");

  const width = requireNumber(fields, "width", LARGE);
  const height = requireNumber(fields, "height", LARGE);
  const strokeWidth = clampNumber(fields.strokeWidth, 0.1, 200, 2);
  const extent = Math.max(Math.abs(width), Math.abs(height));
  const fillStyle = oneOf(fields.fillStyle, ["hachure", "cross-hatch", "solid", "zigzag"], "solid");
  const strokeStyle = oneOf(fields.strokeStyle, ["solid", "dashed", "dotted"], "solid");

  return {
    id,
    type: "",
    x: requireNumber(fields, "x", FAR),
    y: requireNumber(fields, "y", FAR),
    width,
    height,
    angle: clampNumber(fields.angle, -100, 100, 0),
    strokeColor: colorOf(fields.strokeColor, "#1e1e1e"),
    backgroundColor: colorOf(fields.backgroundColor, "transparent"),
    fillStyle: extent / (strokeWidth * 4) > MAX_FILL_LINES ? "solid" : fillStyle,
    strokeWidth,
    strokeStyle: extent > MAX_DASHED_LENGTH ? "solid" : strokeStyle,
    roundness: roundnessOf(fields.roundness),
    roughness: clampNumber(fields.roughness, 0, 5, 1),
    opacity: clampNumber(fields.opacity, 0, 100, 100),
    seed: Math.trunc(clampNumber(fields.seed, 0, MAX_NONCE, 1)),
    version,
    versionNonce: requireCount(fields, "versionNonce", MAX_NONCE),
    index,
    isDeleted,
    groupIds: listOf(fields.groupIds, 64, (group) => idOrNull(group) ?? undefined),
    frameId: idOrNull(fields.frameId),
    boundElements: fields.boundElements === null ? null : listOf(fields.boundElements, 1_000, boundElementOf),
    updated: Math.trunc(clampNumber(fields.updated, 1, Number.MAX_SAFE_INTEGER, 1)),
    link: linkOf(fields.link),
    locked: fields.locked === true,
  };
}

function ownFields(fields: Fields): { type: string } & Record<string, unknown> {
  const { type } = fields;
  switch (type) {
    case "rectangle":
    case "diamond":
    case "ellipse":
      return { type };
    case "text":
      return { type, ...textFields(fields) };
    case "line":
    case "arrow":
      return { type, ...lineFields(fields, type) };
    case "freedraw":
      return {
        type,
        points: pointsOf(fields.points, LARGE),
        pressures: listOf(fields.pressures, MAX_POINTS + 1, (pressure) => clampNumber(pressure, 0, 1, 0.5)),
        simulatePressure: fields.simulatePressure === true,
        lastCommittedPoint: pointOrNull(fields.lastCommittedPoint),
      };
    case "image":
      return { type, ...imageFields(fields) };
    case "frame":
      return { type, name: typeof fields.name === "string" ? textOf(fields.name, 300, "name") : null };
    // Refuses types that would show a page of another host, and types that cannot be drawn here.
    default:
      throw new Refused(typeof type === "string" ? `type ${type.slice(0, 20)}` : "no type");
  }
}

function textFields(fields: Fields) {
  const text = textOf(fields.text, MAX_TEXT, "text");
  const originalText = typeof fields.originalText === "string" ? fields.originalText : text;
  return {
    text,
    originalText: textOf(originalText, MAX_TEXT, "text"),
    fontSize: clampNumber(fields.fontSize, 1, 5_000, 20),
    fontFamily: oneOf(fields.fontFamily, FONT_FAMILIES, USUAL_FONT_FAMILY),
    textAlign: oneOf(fields.textAlign, ["left", "center", "right"], "left"),
    verticalAlign: oneOf(fields.verticalAlign, ["top", "middle", "bottom"], "top"),
    containerId: idOrNull(fields.containerId),
    autoResize: fields.autoResize !== false,
    lineHeight: clampNumber(fields.lineHeight, 0.5, 10, 1.25),
  };
}

function lineFields(fields: Fields, type: "line" | "arrow") {
  const points = pointsOf(fields.points, LARGE);
  const common = {
    points,
    lastCommittedPoint: pointOrNull(fields.lastCommittedPoint),
    startBinding: bindingOf(fields.startBinding),
    endBinding: bindingOf(fields.endBinding),
    startArrowhead: oneOf(fields.startArrowhead, [...ARROWHEADS, null], null),
    endArrowhead: oneOf(fields.endArrowhead, [...ARROWHEADS, null], null),
  };
  if (type === "line") return common;
  if (fields.elbowed !== true || !isOrthogonal(points)) return { ...common, elbowed: false };
  return {
    ...common,
    elbowed: true,
    fixedSegments: Array.isArray(fields.fixedSegments)
      ? listOf(fields.fixedSegments, 100, (segment) => fixedSegmentOf(segment, points.length))
      : null,
    startIsSpecial: typeof fields.startIsSpecial === "boolean" ? fields.startIsSpecial : null,
    endIsSpecial: typeof fields.endIsSpecial === "boolean" ? fields.endIsSpecial : null,
  };
}

function imageFields(fields: Fields) {
  const { scale, crop } = fields;
  const mirrored = (axis: unknown) => (axis === -1 ? -1 : 1);
  return {
    fileId: idOrNull(fields.fileId),
    status: oneOf(fields.status, ["pending", "saved", "error"], "saved"),
    scale: Array.isArray(scale) ? [mirrored(scale[0]), mirrored(scale[1])] : [1, 1],
    crop: cropOf(crop),
  };
}

function roundnessOf(value: unknown) {
  if (!isRecord(value)) return null;
  const type = oneOf(value.type, [1, 2, 3], 3);
  if (value.value === undefined) return { type };
  return { type, value: clampNumber(value.value, 0, LARGE, 32) };
}

function boundElementOf(value: unknown) {
  if (!isRecord(value) || !isId(value.id)) return undefined;
  return { id: value.id, type: oneOf(value.type, ["arrow", "text"], "arrow") };
}

function pointOrNull(value: unknown): [number, number] | null {
  return Array.isArray(value) ? pointOf(value, LARGE) : null;
}

function bindingOf(value: unknown) {
  if (!isRecord(value) || !isId(value.elementId)) return null;
  const binding = {
    elementId: value.elementId,
    focus: clampNumber(value.focus, -100, 100, 0),
    gap: clampNumber(value.gap, 0, LARGE, 1),
  };
  return Array.isArray(value.fixedPoint) ? { ...binding, fixedPoint: pointOf(value.fixedPoint, 1_000) } : binding;
}

function fixedSegmentOf(value: unknown, points: number) {
  if (!isRecord(value) || !Number.isSafeInteger(value.index)) return undefined;
  const index = Number(value.index);
  if (index < 1 || index >= points) return undefined;
  return { index, start: pointOf(value.start, LARGE), end: pointOf(value.end, LARGE) };
}

/** Excalidraw gives up on an elbow arrow whose segments are neither level nor upright. */
function isOrthogonal(points: readonly (readonly [number, number])[]): boolean {
  return points.every((point, i) => {
    const previous = points[i - 1];
    return !previous || Math.abs(point[0] - previous[0]) < 1 || Math.abs(point[1] - previous[1]) < 1;
  });
}

function cropOf(value: unknown) {
  if (!isRecord(value)) return null;
  const sides = ["width", "height", "naturalWidth", "naturalHeight"] as const;
  const corners = ["x", "y"] as const;
  const crop: Record<string, number> = {};
  for (const side of sides) {
    crop[side] = requireNumber(value, side, LARGE);
    if (crop[side] <= 0) throw new Refused(`${side} out of range`);
  }
  for (const corner of corners) crop[corner] = requireNumber(value, corner, LARGE);
  return crop;
}
