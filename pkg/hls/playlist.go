package hls

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// playlist is a playlist tag by tag, as it stands there: what is to be judged must not be mended by reading it.
type playlist struct {
	name    string // without its token
	header  http.Header
	tags    []tag
	entries []entry
	faults  []string // what is no playlist
}

type tag struct{ name, value string }

// entry is a URI with the tags that are about it.
type entry struct {
	uri  string
	tags []tag
}

// about are the tags that are about the next URI (RFC 8216, 4.3.2 and 4.3.4.2); all others are about the playlist.
var about = map[string]bool{
	"EXTINF": true, "EXT-X-BYTERANGE": true, "EXT-X-DISCONTINUITY": true, "EXT-X-KEY": true, "EXT-X-MAP": true,
	"EXT-X-PROGRAM-DATE-TIME": true, "EXT-X-DATERANGE": true, "EXT-X-STREAM-INF": true,
}

func parsePlaylist(name string, header http.Header, text string) *playlist {
	p := &playlist{name: name, header: header}
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	if lines[0] != "#EXTM3U" {
		p.faults = append(p.faults, "it does not begin with #EXTM3U")
	}
	var pending []tag
	for _, line := range lines {
		if t, isTag := strings.CutPrefix(line, "#EXT"); isTag {
			name, value, _ := strings.Cut("EXT"+t, ":")
			if about[name] {
				pending = append(pending, tag{name, value})
			} else {
				p.tags = append(p.tags, tag{name, value})
			}
		} else if line != "" && line[0] != '#' {
			p.entries = append(p.entries, entry{line, pending})
			pending = nil
		}
	}
	if len(pending) > 0 {
		p.faults = append(p.faults, fmt.Sprintf("no URI follows the last %s", pending[0].name))
	}
	return p
}

func find(tags []tag, name string) (value string, ok bool) {
	for _, t := range tags {
		if t.name == name {
			return t.value, true
		}
	}
	return "", false
}

func (p *playlist) has(name string) bool {
	_, ok := find(p.tags, name)
	return ok
}

// integer returns the value of a tag, or -1.
func (p *playlist) integer(name string) int {
	value, _ := find(p.tags, name)
	if n, err := strconv.ParseUint(value, 10, 31); err == nil {
		return int(n)
	}
	return -1
}

// seconds is the duration that an entry of a media playlist announces; 0 if it announces none.
func (e entry) seconds() float64 {
	value, _ := find(e.tags, "EXTINF")
	number, _, _ := strings.Cut(value, ",")
	s, err := strconv.ParseFloat(number, 64)
	if err != nil || !(s >= 0) || s > 1e6 {
		return 0
	}
	return s
}

// attributes reads an attribute list (RFC 8216, 4.2). Quoted values keep their quotes.
func attributes(list string) map[string]string {
	found := map[string]string{}
	for list != "" {
		name, rest, ok := strings.Cut(list, "=")
		if !ok {
			return found
		}
		value, more, _ := strings.Cut(rest, ",")
		if strings.HasPrefix(rest, `"`) {
			if end := strings.IndexByte(rest[1:], '"'); end >= 0 {
				value, more = rest[:end+2], strings.TrimPrefix(rest[end+2:], ",")
			}
		}
		found[strings.TrimSpace(name)], list = value, more
	}
	return found
}
