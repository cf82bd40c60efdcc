// node run_node.mjs onnxruntime-node|onnxruntime-web FOLDER: runs every case of FOLDER/manifest.json in this process.

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { runCase } from "./run_case.mjs";
import { start } from "./told.mjs";

const [runtime, folder] = process.argv.slice(2);
const ort = await import(runtime);
const options = { executionProviders: [runtime === "onnxruntime-node" ? "cpu" : "wasm"], logSeverityLevel: 3, intraOpNumThreads: 1 };
ort.env.wasm.numThreads = 1;

/** Milliseconds that this process has computed: what else the machine does is left out. */
const clock = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

const target = join(folder, runtime);
const entries = JSON.parse(await readFile(join(folder, "manifest.json"), "utf8"));
const { left, tell } = await start(target, entries, `${runtime} ${ort.env.versions.common}, Node ${process.version}`);
for (const entry of left) {
  try {
    const { outputs, times: spent } = await runCase(ort, options, entry, (file) => readFile(join(folder, file)), clock);
    for (const [name, data] of Object.entries(outputs)) {
      await writeFile(join(target, `${entry.name}.${name}`), Buffer.from(data.buffer, data.byteOffset, data.byteLength));
    }
    await tell(entry, spent);
  } catch (error) {
    await tell(entry, { refused: String(error) });
  }
}
