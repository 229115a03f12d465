// SPDX-License-Identifier: MIT
// SPDX-FileCopyrightText: The rlockd authors
import net from "node:net";
import { setTimeout } from "node:timers/promises";

const connection = net.connect(process.env.RLOCK_SOCKET ?? "/run/rlockd/rlockd.sock");
const lost = new AbortController(), waiting = new Map();
let text = "";

connection.setEncoding("utf8").on("data", (chunk) => {
  const lines = (text + chunk).split("\n");
  text = lines.pop();
  for (const message of lines.map((line) => JSON.parse(line))) {
    if (message.method === "lost") lost.abort();
    waiting.get(message.id)?.(message);
  }
}).on("error", console.error).on("close", () => {  // the end of the connection is the end of its locks
  lost.abort();
  for (const answer of waiting.values()) answer({ error: { message: "the daemon has ended the connection" } });
});

function call(id, method, params) {
  connection.write(JSON.stringify({ jsonrpc: "2.0", id, method, params }) + "\n");
  return new Promise((resolve, reject) => waiting.set(id, ({ result, error }) =>
    error ? reject(new Error(`no ${method}: ${error.message}`)) : resolve(result)));
}
console.log("locked", (await call(1, "lock", { key: process.argv[2] })).fence);
await setTimeout(1000, null, { signal: lost.signal }).catch(() => { throw new Error("lost"); });  // the work
await call(2, "unlock", { key: process.argv[2] });
console.log("done");
connection.end();
