// Predicts and explains a photo or a row in Node: node explain.mjs explainer.onnx photo.jpg|row.csv [label]
// `npm install onnxruntime-node sharp` is all it needs; the explainer is a file that `method.export(...)` wrote, for
// photos with preprocess=. Beside a photo it writes photo.why.png, the photo in grey and red where it counts.

import { createHash } from "node:crypto";
import { createReadStream, readFileSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import * as ort from "onnxruntime-node";
import sharp from "sharp";
import { metadataOf, scoresOf } from "../web/metadata.js";

const [file, given, label = "-1"] = process.argv.slice(2); // -1: the predicted class
const metadata = metadataOf(readFileSync(file));
const { unit } = JSON.parse(metadata["onnxattr.explainer"] ?? "{}");
await checkWeights();
const session = await ort.InferenceSession.create(file); // which reads weights beside the file itself
const [input] = session.inputMetadata;
const csv = given.toLowerCase().endsWith(".csv");

const feeds = { [input.name]: csv ? row() : await photo() };
feeds.target = new ort.Tensor("int64", BigInt64Array.of(BigInt(label)), [1]);
if (session.inputNames.includes("seed")) feeds.seed = new ort.Tensor("int64", BigInt64Array.of(0n), []);
const { prediction, attribution, relative_gap: gap } = await session.run(feeds).catch(noSuchClass);
const scores = scoresOf(prediction.data, unit);

if (csv) console.log(JSON.stringify({ prediction: [...prediction.data], attribution: [...attribution.data] }));
else {
  const names = JSON.parse(metadata["onnxattr.labels"] ?? "[]");
  const ranked = scores.map((value, k) => ({ label: k, name: names[k] ?? `${k}`, value }));
  const top = ranked.toSorted((a, b) => b.value - a.value).slice(0, 5);
  const explained = label === "-1" ? top[0].name : ranked[Number(label)].name;
  const picture = given.replace(/\.[^.]*$/, "") + ".why.png";
  await draw(picture);
  console.log(JSON.stringify({ top, explained, gap: gap ? gap.data[0] : null, picture }));
}

/** What a run failed with, in a sentence where the label is no class; a run for the predicted class tells how many there are. */
async function noSuchClass(error) {
  if (!`${error}`.includes("labels_fit")) throw error;
  const { prediction } = await session.run({ ...feeds, target: new ort.Tensor("int64", BigInt64Array.of(-1n), [1]) });
  const { length } = scoresOf(prediction.data, unit);
  throw new Error(`label ${label}: expected a class from 0 to ${length - 1}, or -1.`);
}

/** Weights beside the file must be those that it was written with: the runtime looks at their size alone. */
async function checkWeights() {
  const { "onnxattr.data": name = "", "onnxattr.data_sha256": expected } = metadata;
  if (!expected) return;
  if (!name || name !== basename(name) || !statSync(join(dirname(file), name), { throwIfNoEntry: false })?.isFile()) throw new Error(`${file} names weights that are not beside it: ${JSON.stringify(name)}.`);
  const hash = createHash("sha256");
  for await (const part of createReadStream(join(dirname(file), name))) hash.update(part);
  if (hash.digest("hex") !== expected) throw new Error(`${name} is not the file of weights that ${file} was written with: export both again.`);
}

function row() {
  const more = session.inputNames.filter((name) => ![input.name, "target", "seed"].includes(name));
  if (more.length) throw new Error(`${file} has more inputs than ${input.name}: ${more}. Feed each by its name.`);
  const lines = readFileSync(given, "utf8").trim().split(/\s*\n\s*/).map((line) => line.split(/\s*,\s*|\s+/));
  const values = Float32Array.from(lines.flat(), (cell) => (cell === "" ? NaN : Number(cell)));
  const odd = lines.findIndex((line) => line.length !== lines[0].length);
  if (odd > 0) throw new Error(`${given}, line ${odd + 1}: ${lines[odd].length} numbers; expected ${lines[0].length}, as in the first line.`);
  if (!values.every(Number.isFinite)) throw new Error(`${given} holds something else than numbers: give one row of them, without names.`);
  return new ort.Tensor("float32", values, [1, ...sizes(lines, values.length)]);
}

/** The sizes of a row; of an input of any length a file of several lines has a line for each step. */
function sizes(lines, count) {
  const declared = input.shape.slice(1);
  const free = (size) => typeof size !== "number";
  if (!declared.some(free)) return declared;
  if (lines.length > 1) return [lines.length, lines[0].length];
  const known = declared.reduce((product, size) => (free(size) ? product : product * size), 1);
  return declared.map((size) => (free(size) ? count / known : size));
}

/** Whether there is a chunk of PNG's animations before the pixels; sharp reads the first picture without a word. */
function isAnimatedPng() {
  const bytes = readFileSync(given);
  const at = bytes.indexOf("acTL");
  return bytes.subarray(1, 4).equals(Buffer.from("PNG")) && at > 0 && at < bytes.indexOf("IDAT");
}

/** The photo upright, its numbers as they are: colour profiles are not applied, as in training. */
function opened() {
  return sharp(given, { ignoreIcc: true }).rotate();
}

/** Bytes of red, green and blue; transparent pixels on white, rounded to the nearest, where sharp's flatten() cuts off. */
async function onWhite() {
  const { data, info } = await opened().toColourspace("srgb").ensureAlpha().raw().toBuffer({ resolveWithObject: true });
  const { width, height } = info;
  const laid = new Uint8Array(3 * width * height);
  for (let from = 0, to = 0; to < laid.length; from += 4) {
    const opacity = data[from + 3];
    for (let channel = 0; channel < 3; channel++) laid[to++] = Math.round((data[from + channel] * opacity + 255 * (255 - opacity)) / 255);
  }
  return { width, height, data: laid };
}

/** Bytes of a grey photo of 16 bits, rounded to the nearest, where sharp cuts off. */
async function grey16() {
  const { data, info } = await opened().toColourspace("grey16").raw({ depth: "ushort" }).toBuffer({ resolveWithObject: true });
  const { width, height, channels } = info;
  const words = new Uint16Array(data.buffer, data.byteOffset, data.length / 2);
  const bytes = new Uint8Array(3 * width * height);
  for (let pixel = 0; pixel < width * height; pixel++) bytes.fill(Math.round(words[pixel * channels] / 257), 3 * pixel, 3 * pixel + 3);
  return { width, height, data: bytes };
}

/** The pixels in the layout that the file takes. */
async function photo() {
  if (!metadata["onnxattr.preprocessing"]) throw new Error(`${file} takes no photos: export it with preprocess=.`);
  const { space, pages = 1, hasAlpha } = await sharp(given).metadata();
  if (pages > 1) throw new Error(`${given} holds ${pages} pictures, as animations do: save the one that is meant.`);
  if (isAnimatedPng()) throw new Error(`${given} holds several pictures, as animations do: save the one that is meant.`);
  if (space === "cmyk") throw new Error(`${given} is a CMYK photo, which sharp converts by a colour profile: save it as RGB first.`);
  const { width, height, data } = space === "grey16" && !hasAlpha ? await grey16() : await onWhite();
  const channels = 3;
  if (JSON.parse(metadata["onnxattr.preprocessing"]).layout === "NHWC") {
    return new ort.Tensor("uint8", data, [1, height, width, channels]);
  }
  const planes = new Uint8Array(data.length);
  data.forEach((value, at) => (planes[(at % channels) * width * height + Math.floor(at / channels)] = value));
  return new ort.Tensor("uint8", planes, [1, channels, height, width]);
}

/** Writes the photo in grey, and in red where the attributions are large. */
async function draw(picture) {
  const [, height, width] = attribution.dims;
  const channels = attribution.data.length / (height * width);
  const size = (at) => attribution.data.subarray(at * channels, (at + 1) * channels).reduce((sum, v) => sum + Math.abs(v), 0);
  const strength = Float32Array.from({ length: height * width }, (_, at) => size(at));
  const largest = strength.toSorted()[Math.floor(0.99 * (strength.length - 1))] || 1;
  const red = Buffer.from(Array.from(strength, (value) => [230, 30, 30, 255 * Math.min(value / largest, 1)]).flat());
  const shown = { input: red, raw: { width, height, channels: 4 } };
  const grey = await opened().flatten({ background: "#fff" }).resize(width, height).greyscale().toColourspace("srgb").png().toBuffer();
  await sharp(grey).toColourspace("srgb").composite([shown]).png().toFile(picture);
}
