/**
 * The integrity check of a file: 64 bits over its pieces, in order. It detects mistakes of this code, of disks and of
 * browsers; DTLS already authenticates data from the network. A cryptographic digest would double the work on pages
 * over plain http, which have no `crypto.subtle`.
 */
export class Checksum {
  #low = 0x811c9dc5;
  #high = 0x2545f491;

  add(piece: Uint8Array<ArrayBuffer>): void {
    const { length } = piece;
    // The last piece may end within a word; then each of its bytes counts as a word.
    const words = length % 4 ? new Uint32Array(piece) : new Uint32Array(piece.buffer, piece.byteOffset, length / 4);
    // Local variables, because the loop takes only a quarter of the time that it takes with fields.
    let low = this.#low ^ length;
    let high = this.#high;
    for (let i = 0; i < words.length; i++) {
      const word = words[i] as number;
      low = Math.imul(low ^ word, 0x9e3779b1);
      low ^= low >>> 15;
      high = Math.imul(high + word, 0x85ebca6b) ^ (high >>> 13) ^ low;
    }
    this.#low = low;
    this.#high = high;
  }

  get value(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(Uint32Array.of(this.#low, this.#high).buffer);
  }

  equals(other: Uint8Array): boolean {
    return String(other) === String(this.value);
  }
}
