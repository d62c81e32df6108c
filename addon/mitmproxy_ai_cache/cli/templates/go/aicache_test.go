package PACKAGE

import (
	"net/http"
	"os"
	"runtime/debug"
	"testing"
)

// aiCacheClient is a client whose calls have recordings of their own for each test, also with t.Parallel():
//
//	openai.NewClient(option.WithHTTPClient(aiCacheClient(t)))
//
// Record with: ai-cache record -- go test ./...
func aiCacheClient(t *testing.T) *http.Client {
	if os.Getenv("AI_CACHE_PROXY") == "" && os.Getenv("AI_CACHE_URL") == "" {
		return http.DefaultClient
	}
	scope := t.Name()
	if build, ok := debug.ReadBuildInfo(); ok {
		scope = build.Path + "::" + scope
	}
	return &http.Client{Transport: aiCacheScope(scope)}
}

type aiCacheScope string

func (scope aiCacheScope) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Header.Set("X-AI-Cache-Namespace", string(scope)) // ai-cache takes it off
	return http.DefaultTransport.RoundTrip(request)
}
