// graphile-worker's side: `migrate`, `enqueue` or `work`, driven by lines on stdin.
import { openSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { Logger, makeWorkerUtils, run, runMigrations } from "graphile-worker";

const [mode, url, ...rest] = process.argv.slice(2);
const logger = new Logger(() => () => {});
const WORD_BYTES = 8;

/** The same four words as board.py's Slot: ready, done, first start, last start. */
class Slot {
  constructor(path, number) {
    this.file = openSync(path, "r+");
    this.offset = number * 4 * WORD_BYTES;
    this.words = new BigInt64Array(4);
    this.isDirty = false;
  }

  ready() {
    this.words[0] = 1n;
    this.write();
  }

  /** Count a task; what one turn of the event loop does is written once. */
  start() {
    const now = process.hrtime.bigint();
    this.words[1] += 1n;
    this.words[2] ||= now;
    this.words[3] = now;
    if (!this.isDirty) {
      this.isDirty = true;
      setImmediate(() => this.write());
    }
  }

  write() {
    this.isDirty = false;
    writeSync(this.file, new Uint8Array(this.words.buffer), 0, 4 * WORD_BYTES, this.offset);
  }
}

/** Answer "bulk N" and "single N" with "ok". */
async function enqueue(bulkSize) {
  const utils = await makeWorkerUtils({ connectionString: url, logger });
  console.log("ok");
  for await (const line of createInterface({ input: process.stdin })) {
    const [verb, count] = line.split(" ");
    if (verb === "bulk") {
      for (let left = Number(count); left > 0; left -= bulkSize) {
        const jobs = Array.from({ length: Math.min(bulkSize, left) }, () => ({ identifier: "noop" }));
        await utils.addJobs(jobs);
      }
    } else {
      for (let i = 0; i < Number(count); i++) await utils.addJob("noop");
    }
    console.log("ok");
  }
  await utils.release();
}

async function work(board, waits, options) {
  const slot = new Slot(board, 0);
  const start = () =>
    run({
      preset: { worker: { connectionString: url, ...JSON.parse(options) } },
      logger,
      noHandleSignals: true,
      taskList: { noop: async () => slot.start() },
    });
  if (waits === "drain") {
    slot.ready();
    await new Promise((resolve) => process.stdin.once("data", resolve));
    await start();
  } else {
    await start();
    slot.ready();
  }
}

if (mode === "migrate") await runMigrations({ connectionString: url, logger });
else if (mode === "enqueue") await enqueue(Number(rest[0]));
else await work(...rest);
