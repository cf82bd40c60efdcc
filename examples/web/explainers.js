// The worker that runs explainers, as functions that wait for it.

import { metadataOf } from "./metadata.js";

/** The side of the square that explainers of photos of any size get. */
const SIDE = 448;

export class Explainers {
  constructor() {
    this.worker = null;
    this.pending = null;
    /** Weights that were fetched, by their address: the explainers of a network share them, and so do workers. */
    this.fetched = new Map();
    /** Which weights the worker has: those of the last question. */
    this.handed = null;
    /** Milliseconds for one gradient, by network: what is known of how long others will take. */
    this.pace = new Map();
  }

  get running() {
    return this.pending !== null;
  }

  /** About how many milliseconds the explanation will take; undefined before the network's first one. */
  expected({ group, points }) {
    return this.pace.has(group) ? this.pace.get(group) * points : undefined;
  }

  /** Runs an explainer on one image; `told` hears of every stage. */
  async run(settings, image, target, told) {
    const { key, url, bytes, input, dims, type } = settings;
    const weights = settings.weights && (await this.stoppable(this.weightsOf(settings.weights, told)));
    const { result } = await this.ask({ key, url, bytes, weights, feeds: { input, image, dims, type, target } }, told);
    if (settings.group) this.pace.set(settings.group, result.milliseconds / settings.points);
    return result;
  }

  /** The weights beside an explainer, fetched once; throws if they are not those that it was written with. */
  async weightsOf({ path, url, data, sha256, bytes, id }, told = () => {}) {
    if (data) return { path, data, id };
    if (!this.fetched.has(url)) {
      told(`loading ${(bytes / 1e6).toFixed(1)} MB of weights, once for all methods`);
      const answer = await fetch(url);
      if (!answer.ok) throw new Error(`${url} is not there (${answer.status}); build the page with "make demo-web".`);
      const found = new Uint8Array(await answer.arrayBuffer());
      await compare(path, found, sha256);
      this.fetched.set(url, found);
    }
    return { path, data: this.fetched.get(url), id: url };
  }

  /** What an explainer of somebody's own takes; throws if this page cannot use it. `files` are those chosen with it. */
  async describe(name, bytes, files = []) {
    const key = `${name} ${Date.now()}`;
    const weights = await weightsAmong(files, name, bytes);
    const { described } = await this.ask({ key, bytes, weights, describe: true });
    const missing = ["prediction", "attribution"].filter((output) => !described.outputs.includes(output));
    if (missing.length) {
      throw new Error(`${name} has no output "${missing[0]}": it is a model, not an explainer. Write one with method.export("explainer.onnx").`);
    }
    const inputs = described.inputs.filter((each) => !["target", "seed"].includes(each.name));
    const target = described.inputs.find((each) => each.name === "target");
    if (target && target.type !== "int64") throw new Error(`${name} wants weights as its target; this page gives labels.`);
    const [image] = inputs;
    const metadata = metadataOf(bytes);
    const labels = JSON.parse(metadata["onnxattr.labels"] ?? "[]");
    const { unit } = JSON.parse(metadata["onnxattr.explainer"] ?? "{}");
    if (inputs.length === 1 && image.type === "uint8" && image.shape?.length === 4) {
      return { key, bytes, weights, ...takesPhotos(image, JSON.parse(metadata["onnxattr.preprocessing"] ?? "{}")), labels, unit, shares: false };
    }
    const shape = image?.shape ?? [];
    const channelAxis = [1, 3].find((axis) => shape[axis] === 1 || shape[axis] === 3);
    const dims = [1, ...shape.slice(1)];
    if (inputs.length !== 1 || image.type !== "float32" || shape.length !== 4 || !channelAxis || !dims.every(Number.isInteger)) {
      const found = inputs.map((each) => `${each.name}: ${each.type} [${(each.shape ?? []).join(", ")}]`).join("; ");
      throw new Error(`${name} takes ${found}. This page can use explainers with one float32 image of a fixed size, with 1 or 3 channels, and those exported with preprocess=.`);
    }
    return { key, bytes, weights, input: image.name, dims, channelAxis, labels, unit, shares: false };
  }

  /** Sends one message to the worker and waits for its last answer. */
  ask(message, told = () => {}) {
    if (!this.worker) this.handed = null;
    this.worker ??= new Worker("worker.js", { type: "module" });
    const { weights } = message;
    if (weights?.id === this.handed) message = { ...message, weights: weights && { path: weights.path } };
    else if (weights) this.handed = weights.id;
    return new Promise((resolve, reject) => {
      this.pending = reject;
      const done = (action, value) => {
        this.pending = null;
        action(value);
      };
      this.worker.onmessage = ({ data }) => {
        if (data.stage) told(data.stage);
        else if (data.problem) done(reject, new Error(inWords(data.problem)));
        else done(resolve, data);
      };
      this.worker.onerror = (event) => {
        this.stop();
        done(reject, new Error(`The network could not be run: ${event.message || "the worker did not start"}.`));
      };
      this.worker.postMessage(message);
    });
  }

  /** Waits for something that `stop` ends the waiting for; what was asked for goes on. */
  stoppable(promise) {
    return new Promise((resolve, reject) => {
      this.pending = reject;
      promise.then(resolve, reject).finally(() => {
        if (this.pending === reject) this.pending = null;
      });
    });
  }

  /** Ends what is running; the next question starts a new worker. */
  stop() {
    this.worker?.terminate();
    this.worker = null;
    this.pending?.(Object.assign(new Error("stopped"), { name: "AbortError" }));
    this.pending = null;
  }
}

/** The weights that an explainer's metadata name, among the files that were chosen with it; none where it names none. */
async function weightsAmong(files, name, bytes) {
  let metadata = {};
  try {
    metadata = metadataOf(bytes);
  } catch {
    return undefined; // no ONNX file, which the runtime says
  }
  const path = metadata["onnxattr.data"];
  if (!path) return undefined;
  const file = files.find((each) => each.name === path);
  if (!file) throw new Error(`${name} has its weights in ${path}: choose both files together.`);
  const data = new Uint8Array(await file.arrayBuffer());
  await compare(path, data, metadata["onnxattr.data_sha256"]);
  return { path, data, id: `${path} ${Date.now()}` }; // other weights may come under the same name
}

/** Throws if weights are not those that their explainer was written with: the runtime would not tell. */
async function compare(path, data, expected) {
  if (!expected || !crypto.subtle) return; // which pages without https do not have
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (found !== expected) throw new Error(`${path} has the weights of another export: take the files of one export together.`);
}

/** What an explainer of photos as they are gets: bytes, of its own size or of SIDE. */
function takesPhotos({ name, shape }, { layout = "NHWC", channels = 3 }) {
  const channelAxis = layout === "NCHW" ? 1 : 3;
  const dims = shape.map((size, axis) => (axis === 0 ? 1 : axis === channelAxis ? channels : Number.isInteger(size) ? size : SIDE));
  return { input: name, dims, channelAxis, type: "uint8", mean: 0, scale: 1 };
}

/** The runtime's message, with what to do about it. */
function inWords(problem) {
  if (/protobuf|parse|load model|No graph/i.test(problem)) {
    return `This file is not an ONNX model that ONNX Runtime can read. (${problem})`;
  }
  if (/alloc|memory|OOM/i.test(problem)) {
    return `The page ran out of memory. Close other tabs, or take a method with fewer points. (${problem})`;
  }
  return `ONNX Runtime could not run this: ${problem}`;
}
