package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"pulsevault/local/bench/rig"
)

// What is to be reached: section "Figures" of docs/design.md.
const (
	reachSign    = 30_000 // a second, as are the next two
	reachSegment = 3_000
	reachRange   = 25_000
	// The same as parts of what nginx did on the machine for which they were set: 4,300 segments, 53,000 ranges.
	reachSegmentOfNginx = 0.70
	reachRangeOfNginx   = 0.47
	reachPlaylist       = time.Millisecond // of processor time
	segmentSize         = 1 << 20
	rangeSize           = 16 << 10
	loadTime            = 2 * time.Second // of one round
)

// streamed is a load, for us and for the plain servers, which do not know our paths.
type streamed struct {
	what  string
	ours  load
	plain *load // nil if they cannot do the like
	nginx bool  // whether nginx can
	reach float64
	// ofNginx is what to reach of nginx's rate, which tells more on a machine that is slower or faster; 0 if it cannot.
	ofNginx float64
}

// measureStream has servers take turns under the same load.
func measureStream(ctx context.Context, b *bench) (rows []rig.Row, err error) {
	s, err := b.startServer(ctx, "stream")
	if err != nil {
		return nil, err
	}
	defer s.Stop()
	host := strings.TrimPrefix(s.URL, "http://")
	id, err := b.storeVideo(ctx, "stream", &rig.Client{Base: s.URL})
	if err != nil {
		return nil, err
	}
	folder := filepath.Join(b.dir, "stream", "videos", id, "hls")
	plain, err := b.startPlain(ctx, folder)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, p := range plain {
			p.stop()
		}
	}()
	loads, err := streamLoads(ctx, host, id, "")
	if err != nil {
		return nil, err
	}
	for _, l := range loads {
		more, err := b.streamRows(ctx, host, s.PID(), l, plain)
		rows = append(rows, more...)
		if err != nil {
			return rows, s.Explain(fmt.Errorf("%s: %w", l.what, err))
		}
	}
	audit, err := b.auditRows(ctx, host)
	return append(rows, audit...), err
}

// storeVideo makes a video with a segment and a playlist of three hours, on the server with a folder of that name, and
// returns its id.
func (b *bench) storeVideo(ctx context.Context, server string, c *rig.Client) (string, error) {
	u, _, err := c.Upload(ctx, b.small, smallSize)
	if err != nil {
		return "", err
	}
	id, _, err := c.Finalize(ctx, u)
	if err != nil {
		return "", err
	}
	var playlist bytes.Buffer
	playlist.WriteString("#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-TARGETDURATION:6\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n")
	for n := range 1800 {
		fmt.Fprintf(&playlist, "#EXTINF:6.000000,\n240p_%03d.ts\n", n)
	}
	playlist.WriteString("#EXT-X-ENDLIST\n")
	folder := filepath.Join(b.dir, server, "videos", id, "hls")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	for name, data := range map[string][]byte{"240p_000.ts": make([]byte, segmentSize), "240p.m3u8": playlist.Bytes()} {
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o644); err != nil {
			return "", err
		}
	}
	// A plain server may run as another user.
	for dir := folder; dir != b.dir; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			return "", err
		}
	}
	return id, os.Chmod(b.dir, 0o755)
}

// streamLoads are what is asked of a video, with an API key where the server wants one.
func streamLoads(ctx context.Context, host, id, key string) ([]streamed, error) {
	var who []string
	if key != "" {
		who = []string{"Authorization: Bearer " + key}
	}
	link := func(path string) (string, load, error) {
		sign := load{post(host, "/media/sign", fmt.Sprintf(`{"videoId":%q,"path":%q,"expiresIn":3600}`, id, path), who...), "200", 0}
		_, body, err := answer(ctx, host, sign)
		var signed struct{ URL string }
		if err == nil {
			err = json.Unmarshal(body, &signed)
		}
		if err == nil {
			_, err = url.Parse(signed.URL)
		}
		return signed.URL, sign, err
	}
	segment, sign, err := link("hls/240p_000.ts")
	if err != nil {
		return nil, err
	}
	playlist, _, err := link("hls/240p.m3u8")
	if err != nil {
		return nil, err
	}
	const plain, part = "/240p_000.ts", "Range: bytes=65536-81919"
	return []streamed{
		{"sign", sign, &load{post(host, plain, `{"videoId":"`+id+`"}`), "200", 0}, false, reachSign, 0},
		{"segment of 1 MB", load{get(host, segment), "200", segmentSize}, &load{get(host, plain), "200", segmentSize}, true, reachSegment, reachSegmentOfNginx},
		{"range of 16 KB", load{get(host, segment, part), "206", rangeSize}, &load{get(host, plain, part), "206", rangeSize}, true, reachRange, reachRangeOfNginx},
		{"playlist of 3 hours", load{get(host, playlist), "200", 0}, nil, false, 0, 0},
	}, nil
}

func (b *bench) streamRows(ctx context.Context, host string, pid int, l streamed, plain []*plainServer) (rows []rig.Row, err error) {
	all := []contender{{host, l.ours, []int{pid}}}
	beside := slices.DeleteFunc(slices.Clone(plain), func(p *plainServer) bool { return l.plain == nil || p.name == "nginx" && !l.nginx })
	for _, p := range beside {
		all = append(all, p.contender(l))
	}
	borne, err := b.byTurns(ctx, all...)
	if err != nil {
		return nil, err
	}
	got := medians(borne[0])
	first := rig.Row{What: l.what, Measured: got.text()}
	if l.reach > 0 {
		first.Reach, first.Verdict = fmt.Sprintf("≥ %.0f/s", l.reach), rig.Verdict(got.perSecond >= l.reach)
	} else if got.cpu > 0 {
		first.Reach, first.Verdict = "≤ "+rig.MsText(reachPlaylist)+" CPU", rig.Verdict(got.cpu <= reachPlaylist)
	}
	for i, p := range beside {
		limit := medians(borne[1+i])
		ratio := got.perSecond / limit.perSecond
		first.Limit, first.Ratio = limit.text()+" "+p.name, fmt.Sprintf("%.2f", ratio)
		if p.name == "nginx" && l.ofNginx > 0 {
			first.Reach, first.Verdict = fmt.Sprintf("≥ %.2f", l.ofNginx), rig.Verdict(ratio >= l.ofNginx)
		}
		rows = append(rows, first)
		first.Reach, first.Verdict = "", ""
	}
	if len(rows) == 0 {
		rows = append(rows, first)
	}
	return rows, nil
}

func medians(rounds []loaded) loaded {
	var rates []float64
	var p99s, cpus []time.Duration
	for _, r := range rounds {
		rates, p99s, cpus = append(rates, r.perSecond), append(p99s, r.p99), append(cpus, r.cpu)
	}
	return loaded{rig.Median(rates), rig.Median(p99s), rig.Median(cpus)}
}

func (l loaded) text() string {
	text := fmt.Sprintf("%.0f/s, p99 %s", l.perSecond, rig.MsText(l.p99))
	if l.cpu > 0 {
		text += fmt.Sprintf(", %d µs CPU", l.cpu.Microseconds())
	}
	return text
}

// auditRows tells how the group commit went under all of that, beside what the disk takes for a sync.
func (b *bench) auditRows(ctx context.Context, host string) ([]rig.Row, error) {
	_, metrics, err := answer(ctx, host, load{get(host, "/metrics", "Connection: close"), "200", 0})
	if err != nil {
		return nil, err
	}
	value := func(name string) float64 {
		for line := range strings.Lines(string(metrics)) {
			if text, ok := strings.CutPrefix(line, name+" "); ok {
				v, _ := strconv.ParseFloat(strings.TrimSpace(text), 64) // of digits, as Prometheus has them
				return v
			}
		}
		return 0
	}
	syncs := value("pulsevault_audit_sync_duration_seconds_count")
	entries := value(`pulsevault_audit_entries_total{category="access"}`)
	if syncs == 0 || entries == 0 {
		return nil, fmt.Errorf("the server tells of %.0f audit entries and %.0f syncs", entries, syncs)
	}
	disk, err := b.syncTime()
	if err != nil {
		return nil, err
	}
	mean := time.Duration(value("pulsevault_audit_sync_duration_seconds_sum") / syncs * float64(time.Second))
	return []rig.Row{{
		What: fmt.Sprintf("audit sync, of %.0f entries each", entries/syncs), Measured: rig.MsText(mean),
		Limit: rig.MsText(disk) + " a synced 4 KiB write", Ratio: fmt.Sprintf("%.1f", float64(mean)/float64(disk)),
		Reach: "≤ 50.0 ms", Verdict: rig.Verdict(mean <= 50*time.Millisecond),
	}}, nil
}
