export const utf8 = new TextEncoder();
/** Throws for what is no UTF-8. */
export const fromUtf8 = new TextDecoder("utf-8", { fatal: true });
