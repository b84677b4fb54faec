// Code for the pages of this repository, in addition to the public interface, so that they need no copy of it. It is in
// no package.

export { type ClientEvent, parseServerEvent } from "./protocol";
export { TokenBucket } from "./token_bucket";
