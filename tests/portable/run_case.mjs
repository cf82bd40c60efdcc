// One case of manifest.json in any JavaScript runtime of ONNX Runtime: `ort` is that package, `load` reads a file.

const ARRAYS = { float32: Float32Array, int64: BigInt64Array, uint8: Uint8Array };

/** Runs the explainer and, for the times, the plain model on the same rows; `clock` gives milliseconds. */
export async function runCase(ort, options, entry, load, clock) {
  const feeds = {};
  for (const { name, type, dims, file } of entry.feeds) {
    const bytes = await load(file);
    const length = bytes.byteLength / ARRAYS[type].BYTES_PER_ELEMENT;
    feeds[name] = new ort.Tensor(type, new ARRAYS[type](bytes.buffer, bytes.byteOffset, length), dims);
  }
  const explained = await timed(ort, options, await load(entry.file), feeds, clock, entry.repeats);
  if (!entry.repeats) return { outputs: explained.outputs };
  const plain = await timed(ort, options, await load(entry.plain), feeds, clock, entry.repeats);
  return { outputs: explained.outputs, times: { explain_ms: explained.milliseconds, predict_ms: plain.milliseconds } };
}

/** Outputs of the first run and the shortest time; what is slow is run less often. */
async function timed(ort, options, bytes, feeds, clock, repeats) {
  const session = await ort.InferenceSession.create(bytes, options);
  const own = Object.fromEntries(session.inputNames.map((name) => [name, feeds[name]]));
  const results = await session.run(own);
  const outputs = Object.fromEntries(Object.entries(results).map(([name, tensor]) => [name, tensor.data.slice()]));
  let milliseconds = Infinity;
  for (let run = 0, spent = 0; run < repeats && spent < 3000; run++) {
    const start = clock();
    await session.run(own);
    const duration = clock() - start;
    milliseconds = Math.min(milliseconds, duration);
    spent += duration;
  }
  await session.release();
  return { outputs, milliseconds };
}
