// /BimccWebRTC.js: the API of BimccWebRTC.js and SkyRTC-client for pages that were written for them. It is a classic
// script, because those pages use classic scripts. It is the only part of the client that changes something of the
// browser itself (media_urls.ts).
import { installMediaUrls } from "./media_urls";
import { isOwnStream, OldClient } from "./old_client";

installMediaUrls(isOwnStream);

Object.assign(globalThis, {
  BimccMultiRTC: function BimccMultiRTC() {
    return new OldClient("room1");
  },
  SkyRTC: function SkyRTC() {
    return new OldClient("__default");
  },
});
