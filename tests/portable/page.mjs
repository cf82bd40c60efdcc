// node page.mjs SITE SHOTS EXPLAINER: uses the demo page in Chromium as people do; throws where it does not do what it
// should. EXPLAINER is a file that takes photos.

import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
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
  page.on("request", (request) => assert.match(request.url(), new RegExp(`^(blob:|data:|${address})`)));
  page.on("pageerror", (error) => assert.fail(error));
  await page.goto(address);
  await page.waitForFunction(() => document.body.dataset.ready);
  return page;
}

const heading = (page) => page.textContent("#summary h2");
const pixels = (page) =>
  page.evaluate(() => {
    const view = document.getElementById("view");
    return Array.from(view.getContext("2d").getImageData(0, 0, view.width, view.height).data);
  });
const shot = (page, name) => page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });

/** Drops files on the page as the mouse would. */
async function drop(page, name, bytes) {
  const transfer = await page.evaluateHandle(
    ([title, content]) => {
      const data = new DataTransfer();
      data.items.add(new File([Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))], title));
      return data;
    },
    [name, Buffer.from(bytes).toString("base64")],
  );
  await page.dispatchEvent("body", "drop", { dataTransfer: transfer });
}

async function problem(page) {
  await page.waitForSelector("#problem:not([hidden])", LONG);
  return page.textContent("#problem");
}

const checks = {
  async "a smile is explained, with the keyboard alone"() {
    const page = await open({ width: 1280, height: 800 });
    const photo = await pixels(page);
    await page.focus("#samples button");
    await page.keyboard.press("Enter");
    for (const id of ["picture", "model", "method", "explain"]) {
      while ((await page.evaluate(() => document.activeElement.id)) !== id) await page.keyboard.press("Tab");
      const ring = id === "picture" ? "#drop" : `#${id}`;
      assert.notEqual(await page.$eval(ring, (element) => getComputedStyle(element).outlineStyle), "none");
    }
    await page.keyboard.press("Enter");
    await page.waitForSelector("#summary h2", LONG);
    assert.equal(await heading(page), "happy");
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
    const facts = await page.textContent("#facts");
    const [, missed] = facts.match(/attributions miss the change of the score by ([0-9.]+) % of it/) ?? assert.fail(facts);
    assert.ok(missed > 0 && missed < 1000, facts);
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
    await drop(page, "mine.onnx", await readFile(join(site, "explainers", "emotion-GuidedBackprop.onnx")));
    await page.waitForFunction(() => document.getElementById("own-name").textContent === "mine.onnx", null, LONG);
    await page.fill("#zoom", "3.4");
    await page.click("#explain");
    await page.waitForSelector("#summary h2", LONG);
    assert.match(await heading(page), /^class \d$/);
  },

  async "it fits a phone"() {
    const page = await open({ width: 390, height: 844 }, { hasTouch: true, isMobile: true, deviceScaleFactor: 2 });
    await page.click("#explain");
    await page.waitForSelector("#summary h2", LONG);
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
