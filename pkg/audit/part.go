package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

const (
	bucketPrefix = "audit/" // of every key
	partDigits   = 8
	// partSize is what closes a part: one that has as many bytes gets no more entries. So an append rewrites less than that.
	partSize = 1 << 20
)

func partName(c Category, number int) string {
	return fmt.Sprintf("%s.%0*d%s", c, partDigits, number, logExt)
}

// parsePartName takes the name of a part apart.
func parsePartName(name string) (c Category, number int, ok bool) {
	stem, isLog := strings.CutSuffix(name, logExt)
	category, digits, cut := strings.Cut(stem, ".")
	number, err := strconv.Atoi(digits)
	ok = isLog && cut && err == nil && number > 0 && slices.Contains(Categories, Category(category))
	if !ok || partName(Category(category), number) != name {
		return "", 0, false
	}
	return Category(category), number, true
}

// part is an object that holds a piece of a chain, or will.
type part struct {
	number  int
	version string // "" while there is no such object
	data    []byte
	ids     map[string]bool // the eventIds in it
	head    Head            // its last entry, of seq 0 if there is none
	sound   bool            // the data is empty, or ends with an entry
	limit   int             // partSize
}

// closed reports whether the chain goes on in the next part. It depends on nothing but the data, so that whoever looks at
// a part comes to the same end. What is no entry was put there by somebody else, and is left as it is.
func (p *part) closed() bool { return len(p.data) >= p.limit || !p.sound }

// readPart reads a part; one that is not there is empty.
func (b *book) readPart(ctx context.Context, number int) (*part, error) {
	c, p := b.category, b.newPart(number)
	name := partName(c, number)
	data, version, err := b.ledger.cfg.Bucket.Read(ctx, bucketPrefix+name)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	p.data, p.version = data, version
	p.scan(c)
	return p, nil
}

func (b *book) newPart(number int) *part {
	return &part{number: number, ids: map[string]bool{}, sound: true, limit: b.ledger.cfg.partSize}
}

// scan goes over the lines. Whether they are linked is for Verify to say.
func (p *part) scan(c Category) {
	name := partName(c, p.number)
	for rest := p.data; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte{'\n'})
		rest = after
		e, err := ParseLine(line)
		if p.sound = ended && err == nil && e.Category == c; p.sound {
			p.ids[e.EventID] = true
			p.head = Head{Seq: e.Seq, Hash: e.Hash, File: name, End: int64(len(p.data) - len(rest))}
		}
	}
}

// bucketHeads keeps heads beside the parts, as heads/{category}.json.
type bucketHeads struct{ bucket Bucket }

func headKey(c Category) string { return bucketPrefix + headsDir + "/" + string(c) + ".json" }

// Load is part of HeadStore.
func (h bucketHeads) Load(ctx context.Context, c Category) (Head, bool, error) {
	data, _, err := h.bucket.Read(ctx, headKey(c))
	if errors.Is(err, fs.ErrNotExist) {
		return Head{}, false, nil
	}
	if err != nil {
		return Head{}, false, err
	}
	head, err := parseHead(data, c)
	return head, err == nil, err
}

// Save is part of HeadStore.
func (h bucketHeads) Save(ctx context.Context, c Category, head Head) error {
	_, version, err := h.bucket.Read(ctx, headKey(c))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	data, err := encodeHead(head)
	if err != nil {
		return err
	}
	_, err = h.bucket.Write(ctx, headKey(c), data, version)
	return err
}

// holds reports whether h is the head of the part as it once was.
func (p *part) holds(h Head, c Category) (bool, error) {
	if h.End > int64(len(p.data)) {
		return false, nil
	}
	found, _, err := entryBefore(bytes.NewReader(p.data), h.End, c, h.File)
	if errors.Is(err, errNoEntry) {
		return false, nil
	}
	return found == h, err
}
