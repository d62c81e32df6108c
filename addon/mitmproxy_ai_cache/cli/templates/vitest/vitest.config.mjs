import { defineConfig } from "vitest/config";

export default defineConfig({ test: { setupFiles: ["./ai-cache.setup.mjs"] } });
