// A page like those for BimccRTC: whiteboard by messages, cameras by events. It has the habits of such pages that the
// script must support: elements used by their ids as globals, a stream's URL as `src`, `class`, `autoplay` and `id` set
// as attributes before the element is in the page, and a board that is a global and not an argument.

/* exported startBimccPage */
/* global videos, me, canvas, BimccMultiRTC */
var webrtc;

/** Says that it is ready `before` the camera is asked for, `during` that, or `after` the stream has come. */
function startBimccPage(url, room, readyWhen) {
  webrtc = BimccMultiRTC();

  function readyIf(now) {
    if (readyWhen === now) webrtc.allReadyComplete();
  }

  webrtc.on("connected", function (_socket) {
    readyIf("before");
    webrtc.createStream({ video: true, audio: true });
    readyIf("during");
  });

  webrtc.on("stream_created", function (stream) {
    me.src = URL.createObjectURL(stream);
    me.play();
    readyIf("after");
  });

  webrtc.on("stream_create_error", function () {
    alert("no camera");
  });

  webrtc.on("pc_add_stream", function (stream, socketId) {
    var picture = document.createElement("video");
    var attributes = { class: "other", autoplay: "autoplay", id: "other-" + socketId };
    for (var name in attributes) picture.setAttribute(name, attributes[name]);
    videos.appendChild(picture);
    webrtc.attachStream(stream, picture.id);
  });

  webrtc.on("remove_peer", function (socketId) {
    var picture = document.getElementById("other-" + socketId);
    if (picture) picture.parentNode.removeChild(picture);
  });

  webrtc.on("data_channel_message", function (_channel, _socketId, message) {
    canvas.api.loadCanvasFromData(message);
  });

  webrtc.connect(url, room);
}
