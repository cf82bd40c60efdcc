// Runs explainers apart from the page, which stays responsive. One session is kept: the last explainer's.

import * as ort from "./ort/ort.wasm.min.mjs";

ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;

let kept = { key: null, session: null };
/** The weights that came last, which the explainers of a network share. */
let weights;

/**
 * Messages in: { key, url | bytes, weights, feeds }, weights without data where they are those that came last;
 * out: { stage } on the way, then { result } or { problem }.
 */
self.onmessage = async ({ data }) => {
  try {
    const session = await open(data);
    if (data.describe) {
      self.postMessage({ described: { inputs: session.inputMetadata, outputs: session.outputNames } });
      return;
    }
    self.postMessage({ stage: "explaining" });
    const start = performance.now();
    const outputs = await session.run(tensors(session, data.feeds));
    const milliseconds = performance.now() - start;
    const plain = ({ data: values, dims }) => ({ values: Float32Array.from(values), dims });
    const result = { milliseconds, prediction: plain(outputs.prediction), attribution: plain(outputs.attribution) };
    if (outputs.convergence_delta) result.delta = Number(outputs.convergence_delta.data[0]);
    if (outputs.relative_gap) result.gap = Number(outputs.relative_gap.data[0]);
    self.postMessage({ result });
  } catch (error) {
    self.postMessage({ problem: String(error?.message ?? error) });
  }
};

async function open({ key, url, bytes, weights: given }) {
  if (given?.data) weights = given.data;
  if (kept.key === key) return kept.session;
  await kept.session?.release();
  kept = { key: null, session: null };
  if (!bytes) {
    self.postMessage({ stage: "loading the method" });
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(`${url} is not there (${answer.status}); build the page with "make demo-web".`);
    bytes = new Uint8Array(await answer.arrayBuffer());
  }
  self.postMessage({ stage: "preparing the network" });
  const externalData = given ? [{ path: given.path, data: weights }] : undefined;
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"], logSeverityLevel: 3, externalData });
  kept = { key, session };
  return session;
}

/** The picture, the class to explain, and a fixed seed: each only where the explainer has such an input. */
function tensors(session, { input, image, dims, type = "float32", target }) {
  const feeds = { [input]: new ort.Tensor(type, type === "uint8" ? Uint8Array.from(image, Math.round) : image, dims) };
  if (session.inputNames.includes("target")) feeds.target = new ort.Tensor("int64", BigInt64Array.of(BigInt(target)), [1]);
  if (session.inputNames.includes("seed")) feeds.seed = new ort.Tensor("int64", BigInt64Array.of(0n), []);
  return feeds;
}
