// Finds what sanitizing removes from the user's own element, so that the user can be told and the own board can be
// corrected too.

import type { BoardElement } from "./element";
import { isRecord } from "./protocol";

const NOT_CONTENT: ReadonlySet<string> = new Set(["id", "index", "version", "versionNonce", "updated"]);

/** Words for the fields whose change is visible. */
const NAMES: Readonly<Record<string, string>> = {
  link: "link",
  strokeColor: "color",
  backgroundColor: "color",
  opacity: "opacity",
  strokeWidth: "line width",
  strokeStyle: "line style",
  fillStyle: "fill",
  roughness: "roughness",
  roundness: "roundness",
  angle: "angle",
  fontSize: "font size",
  fontFamily: "font",
  lineHeight: "line height",
  textAlign: "alignment",
  verticalAlign: "alignment",
  startArrowhead: "arrowhead",
  endArrowhead: "arrowhead",
  startBinding: "binding",
  endBinding: "binding",
  boundElements: "binding",
  containerId: "binding",
  frameId: "frame",
  groupIds: "group",
  name: "name",
};

/** The fields that differ, without those that only identify the version. */
export function changedFields(raw: BoardElement, clean: BoardElement): string[] {
  const fields = Object.keys({ ...raw, ...clean });
  return fields.filter((field) => !NOT_CONTENT.has(field) && !isSameData(raw[field], clean[field]));
}

/** The words for those of these fields that the user had set. */
export function namesOfTaken(raw: BoardElement, fields: readonly string[]): string[] {
  const said = fields.filter((field) => raw[field] !== undefined && raw[field] !== null && raw[field] !== "");
  return said.flatMap((field) => (Object.hasOwn(NAMES, field) ? [NAMES[field] ?? ""] : []));
}

/** Whether two values are the same as JSON. null, undefined and missing count as the same. */
export function isSameData(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (a === null || a === undefined) return b === null || b === undefined;
  if (Array.isArray(a)) {
    return Array.isArray(b) && a.length === b.length && a.every((entry, i) => isSameData(entry, b[i]));
  }
  if (!isRecord(a) || !isRecord(b)) return false;
  return Object.keys({ ...a, ...b }).every((field) => isSameData(a[field], b[field]));
}
