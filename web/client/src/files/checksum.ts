/**
 * The integrity check of a file: 64 bits over its pieces, in their order. It is there against mistakes, of ours and of
 * disks and browsers; what comes from the network is authenticated by DTLS. A cryptographic digest would double the
 * work on pages over plain http, which have no `crypto.subtle`.
 */
export class Checksum {
  #low = 0x811c9dc5;
  #high = 0x2545f491;

  /** All pieces but the last have a multiple of four bytes. */
  add(piece: Uint8Array<ArrayBuffer>): void {
    const count = piece.length >>> 2;
    const words = new Uint32Array(piece.buffer, piece.byteOffset, count);
    for (let i = 0; i < count; i++) this.#mix(words[i] ?? 0);
    for (const byte of piece.subarray(4 * count)) this.#mix(byte);
    this.#mix(piece.length);
  }

  get value(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(Uint32Array.of(this.#low, this.#high).buffer);
  }

  equals(other: Uint8Array): boolean {
    return String(other) === String(this.value);
  }

  #mix(word: number): void {
    const low = Math.imul(this.#low ^ word, 0x9e3779b1);
    this.#low = low ^ (low >>> 15);
    this.#high = Math.imul(this.#high + word, 0x85ebca6b) ^ (this.#high >>> 13) ^ low;
  }
}
