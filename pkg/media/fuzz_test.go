package media_test

import (
	"errors"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"pulsevault/pkg/media"
)

// What ValidPath lets pass names something within the folder, on every system and however a host writes it, and neither
// a record nor work in progress.
func FuzzValidPath(f *testing.F) {
	for _, seed := range []string{
		"original.mp4", "hls/master.m3u8", "metadata", "", ".", "..", "../x", "a/../b", "a//b", "/etc/passwd", "a/", "hls/.hidden", "META.JSON",
		"meta.json/", "x/meta.json", `a\b`, "C:", "con", "nul.txt", "a%2e%2e", "a\x00b", "ä", "a...b", "~", "-rf", "a/b/c/d/e/f/g/h/i",
	} {
		f.Add(seed)
	}
	root, err := os.OpenRoot(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = root.Close() })
	f.Fuzz(func(t *testing.T, name string) {
		if !media.ValidPath(name) {
			return
		}
		if path.Clean(name) != name || path.Clean("/"+name) != "/"+name {
			t.Errorf("%q is not in its shortest form", name)
		}
		if inside, err := filepath.Rel("/videos/id", filepath.Join("/videos/id", name)); err != nil || filepath.ToSlash(inside) != name {
			t.Errorf("%q leads to %q", name, inside)
		}
		if _, err := root.Stat(name); err != nil && !errors.Is(err, os.ErrNotExist) && len(name) < 256 {
			t.Errorf("a system that keeps to a folder refuses %q: %v", name, err)
		}
		if u, err := url.Parse("/media/" + name); err != nil || u.Path != "/media/"+name || u.EscapedPath() != u.Path || u.RawQuery != "" {
			t.Errorf("%q is another path in a URL: %v, %v", name, u, err)
		}
		for _, part := range strings.Split(name, "/") {
			if part == "" || part[0] == '.' {
				t.Errorf("%q names work in progress", name)
			}
		}
		if strings.EqualFold(name, "meta.json") {
			t.Errorf("%q is the record", name)
		}
	})
}

// A rendition's name is found again in that of its playlist, in every generation.
func FuzzPlaylistName(f *testing.F) {
	f.Add("240p", 1)
	f.Add("source", 12)
	f.Fuzz(func(t *testing.T, rendition string, generation int) {
		if strings.Contains(rendition, ".") || generation < 1 {
			return
		}
		if got := media.RenditionName(media.PlaylistName(rendition, generation)); got != rendition {
			t.Errorf("generation %d of %q is read as %q", generation, rendition, got)
		}
	})
}
