export const utf8 = new TextEncoder();
/** Throws if it is not UTF-8. */
export const fromUtf8 = new TextDecoder("utf-8", { fatal: true });
