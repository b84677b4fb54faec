// For the pages of this repository, beside the public face: what they would otherwise have a second time. In no package.

export { type ClientEvent, parseServerEvent } from "./protocol";
export { TokenBucket } from "./token_bucket";
