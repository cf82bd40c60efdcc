// Predicts and explains one row in Node: node explain.mjs explainer.onnx row.csv [label]
// `npm install onnxruntime-node` is all it needs; the explainer is a file that `method.export(...)` wrote.

import { readFileSync } from "node:fs";
import * as ort from "onnxruntime-node";

const [file, csv, label = "-1"] = process.argv.slice(2); // -1: the predicted class
const session = await ort.InferenceSession.create(file);
const [input] = session.inputMetadata;

const row = Float32Array.from(readFileSync(csv, "utf8").trim().split(/[\s,]+/), Number);
const feeds = { [input.name]: new ort.Tensor("float32", row, [1, ...input.shape.slice(1)]) };
feeds.target = new ort.Tensor("int64", BigInt64Array.of(BigInt(label)), [1]);
if (session.inputNames.includes("seed")) feeds.seed = new ort.Tensor("int64", BigInt64Array.of(0n), []);

const { prediction, attribution } = await session.run(feeds);
console.log(JSON.stringify({ prediction: [...prediction.data], attribution: [...attribution.data] }));
