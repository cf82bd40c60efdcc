// node page.mjs SITE SHOTS EXPLAINER: uses the demo page in Chromium as people do; throws where it does not do what it
// should. EXPLAINER is a file that takes photos.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdir, readFile, readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import * as ort from "onnxruntime-web";
import { serve } from "../../examples/web/serve.mjs";
import { launch } from "./chromium.mjs";

const [site, shots, photoExplainer] = process.argv.slice(2);
const LONG = { timeout: 240000 };
await mkdir(shots, { recursive: true });
const { server, address } = await serve(site);
const browser = await launch();

/** A fresh page; anything that it asks of another host, and any error that it does not show, fails the test. */
async function open(viewport, options = {}) {
  const page = await (await browser.newContext({ viewport, ...options })).newPage();
  page.asked = [];
  page.on("request", (request) => {
    assert.match(request.url(), new RegExp(`^(blob:|data:|${address})`));
    page.asked.push(request.url());
  });
  page.on("pageerror", (error) => assert.fail(error));
  await page.goto(address);
  await page.waitForFunction(() => document.body.dataset.ready);
  return page;
}

const heading = (page) => page.textContent("#summary h2");
/** Waits until the page itself has explained, not the script that built it; returns what it says of that. */
const explained = (page) => page.waitForFunction(() => /^Predicted and explained in /.test(document.getElementById("facts").textContent), null, LONG).then(() => page.textContent("#facts"));
/** The share of f(x) - f(b) that the attributions miss, in percent, as the page says it. */
const missed = (facts) => Number((facts.match(/attributions miss the change of the score by ([0-9.]+) % of it/) ?? assert.fail(facts))[1]);
const weightsAsked = (page) => page.asked.filter((url) => url.endsWith(".data")).length;
const pixels = (page) =>
  page.evaluate(() => {
    const view = document.getElementById("view");
    return Array.from(view.getContext("2d").getImageData(0, 0, view.width, view.height).data);
  });
const shot = (page, name) => page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });

/** Drops files on the page as the mouse would: name, bytes, and further pairs of these. */
async function drop(page, ...given) {
  const pairs = given.flatMap((name, at) => (at % 2 ? [] : [[name, Buffer.from(given[at + 1]).toString("base64")]]));
  const transfer = await page.evaluateHandle((files) => {
    const data = new DataTransfer();
    for (const [title, content] of files) {
      data.items.add(new File([Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))], title));
    }
    return data;
  }, pairs);
  await page.dispatchEvent("body", "drop", { dataTransfer: transfer });
}

async function problem(page) {
  await page.waitForSelector("#problem:not([hidden])", LONG);
  return page.textContent("#problem");
}

/** The file of weights of a network of the site, and its bytes. */
async function weightsOf(network) {
  const folder = join(site, "explainers", network);
  const names = (await readdir(folder)).filter((name) => name.endsWith(".data"));
  assert.equal(names.length, 1);
  return [names[0], await readFile(join(folder, names[0]))];
}

/** Largest difference of two arrays, relative to the largest number of the second. */
function difference(found, expected) {
  assert.equal(found.length, expected.length);
  const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return found.reduce((most, value, at) => Math.max(most, Math.abs(value - expected[at])), 0) / largest;
}

const checks = {
  async "photos are read as Python reads them"() {
    const page = await open({ width: 1280, height: 800 });
    const folder = join(dirname(photoExplainer), "pixels");
    const names = (await readdir(folder)).filter((name) => name.endsWith(".rgb")).map((name) => name.slice(0, -4));
    assert.equal(names.length, 5);
    for (const name of names) {
      const content = (await readFile(join(folder, `${name}.png`))).toString("base64");
      const found = await page.evaluate(async (letters) => {
        const { Picture, readPhoto } = await import("./picture.js");
        const bitmap = await readPhoto(new Blob([Uint8Array.from(atob(letters), (letter) => letter.charCodeAt(0))]));
        const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
        canvas.getContext("2d").drawImage(bitmap, 0, 0);
        const square = bitmap.width === bitmap.height ? new Picture(bitmap).pixels(bitmap.width) : null;
        return Array.from(square ?? canvas.getContext("2d").getImageData(0, 0, bitmap.width, bitmap.height).data);
      }, content);
      assert.deepEqual(found.filter((_, at) => at % 4 < 3), Array.from(await readFile(join(folder, `${name}.rgb`))), name);
    }
  },

  async "an example is shown before anything is pressed or loaded, and is what the page computes"() {
    const page = await open({ width: 1280, height: 800 });
    assert.equal(await heading(page), "happy");
    const facts = await page.textContent("#facts");
    assert.match(facts, /^An example, computed when this page was built/);
    assert.ok(missed(facts) > 1);
    assert.equal(page.asked.filter((url) => /\.(onnx|data|wasm)$/.test(url)).length, 0);
    const example = await pixels(page);
    await shot(page, "desktop-example");
    await page.click("#explain");
    const [rough, second] = [missed(await explained(page)), await pixels(page)];
    assert.equal(await heading(page), "happy");
    const off = example.reduce((sum, value, at) => sum + Math.abs(value - second[at]), 0) / example.length;
    assert.ok(off < 6, `the example is ${off} of 255 levels off on average`); // each scales the photo in its own way
    assert.equal(await page.textContent("#more"), "Take 50 steps");
    await page.click("#more");
    const fine = missed(await explained(page));
    assert.equal(await page.inputValue("#points"), "50");
    assert.ok(fine < rough, `${fine} % with 50 steps, ${rough} % with 16`);
    assert.equal(weightsAsked(page), 1);
  },

  async "its numbers are those of the same files and runtime in Node"() {
    const page = await open({ width: 1280, height: 800 });
    const { networks } = JSON.parse(await readFile(join(site, "site.json"), "utf8"));
    const { id, input, weights } = networks.find((network) => network.id === "emotion");
    const [path, data] = await weightsOf(id);
    const image = Array.from({ length: 64 * 64 }, (_, at) => Math.sin(0.05 * (at % 64)) * Math.cos(0.07 * Math.floor(at / 64)));
    const asked = ["Saliency", "IntegratedGradients-16", "IntegratedGradients-50", "SmoothGrad-16", "VarGrad-16"];
    for (const file of asked.map((name) => `explainers/${id}/${name}.onnx`)) {
      const found = await page.evaluate(
        async ([url, values, given, shared]) => {
          const { Explainers } = await import("./explainers.js");
          window.mine ??= new Explainers();
          return window.mine.run({ key: url, url, weights: shared, ...given }, Float32Array.from(values), 3, () => {});
        },
        [file, image, input, weights],
      );
      const session = await ort.InferenceSession.create(await readFile(join(site, file)), { externalData: [{ path, data }] });
      const feeds = { [input.input]: new ort.Tensor("float32", Float32Array.from(image), input.dims) };
      feeds.target = new ort.Tensor("int64", BigInt64Array.of(3n), [1]);
      if (session.inputNames.includes("seed")) feeds.seed = new ort.Tensor("int64", BigInt64Array.of(0n), []);
      const expected = await session.run(feeds);
      for (const output of ["prediction", "attribution"]) {
        const off = difference(Object.values(found[output].values), [...expected[output].data]);
        assert.ok(off < 1e-5, `${file}: ${output} is ${off} off`);
      }
      assert.equal(found.gap === undefined, expected.relative_gap === undefined);
      if (found.gap !== undefined) assert.ok(Math.abs(found.gap - expected.relative_gap.data[0]) < 1e-4, file);
    }
    assert.equal(weightsAsked(page), 1);
  },

  async "a smile is explained, with the keyboard alone"() {
    const page = await open({ width: 1280, height: 800 });
    await page.focus("#samples button");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#summary h2", { state: "detached" });
    const photo = await pixels(page);
    for (const id of ["picture", "model", "method", "explain"]) {
      while ((await page.evaluate(() => document.activeElement.id)) !== id) await page.keyboard.press("Tab");
      const ring = id === "picture" ? "#drop" : `#${id}`;
      assert.notEqual(await page.$eval(ring, (element) => getComputedStyle(element).outlineStyle), "none");
      if (id === "method") await page.keyboard.press("Home");
    }
    await page.keyboard.press("Enter");
    await page.waitForSelector("#summary h2", LONG);
    assert.equal(await heading(page), "happy");
    assert.equal(await page.inputValue("#method"), "Saliency");
    assert.equal(await page.textContent("#low"), "0: no effect");
    await shot(page, "desktop-face");
    assert.notDeepEqual(await pixels(page), photo);
    await page.focus("#opacity");
    await page.keyboard.press("Home");
    assert.deepEqual(await pixels(page), photo);
    await page.focus("#view");
    await page.keyboard.press("ArrowLeft");
    assert.notDeepEqual(await pixels(page), photo);
    assert.equal(await page.$("#summary h2"), null, "a moved picture has no explanation yet");
  },

  async "a cat is explained while the page stays responsive, and another class after it"() {
    const page = await open({ width: 1280, height: 800 });
    await page.selectOption("#model", "photo");
    await page.selectOption("#method", "IntegratedGradients");
    await page.click("#samples button[title=Cat]");
    await page.click("#explain");
    await page.waitForFunction(() => document.getElementById("busy-text").textContent.startsWith("Explaining"), null, LONG);
    const frames = await page.evaluate(
      () =>
        new Promise((done) => {
          let count = 0;
          const next = () => (count++, performance.now() - start < 500 ? requestAnimationFrame(next) : done(count));
          const start = performance.now();
          requestAnimationFrame(next);
        }),
    );
    assert.ok(frames > 5, `${frames} frames in half a second of explaining`);
    await shot(page, "desktop-busy");
    await page.waitForSelector("#summary h2", LONG);
    assert.match(await heading(page), /cat|tabby/);
    assert.match(await page.textContent("#high"), /for/);
    const gap = missed(await explained(page));
    assert.ok(gap > 0 && gap < 1000, gap);
    assert.deepEqual(await page.$$eval("#points option", (options) => options.map(({ value }) => value)), ["16", "50", "200"]);
    await shot(page, "desktop-cat");
    const second = page.locator("#classes button").nth(1);
    const name = await second.locator("span").first().textContent();
    await page.selectOption("#method", "GradientInput");
    await page.click("#explain");
    await page.waitForSelector("#summary h2", LONG);
    const first = await pixels(page);
    await second.click();
    await page.waitForFunction((wanted) => document.querySelector("#summary h2")?.textContent === wanted, name, LONG);
    assert.notDeepEqual(await pixels(page), first);
    assert.equal(weightsAsked(page), 1, "18.9 MB are loaded once");
  },

  async "an explanation can be stopped"() {
    const page = await open({ width: 1280, height: 800 });
    await page.selectOption("#model", "photo");
    await page.selectOption("#method", "SmoothGrad");
    await page.click("#explain");
    await page.click("#cancel", LONG);
    await page.waitForSelector("#explain:enabled");
    assert.equal(await page.$("#summary h2"), null);
    assert.ok(await page.isHidden("#problem"));
    await page.selectOption("#model", "emotion");
    await page.selectOption("#method", "Saliency");
    await page.click("#explain");
    await explained(page); // by a new worker
  },

  async "files that cannot be used are named, with the reason"() {
    const page = await open({ width: 1280, height: 800 });
    await drop(page, "notes.txt", "no picture");
    assert.match(await problem(page), /notes\.txt is not a picture/);
    await drop(page, "broken.onnx", "no model");
    assert.match(await problem(page), /not an ONNX model/);
    await drop(page, "plain.onnx", await readFile(new URL("../../models/emotion.onnx", import.meta.url)));
    assert.match(await problem(page), /plain\.onnx has no output "prediction": it is a model, not an explainer/);
    await shot(page, "desktop-problem");
  },

  async "an explainer of photos brings its preprocessing and names"() {
    const page = await open({ width: 1280, height: 800 });
    await page.click("#samples button[title=Cat]");
    await drop(page, "photos.onnx", await readFile(photoExplainer));
    await page.waitForFunction(() => document.getElementById("own-name").textContent === "photos.onnx", null, LONG);
    assert.ok(await page.isDisabled("#range"));
    await page.click("#explain");
    await page.waitForSelector("#summary h2", LONG);
    assert.match(await heading(page), /cat|tabby/);
    await shot(page, "desktop-photos");
  },

  async "an explainer of one's own runs"() {
    const page = await open({ width: 1280, height: 800 });
    const [mine, weights] = [await readFile(join(site, "explainers", "emotion", "GuidedBackprop.onnx")), await weightsOf("emotion")];
    await drop(page, "mine.onnx", mine);
    assert.match(await problem(page), new RegExp(`mine.onnx has its weights in ${weights[0]}: choose both files together`));
    const foreign = Uint8Array.from(weights[1], (byte, at) => (at === 5000 ? byte ^ 1 : byte));
    await drop(page, "mine.onnx", mine, weights[0], foreign);
    await page.waitForFunction(() => /weights of another export/.test(document.getElementById("problem").textContent), null, LONG);
    await drop(page, ...weights, "mine.onnx", mine);
    await page.waitForFunction(() => document.getElementById("own-name").textContent === "mine.onnx", null, LONG);
    await page.fill("#zoom", "3.4");
    await page.click("#explain");
    await page.waitForSelector("#summary h2", LONG);
    assert.match(await heading(page), /^class \d$/);
  },

  async "weights of two exports under one name are kept apart"() {
    const page = await open({ width: 1280, height: 800 });
    const [name, data] = await weightsOf("emotion");
    const negative = Uint8Array.from(data, (byte, at) => (at % 4 === 3 ? byte ^ 128 : byte));
    const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");
    const mine = (await readFile(join(site, "explainers", "emotion", "GuidedBackprop.onnx"))).toString("latin1");
    const same = "weights-0000000000000000.data"; // as long as the real name, which the file tells with its length
    const answers = [];
    for (const weights of [data, negative, data]) {
      const renamed = mine.replaceAll(name, same).replaceAll(digest(data), digest(weights));
      const file = `mine-${answers.length}.onnx`;
      await drop(page, file, Buffer.from(renamed, "latin1"), same, weights);
      await page.waitForFunction((wanted) => document.getElementById("own-name").textContent === wanted, file, LONG);
      await page.click("#explain");
      await explained(page);
      answers.push(await page.textContent("#classes"));
    }
    assert.equal(answers[0], answers[2]);
    assert.notEqual(answers[0], answers[1]);
  },

  async "it fits a phone"() {
    const page = await open({ width: 390, height: 844 }, { hasTouch: true, isMobile: true, deviceScaleFactor: 2 });
    await page.click("#explain");
    await explained(page);
    const [wide, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(wide <= screen, `${wide} pixels wide on a screen of ${screen}`);
    await shot(page, "phone");
  },
};

try {
  for (const [name, check] of Object.entries(checks)) {
    await check();
    console.log(`ok: ${name}`);
  }
} finally {
  await browser.close();
  server.close();
}
