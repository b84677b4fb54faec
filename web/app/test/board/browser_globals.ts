// What Excalidraw touches of a browser while it is loaded; the functions that the tests call need none of it.

Object.assign(globalThis, {
  window: globalThis,
  devicePixelRatio: 1,
  location: new URL("http://localhost/"),
  document: {
    documentElement: {},
    body: {},
    createElement: () => ({ style: {}, setAttribute() {}, getContext: () => ({ filter: "" }) }),
  },
  Element: class {},
  HTMLElement: class {},
  FontFace: class {},
  addEventListener() {},
  matchMedia() {},
});
if (!("navigator" in globalThis)) Object.assign(globalThis, { navigator: { userAgent: "", platform: "" } });
