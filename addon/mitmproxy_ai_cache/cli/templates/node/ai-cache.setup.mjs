// Each test has recordings of its own: ai-cache record -- node --import ./ai-cache.setup.mjs --test
// Tests that run at the same time in one file share them, unless a call names its own X-AI-Cache-Namespace.

import { relative } from "node:path";
import { afterEach, beforeEach } from "node:test";

const proxy = process.env.AI_CACHE_PROXY ?? process.env.AI_CACHE_URL; // set by ai-cache record, replay and run
const providers = ["api.openai.com", "api.anthropic.com", "generativelanguage.googleapis.com"]; // add yours
let scope = "";

if (proxy && globalThis.fetch) {
  const direct = globalThis.fetch;
  globalThis.fetch = (input, init = {}) => {
    const url = new URL(input instanceof Request ? input.url : input, "http://localhost");
    if (!providers.includes(url.hostname)) return direct(input, init);
    const headers = new Headers(init.headers ?? (input instanceof Request ? input.headers : {}));
    if (scope && !headers.has("X-AI-Cache-Namespace")) headers.set("X-AI-Cache-Namespace", scope);
    const through = `${new URL(proxy).origin}/${url.href}`; // also for Node 20, which knows no HTTPS_PROXY
    return direct(input instanceof Request ? new Request(through, input) : through, { ...init, headers });
  };
}

// The path without its ending, and the name of the test; a header cannot hold other characters than these.
const named = (file, test) =>
  `${relative(process.cwd(), file).replace(/\.\w+$/, "")}::${test}`.replace(/[^ -~]+/g, encodeURIComponent);

const around = []; // the scopes of the tests that a subtest is in
beforeEach((test) => {
  around.push(scope);
  scope = named(process.argv[1], test.fullName ?? test.name);
});
afterEach(() => {
  scope = around.pop();
});
