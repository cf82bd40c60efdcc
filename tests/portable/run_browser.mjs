// node run_browser.mjs FOLDER [wasm|webgpu] [--light] [--resume]: runs every case of FOLDER/manifest.json in headless
// Chromium, on a page from localhost; on WebGPU by SwiftShader, which needs no GPU. --light leaves the heavy cases out,
// --resume those that are done (told.mjs).

import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { serve } from "../../examples/web/serve.mjs";
import { launch } from "./chromium.mjs";
import { start } from "./told.mjs";

const [folder, provider = "wasm"] = process.argv.slice(2).filter((word) => !word.startsWith("--"));
const [light, resume] = ["--light", "--resume"].map((word) => process.argv.includes(word));
const webgpu = provider === "webgpu";
const MODULE = webgpu ? "ort.webgpu.min.mjs" : "ort.wasm.min.mjs";
const BINARY = webgpu ? "ort-wasm-simd-threaded.asyncify" : "ort-wasm-simd-threaded";

const PAGE = `<!doctype html><title>cases</title><script type="module">
  import * as ort from "./ort/${MODULE}";
  import { runCase } from "./run_case.mjs";
  ort.env.wasm.wasmPaths = new URL("./ort/", location.href).href;
  ort.env.wasm.numThreads = 1;
  const options = { executionProviders: ["${provider}"], logSeverityLevel: 3 };
  const load = async (file) => new Uint8Array(await (await fetch(file)).arrayBuffer());
  const text = (data) => Array.from(new Uint8Array(data.buffer), (byte) => String.fromCharCode(byte)).join("");
  window.run = async (entry) => {
    const { outputs, times } = await runCase(ort, options, entry, load, () => performance.now());
    const encoded = Object.entries(outputs).map(([name, data]) => [name, btoa(text(data))]);
    return { outputs: Object.fromEntries(encoded), times };
  };
  window.ready = true;
</script>`;

const name = webgpu ? "chromium-webgpu" : "chromium";
const target = join(folder, name);
await mkdir(target, { recursive: true });
await writeFile(join(folder, `${name}.html`), PAGE);
await cp(fileURLToPath(new URL("./run_case.mjs", import.meta.url)), join(folder, "run_case.mjs"));
const runtime = dirname(createRequire(import.meta.url).resolve("onnxruntime-web"));
const VERSION = JSON.parse(await readFile(join(runtime, "..", "package.json"), "utf8")).version;
for (const file of [MODULE, `${BINARY}.mjs`, `${BINARY}.wasm`]) {
  await cp(join(runtime, file), join(folder, "ort", file));
}

const { server, address } = await serve(folder);
const browser = await launch(webgpu);
try {
  const entries = JSON.parse(await readFile(join(folder, "manifest.json"), "utf8"));
  const version = `onnxruntime-web ${VERSION}, Chromium ${browser.version()}`;
  const { left, tell } = await start(target, entries.filter(({ heavy }) => !(heavy && light)), version, resume);
  let page;
  let network;
  for (const entry of left) {
    if (entry.network !== network) {
      // A page for each network: what one leaves behind, another does not see.
      await page?.close();
      page = await browser.newPage();
      page.on("pageerror", (error) => console.error(error));
      await page.goto(new URL(`${name}.html`, address).href);
      await page.waitForFunction(() => window.ready);
      network = entry.network;
    }
    try {
      const { outputs, times: spent } = await page.evaluate((given) => window.run(given), entry);
      for (const [output, data] of Object.entries(outputs)) {
        await writeFile(join(target, `${entry.name}.${output}`), Buffer.from(data, "base64"));
      }
      await tell(entry, spent);
    } catch (error) {
      // Of a browser that has ended, as with a run that is killed, nothing is known of the file. It may not be known
      // to be disconnected yet; a page that crashes says so in other words.
      if (!browser.isConnected() || String(error).includes("has been closed")) throw error;
      await tell(entry, { refused: String(error) });
      network = undefined;
    }
  }
} finally {
  await browser.close();
  server.close();
}
