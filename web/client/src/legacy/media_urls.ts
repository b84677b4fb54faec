// Old pages play a stream by `video.src = URL.createObjectURL(stream)`, which browsers no longer support. Here such a
// URL is a token, and a media element that gets it as its `src` plays the stream. Everything else is unchanged.

const PREFIX = "mediastream:";
const streams = new Map<string, MediaStream>();
/** Elements that play a stream because of their `src`. */
const tokens = new WeakMap<HTMLMediaElement, string>();

/** `isOwn` tells whether a stream comes from this page. Then it is played without sound, which would be an echo. */
export function installMediaUrls(isOwn: (stream: MediaStream) => boolean): void {
  const { createObjectURL, revokeObjectURL } = URL;
  const media = HTMLMediaElement.prototype;
  const { setAttribute, removeAttribute } = media;
  const src = Object.getOwnPropertyDescriptor(media, "src");
  if (!src?.get || !src.set) return;
  const { get, set } = src;

  URL.createObjectURL = (object: Blob | MediaSource | MediaStream): string => {
    if (!(object instanceof MediaStream)) return createObjectURL.call(URL, object);
    const token = PREFIX + crypto.getRandomValues(new Uint32Array(4)).join("-");
    streams.set(token, object);
    return token;
  };

  URL.revokeObjectURL = (url: string): void => {
    if (!streams.delete(url)) revokeObjectURL.call(URL, url);
  };

  /** Returns whether the value was a token. */
  const use = (element: HTMLMediaElement, value: unknown): boolean => {
    const token = String(value);
    const stream = streams.get(token);
    if (stream) {
      if (isOwn(stream)) element.muted = true;
      element.srcObject = stream;
      tokens.set(element, token);
      return true;
    }
    // A stream in `srcObject` would have precedence over `src`.
    if (tokens.delete(element)) element.srcObject = null;
    return false;
  };

  Object.defineProperty(media, "src", {
    ...src,
    get(this: HTMLMediaElement): string {
      return tokens.get(this) ?? get.call(this);
    },
    set(this: HTMLMediaElement, value: unknown) {
      if (!use(this, value)) set.call(this, value);
    },
  });

  media.setAttribute = function (this: HTMLMediaElement, name: string, value: string): void {
    if (String(name).toLowerCase() !== "src" || !use(this, value)) setAttribute.call(this, name, value);
  };

  media.removeAttribute = function (this: HTMLMediaElement, name: string): void {
    if (String(name).toLowerCase() === "src" && tokens.delete(this)) this.srcObject = null;
    removeAttribute.call(this, name);
  };
}

/** Plays a stream. If the browser requires a gesture first, it is played without sound until there is one. */
export function play(element: HTMLMediaElement, stream: MediaStream, isOwn: boolean): void {
  if (isOwn) element.muted = true;
  if (element instanceof HTMLVideoElement) element.playsInline = true;
  element.srcObject = stream;
  element.play().catch((error: unknown) => {
    if (!(error instanceof DOMException && error.name === "NotAllowedError") || element.muted) return;
    element.muted = true;
    void element.play().catch(() => {});
    document.addEventListener(
      "pointerdown",
      () => {
        element.muted = false;
      },
      { once: true },
    );
  });
}
