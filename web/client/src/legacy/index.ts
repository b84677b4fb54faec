// /BimccWebRTC.js: the API of BimccWebRTC.js and SkyRTC-client for pages that were written for them. A classic script,
// because those pages are; it is the only one that changes something of the browser's own (media_urls.ts).
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
