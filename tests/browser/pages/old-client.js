// A client as the first users of this protocol wrote it: it has callbacks, uses no iceServers from the server, re-emits
// every event of the server under its own name, and passes the forwarded candidate unchanged to `new
// RTCIceCandidate(...)`. It only knows `_peers`, `_new_peer`, `_remove_peer`, `_offer`, `_answer` and `_ice_candidate`.
// The old style is kept on purpose: the server must support what this client does not know or check.

/* exported OldClient */
var OldClient = function (iceServers) {
  var that = this;
  this.listeners = {};
  this.socket = null;
  this.room = "";
  this.me = null;
  this.connections = [];
  this.peerConnections = {};
  this.dataChannels = {};
  this.messages = [];
  this.errors = [];
  this.seen = [];
  this.configuration = { iceServers: iceServers || [] };

  this.on("_peers", function (data) {
    that.connections = data.connections;
    that.me = data.you;
    that.emit("connected", that.socket);
  });

  this.on("_ice_candidate", function (data) {
    var candidate;
    try {
      candidate = new RTCIceCandidate(data);
    } catch (error) {
      that.errors.push("RTCIceCandidate: " + error);
      throw error;
    }
    that.peerConnections[data.socketId].addIceCandidate(candidate).catch(that.fail("addIceCandidate"));
  });

  this.on("_new_peer", function (data) {
    that.connections.push(data.socketId);
    that.createPeerConnection(data.socketId);
  });

  this.on("_remove_peer", function (data) {
    that.peerConnections[data.socketId].close();
    delete that.peerConnections[data.socketId];
    delete that.dataChannels[data.socketId];
    that.emit("remove_peer", data.socketId);
  });

  this.on("_offer", function (data) {
    var pc = that.peerConnections[data.socketId];
    pc.setRemoteDescription(new RTCSessionDescription(data.sdp));
    pc.createAnswer(
      function (description) {
        pc.setLocalDescription(description);
        that.send("__answer", { socketId: data.socketId, sdp: description });
      },
      that.fail("createAnswer"),
    );
  });

  this.on("_answer", function (data) {
    that.peerConnections[data.socketId].setRemoteDescription(new RTCSessionDescription(data.sdp));
  });

  this.on("ready", function () {
    that.connections.forEach(function (id) {
      that.createPeerConnection(id);
    });
    that.connections.forEach(function (id) {
      that.useChannel(id, that.peerConnections[id].createDataChannel("board"));
    });
    that.connections.forEach(function (id) {
      var pc = that.peerConnections[id];
      pc.createOffer(
        function (description) {
          pc.setLocalDescription(description);
          that.send("__offer", { sdp: description, socketId: id });
        },
        that.fail("createOffer"),
      );
    });
  });

  // An application of that time has nothing to wait for, so it is ready at once.
  this.on("connected", function () {
    that.emit("ready");
  });
};

OldClient.prototype.on = function (eventName, callback) {
  (this.listeners[eventName] = this.listeners[eventName] || []).push(callback);
};

OldClient.prototype.emit = function (eventName, a, b, c) {
  (this.listeners[eventName] || []).forEach(function (callback) {
    callback(a, b, c);
  });
};

OldClient.prototype.fail = function (what) {
  var that = this;
  return function (error) {
    that.errors.push(what + ": " + error);
  };
};

OldClient.prototype.send = function (eventName, data) {
  this.socket.send(JSON.stringify({ eventName: eventName, data: data }));
};

OldClient.prototype.connect = function (server, room) {
  var that = this;
  this.room = room || "";
  this.socket = new WebSocket(server);
  this.socket.onopen = function () {
    that.send("__join", { room: that.room });
    that.emit("socket_opened", that.socket);
  };
  this.socket.onmessage = function (message) {
    var json = JSON.parse(message.data);
    that.seen.push(json.eventName);
    if (json.eventName) {
      that.emit(json.eventName, json.data);
    } else {
      that.emit("socket_receive_message", that.socket, json);
    }
  };
  this.socket.onerror = function (error) {
    that.emit("socket_error", error, that.socket);
  };
};

OldClient.prototype.createPeerConnection = function (id) {
  var that = this;
  var pc = new RTCPeerConnection(this.configuration);
  this.peerConnections[id] = pc;
  pc.onicecandidate = function (event) {
    if (event.candidate) {
      that.send("__ice_candidate", {
        label: event.candidate.sdpMLineIndex,
        candidate: event.candidate.candidate,
        socketId: id,
      });
    }
  };
  pc.ondatachannel = function (event) {
    that.useChannel(id, event.channel);
  };
  return pc;
};

OldClient.prototype.useChannel = function (id, channel) {
  var that = this;
  channel.onopen = function () {
    that.emit("data_channel_opened", channel, id);
  };
  channel.onmessage = function (message) {
    var json = JSON.parse(message.data);
    if (json.type === "__msg") {
      that.messages.push({ from: id, data: json.data });
    } else if (json.type === "__file") {
      that.receiveFilePacket(channel, json);
    }
  };
  this.dataChannels[id] = channel;
};

// Files as at that time: an offer, and when it is accepted, a data: URL in parts of 1000 characters. Accepts every
// offer.
OldClient.prototype.receiveFilePacket = function (channel, packet) {
  var say = function (fields) {
    channel.send(JSON.stringify(Object.assign({ type: "__file", sendId: packet.sendId }, fields)));
  };
  this.filesSent = this.filesSent || {};
  this.filesReceived = this.filesReceived || {};
  if (packet.signal === "ask") {
    this.filesReceived[packet.sendId] = { name: packet.name, size: packet.size, data: "", longest: 0, done: false };
    say({ signal: "accept" });
  } else if (packet.signal === "accept") {
    var url = this.filesSent[packet.sendId].url;
    var count = Math.ceil(url.length / 1000);
    for (var i = 0; i < count; i++) {
      var part = { signal: "chunk", data: url.slice(1000 * i, 1000 * (i + 1)), last: i === count - 1 };
      if (!part.last) part.percent = ((i + 1) / count) * 100;
      say(part);
    }
    this.filesSent[packet.sendId].state = "end";
  } else if (packet.signal === "refuse") {
    this.filesSent[packet.sendId].state = "refused";
  } else if (packet.signal === "chunk") {
    var file = this.filesReceived[packet.sendId];
    file.data += packet.data;
    file.longest = Math.max(file.longest, packet.data.length);
    file.done = packet.last;
  }
};

OldClient.prototype.offerFile = function (id, name, text) {
  var sendId = (Math.random() * Date.now()).toString(36).toUpperCase().replace(/\./g, "-");
  this.filesSent = this.filesSent || {};
  this.filesSent[sendId] = { url: "data:text/plain;base64," + btoa(text), state: "ask" };
  this.dataChannels[id].send(
    JSON.stringify({ type: "__file", signal: "ask", sendId: sendId, name: name, size: text.length }),
  );
  return sendId;
};

OldClient.prototype.sendMessage = function (text, id) {
  this.dataChannels[id].send(JSON.stringify({ type: "__msg", data: text }));
};

OldClient.prototype.broadcast = function (text) {
  for (var id in this.dataChannels) {
    this.sendMessage(text, id);
  }
};
