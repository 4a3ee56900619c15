package backup

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// format is the version of the manifest, which is JSON lines: a Header, a File for each file, and a Summary, whose sha256 is
// that of all bytes before its own line.
const format = 1

// Header is the first line of a manifest.
type Header struct {
	Format   int       `json:"pulsevaultBackup"`
	Name     string    `json:"name"` // of the snapshot
	Began    time.Time `json:"began"`
	Program  string    `json:"program"`            // the version of pulsevault that has taken it
	AuditKey string    `json:"auditKey,omitempty"` // the public key of the audit log's checkpoints
}

// File is a file of a snapshot.
type File struct {
	Path     string    `json:"path"` // below media/, with slashes
	Size     int64     `json:"size"` // bytes
	Modified time.Time `json:"modified"`
	SHA256   string    `json:"sha256"` // lower-case hex
}

// Summary is the last line of a manifest.
type Summary struct {
	Files    int64     `json:"files"`
	Bytes    int64     `json:"bytes"`
	Copied   int64     `json:"copied"` // of the bytes; the others were in an earlier snapshot
	Videos   int64     `json:"videos"`
	Uploads  int64     `json:"uploads"` // records, also of those that have become videos
	Problems []string  `json:"problems,omitempty"`
	Ended    time.Time `json:"ended"`
	SHA256   string    `json:"sha256"`
}

// errCutOff is a manifest without its end, or with another one than was written.
var errCutOff = errors.New("the manifest is damaged or was cut off: this is no whole snapshot")

// lines writes JSON lines, and knows the hash of what it has written.
type lines struct {
	to  *bufio.Writer
	sum hash.Hash
	at  int64
}

func newLines(w io.Writer) *lines {
	return &lines{to: bufio.NewWriterSize(w, 64<<10), sum: sha256.New()}
}

func (l *lines) write(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return l.raw(append(data, '\n'))
}

func (l *lines) raw(line []byte) error {
	l.sum.Write(line) // never fails
	l.at += int64(len(line))
	_, err := l.to.Write(line)
	return err
}

func (l *lines) hash() string { return hex.EncodeToString(l.sum.Sum(nil)) }

// readManifest reads the manifest of a snapshot and calls back with each file. It is not known to be whole before the end.
func readManifest(folder string, each func(File) error) (h Header, s Summary, err error) {
	f, err := os.Open(filepath.Join(folder, manifestName))
	if err != nil {
		return h, s, err
	}
	defer func() { _ = f.Close() }() // nothing was written
	sum := sha256.New()
	r := bufio.NewReaderSize(f, 64<<10)
	first, err := r.ReadBytes('\n')
	if err != nil || json.Unmarshal(first, &h) != nil || h.Format == 0 {
		return h, s, errCutOff
	}
	if h.Format != format {
		return h, s, fmt.Errorf("the snapshot has format %d, this program knows %d: use a newer one", h.Format, format)
	}
	sum.Write(first)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return h, s, errCutOff
		}
		var file File
		if err := json.Unmarshal(line, &file); err != nil {
			return h, s, errCutOff
		}
		if file.Path == "" {
			err := json.Unmarshal(line, &s)
			if _, more := r.ReadByte(); err != nil || more == nil || s.SHA256 != hex.EncodeToString(sum.Sum(nil)) {
				return h, s, errCutOff
			}
			return h, s, nil
		}
		sum.Write(line)
		if err := each(file); err != nil {
			return h, s, err
		}
	}
}

// group is what files belong to that stand together in a manifest: those of a video, of a folder, or of a hundred checkpoints.
func group(key string) string {
	if rest, ok := strings.CutPrefix(key, "videos/"); ok {
		id, _, _ := strings.Cut(rest, "/")
		return "videos/" + id
	}
	dir := path.Dir(key)
	if name := path.Base(key); dir == "audit/checkpoints" && len(name) > 6 {
		return dir + "/" + name[:6]
	}
	return dir
}

// base is an earlier snapshot, from which files are taken that have not changed since.
type base struct {
	media  string
	proven bool // by a manifest; of what was cut off the bytes are looked at again
	lines  *os.File
	starts map[string]int64 // where in lines a group begins

	group string // whose files are known
	known map[string]File
}

// openBase opens the manifest of a snapshot, or the journal of one that was cut off.
func openBase(folder, name string, proven bool) (*base, error) {
	f, err := os.Open(filepath.Join(folder, name))
	if err != nil {
		return nil, err
	}
	b := &base{media: filepath.Join(folder, mediaFolder), proven: proven, lines: f, starts: map[string]int64{}}
	last := ""
	err = b.read(0, func(file File, at int64) bool {
		if g := group(file.Path); g != last {
			b.starts[g], last = at, g // of a group that comes again the later one counts
		}
		return true
	})
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return b, nil
}

// read goes over the lines that are of files, up to one that is no line, which is the end of a journal that was cut off.
func (b *base) read(from int64, each func(file File, at int64) bool) error {
	if _, err := b.lines.Seek(from, io.SeekStart); err != nil {
		return err
	}
	r := bufio.NewReaderSize(b.lines, 64<<10)
	for at := from; ; {
		line, err := r.ReadBytes('\n')
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		var file File
		if json.Unmarshal(line, &file) != nil {
			return nil //nolint:nilerr // what a kill has cut off is the end
		}
		if file.Path != "" && !each(file, at) {
			return nil
		}
		at += int64(len(line))
	}
}

// find returns a file of the earlier snapshot.
func (b *base) find(key string) (File, bool, error) {
	if g := group(key); g != b.group || b.known == nil {
		b.group, b.known = g, map[string]File{}
		if start, ok := b.starts[g]; ok {
			err := b.read(start, func(file File, _ int64) bool {
				b.known[file.Path] = file
				return group(file.Path) == g
			})
			if err != nil {
				return File{}, false, err
			}
		}
	}
	f, ok := b.known[key]
	return f, ok, nil
}

func (b *base) close() { _ = b.lines.Close() } // nothing was written
