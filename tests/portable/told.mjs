// What is told of each case in FOLDER/told.jsonl: a line when it is done, with its times or why it was refused.

import { appendFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

/**
 * Starts the file of a runtime; returns the cases that are left, and a function that adds a line.
 * With `resume`, lines whose files and runtime are still the same are kept, so that a run that was killed goes on.
 */
export async function start(target, entries, version, resume = false) {
  await mkdir(target, { recursive: true });
  const path = join(target, "told.jsonl");
  const keys = new Map(entries.map(({ name, key }) => [name, key]));
  const before = resume ? await readFile(path, "utf8").catch(() => "") : "";
  // A line that was cut off has no end.
  const lines = before.split("\n").slice(0, -1).map((line) => JSON.parse(line));
  const kept = lines.filter((one) => keys.get(one.name) === one.key && one.version === version);
  const text = (one) => `${JSON.stringify(one)}\n`;
  await writeFile(path, kept.map(text).join(""));
  const done = new Set(kept.map(({ name }) => name));
  const tell = ({ name, key }, told) => appendFile(path, text({ name, key, version, ...told }));
  return { left: entries.filter(({ name }) => !done.has(name)), tell };
}
