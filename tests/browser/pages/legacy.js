// A page on the old API. Results for the tests are kept in globals, as was usual at that time.

/* exported startPage */
var EVENTS = (
  "socket_opened socket_error socket_closed socket_receive_message connected get_peers get_ice_candidate get_offer " +
  "get_answer new_peer remove_peer ready stream_created stream_create_error pc_get_ice_candidate pc_opened pc_add_stream " +
  "pc_add_data_channel data_channel_opened data_channel_closed data_channel_message data_channel_error " +
  "data_channel_create_error send_file send_file_accepted send_file_refused send_file_chunk sended_file send_file_error " +
  "receive_file_ask receive_file_chunk receive_file receive_file_error"
).split(" ");

/** Writes down each event with its arguments, objects by their kind. */
function record(rtc) {
  window.rtc = rtc;
  window.seen = [];
  EVENTS.forEach((name) => {
    rtc.on(name, (...args) => {
      window.seen.push([name, ...args.map((a) => (a && typeof a === "object" ? a.constructor.name : a))]);
    });
  });
  window.errors = [];
  rtc.on("data_channel_error", (_channel, _socketId, error) => window.errors.push(error.reason ?? String(error)));
  rtc.on("receive_file", (_sendId, _socketId, _name, blob) => {
    window.receivedBlob = blob;
  });
}

/** A page like SkyRTC's demo: first a camera, then a call; videos by attachStream. */
function startPage(factory, url, room, { camera = true, accept = true } = {}) {
  const rtc = window[factory]();
  record(rtc);
  rtc.on("connected", () => {
    if (camera) rtc.createStream({ video: true, audio: true });
    else rtc.allReadyComplete();
  });
  rtc.on("stream_created", (stream) => {
    const me = document.getElementById("me");
    me.src = URL.createObjectURL(stream);
    me.play();
  });
  rtc.on("pc_add_stream", (stream, socketId) => {
    const video = document.createElement("video");
    video.id = `other-${socketId}`;
    document.getElementById("videos").appendChild(video);
    rtc.attachStream(stream, `other-${socketId}`);
  });
  rtc.on("remove_peer", (socketId) => document.getElementById(`other-${socketId}`)?.remove());
  rtc.on("receive_file_ask", (sendId) => (accept ? rtc.sendFileAccept(sendId) : rtc.sendFileRefuse(sendId)));
  rtc.connect(url, room);
}

function chooseFile(name, text) {
  const transfer = new DataTransfer();
  transfer.items.add(new File([text], name, { type: "text/plain" }));
  document.getElementById("file").files = transfer.files;
}

/** The ids of videos that show a moving picture; not every browser counts frames of streams. */
function playing() {
  return [...document.querySelectorAll("video")]
    .filter((video) => video.srcObject && video.videoWidth > 0 && !video.paused && video.currentTime > 0.3)
    .map((video) => video.id);
}
