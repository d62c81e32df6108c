// Each test has recordings of its own: ai-cache record -- npx vitest run
// Tests of test.concurrent share them, unless a call names its own X-AI-Cache-Namespace.

import { relative } from "node:path";
import { afterEach, beforeEach, expect } from "vitest";

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

beforeEach(() => {
  const { testPath, currentTestName } = expect.getState();
  scope = named(testPath, currentTestName);
});
afterEach(() => {
  scope = "";
});
