// Messages of the API are plain objects. Those with fields that the definitions mark by debug_redact get hooks, so that
// they print `[secret]` in place of such a field.
import { inspect } from "node:util";
import { type DescMessage, type MessageShape, create, isMessage, toJson } from "@bufbuild/protobuf";

const secretive = new Map<string, boolean>();

/** Whether a message, or one that it may hold, has such a field. */
function holdsSecrets(schema: DescMessage): boolean {
  const known = secretive.get(schema.typeName);
  if (known !== undefined) return known;
  secretive.set(schema.typeName, false); // for messages that hold themselves
  const found = schema.fields.some(
    (field) =>
      field.proto.options?.debugRedact === true || (field.message !== undefined && holdsSecrets(field.message)),
  );
  secretive.set(schema.typeName, found);
  return found;
}

/** Returns the same message, which now prints no secret. */
export function redacted<D extends DescMessage>(schema: D, message: MessageShape<D>): MessageShape<D> {
  hide(schema, message as Record<string, unknown>);
  return message;
}

function hide(schema: DescMessage, message: Record<string, unknown>): void {
  if (!holdsSecrets(schema)) return;
  for (const field of schema.fields) {
    if (field.message === undefined) continue;
    const value = field.oneof === undefined ? message[field.localName] : chosen(message[field.oneof.localName]);
    for (const held of Array.isArray(value) ? value : [value]) {
      if (isMessage(held, field.message)) hide(field.message, held as unknown as Record<string, unknown>);
    }
  }
  const shown = () => view(schema, message);
  const json = () => toJson(schema, create(schema, shown() as never));
  Object.defineProperty(message, "toJSON", { value: json, enumerable: false, configurable: true });
  Object.defineProperty(message, inspect.custom, { value: shown, enumerable: false, configurable: true });
}

function chosen(oneof: unknown): unknown {
  return typeof oneof === "object" && oneof !== null && "value" in oneof ? oneof.value : undefined;
}

function view(schema: DescMessage, message: Record<string, unknown>): Record<string, unknown> {
  const copy: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(message)) copy[name] = value;
  for (const field of schema.fields) {
    const held = copy[field.localName];
    if (field.message !== undefined && isMessage(held, field.message) && holdsSecrets(field.message)) {
      copy[field.localName] = view(field.message, held as unknown as Record<string, unknown>);
    }
    if (field.proto.options?.debugRedact !== true) continue;
    if (field.oneof === undefined) {
      if (copy[field.localName] !== "") copy[field.localName] = "[secret]";
    } else {
      const oneof = message[field.oneof.localName] as { case?: string };
      if (oneof.case === field.localName) copy[field.oneof.localName] = { case: oneof.case, value: "[secret]" };
    }
  }
  return copy;
}
