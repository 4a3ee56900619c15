package hls

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"pulsevault/pkg/mpegts"
)

// single are tags that a playlist has once at most.
var single = []string{
	"EXT-X-VERSION", "EXT-X-TARGETDURATION", "EXT-X-MEDIA-SEQUENCE", "EXT-X-PLAYLIST-TYPE", "EXT-X-ENDLIST", "EXT-X-INDEPENDENT-SEGMENTS",
}

// playlists are the master and every media playlist that could be read.
func (v *video) playlists() []*playlist {
	list := []*playlist{v.master}
	for _, r := range v.rungs {
		if r.list != nil {
			list = append(list, r.list)
		}
	}
	return list
}

func checkSyntax(v *video, f *findings) {
	for i, p := range v.playlists() {
		for _, what := range p.faults {
			f.fail("%s: %s", p.name, what)
		}
		for _, name := range single {
			if n := len(slices.DeleteFunc(slices.Clone(p.tags), func(t tag) bool { return t.name != name })); n > 1 {
				f.fail("%s: %s stands there %d times", p.name, name, n)
			}
		}
		kind, other := "EXTINF", "EXT-X-STREAM-INF"
		if i == 0 {
			kind, other = other, kind
		}
		for _, e := range p.entries {
			if _, ok := find(e.tags, kind); !ok {
				f.fail("%s: no %s stands before %s", p.name, kind, withoutQuery(e.uri))
			}
			if _, ok := find(e.tags, other); ok {
				f.fail("%s: %s is no tag of such a playlist", p.name, other)
			}
		}
		f.ok("%s: %d URIs", p.name, len(p.entries))
	}
	if len(v.master.entries) == 0 {
		f.fail("%s has no variants", v.master.name)
	}
	if v.master.has("EXT-X-MEDIA") || v.master.has("EXT-X-I-FRAME-STREAM-INF") {
		f.note("%s: what EXT-X-MEDIA and EXT-X-I-FRAME-STREAM-INF lead to is not looked at", v.master.name)
	}
}

// neededVersion is the lowest protocol version that has all tags and values of the playlist (RFC 8216, 7).
func (p *playlist) neededVersion() int {
	need := 1
	for _, e := range p.entries {
		if value, _ := find(e.tags, "EXTINF"); strings.Contains(strings.SplitN(value, ",", 2)[0], ".") {
			need = max(need, 3)
		}
		if _, ok := find(e.tags, "EXT-X-BYTERANGE"); ok {
			need = max(need, 4)
		}
		if _, ok := find(e.tags, "EXT-X-MAP"); ok {
			need = max(need, 6)
		}
		key, _ := find(e.tags, "EXT-X-KEY")
		switch attr := attributes(key); {
		case attr["KEYFORMAT"] != "" || attr["KEYFORMATVERSIONS"] != "":
			need = max(need, 5)
		case attr["IV"] != "":
			need = max(need, 2)
		}
	}
	if p.has("EXT-X-I-FRAMES-ONLY") {
		need = max(need, 4)
	}
	return need
}

func checkVersion(v *video, f *findings) {
	for _, p := range v.playlists() {
		has, need := max(p.integer("EXT-X-VERSION"), 1), p.neededVersion()
		if has < need {
			f.fail("%s says version %d, what is in it needs %d", p.name, has, need)
		}
		f.ok("%s: %d (%d needed)", p.name, has, need)
	}
}

func checkURIs(v *video, f *findings) {
	n, away := 0, map[string]int{}
	for _, p := range v.playlists() {
		seen := map[string]bool{}
		for _, e := range p.entries {
			n++
			name := withoutQuery(e.uri)
			switch {
			case p != v.master && p.header != nil && elsewhere(e.uri) != "":
				away[elsewhere(e.uri)]++
			case !inside(e.uri):
				f.fail("%s: %s is not relative, or leads out of the folder", p.name, name)
			case seen[name]:
				f.fail("%s: %s stands there twice", p.name, name)
			}
			seen[name] = true
		}
	}
	for host, n := range away {
		f.note("%d segments are fetched from %s", n, host)
	}
	f.ok("%d URIs are relative and stay inside", n)
}

// checkSegments takes a URI that leads outside for another rule's affair.
func checkSegments(v *video, f *findings) {
	var n int
	var bytes int64
	for _, r := range v.rungs {
		if r.err != nil && !errors.Is(r.err, errOutside) {
			f.fail("%s: %v", r.name, r.err)
		}
		for _, s := range r.segments {
			n++
			bytes += s.Size
			if s.err != nil && !errors.Is(s.err, errOutside) {
				f.fail("%s: %v", s.name, s.err)
			}
		}
		if r.list != nil && len(r.segments) == 0 {
			f.fail("%s has no segments", r.name)
		}
	}
	f.ok("%d segments, %d bytes", n, bytes)
}

func checkIndependent(v *video, f *findings) {
	if v.master.has("EXT-X-INDEPENDENT-SEGMENTS") {
		f.ok("%s says so for all", v.master.name)
		return
	}
	f.fail("%s lacks EXT-X-INDEPENDENT-SEGMENTS", v.master.name)
}

func checkAttributes(v *video, f *findings) {
	for _, r := range v.rungs {
		for _, name := range []string{"BANDWIDTH", "AVERAGE-BANDWIDTH", "CODECS", "RESOLUTION", "FRAME-RATE"} {
			if r.attr[name] == "" {
				f.fail("%s has no %s", r.name, name)
			}
		}
		f.ok("%s: all five", r.name)
	}
}

func checkCodecs(v *video, f *findings) {
	for _, r := range v.rungs {
		stated := strings.ToLower(strings.Trim(r.attr["CODECS"], `"`))
		if stated == "" || !r.whole() {
			continue
		}
		seen := map[string]bool{}
		for _, s := range r.segments {
			for _, q := range s.Sequences {
				seen[q.Codec()] = true
			}
			for _, a := range s.Formats {
				seen[a.Codec()] = true
			}
		}
		for _, name := range strings.Split(stated, ",") {
			if name = strings.TrimSpace(name); !seen[name] {
				f.fail("%s: CODECS says %s, which is not in the streams", r.name, name)
			}
			delete(seen, name)
		}
		for name := range seen {
			f.fail("%s: CODECS lacks %s", r.name, name)
		}
		f.ok("%s: %s", r.name, stated)
	}
}

func checkResolution(v *video, f *findings) {
	said := map[string]bool{}
	v.each(func(r *rung, _, s *segment) {
		for _, q := range s.Sequences {
			width, height := q.Shown()
			actual, stated := fmt.Sprintf("%dx%d", width, height), r.attr["RESOLUTION"]
			if stated != "" && stated != actual {
				f.fail("%s: RESOLUTION says %s, the pictures are %s", s.name, stated, actual)
			}
			if !said[r.name] {
				f.ok("%s: %s", r.name, actual)
				said[r.name] = true
			}
		}
	})
}

func checkFrameRate(v *video, f *findings) {
	for _, r := range v.rungs {
		stated, err := strconv.ParseFloat(r.attr["FRAME-RATE"], 64)
		if err != nil || r.step == 0 {
			continue
		}
		measured := mpegts.Clock / r.step
		// Three decimals are stated, and a time stamp is rounded.
		if math.Abs(stated-measured) > 0.001+measured/2000 {
			f.fail("%s: FRAME-RATE says %.3f, measured %.3f", r.name, stated, measured)
		}
		if stated > 60.001 {
			f.fail("%s: FRAME-RATE is %.3f, more than 60", r.name, stated)
		}
		f.ok("%s: %.3f", r.name, measured)
	}
}
