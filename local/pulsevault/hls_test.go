package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A signed link and the folder behind it are judged alike; what was spoiled is found by both, with a status for scripts.
func TestLintOfALinkAndOfAFolder(t *testing.T) {
	root := t.TempDir()
	c := client{t, start(t, "serve", root).url}
	id := c.send(shortClip(t))
	c.await(id, "transcoded")
	folder := filepath.Join(root, "videos", id)
	places := []string{c.url + c.sign(id, "hls/master.m3u8"), folder, filepath.Join(folder, "hls", "master.m3u8")}
	for _, place := range places {
		code, out := run(t, root, nil, "hls", "lint", place)
		if code != 0 || strings.Contains(out, "FAIL") || !strings.Contains(out, "No rule fails.") || strings.Contains(out, "token=") {
			t.Errorf("exit status %d\n%s", code, out)
		}
	}
	code, out := run(t, root, nil, "hls", "lint", "--json", places[0])
	var report struct {
		Place   string
		OK      bool
		Results []struct{ Rule, Source, Verdict, Evidence string }
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 0 || !report.OK || len(report.Results) < 28 {
		t.Errorf("exit status %d, %v: %s", code, err, out)
	}
	for _, r := range report.Results {
		if r.Verdict != "ok" {
			t.Errorf("%s: %s, %s", r.Rule, r.Verdict, r.Evidence)
		}
	}
	segments, _ := filepath.Glob(filepath.Join(folder, "hls", "*_000.ts"))
	if err := os.Truncate(segments[0], 1000); err != nil {
		t.Fatal(err)
	}
	for _, place := range places {
		if code, out := run(t, root, nil, "hls", "lint", place); code != 1 || !strings.Contains(out, "1 of 28 rules fail: transport\n") {
			t.Errorf("exit status %d\n%s", code, out)
		}
	}
	if code, out := run(t, root, nil, "hls", "lint", c.url+"/media/videos/"+id+"/hls/master.m3u8"); code != 1 || !strings.Contains(out, "401") {
		t.Errorf("without a token: exit status %d\n%s", code, out)
	}
}
