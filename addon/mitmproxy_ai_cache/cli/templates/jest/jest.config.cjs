module.exports = { setupFilesAfterEnv: ["<rootDir>/ai-cache.setup.cjs"] };
