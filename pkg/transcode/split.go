package transcode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
	"time"

	"pulsevault/pkg/internal/failpoint"
	"pulsevault/pkg/media"
	"pulsevault/pkg/vault"
)

// split is how an attempt has divided the work on a long video among all workers. It is kept with the video, under names
// that are never media:
//
//	.split-{attempt}/plan.json              this; from here on the pieces are anybody's
//	.split-{attempt}/0001-{uuid}.mp4        the sound, for the whole video, at one bit rate: pieces of the lowest numbers
//	.split-{attempt}/0007-{uuid}-240p.mp4   the picture of a piece in one rendition
//	.split-{attempt}/0007.json              the piece is there, and these are its files
//
// A piece may be made twice, when a worker was taken for dead, but the one whose record comes first is the piece.
type split struct {
	Began    time.Time  `json:"began"`
	Plan     Plan       `json:"plan"`     // of what is to be published next
	Last     bool       `json:"last"`     // with it the ladder is complete
	Progress [2]float64 `json:"progress"` // of the video, when this begins and when it ends
	Pieces   []piece    `json:"pieces"`
}

// piece is a part of the work on a split video: some segments of picture, in all renditions, or the whole sound.
type piece struct {
	SoundBitRate int   `json:"soundBitRate,omitempty"` // bits per second; 0 is a piece of picture
	Segment      int64 `json:"segment"`                // the first one
	From         int64 `json:"from"`                   // the first picture
	To           int64 `json:"to"`                     // the first one that is not in it, 0 for all that there are
}

// pieceRecord says that a piece is there.
type pieceRecord struct {
	Files  map[string]string `json:"files"`  // names by rendition; that of sound has none
	Frames int               `json:"frames"` // pictures, the same in all renditions
}

const splitPlan = "plan.json"

func splitKey(id vault.VideoID, attempt int, name string) string {
	return fmt.Sprintf("%s/.split-%d/%s", media.VideoKey(id), attempt, name)
}

func pieceRecordName(number int) string { return fmt.Sprintf("%04d.json", number) }

// pieces divides a plan into pieces of about so many seconds at most: first the sound, which takes the longest, then the
// picture. None says that it is not to be divided: it is short, or nobody knows how long, or has no picture to be encoded.
func (p Plan) pieces(seconds float64) (list []piece) {
	if seconds <= 0 || p.seconds() <= seconds || len(p.encoded()) == 0 {
		return nil
	}
	if p.Source.Audio >= 0 {
		for _, r := range p.Renditions {
			if !slices.ContainsFunc(list, func(s piece) bool { return s.SoundBitRate == r.AudioBitRate }) {
				list = append(list, piece{SoundBitRate: r.AudioBitRate})
			}
		}
	}
	segments := p.segments()
	pictures := min(int64(math.Ceil(p.seconds()/seconds)), segments)
	for n := range pictures {
		first, next := n*segments/pictures, (n+1)*segments/pictures
		s := piece{Segment: first, From: p.Cut(first), To: p.Cut(next)}
		if n == pictures-1 {
			s.To = 0
		}
		list = append(list, s)
	}
	if pictures < 2 {
		return nil
	}
	return list
}

// errSplit says that the attempt goes on in pieces, which are to be queued.
var errSplit = errors.New("the video is split into pieces")

// split leaves the rest of the attempt to all workers, and returns errSplit.
func (j *job) split(ctx context.Context, p Plan, last bool, pieces []piece) error {
	s := &split{Began: j.began, Plan: p, Last: last, Progress: [2]float64{0, 1}, Pieces: pieces}
	switch {
	case !last: // the same pieces come again, for the other renditions
		s.Progress[1] = 0.5
	case len(j.stands.rungs()) > 0:
		s.Progress[0] = 0.5
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	unlock, err := j.Store.Lock(ctx, j.video.VideoID)
	if err != nil {
		return err
	}
	defer unlock()
	if err := j.compare(ctx); err != nil {
		return err
	}
	if _, err = j.Store.Write(ctx, splitKey(j.video.VideoID, j.attempt, splitPlan), data, media.None); err != nil {
		return fmt.Errorf("write plan of pieces: %w", err)
	}
	j.log.InfoContext(ctx, "split", "pieces", len(pieces), "renditions", len(p.Renditions), "seconds", p.seconds())
	failpoint.Hit("transcode/split")
	return errSplit
}

// openSplit returns the split of an attempt, nil if there is none.
func (t *Transcoder) openSplit(ctx context.Context, id vault.VideoID, attempt int) (*split, error) {
	data, _, err := t.Store.Read(ctx, splitKey(id, attempt, splitPlan))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	s := new(split)
	if err == nil {
		err = json.Unmarshal(data, s)
	}
	if err != nil {
		return nil, fmt.Errorf("read plan of pieces: %w", err)
	}
	return s, nil
}

// there are the pieces of a split that are there.
func (t *Transcoder) there(ctx context.Context, id vault.VideoID, attempt int) (map[int]bool, error) {
	keys, err := t.Store.List(ctx, splitKey(id, attempt, ""))
	if err != nil {
		return nil, err
	}
	numbers := map[int]bool{}
	for _, key := range keys {
		var n int
		if _, err := fmt.Sscanf(key[strings.LastIndexByte(key, '/')+1:], "%d.json", &n); err == nil {
			numbers[n] = true
		}
	}
	return numbers, nil
}

// wants are the tasks that a split asks for: its missing pieces, or to be joined.
func (s *split) wants(id vault.VideoID, attempt int, there map[int]bool) (tasks []vault.Task) {
	for i := range s.Pieces {
		if !there[i+1] {
			tasks = append(tasks, vault.Task{Type: vault.TranscodePiece, VideoID: id, Attempt: attempt, Piece: i + 1})
		}
	}
	if tasks == nil {
		tasks = []vault.Task{{Type: vault.JoinPieces, VideoID: id, Attempt: attempt}}
	}
	return tasks
}

// Wants returns the tasks that a video, which is marked as wanting work, asks for.
func (t *Transcoder) Wants(ctx context.Context, id vault.VideoID) ([]vault.Task, error) {
	v, err := t.Videos.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	tasks, err := t.splitWants(ctx, v)
	if err == nil && tasks == nil {
		tasks = []vault.Task{{Type: vault.TranscodeVideo, VideoID: id}}
	}
	return tasks, err
}

// splitWants returns the tasks of a video that is split, none if it is not.
func (t *Transcoder) splitWants(ctx context.Context, v vault.Video) ([]vault.Task, error) {
	if v.Status != vault.Transcoding {
		return nil, nil
	}
	s, err := t.openSplit(ctx, v.VideoID, v.Attempt)
	if err != nil || s == nil {
		return nil, err
	}
	there, err := t.there(ctx, v.VideoID, v.Attempt)
	if err != nil {
		return nil, err
	}
	return s.wants(v.VideoID, v.Attempt, there), nil
}

// goOn queues what a video wants that is split, and reports whether it is.
func (t *Transcoder) goOn(ctx context.Context, id vault.VideoID) (split bool, err error) {
	v, err := t.Videos.Get(ctx, id)
	if err != nil {
		return false, err
	}
	tasks, err := t.splitWants(ctx, v)
	return tasks != nil, errors.Join(err, t.enqueueAll(ctx, tasks))
}

func (t *Transcoder) enqueueAll(ctx context.Context, tasks []vault.Task) error {
	for _, task := range tasks {
		if err := t.Enqueue(ctx, task); err != nil {
			return err
		}
	}
	return nil
}

// removeSplits removes what attempts up to one have kept of pieces. The plan goes first: without it there is no split.
func (t *Transcoder) removeSplits(ctx context.Context, id vault.VideoID, upTo int) error {
	for attempt := 1; attempt <= upTo; attempt++ {
		keys, err := t.Store.List(ctx, splitKey(id, attempt, ""))
		if err == nil && len(keys) > 0 {
			if err = t.Store.Delete(ctx, splitKey(id, attempt, splitPlan)); err == nil {
				err = t.Store.Delete(ctx, keys...)
			}
		}
		if err != nil {
			return fmt.Errorf("remove pieces: %w", err)
		}
	}
	return nil
}
