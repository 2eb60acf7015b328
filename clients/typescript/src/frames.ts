// Messages of gRPC on the wire: a byte for compression, four for the length, then the message.
const HEAD_BYTES = 5;
const MESSAGE_BYTES_MAX = 16 * 1024 * 1024;

/** Returns a message with its head. */
export function frame(message: Uint8Array): Buffer {
  const whole = Buffer.allocUnsafe(HEAD_BYTES + message.length);
  whole[0] = 0;
  whole.writeUInt32BE(message.length, 1);
  whole.set(message, HEAD_BYTES);
  return whole;
}

/** Cuts what comes into messages. */
export class Unframer {
  #rest: Buffer = Buffer.alloc(0);

  /** Takes a chunk, and returns the messages that are whole now. Throws on what is no message. */
  push(chunk: Buffer): Uint8Array[] {
    const data = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const messages: Uint8Array[] = [];
    let at = 0;
    while (data.length - at >= HEAD_BYTES) {
      const length = data.readUInt32BE(at + 1);
      if (data[at] !== 0) throw new Error("a message is compressed, which was not asked for");
      if (length > MESSAGE_BYTES_MAX) throw new Error("a message is longer than 16 MiB");
      if (data.length - at - HEAD_BYTES < length) break;
      messages.push(data.subarray(at + HEAD_BYTES, at + HEAD_BYTES + length));
      at += HEAD_BYTES + length;
    }
    this.#rest = data.subarray(at);
    return messages;
  }
}
