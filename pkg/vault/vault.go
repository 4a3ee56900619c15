// Package vault is PulseVault's vocabulary: the ids, states, tasks and error kinds that every other package speaks in.
// It does no I/O.
package vault

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
)

// UploadID names one upload: a lower-case UUID, version 7 where we make it, so that ids sort by time.
type UploadID string

// VideoID names one stored video, in the same form as an UploadID. The two are never the same value: whoever may
// watch a video must not learn from its name how to write to the upload it came from.
type VideoID string

// NewUploadID returns a fresh UploadID.
func NewUploadID() UploadID { return UploadID(newID()) }

// NewVideoID returns a fresh VideoID.
func NewVideoID() VideoID { return VideoID(newID()) }

// Time is when the id was made; the zero time for one that is not of version 7.
func (id UploadID) Time() time.Time { return timeOf(string(id)) }

// Time is when the id was made; the zero time for one that is not of version 7.
func (id VideoID) Time() time.Time { return timeOf(string(id)) }

func timeOf(id string) time.Time {
	u, err := uuid.Parse(id)
	if err != nil || u.Version() != 7 {
		return time.Time{}
	}
	return time.Unix(u.Time().UnixTime())
}

// ParseUploadID accepts exactly the canonical lower-case form of a UUID.
func ParseUploadID(s string) (UploadID, error) {
	if !isUUID(s) {
		return "", invalid("invalid_upload_id", "uploadId must be the lower-case UUID that POST /uploads answered with")
	}
	return UploadID(s), nil
}

// ParseVideoID accepts exactly the canonical lower-case form of a UUID.
func ParseVideoID(s string) (VideoID, error) {
	if !isUUID(s) {
		return "", invalid("invalid_video_id", "videoId must be the lower-case UUID that POST /uploads/finalize answered with")
	}
	return VideoID(s), nil
}

// isUUID is asked for every request.
func isUUID(s string) bool {
	for i := range len(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if c := s[i]; dash != (c == '-') || !dash && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s) == 36
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// Status is where a video stands on its way to being playable.
type Status string

// The states of a video. They move uploaded → transcoding → transcoded | transcode_failed; see CanBecome.
const (
	Uploaded        Status = "uploaded"         // stored and waiting for a worker
	Transcoding     Status = "transcoding"      // claimed by the worker whose attempt is in meta.json
	Transcoded      Status = "transcoded"       // its HLS is published
	TranscodeFailed Status = "transcode_failed" // given up; TranscodeError says why
)

var moves = map[Status][]Status{
	Uploaded:        {Transcoding, TranscodeFailed},
	Transcoding:     {Transcoding, Transcoded, TranscodeFailed, Uploaded},
	TranscodeFailed: {Transcoding},
}

// CanBecome reports whether a video may move from s to next. Transcoding may become Transcoding (taken over from a
// worker that died) and Uploaded (given back by a worker that stops); TranscodeFailed may be retried.
func (s Status) CanBecome(next Status) bool { return slices.Contains(moves[s], next) }

// Video is what is recorded about a stored video: the content of meta.json, whose format package metadata owns.
type Video struct {
	VideoID          VideoID         `json:"videoId"`
	Filename         string          `json:"filename"`           // as the client named it; never used as a path
	UserID           string          `json:"userId,omitempty"`   // who uploaded it, as far as we know
	UploadID         UploadID        `json:"uploadId,omitempty"` // that it was; never shown to whoever may only watch
	ContentType      string          `json:"contentType"`        // sniffed from the bytes, such as video/mp4
	OriginalSize     int64           `json:"originalSize"`       // bytes
	OriginalChecksum string          `json:"originalChecksum"`   // lower-case hex SHA-256 of the original
	UploadedAt       time.Time       `json:"uploadedAt"`
	UpdatedAt        time.Time       `json:"updatedAt"`
	Status           Status          `json:"status"`
	Attempt          int             `json:"attempt"` // how often a worker has claimed the video; fences overtaken workers
	Version          string          `json:"version"` // of this format: "1.0"
	Metadata         json.RawMessage `json:"metadata,omitempty"`

	TranscodedAt      *time.Time `json:"transcodedAt,omitempty"`
	TranscodeDuration float64    `json:"transcodeDuration,omitempty"` // seconds of wall time the transcode took
	Duration          float64    `json:"duration,omitempty"`          // seconds of video
	Width             int        `json:"width,omitempty"`             // display size of the original in pixels, after rotation
	Height            int        `json:"height,omitempty"`
	Renditions        []string   `json:"renditions,omitempty"`     // names, highest first, such as "720p"
	TranscodeError    string     `json:"transcodeError,omitempty"` // a reason for people, without paths
}

// TaskType says what a task asks of a worker.
type TaskType string

// The kinds of task.
const (
	TranscodeVideo TaskType = "transcode" // the HLS of one stored original
	TranscodePiece TaskType = "piece"     // one piece of a video that an attempt has split
	JoinPieces     TaskType = "join"      // the pieces of such a video, once all of them are there
)

// Task is one unit of queued work. Its JSON is the payload in every queue.
type Task struct {
	Type    TaskType `json:"type"`
	VideoID VideoID  `json:"videoId"`
	Attempt int      `json:"attempt,omitempty"` // that has split the video; of pieces and joins only
	Piece   int      `json:"piece,omitempty"`   // counted from 1; of pieces only
}

// ID names the task so that enqueueing it twice is harmless.
func (t Task) ID() string {
	id := string(t.Type) + ":" + string(t.VideoID)
	if t.Attempt != 0 {
		id += fmt.Sprintf(":%d", t.Attempt)
	}
	if t.Piece != 0 {
		id += fmt.Sprintf(":%d", t.Piece)
	}
	return id
}

// Validate refuses a task that no worker could know what to do with.
func (t Task) Validate() error {
	var known bool
	switch t.Type {
	case TranscodeVideo:
		known = t.Attempt == 0 && t.Piece == 0
	case TranscodePiece:
		known = t.Attempt > 0 && t.Piece > 0
	case JoinPieces:
		known = t.Attempt > 0 && t.Piece == 0
	}
	if !known {
		return fmt.Errorf("vault: there is no task %q with attempt %d and piece %d", t.Type, t.Attempt, t.Piece)
	}
	if _, err := ParseVideoID(string(t.VideoID)); err != nil {
		return fmt.Errorf("vault: task names no video: %w", err)
	}
	return nil
}

// Upload is the record of one upload, from its first byte for as long as its video lives.
type Upload struct {
	UploadID  UploadID          `json:"uploadId"`
	VideoID   VideoID           `json:"videoId"`             // what it will become
	Owner     string            `json:"owner,omitempty"`     // who has created it; empty where nobody was asked
	Size      int64             `json:"size"`                // bytes it will have when it is complete
	Offset    int64             `json:"offset"`              // bytes that are durable
	HashState []byte            `json:"hashState"`           // SHA-256 over those bytes, as crypto/sha256 marshals it (108 bytes)
	Metadata  map[string]string `json:"metadata,omitempty"`  // as the client sent it with tus
	Multipart *Multipart        `json:"multipart,omitempty"` // where the bytes are, if that is a bucket
	CreatedAt time.Time         `json:"createdAt"`
	ExpiresAt time.Time         `json:"expiresAt"`
	Announced bool              `json:"announced,omitempty"` // that it is complete has been counted and is in the audit log
	Finalize  *FinalizeRequest  `json:"finalize,omitempty"`  // the first one that was accepted
	Finalized bool              `json:"finalized,omitempty"` // everything that Finalize asked for has been done
	Deleted   bool              `json:"deleted,omitempty"`   // its video was; what told of its bytes is no longer here

	Version string `json:"-"` // of the record that was read, in a store that compares and swaps
}

// Complete reports whether every byte is there, and there is one.
func (u Upload) Complete() bool { return u.Size > 0 && u.Offset == u.Size }

// Expired reports whether the upload was left alone for so long that it may go. One that has been handed to finalize
// never does.
func (u Upload) Expired(now time.Time) bool { return u.Finalize == nil && now.After(u.ExpiresAt) }

// Multipart says where the bytes of an upload are in a bucket until it becomes a video: in the parts of a multipart upload
// of S3, which has opened on the key of the video's original, and, what is too short for a part, in an object of its own.
type Multipart struct {
	ID       string `json:"id"`             // as S3 calls it
	Parts    []Part `json:"parts"`          // numbered from 1
	Tail     string `json:"tail,omitempty"` // key of the bytes that follow the parts
	TailSize int64  `json:"tailSize,omitempty"`
	Head     []byte `json:"head"` // the first bytes, which tell the type: parts cannot be read
}

// Part is one part of a multipart upload.
type Part struct {
	ETag string `json:"etag"`
	Size int64  `json:"size"`
}

// FinalizeRequest is what a client asked for when it turned its upload into a video, and what we learnt on accepting it.
type FinalizeRequest struct {
	Filename    string          `json:"filename"`
	UserID      string          `json:"userId,omitempty"`
	Metadata    json.RawMessage `json:"metadata,omitempty"`
	ContentType string          `json:"contentType"` // sniffed
	Checksum    string          `json:"checksum"`    // lower-case hex SHA-256 of all bytes
	At          time.Time       `json:"at"`
}
