/** A data channel with somebody on the other side who only listens. */
export class FakeDataChannel {
  readyState: RTCDataChannelState = "connecting";
  bufferedAmount = 0;
  bufferedAmountLowThreshold = 0;
  binaryType = "blob";
  sent: Uint8Array<ArrayBuffer>[] = [];
  onopen: (() => void) | null = null;
  onclose: (() => void) | null = null;
  onbufferedamountlow: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  /** Whether what is sent stays in the buffer. */
  isStuck = false;
  /** What the buffer takes until `send` throws. */
  capacity = Number.POSITIVE_INFINITY;
  maxMessageSize = Number.POSITIVE_INFINITY;

  send(frame: Uint8Array<ArrayBuffer>): void {
    if (this.readyState !== "open") throw new DOMException("not open", "InvalidStateError");
    if (frame.length > this.maxMessageSize) throw new TypeError("too large");
    if (this.bufferedAmount + frame.length > this.capacity) throw new DOMException("full", "OperationError");
    this.sent.push(frame);
    if (this.isStuck) this.bufferedAmount += frame.length;
  }

  open(): void {
    this.readyState = "open";
    this.onopen?.();
  }

  /** What the page does; the event comes later. */
  close(): void {
    this.readyState = "closing";
    setTimeout(() => this.end());
  }

  end(): void {
    this.readyState = "closed";
    this.onclose?.();
  }

  drain(): void {
    this.bufferedAmount = 0;
    this.onbufferedamountlow?.();
  }

  receive(data: Uint8Array<ArrayBuffer> | string): void {
    this.onmessage?.({ data: typeof data === "string" ? data : data.slice().buffer });
  }
}

/** As much of a connection as channels need. */
export class FakeChannels {
  channels: FakeDataChannel[] = [];
  sctp: { maxMessageSize: number } | null = { maxMessageSize: 262_144 };
  remoteDescription: { sdp: string } | null = { sdp: "v=0\r\na=max-message-size:262144\r\n" };

  createDataChannel(): FakeDataChannel {
    const channel = new FakeDataChannel();
    this.channels.push(channel);
    return channel;
  }

  get connection(): RTCPeerConnection {
    return this as unknown as RTCPeerConnection;
  }
}
