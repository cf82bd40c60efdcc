// The metadata of an ONNX file, which ONNX Runtime's JavaScript does not tell: field 14 of the file, pairs of texts.

const METADATA = 14;

/** The metadata of a file's bytes, text by key; throws if they are no ONNX file. */
export function metadataOf(bytes) {
  const found = {};
  for (const [field, content] of fields(bytes)) {
    if (field !== METADATA) continue;
    const [key, value] = Array.from(fields(content), ([, text]) => new TextDecoder().decode(text));
    found[key] = value ?? "";
  }
  return found;
}

/** Number and content of each field that has bytes; the others are passed over. */
function* fields(bytes) {
  let at = 0;
  const number = () => {
    for (let value = 0, scale = 1; at < bytes.length; scale *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
    throw new Error("protobuf: the file ends in the middle");
  };
  while (at < bytes.length) {
    const tag = number();
    const kind = tag % 8;
    if (kind === 0) number();
    else if (kind === 1 || kind === 5) at += kind === 1 ? 8 : 4;
    else if (kind === 2) {
      const size = number();
      if (at + size > bytes.length) throw new Error("protobuf: the file ends in the middle");
      yield [Math.floor(tag / 8), bytes.subarray(at, at + size)];
      at += size;
    } else throw new Error(`protobuf: unknown kind ${kind}`);
  }
}

/** The scores of the classes; the one unit of a binary classifier, "probability" or "logit", gives that of class 1. */
export function scoresOf(values, unit) {
  const given = Array.from(values);
  if (unit !== "probability" && unit !== "logit") return given;
  const [positive] = given.slice(-1);
  return [unit === "probability" ? 1 - positive : -positive, positive];
}
