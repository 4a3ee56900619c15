package hls

import (
	"math"
	"strings"
)

func checkTargetDuration(v *video, f *findings) {
	for _, r := range v.rungs {
		if r.list == nil {
			continue
		}
		target := r.list.integer("EXT-X-TARGETDURATION")
		if target < 0 {
			f.fail("%s has no TARGETDURATION, or none that is a number", r.name)
			continue
		}
		longest := 0.0
		for _, s := range r.segments {
			longest = max(longest, s.seconds)
		}
		switch {
		case float64(target) < math.Round(longest):
			f.fail("%s: TARGETDURATION %d, but a segment of %.3f s", r.name, target, longest)
		case r.ended() && float64(target) > max(1, math.Round(longest)):
			f.fail("%s: TARGETDURATION %d, but the longest segment has %.3f s", r.name, target, longest)
		}
		f.ok("%s: %d, longest %.3f s", r.name, target, longest)
	}
}

// checkDurations compares what a playlist announces with what is shown: each segment within a picture, and none of it
// may add up.
func checkDurations(v *video, f *findings) {
	for _, r := range v.rungs {
		var stated, shown, worst float64
		n := 0
		for _, s := range r.segments {
			if !s.usable() || r.step == 0 {
				continue
			}
			span := r.span(s)
			if off := math.Abs(s.seconds - span); off > span/float64(len(s.Pictures)) {
				f.fail("%s: EXTINF says %.3f s, its %d pictures last %.3f s", s.name, s.seconds, len(s.Pictures), span)
			} else {
				worst = max(worst, off)
				stated, shown, n = stated+s.seconds, shown+span, n+1
			}
		}
		if n == 0 {
			continue
		}
		if math.Abs(stated-shown) > max(r.step/90_000, 0.001*float64(n)) {
			f.fail("%s: EXTINF adds up to %.3f s, the pictures last %.3f s", r.name, stated, shown)
		}
		f.ok("%s: %.3f s, off by %.1f ms at most", r.name, stated, worst*1000)
	}
}

func checkEnded(v *video, f *findings) {
	for _, r := range v.rungs {
		if r.list == nil {
			continue
		}
		kind, _ := find(r.list.tags, "EXT-X-PLAYLIST-TYPE")
		switch {
		case r.ended() && kind != "VOD":
			f.fail("%s has ended, but PLAYLIST-TYPE is %q and not VOD", r.name, kind)
		case !r.ended() && kind == "VOD":
			f.fail("%s says that it is VOD, which never changes, but does not end", r.name)
		case !r.ended():
			f.note("%s has not ended yet", r.name)
		}
		f.ok("%s: %s, ends", r.name, kind)
	}
}

// checkMediaTypes and checkCaching are about what a server says.
func checkMediaTypes(v *video, f *findings) {
	if !v.web {
		return
	}
	for _, p := range v.playlists() {
		switch kind := mediaType(p.header.Get("Content-Type")); kind {
		case "application/vnd.apple.mpegurl", "audio/mpegurl":
			f.ok("%s: %s", p.name, kind)
		default:
			f.fail("%s is sent as %q and not as application/vnd.apple.mpegurl", p.name, kind)
		}
	}
	n := 0
	v.each(func(_ *rung, _, s *segment) {
		if kind := mediaType(s.header.Get("Content-Type")); kind != "video/mp2t" {
			f.fail("%s is sent as %q and not as video/mp2t", s.name, kind)
		}
		n++
	})
	f.ok("%d segments: video/mp2t", n)
}

func mediaType(header string) string {
	kind, _, _ := strings.Cut(header, ";")
	return strings.ToLower(strings.TrimSpace(kind))
}

func checkCaching(v *video, f *findings) {
	if !v.web {
		return
	}
	for _, p := range v.playlists() {
		control := directives(p.header.Get("Cache-Control"))
		if !control["no-cache"] && !control["no-store"] {
			f.fail("%s may be kept without asking (%q): what joins it later would be missed", p.name, p.header.Get("Cache-Control"))
		}
		wantPrivate(p.name, control, f)
	}
	n := 0
	v.each(func(_ *rung, _, s *segment) {
		control := directives(s.header.Get("Cache-Control"))
		if control["no-cache"] || control["no-store"] || !control["max-age"] {
			f.fail("%s may not be kept (%q), though it never changes", s.name, s.header.Get("Cache-Control"))
		}
		wantPrivate(s.name, control, f)
		n++
	})
	f.ok("%d playlists are asked for each time, %d segments are kept, both by the player only", len(v.playlists()), n)
}

// wantPrivate: no cache that people share may hold what one of them was allowed to see.
func wantPrivate(name string, control map[string]bool, f *findings) {
	if !control["private"] && !control["no-store"] {
		f.fail("%s may be kept by caches that people share: Cache-Control lacks private", name)
	}
}

func directives(header string) map[string]bool {
	found := map[string]bool{}
	for d := range strings.SplitSeq(strings.ToLower(header), ",") {
		name, _, _ := strings.Cut(strings.TrimSpace(d), "=")
		found[name] = true
	}
	return found
}
