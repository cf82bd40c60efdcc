// node run_browser.mjs FOLDER: runs every case of FOLDER/manifest.json in headless Chromium, on a page from localhost.

import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { serve } from "../../examples/web/serve.mjs";
import { launch } from "./chromium.mjs";

const PAGE = `<!doctype html><title>cases</title><script type="module">
  import * as ort from "./ort/ort.wasm.min.mjs";
  import { runCase } from "./run_case.mjs";
  ort.env.wasm.wasmPaths = new URL("./ort/", location.href).href;
  ort.env.wasm.numThreads = 1;
  const options = { executionProviders: ["wasm"], logSeverityLevel: 3 };
  const load = async (file) => new Uint8Array(await (await fetch(file)).arrayBuffer());
  const text = (data) => Array.from(new Uint8Array(data.buffer), (byte) => String.fromCharCode(byte)).join("");
  window.run = async (entry) => {
    const { outputs, times } = await runCase(ort, options, entry, load, () => performance.now());
    const encoded = Object.entries(outputs).map(([name, data]) => [name, btoa(text(data))]);
    return { outputs: Object.fromEntries(encoded), times };
  };
  window.ready = true;
</script>`;

const folder = process.argv[2];
const target = join(folder, "chromium");
await mkdir(target, { recursive: true });
await writeFile(join(folder, "index.html"), PAGE);
await cp(fileURLToPath(new URL("./run_case.mjs", import.meta.url)), join(folder, "run_case.mjs"));
const runtime = dirname(createRequire(import.meta.url).resolve("onnxruntime-web"));
for (const file of ["ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"]) {
  await cp(join(runtime, file), join(folder, "ort", file));
}

const { server, address } = await serve(folder);
const browser = await launch();
try {
  const page = await browser.newPage();
  page.on("pageerror", (error) => console.error(error));
  await page.goto(address);
  await page.waitForFunction(() => window.ready);
  const times = { browser: browser.version() };
  for (const entry of JSON.parse(await readFile(join(folder, "manifest.json"), "utf8"))) {
    const { outputs, times: spent } = await page.evaluate((given) => window.run(given), entry);
    times[entry.name] = spent;
    for (const [name, data] of Object.entries(outputs)) {
      await writeFile(join(target, `${entry.name}.${name}`), Buffer.from(data, "base64"));
    }
  }
  await writeFile(join(target, "times.json"), JSON.stringify(times, null, 1));
} finally {
  await browser.close();
  server.close();
}
