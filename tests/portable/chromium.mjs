// Debian's Chromium, started so that it asks nothing of the network.

import { chromium } from "playwright-core";

const FLAGS = [
  "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
  "--disable-sync",
];
/** WebGPU computed by SwiftShader, on the CPU. */
const WEBGPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];

export function launch(webgpu = false) {
  const args = [...FLAGS, ...(webgpu ? WEBGPU : ["--disable-gpu"])];
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args });
}
